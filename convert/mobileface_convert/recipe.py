"""Recipes: all facts about one model and its conversion, one TOML file each.

::

    upstream = "mobileface"            # a table of upstreams.toml
    [files.symbol]                     # what the maker reads, by role
    path = "…"                         # in the upstream repository
    git_blob_sha1 = "…"
    bytes = 74081
    [[alternatives]]                   # optional: other files that hold the same model,
    [alternatives.gluon]               #   taken where the first ones are not there
    path = "…"
    git_blob_sha1 = "…"
    [convert]
    maker = "mxnet"                    # a name in mobileface_convert.makers
    cut = "fc5_bn_output"              # optional: the feature output; found if absent
    opset = 17
    …                                  # what else the maker asks for
    [verify]
    max_abs_error = 5e-5               # of the network's output
    min_cosine = 0.9999999             # optional
    [spec]                             # see mobileface.spec; source and license are filled in
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError, SpecError
from mobileface.spec import SCHEMA, ModelSpec

from .onnx_builder import DEFAULT_OPSET
from .source import SourceFile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Recipe", "Upstream", "load_recipe", "recipe_names"]

_UPSTREAMS = "upstreams.toml"


@dataclass(frozen=True)
class Upstream:
    """A repository that recipes take files from.

    Attributes:
        repository: Its address.
        commit: The commit that all hashes belong to; None for an installed package.
    """

    repository: str
    commit: str | None


@dataclass(frozen=True)
class Recipe:
    """How one model is made.

    Attributes:
        name: Name of the model.
        upstream: Where its files come from.
        files: Source files by role.
        maker: What makes it; a name in `makers.MAKERS`.
        cut: The feature output; None: found by `passes.prune`.
        opset: ONNX operator set.
        max_abs_error: Bound of the largest difference to the oracle.
        min_cosine: Bound of the smallest cosine to the oracle.
        spec: What goes into the model.
        options: What else the maker asks for.
        alternatives: The same model from other files, in order of preference.
    """

    name: str
    upstream: Upstream
    files: Mapping[str, SourceFile]
    maker: str
    cut: str | None
    opset: int
    max_abs_error: float
    min_cosine: float
    spec: ModelSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Recipe, ...] = ()


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    folder = resources.files(__package__) / "recipes"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml") and entry.name != _UPSTREAMS
    )


def load_recipe(name: str) -> Recipe:
    """Reads a recipe.

    Args:
        name: Name of a recipe of the package, or path of a ``.toml`` file.

    Raises:
        ConversionError: No such recipe, or a broken one; names the field.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConversionError(f"cannot be read ({error})", where=name) from error
        return _recipe(text, name)
    if name not in recipe_names():
        raise ConversionError(
            f"no recipe named '{name}'", hint=f"there are: {', '.join(recipe_names())}"
        )
    return _recipe(_resource(f"{name}.toml"), f"{name}.toml")


def _resource(name: str) -> str:
    folder = resources.files(__package__) / "recipes"
    return (folder / name).read_text(encoding="utf-8")


def _recipe(text: str, where: str) -> Recipe:
    """A recipe from TOML text."""
    try:
        data = tomllib.loads(text)
        upstreams = tomllib.loads(_resource(_UPSTREAMS))
        upstream = upstreams[data["upstream"]]
        recipe = _build(data, data.get("files", {}), upstream, where)
        others = [_build(data, files, upstream, where) for files in data.get("alternatives", ())]
        return replace(recipe, alternatives=tuple(others))
    except tomllib.TOMLDecodeError as error:
        raise ConversionError(f"not TOML ({error})", where=where) from error
    except KeyError as error:
        raise ConversionError(f"field {error} is missing", where=where) from error
    except (TypeError, AttributeError) as error:
        raise ConversionError(f"a field has the wrong type ({error})", where=where) from error
    except SpecError as error:
        raise ConversionError(error.what, where=error.where, hint=error.hint) from error


def _build(
    data: Mapping[str, Any], listed: Mapping[str, Any], upstream: Mapping[str, Any], where: str
) -> Recipe:
    """The recipe with one of its sets of files."""
    commit = upstream.get("commit")
    files = {
        role: SourceFile(item["path"], item["git_blob_sha1"], item.get("bytes"))
        for role, item in listed.items()
    }
    source = {"repository": upstream["repository"], "files": list(listed.values())}
    if commit is not None:
        source["commit"] = commit
    fields = {
        "schema": SCHEMA,
        "license": upstream["license"],
        "source": source,
        **data["spec"],
    }
    spec = ModelSpec.from_dict(fields, where=f"{where}, spec")
    convert, verify = dict(data["convert"]), data["verify"]
    return Recipe(
        name=spec.name,
        upstream=Upstream(upstream["repository"], commit),
        files=files,
        maker=convert.pop("maker"),
        cut=convert.pop("cut", None),
        opset=convert.pop("opset", DEFAULT_OPSET),
        max_abs_error=verify["max_abs_error"],
        min_cosine=verify.get("min_cosine", 0.9999999),
        spec=spec,
        options=convert,
    )

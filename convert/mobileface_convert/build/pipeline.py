"""Converts a recipe to a verified model with its variants in a models folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mobileface.errors import ConversionError, OutputError, SourceError, SourceIntegrityError
from mobileface.host.ending import held
from mobileface.host.files import scratch_folder
from mobileface.host.outputs import check_outputs
from mobileface.models.index import Variant

from ..makers import MAKERS, Files, Maker
from ..oracles.verify import Agreement
from ..recipes.recipe import Recipe
from ..sources.cache import exclusive_folder
from ..sources.files import Source
from .publishing import publish
from .variants import BuiltVariant, Plan, SkippedVariant, VariantBuilder

__all__ = ["Artefact", "choose", "convert", "fetch_all", "verify_model"]


@dataclass(frozen=True)
class Artefact:
    """A converted model.

    Attributes:
        name: Name of the model.
        path: The model file.
        bytes: Size of the model file.
        nodes: Number of ONNX nodes; 0 for a model that consists of its spec only.
        agreement: The comparison with the reference; None if it was not requested.
        variants: The other files of the model, as listed in the index.
        built: The variants that were built by this conversion.
        refused: Requested variants that were not built.
    """

    name: str
    path: Path
    bytes: int
    nodes: int
    agreement: Agreement | None
    variants: tuple[Variant, ...] = ()
    built: tuple[BuiltVariant, ...] = ()
    refused: tuple[SkippedVariant, ...] = ()


def convert(
    recipe: Recipe,
    source: Source | None,
    folder: Path,
    *,
    verify: bool = True,
    plan: Plan | None = None,
) -> Artefact:
    """Converts one model, with variants, certificates and its entry in the folder's index.

    Nothing is written unless every step for the model's own file succeeds. A variant that cannot be
    built, or is outside its tolerances, is skipped with a reason.

    Args:
        recipe: The recipe to convert.
        source: Source of the recipe's files; None only for a recipe without files.
        folder: The models folder.
        verify: Compare with the reference and reject a model that is outside its tolerances.
        plan: The variants to build; None for the model's own file only.

    Raises:
        ConversionError: If a step fails.
        OutputError: If the folder is not writable.
    """
    maker = _maker(recipe)
    recipe, files = choose(recipe, source)
    # Whatever is written begins with the model's name; a source that does too may be one of these.
    written = [folder / f.name for f in files.values() if f.name.startswith(f"{recipe.name}.")]
    check_outputs(written, files.values())
    with _locked_folder(folder), scratch_folder() as scratch:
        builder = VariantBuilder(recipe, files, maker, Path(scratch), verify)
        own = builder.build_own()
        others = builder.build_others(plan or Plan())
        built = [item for item in others if isinstance(item, BuiltVariant)]
        with held():  # a model is written with its certificates and its index entry, or not
            entry = publish(recipe, [own, *built], folder)
    return Artefact(
        recipe.name,
        folder / entry.file,
        entry.bytes,
        own.nodes,
        own.verified[recipe.weights][0] if verify else None,
        entry.variants,
        tuple(built),
        tuple(item for item in others if isinstance(item, SkippedVariant)),
    )


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Locks the folder against other conversions, as each one rewrites the index.

    Raises:
        OutputError: If the folder is not writable.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive_folder(folder))
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", where=str(folder)) from error
        yield


def verify_model(model: Path, recipe: Recipe, files: Files | None = None) -> Agreement:
    """Compares a model with its reference.

    Args:
        model: The model file.
        recipe: Recipe of the model.
        files: The source files by role; None if not available.

    Raises:
        ConversionError: If no reference is available on this machine.
    """
    return _maker(recipe).agree(model, recipe, files)


def choose(recipe: Recipe, source: Source | None) -> tuple[Recipe, Files]:
    """Selects the first of a recipe's alternatives whose files the source has.

    Returns:
        The recipe or its alternative, and the paths of its files by role.

    Raises:
        SourceError: If the source has none of them; names the file missing for the first one.
        SourceIntegrityError: If a file does not match its pinned hash.
    """
    missing: SourceError | None = None
    for candidate in (recipe, *recipe.alternatives):
        try:
            return candidate, fetch_all(candidate, source)
        except SourceIntegrityError:
            raise
        except SourceError as error:
            missing = missing or error
    assert missing is not None
    raise missing


def fetch_all(recipe: Recipe, source: Source | None) -> Files:
    """Local paths of a recipe's source files, by role.

    Raises:
        SourceError: If a file is missing or does not match its pinned hash.
        ConversionError: If the recipe has files but ``source`` is None.
    """
    if source is None:
        if recipe.files:
            raise ConversionError("the recipe's files need a source", where=recipe.name)
        return _RoleFiles(recipe, {})
    return _RoleFiles(recipe, {role: source.fetch(file) for role, file in recipe.files.items()})


class _RoleFiles(dict[str, Path]):
    """Files by role; a role that the maker needs and the recipe lacks is an error of the recipe."""

    def __init__(self, recipe: Recipe, files: Mapping[str, Path]) -> None:
        super().__init__(files)
        self._recipe = recipe

    def __missing__(self, role: str) -> Path:
        raise ConversionError(
            f"maker '{self._recipe.maker}' needs a file '{role}'",
            where=f"{self._recipe.name}, files",
            hint=f"given: {', '.join(self) or 'none'}",
        )


def _maker(recipe: Recipe) -> Maker:
    if recipe.maker not in MAKERS:
        raise ConversionError(
            f"unknown maker '{recipe.maker}'",
            where=recipe.name,
            hint=f"available: {', '.join(MAKERS)}",
        )
    return MAKERS[recipe.maker]

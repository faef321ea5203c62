"""From a recipe and a source to a verified model in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mobileface.errors import ConversionError, OutputError, SourceError, SourceIntegrityError
from mobileface.host.ending import held
from mobileface.host.files import scratch_folder, write_aside
from mobileface.host.machine import ANYWHERE
from mobileface.models.index import PRECISIONS, IndexEntry, Variant, read_index, write_index

from ..makers import MAKERS, Files, Maker
from ..oracles.verify import Agreement
from ..recipes.recipe import Recipe
from ..sources.cache import exclusive_folder
from ..sources.files import Source
from .certificate import certificate, write_certificate
from .variants import CONDITIONS, STORAGE, Made, Plan, Refused, Workshop

__all__ = ["Artefact", "choose", "convert", "fetch_all", "verify_model"]


@dataclass(frozen=True)
class Artefact:
    """A converted model.

    Attributes:
        name: Its name.
        path: The model file.
        bytes: Its size.
        nodes: Number of ONNX nodes; 0 for a model that is nothing but its spec.
        agreement: How it compares with its oracle; None if that was not asked for.
        variants: Its other files, as the index lists them.
        made: Those of them that were made now.
        refused: Variants that were wanted and are not there.
    """

    name: str
    path: Path
    bytes: int
    nodes: int
    agreement: Agreement | None
    variants: tuple[Variant, ...] = ()
    made: tuple[Made, ...] = ()
    refused: tuple[Refused, ...] = ()


def convert(
    recipe: Recipe,
    source: Source | None,
    folder: Path,
    *,
    verify: bool = True,
    plan: Plan | None = None,
) -> Artefact:
    """Makes one model with its variants, their certificates and its entry in the folder's index.

    Nothing appears in the folder unless every step for the model's own file succeeded; a variant
    that cannot be made or misses its bounds is left out, with the reason.

    Args:
        recipe: What to make.
        source: Where its files come from; None only for a recipe without files.
        folder: Where the model goes.
        verify: Compare with the oracle and refuse a model that misses its bounds.
        plan: Which variants are wanted; None: the model's own file alone.

    Raises:
        ConversionError: Any step failed; the message names it.
        OutputError: The folder cannot be written.
    """
    maker = _maker(recipe)
    recipe, files = choose(recipe, source)
    with _folder_of_ones_own(folder), scratch_folder() as scratch:
        workshop = Workshop(recipe, files, maker, Path(scratch), verify)
        own = workshop.make_own()
        others = workshop.make_others(plan or Plan())
        made = [item for item in others if isinstance(item, Made)]
        with held():  # a model is there with its certificates and its line in the index, or not
            entry = _entry(recipe, [_write(item, recipe, folder) for item in (own, *made)])
            _list(recipe.name, entry, folder)
    return Artefact(
        recipe.name,
        folder / entry.file,
        entry.bytes,
        own.nodes,
        own.verified[recipe.weights][0] if verify else None,
        entry.variants,
        tuple(made),
        tuple(item for item in others if isinstance(item, Refused)),
    )


def _write(made: Made, recipe: Recipe, folder: Path) -> Variant:
    """Writes a variant and its certificate; what the index says of it."""
    own = made.target == "portable" and STORAGE[made.precision] == recipe.weights
    stem = recipe.name if own else f"{recipe.name}.{made.name}"
    target = folder / f"{stem}{made.built.suffix}"
    write_aside(target, made.content)
    document = certificate(
        made.built,
        target,
        target.name,
        weights=STORAGE[made.precision],
        nodes=made.nodes,
        verified=made.verified,
        facts=made.facts,
    )
    path = folder / f"{stem}.certificate.json"
    write_certificate(path, document)
    return Variant(
        made.name,
        made.precision,
        target.name,
        document["sha256"],
        document["bytes"],
        path.name,
        CONDITIONS[made.target],
    )


def _entry(recipe: Recipe, variants: Sequence[Variant]) -> IndexEntry:
    """What the index says of a model; its own file is the first of the variants."""
    own, *others = variants
    return IndexEntry(
        file=own.file,
        sha256=own.sha256,
        bytes=own.bytes,
        task=recipe.spec.task,
        preference=recipe.spec.preference,
        certificate=own.certificate,
        precision=own.precision,
        variants=tuple(others),
    )


def _list(name: str, entry: IndexEntry, folder: Path) -> None:
    """Puts a model into the folder's index and removes files that belonged to it before.

    A variant that was not made this time stays if the model itself is the same as before.
    """
    index = read_index(folder)
    before = index.get(name)
    old = before.variants if before is not None else ()
    made = {variant.name for variant in entry.variants}
    if before is not None and before.sha256 == entry.sha256:
        kept = [variant for variant in old if variant.name not in made]
        variants = sorted([*entry.variants, *kept], key=_rank)
        entry = dataclasses.replace(entry, variants=tuple(variants))
    write_index(folder, {**index, name: entry})
    listed = {file for v in entry.all_variants for file in (v.file, v.certificate)}
    for variant in old:
        for file in {variant.file, variant.certificate} - listed:
            (folder / file).unlink(missing_ok=True)


def _rank(variant: Variant) -> tuple[int, bool]:
    """The order in which the runtime considers variants: the special before the general."""
    return PRECISIONS.index(variant.precision), variant.condition == ANYWHERE


@contextmanager
def _folder_of_ones_own(folder: Path) -> Iterator[None]:
    """Keeps other processes that convert into the folder waiting: each rewrites its index.

    Raises:
        OutputError: The folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive_folder(folder))
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", where=str(folder)) from error
        yield


def verify_model(model: Path, recipe: Recipe, files: Files | None = None) -> Agreement:
    """Compares a model with its oracle.

    Args:
        model: The model file.
        recipe: How it was made.
        files: The source files by role, if they are at hand.

    Raises:
        ConversionError: There is no oracle on this machine.
    """
    return _maker(recipe).agree(model, recipe, files)


def choose(recipe: Recipe, source: Source | None) -> tuple[Recipe, Files]:
    """The recipe with the first of its sets of files that the source has.

    Raises:
        SourceError: It has none of them; tells what is absent of the first.
        SourceIntegrityError: A file is another one.
    """
    absent: SourceError | None = None
    for candidate in (recipe, *recipe.alternatives):
        try:
            return candidate, fetch_all(candidate, source)
        except SourceIntegrityError:
            raise
        except SourceError as error:
            absent = absent or error
    assert absent is not None
    raise absent


def fetch_all(recipe: Recipe, source: Source | None) -> Files:
    """Local paths of a recipe's source files.

    Raises:
        SourceError: A file is absent or another one.
    """
    if source is None:
        if recipe.files:
            raise ConversionError("its files need a source", where=recipe.name)
        return {}
    return {role: source.fetch(file) for role, file in recipe.files.items()}


def _maker(recipe: Recipe) -> Maker:
    if recipe.maker not in MAKERS:
        raise ConversionError(
            f"no maker '{recipe.maker}'",
            where=recipe.name,
            hint=f"there are: {', '.join(MAKERS)}",
        )
    return MAKERS[recipe.maker]

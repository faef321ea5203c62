"""From a recipe and a source to a verified model in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from mobileface.errors import ConversionError, OutputError, SourceError, SourceIntegrityError
from mobileface.files import replacing
from mobileface.index import IndexEntry, read_index, write_index

from .backends.storage import store_float16
from .bounds import Bounds
from .cache import exclusive_folder
from .certificate import certificate, write_certificate
from .makers import MAKERS, Built, Files, Maker
from .recipe import Recipe
from .source import Source
from .verify import Agreement, require

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
    """

    name: str
    path: Path
    bytes: int
    nodes: int
    agreement: Agreement | None


def convert(
    recipe: Recipe, source: Source | None, folder: Path, *, verify: bool = True
) -> Artefact:
    """Makes one model, its certificate and its entry in the folder's index.

    Nothing appears in the folder unless every step succeeded.

    Args:
        recipe: What to make.
        source: Where its files come from; None only for a recipe without files.
        folder: Where the model goes.
        verify: Compare with the oracle and refuse a model that misses its bounds.

    Raises:
        ConversionError: Any step failed; the message names it.
        OutputError: The folder cannot be written.
    """
    maker = _maker(recipe)
    recipe, files = choose(recipe, source)
    built = maker.build(recipe, files)
    target = folder / f"{recipe.name}{built.suffix}"
    certificate_path = folder / f"{recipe.name}.certificate.json"
    with _folder_of_ones_own(folder):
        with replacing(target) as temporary:
            verified: dict[str, tuple[Agreement, Bounds]] = {}
            for weights, content in _contents(built, recipe).items():
                temporary.write_bytes(content)
                if verify:
                    verified[weights] = (
                        maker.agree(temporary, recipe, files),
                        recipe.bounds[weights],
                    )
                    require(*verified[weights], recipe.name)
            document = certificate(
                built, temporary, target.name, weights=recipe.weights, verified=verified
            )
        write_certificate(certificate_path, document)
        entry = IndexEntry(
            file=target.name,
            sha256=document["sha256"],
            bytes=document["bytes"],
            task=recipe.spec.task,
            preference=recipe.spec.preference,
            certificate=certificate_path.name,
        )
        write_index(folder, {**read_index(folder), recipe.name: entry})
    agreement = verified[recipe.weights][0] if verify else None
    return Artefact(recipe.name, target, entry.bytes, built.nodes, agreement)


def _contents(built: Built, recipe: Recipe) -> dict[str, bytes]:
    """The model in float32 and then, if that is wanted, with its weights stored otherwise."""
    contents = {"float32": built.content}
    if recipe.weights == "float16":
        model = store_float16(onnx.load_from_string(built.content), recipe.name)
        contents["float16"] = model.SerializeToString()
    return contents


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

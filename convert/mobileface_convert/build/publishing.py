"""Puts a model's files into a models folder: at every moment, readers find a whole model there.

A file and the index that lists its hash cannot be renamed at once. So a file that the index lists
is replaced in two steps, and a process killed between any two renames leaves one of these states::

    index.json lists            files
    NAME.onnx, old              NAME.onnx, old
    NAME.onnx, old              NAME.onnx, old      NAME.next.onnx, new
    NAME.next.onnx              NAME.onnx, old      NAME.next.onnx, new
    NAME.next.onnx              NAME.onnx, new      NAME.next.onnx, new
    NAME.onnx, new              NAME.onnx, new      NAME.next.onnx, new
    NAME.onnx, new              NAME.onnx, new

All is written under temporary names before the first rename, so a full disk changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mobileface.errors import OutputError
from mobileface.host.files import write_together
from mobileface.host.machine import ANYWHERE
from mobileface.models.index import (
    INDEX_FILE,
    PRECISIONS,
    IndexEntry,
    Variant,
    index_text,
    read_index,
)

from ..recipes.recipe import Recipe
from .certificate import certificate, certificate_text
from .variants import CONDITIONS, STORAGE, BuiltVariant

__all__ = ["publish"]

Files = dict[str, bytes]
"""The content of files, by name, in the order in which they are to appear."""


def publish(recipe: Recipe, variants: Sequence[BuiltVariant], folder: Path) -> IndexEntry:
    """Writes variants, their certificates and the index; removes files that it no longer lists.

    Variants from an earlier conversion stay if the model's own file is unchanged.

    Args:
        recipe: The recipe of the model.
        variants: What was built, the model's own file first.
        folder: The models folder; other conversions must be locked out.

    Returns:
        The entry of this conversion.

    Raises:
        OutputError: If something cannot be written; the folder is as it was before.
    """
    index = read_index(folder)
    used = set(_files(index[recipe.name])) if recipe.name in index else set()
    steps: list[tuple[str, bytes]] = []
    for mark in _marks(index, recipe, variants):
        entry, files = _placed(recipe, variants, mark)
        index = {**index, recipe.name: _with_kept(index.get(recipe.name), entry)}
        used |= set(files)
        steps += [*files.items(), (INDEX_FILE, index_text(index).encode())]
    own = set(_files(entry))
    there = {name for name in own if (folder / name).exists()}
    try:
        write_together([(folder / name, content) for name, content in steps])
    except OutputError as error:
        where = error.where if error.where in {str(folder / name) for name in own} else str(folder)
        raise OutputError(error.what, where=where) from error
    finally:
        listed = read_index(folder).get(recipe.name)
        for name in used - there - set(() if listed is None else _files(listed)):
            (folder / name).unlink(missing_ok=True)
    return entry


def _marks(
    index: Mapping[str, IndexEntry], recipe: Recipe, variants: Sequence[BuiltVariant]
) -> Iterator[str]:
    """What is added to the names of files, step by step; nothing in the last one."""
    listed = {v.file: v.sha256 for entry in index.values() for v in entry.all_variants}

    def is_free(mark: str) -> bool:
        named = ((_name(recipe, v, mark), hashlib.sha256(v.content).hexdigest()) for v in variants)
        return all(listed.get(name, sha256) == sha256 for name, sha256 in named)

    if not is_free(""):
        yield next(filter(is_free, (f".next{number or ''}" for number in itertools.count())))
    yield ""


def _name(recipe: Recipe, variant: BuiltVariant, mark: str) -> str:
    return f"{_stem(recipe, variant)}{mark}{variant.built.suffix}"


def _stem(recipe: Recipe, variant: BuiltVariant) -> str:
    own = variant.target == "portable" and STORAGE[variant.precision] == recipe.weights
    return recipe.name if own else f"{recipe.name}.{variant.name}"


def _placed(
    recipe: Recipe, variants: Sequence[BuiltVariant], mark: str
) -> tuple[IndexEntry, Files]:
    """The index entry of a model, and its files; its own file is the first of the variants."""
    files: Files = {}
    listed = []
    for variant in variants:
        name = _name(recipe, variant, mark)
        facts = {**variant.facts, "recipe": recipe.document} if recipe.document else variant.facts
        document = certificate(
            variant.built,
            variant.content,
            name,
            weights=STORAGE[variant.precision],
            nodes=variant.nodes,
            verified=variant.verified,
            facts=facts,
        )
        listed.append(
            Variant(
                variant.name,
                variant.precision,
                name,
                document["sha256"],
                document["bytes"],
                f"{_stem(recipe, variant)}{mark}.certificate.json",
                CONDITIONS[variant.target],
            )
        )
        files[name] = variant.content
        files[listed[-1].certificate] = certificate_text(document).encode()
    return _entry(recipe, listed), files


def _entry(recipe: Recipe, variants: Sequence[Variant]) -> IndexEntry:
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
        reason=recipe.reason,
    )


def _with_kept(before: IndexEntry | None, entry: IndexEntry) -> IndexEntry:
    """The entry with the variants of an earlier conversion that belong to the same own file."""
    if before is None or before.sha256 != entry.sha256:
        return entry
    new = {variant.name for variant in entry.variants}
    kept = [variant for variant in before.variants if variant.name not in new]
    return dataclasses.replace(entry, variants=tuple(sorted([*entry.variants, *kept], key=_rank)))


def _files(entry: IndexEntry) -> Iterator[str]:
    """The files of a model that the index lists."""
    for variant in entry.all_variants:
        yield from (variant.file, variant.certificate)


def _rank(variant: Variant) -> tuple[int, bool]:
    """Sort key for the order in which the runtime tries variants: specific before general."""
    return PRECISIONS.index(variant.precision), variant.condition == ANYWHERE

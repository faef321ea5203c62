"""Candidates from usearch's nearest-neighbour graph (HNSW, arXiv 1603.09320): millions of faces.

The index is a file next to the gallery, built from the gallery's matrix file and replaced together
with it; faces enrolled since are compared exactly. The search is approximate: it finds most, but
not always all, of the nearest faces; `mobileface.gallery.recall.measure_recall` measures its
recall.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, OutputError
from ..host.files import replacing, sha256
from ..host.threads import default_threads
from ..types import FloatArray
from .exact import best_rows
from .matrix import FaceMatrix

__all__ = ["UsearchEngine", "is_intact_index"]

_BLOCK = 10_000
_DIGITS = 16
"""Number of digits of an index file's SHA-256 at the end of its name."""


class UsearchEngine:
    """An approximate search engine that uses usearch (extra ``[index]``).

    Args:
        connectivity: Neighbours per node of the graph; more need more memory and increase recall.
        expansion_add: Nodes visited when a node is added.
        expansion_search: Nodes visited per search; more take longer and increase recall.
        step: Progress callback while the index is built, called with the rows done and the total
            number of rows.

    Raises:
        InputError: If the package usearch is not installed, or a number is below 1.
    """

    name = "usearch"

    def __init__(
        self,
        *,
        connectivity: int = 16,
        expansion_add: int = 128,
        expansion_search: int = 128,
        step: Callable[[int, int], None] | None = None,
    ) -> None:
        if min(connectivity, expansion_add, expansion_search) < 1:
            raise InputError(
                "connectivity, expansion_add and expansion_search must be at least 1, not "
                f"{connectivity}, {expansion_add} and {expansion_search}"
            )
        self._make = _index_class()
        self._options = {"connectivity": connectivity, "expansion_add": expansion_add}
        self._expansion = expansion_search
        self._step = step
        self._key = ""
        self._index: Any = None

    def candidates(
        self, matrix: FaceMatrix, probes: FloatArray, count: int
    ) -> list[npt.NDArray[np.int64]]:
        """See `mobileface.gallery.engine.SearchEngine.candidates`."""
        known = len(matrix.base[1])
        new = [part[0] for part in matrix.parts()[1 if known else 0 :]]
        added = [rows + known for rows, _ in best_rows(new, probes, count)]
        if not known:
            return added
        index = self._current(matrix)
        index.expansion_search = max(self._expansion, count)
        found = index.search(probes, min(count, known), threads=default_threads())
        keys = np.asarray(found.keys).reshape(len(probes), -1)
        counts = np.atleast_1d(getattr(found, "counts", keys.shape[1]))
        counts = np.broadcast_to(counts, len(probes))
        return [
            np.concatenate([row[:length].astype(np.int64), extra])
            for row, length, extra in zip(keys, counts, added, strict=True)
        ]

    def _current(self, matrix: FaceMatrix) -> Any:
        """The index of the matrix file: the loaded one, the stored one, or a new one."""
        if self._index is not None and self._key == matrix.base_key:
            return self._index
        index = self._stored(matrix)
        if index is None:
            index = self._build(matrix)
            if not matrix.private:
                with contextlib.suppress(OutputError):
                    self._save(index, matrix)
        self._index, self._key = index, matrix.base_key
        return index

    def _stored(self, matrix: FaceMatrix) -> Any:
        """The index file next to the gallery; None if it is missing, outdated or corrupt."""
        if matrix.private:
            return None
        pattern = f"{glob.escape(_name(matrix))}-*"
        for path in sorted(matrix.path.parent.glob(pattern)):
            with contextlib.suppress(OSError):
                # usearch does not validate its files and crashes on a corrupt one.
                if not is_intact_index(path):
                    continue
                index = self._empty(matrix)
                index.view(str(path))
                return index
        return None

    def _save(self, index: Any, matrix: FaceMatrix) -> None:
        """Writes the index; its file name contains the matrix's key and the content's hash."""
        path = matrix.path.with_name(_name(matrix))
        with replacing(path, private=True) as temporary:
            index.save(str(temporary))
            temporary.chmod(0o600)
        target = path.with_name(f"{path.name}-{sha256(path)[:_DIGITS]}")
        path.replace(target)
        for other in path.parent.glob(f"{glob.escape(_start(matrix))}*"):
            if other != target:
                other.unlink(missing_ok=True)

    def _empty(self, matrix: FaceMatrix) -> Any:
        return self._make(ndim=matrix.size, metric="ip", dtype="f16", **self._options)

    def _build(self, matrix: FaceMatrix) -> Any:
        index = self._empty(matrix)
        vectors = matrix.base[0]
        for start in range(0, len(vectors), _BLOCK):
            block = np.asarray(vectors[start : start + _BLOCK], np.float16)
            keys = np.arange(start, start + len(block), dtype=np.uint64)
            index.add(keys, block, threads=default_threads())
            if self._step is not None:
                self._step(start + len(block), len(vectors))
        return index


def is_intact_index(path: Path) -> bool:
    """True if a file is a complete index, as its name says.

    Raises:
        OSError: If the file cannot be read.
    """
    return "-usearch-" in path.name and sha256(path)[:_DIGITS] == path.name[-_DIGITS:]


def _start(matrix: FaceMatrix) -> str:
    """Prefix of the names of all index files of a gallery."""
    return f"{matrix.path.name.removesuffix('-matrix')}-usearch-"


def _name(matrix: FaceMatrix) -> str:
    """Prefix of the names of index files for the current matrix file."""
    return _start(matrix) + matrix.base_key


def _index_class() -> Any:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise InputError(
            "the package usearch is not installed", hint="pip install 'mobileface[index]'"
        ) from error
    return Index

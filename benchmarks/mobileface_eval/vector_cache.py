"""A cache of embeddings by image content, shared by concurrent runs.

There is one SQLite file per model and cropping method. A row holds the network's outputs for an
image and its mirror image, not normalised, or the reason why the image cannot be embedded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.errors import InputError

__all__ = ["VectorCache", "Vectors"]

Vectors = npt.NDArray[np.float32] | str
"""float32 (2, D) for an image and its mirror image, or the reason why there are none."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors
    (content TEXT PRIMARY KEY, size INTEGER NOT NULL, vectors BLOB, refusal TEXT)
"""
_WAIT = 60.0
"""Seconds to wait while another run writes."""

_AT_ONCE = 500
"""Rows per query; every build of SQLite allows at least 999 parameters."""


class VectorCache:
    """The cached embeddings of one model.

    Args:
        folder: Folder of the cache; None: nothing is cached.
        key: Identifies the model and the cropping method.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path = None if folder is None else folder / "vectors" / f"{key}.sqlite"

    def read(self, contents: Sequence[str]) -> dict[str, Vectors]:
        """The cached entries by the SHA-256 of the image content; others are missing.

        Raises:
            InputError: If the cache file is corrupt.
        """
        if self._path is None or not self._path.is_file():
            return {}
        found: dict[str, Vectors] = {}
        try:
            with closing(self._open()) as database:
                for start in range(0, len(contents), _AT_ONCE):
                    asked = contents[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(asked))
                    query = (
                        "SELECT content, size, vectors, refusal FROM vectors "
                        f"WHERE content IN ({marks})"
                    )
                    for content, size, data, refusal in database.execute(query, asked):
                        found[content] = refusal if data is None else _array(data, size)
        except (sqlite3.Error, ValueError) as error:
            raise self._corrupt(error) from error
        return found

    def write(self, rows: Mapping[str, Vectors]) -> None:
        """Adds entries; existing entries are kept.

        Raises:
            InputError: If the cache file is corrupt or cannot be written.
        """
        if self._path is None or not rows:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(self._open()) as database, database:
                database.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", _rows(rows.items())
                )
        except (sqlite3.Error, OSError) as error:
            raise self._corrupt(error) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(str(self._path), timeout=_WAIT)
        database.execute(_SCHEMA)
        return database

    def _corrupt(self, error: Exception) -> InputError:
        return InputError(
            f"the embedding cache cannot be used ({error})",
            where=str(self._path),
            hint="delete the file, or use --no-cache",
        )


def _rows(
    items: Iterable[tuple[str, Vectors]],
) -> Iterable[tuple[str, int, bytes | None, str | None]]:
    for content, vectors in items:
        if isinstance(vectors, str):
            yield content, 0, None, vectors
        else:
            yield content, vectors.shape[1], vectors.astype("<f4").tobytes(), None


def _array(data: bytes, size: int) -> npt.NDArray[np.float32]:
    """float32 (2, D); raises ValueError if the number of bytes does not match."""
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(2, size)

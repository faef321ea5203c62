"""Embeddings that were computed before, by the picture's content; shared by concurrent runs.

One SQLite file for each model and way of cropping. A row holds the network's result for a picture
and for its mirror image, before it is scaled, or why there is none.
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
"""float32 (2, D): of the picture and of its mirror image; or why there are none."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors
    (content TEXT PRIMARY KEY, size INTEGER NOT NULL, vectors BLOB, refusal TEXT)
"""
_WAIT = 60.0
"""Seconds to wait for another run that writes."""

_AT_ONCE = 500
"""Rows a query: SQLite allows 999 parameters at least."""


class VectorCache:
    """The embeddings of one model.

    Args:
        folder: Where the files lie; None: nothing is kept.
        key: Of the model and of how faces are cut out.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path = None if folder is None else folder / "vectors" / f"{key}.sqlite"

    def read(self, contents: Sequence[str]) -> dict[str, Vectors]:
        """What is known of pictures, by the SHA-256 of their content.

        Raises:
            InputError: The file is damaged.
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
            raise self._damaged(error) from error
        return found

    def write(self, rows: Mapping[str, Vectors]) -> None:
        """Keeps what was computed; what is known already stays.

        Raises:
            InputError: The file is damaged or cannot be written.
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
            raise self._damaged(error) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(str(self._path), timeout=_WAIT)
        database.execute(_SCHEMA)
        return database

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"the embeddings kept here cannot be used ({error})",
            where=str(self._path),
            hint="remove the file, or go without with --no-cache",
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
    """float32 (2, D); raises ValueError if the bytes are not that many."""
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(2, size)

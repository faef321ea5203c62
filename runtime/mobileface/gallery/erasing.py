"""Erases embeddings from the files next to a gallery: biometric data must be erasable."""

from __future__ import annotations

import contextlib
import glob
import mmap
from collections.abc import Sequence
from pathlib import Path

__all__ = ["derived_files", "erase", "own_files"]

SUFFIXES = ("-matrix", "-usearch-*")
"""Suffixes (with wildcards) of the files derived from a gallery, after the gallery's name."""


def derived_files(gallery: Path) -> list[Path]:
    """The files next to a gallery that are derived from it, including unfinished ones."""
    found: set[Path] = set()
    for suffix in SUFFIXES:
        name = Path(f"{glob.escape(gallery.name)}{suffix}")
        # The second pattern matches the temporary files of `mobileface.host.files.replacing`.
        for pattern in (name.name, f".{name.stem}.*{name.suffix}"):
            found.update(gallery.parent.glob(pattern))
    return sorted(found)


def own_files(gallery: Path) -> list[Path]:
    """The gallery, SQLite's files next to it, and what is derived from it: no place for outputs."""
    logs = [gallery.with_name(f"{gallery.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")]
    return [gallery, *logs, *derived_files(gallery)]


def erase(path: Path, patterns: Sequence[bytes]) -> None:
    """Overwrites byte strings in a file with zeros and deletes the file.

    Processes that have the file open or mapped can still read it, but without these bytes.
    """
    with contextlib.suppress(OSError, ValueError):  # the file is gone or empty
        _overwrite(path, [pattern for pattern in patterns if pattern])
    with contextlib.suppress(OSError):
        path.unlink()


def _overwrite(path: Path, patterns: Sequence[bytes]) -> None:
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        for pattern in patterns:
            place = content.find(pattern)
            while place >= 0:
                content[place : place + len(pattern)] = bytes(len(pattern))
                place = content.find(pattern, place + len(pattern))
        content.flush()

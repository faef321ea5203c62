"""The files next to a gallery: those of others are refused, and embeddings in ours are erased."""

from __future__ import annotations

import contextlib
import glob
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError, OutputError
from ..host.files import reason
from ..host.outputs import check_place, final_place

__all__ = [
    "derived_files",
    "erase",
    "own_files",
    "require_absent",
    "require_no_log",
    "without_logs",
]

SUFFIXES = ("-matrix", "-usearch-*")
"""Suffixes (with wildcards) of the files derived from a gallery, after the gallery's name."""

_BLOCK = 1 << 20


def derived_files(gallery: Path) -> list[Path]:
    """The files next to a gallery that are derived from it, including unfinished ones."""
    found: set[Path] = set()
    for suffix in SUFFIXES:
        name = Path(f"{glob.escape(gallery.name)}{suffix}")
        # The second pattern matches the temporary files of `mobileface.host.files.replacing`.
        for pattern in (name.name, f".{name.stem}.*{name.suffix}"):
            found.update(gallery.parent.glob(pattern))
    return sorted(found)


@contextlib.contextmanager
def without_logs(temporary: Path) -> Iterator[None]:
    """Guards a new gallery that gets its name next: SQLite's files beside it have none.

    Raises:
        OutputError: If SQLite could not write its log back into the file when that was closed.
    """
    try:
        yield
        if any(log.exists() for log in _logs(temporary)):
            raise OutputError("the disk failed or is full", where=str(temporary))
    finally:
        for log in _logs(temporary):
            with contextlib.suppress(OSError):
                log.unlink(missing_ok=True)


def own_files(gallery: Path) -> list[Path]:
    """The gallery, SQLite's files next to it, and what is derived from it: no place for outputs."""
    return [gallery, *_logs(gallery), *derived_files(gallery)]


def require_no_log(gallery: Path) -> None:
    """Checks that SQLite's files of another gallery do not lie beside a new one.

    SQLite would read their changes into the new file. They are not deleted here: they may belong to
    a gallery that is in use, or be all that is left of the last changes of one that was moved away.

    Raises:
        InputError: If one does.
    """
    found = [path.name for path in _logs(gallery) if path.exists() or path.is_symlink()]
    if found:
        raise InputError(
            f"{' and '.join(found)} beside it: SQLite would read this log of another gallery, in "
            "use or not closed properly, into the new file",
            where=str(gallery),
            hint="close the programs that use it; if there are none, remove the log",
        )


def require_absent(path: Path) -> None:
    """Checks that a new gallery replaces nothing.

    Raises:
        InputError: If there is a file of that name, or SQLite's log of one.
        OutputError: If it could not be written.
    """
    if path.exists():
        raise InputError("already exists", where=str(path), hint="remove it, or use another path")
    require_no_log(final_place(path))
    check_place(path)


def _logs(gallery: Path) -> list[Path]:
    return [gallery.with_name(f"{gallery.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")]


def erase(path: Path, patterns: Sequence[bytes] | None = None) -> None:
    """Overwrites byte strings in a file, or all of it, with zeros and deletes the file.

    Processes that have the file open or mapped can still read it, but without these bytes.

    Args:
        path: The file; it may be gone.
        patterns: What to overwrite; None overwrites everything.

    Raises:
        OutputError: If the file cannot be overwritten or deleted.
    """
    try:
        if path.stat().st_size:
            _overwrite(path, patterns)
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"contains data of faces and cannot be erased ({reason(error)})"
        raise OutputError(text, where=str(path)) from error


def _overwrite(path: Path, patterns: Sequence[bytes] | None) -> None:
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        if patterns is None:
            for start in range(0, len(content), _BLOCK):
                end = min(start + _BLOCK, len(content))
                content[start:end] = bytes(end - start)
        for pattern in filter(None, patterns or ()):
            place = content.find(pattern)
            while place >= 0:
                content[place : place + len(pattern)] = bytes(len(pattern))
                place = content.find(pattern, place + len(pattern))
        content.flush()

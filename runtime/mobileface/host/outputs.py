"""How outputs are written: never onto an input, and pipes, devices and stdout as they come.

- A regular file is written beside its final place and renamed (`files.replacing`). A symbolic link
  stays; its target is replaced.
- Pipes, character devices and open descriptors (``/dev/stdout``, ``/dev/fd/3``) are written
  through; the argument ``-`` means ``/dev/stdout``.
- Folders, block devices and sockets are refused, and so is each output that is an input of the same
  command, also through symbolic or hard links.

Standard library only.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError, OutputError

__all__ = [
    "STDOUT",
    "check_folder",
    "check_outputs",
    "check_place",
    "final_place",
    "is_stdout",
    "open_through",
    "output_path",
    "unique_stems",
    "write_all",
    "written_through",
]

STDOUT = Path("/dev/stdout")

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40
"""Links that lead to links, as many as Linux follows."""

_Identity = tuple[int, int] | str
"""Device and inode of a file that exists; otherwise its absolute path without links."""


def output_path(text: str) -> Path:
    """The path that an argument means: ``-`` is stdout; a file of that name is ``./-``."""
    return STDOUT if text == "-" else Path(text)


def descriptor(path: Path) -> int | None:
    """The open descriptor that a path stands for, such as 1 for ``/dev/stdout``; else None."""
    place = str(path)
    own = f"/proc/{os.getpid()}/fd"
    for _ in range(_MOST_LINKS):
        if place in _STANDARD:
            return _STANDARD[place]
        folder, name = os.path.split(place)
        if (
            name.isdecimal()
            and len(name) < 10
            and (folder == "/dev/fd" or os.path.realpath(folder) == own)
        ):
            return int(name)
        try:
            target = os.readlink(place)  # noqa: PTH115  # one link, as it is written
        except (OSError, ValueError):
            return None
        place = os.path.join(os.path.realpath(folder), target)  # noqa: PTH118
    return None


def is_stdout(path: Path) -> bool:
    """True if a path stands for stdout."""
    return descriptor(path) == 1


def written_through(path: Path) -> bool:
    """True if a path is a pipe, a character device or an open descriptor."""
    if descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def open_through(path: Path) -> BinaryIO:
    """Opens what `written_through` is true for, without a buffer.

    A pipe waits here for its reader.

    Raises:
        OSError: If it cannot be opened.
    """
    number = descriptor(path)
    handle = os.open(path, os.O_WRONLY) if number is None else os.dup(number)
    return os.fdopen(handle, "wb", buffering=0)


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Writes all bytes to an unbuffered stream, also if it takes only some at a time.

    Raises:
        OSError: If they cannot be written.
    """
    rest = memoryview(data)
    while rest:
        count: int | None = stream.write(rest)
        if count is None:  # a full pipe that does not block
            select.select([], [stream], [])
        else:
            rest = rest[count:]


def final_place(path: Path) -> Path:
    """The regular file that is replaced when ``path`` is written: links are followed."""
    return Path(os.path.realpath(path))


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[str | Path | None] = ()) -> None:
    """Checks, before anything is read, that a command can write its outputs.

    Args:
        outputs: The files that will be written; None is skipped.
        inputs: The files that will be read; what does not exist is compared by its path.

    Raises:
        InputError: If an output is an input, or two outputs are the same file.
        OutputError: If an output is a folder, a block device or a socket, or if its folder cannot
            be written.
    """
    read = {_identity(path) for path in inputs if path is not None} - {None}
    written: set[_Identity | int] = set()
    for path in outputs:
        if path is None:
            continue
        check_place(path)
        found = _identity(path)
        if found is not None and found in read:
            raise InputError(
                "would overwrite its own input", where=str(path), hint="use another output"
            )
        kept = found if found is not None else descriptor(path)
        if kept is not None and kept in written:
            raise InputError(
                "two outputs are the same file", where=str(path), hint="use different names"
            )
        if kept is not None:
            written.add(kept)


def check_place(path: Path) -> None:
    """Checks that a file can be written at a path.

    Raises:
        OutputError: If the path is a folder, a block device or a socket, or if its folder cannot
            be written.
    """
    if descriptor(path) is not None:
        return
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError("is a folder, not a file", where=str(path), hint="name a file in it")
    if mode is not None and (stat.S_ISBLK(mode) or stat.S_ISSOCK(mode)):
        what = "block device" if stat.S_ISBLK(mode) else "socket"
        raise OutputError(f"is a {what}; nothing is written to it", where=str(path))
    if mode is None or stat.S_ISREG(mode):
        _check_writable(final_place(path).parent, path)
    elif not os.access(path, os.W_OK):
        raise OutputError("cannot be written (Permission denied)", where=str(path))


def check_folder(folder: Path) -> None:
    """Checks that files can be written into a folder, which may not exist yet.

    Raises:
        OutputError: If the path is a file, or if the folder cannot be written.
    """
    mode = _mode(folder)
    if mode is not None and not stat.S_ISDIR(mode):
        raise OutputError("is a file, not a folder", where=str(folder), hint="name a folder")
    _check_writable(final_place(folder), folder)


def unique_stems(
    inputs: Sequence[Path],
    folder: Path,
    *,
    suffixes: Sequence[str] = (".png",),
    numbered: bool = False,
) -> Mapping[Path, str]:
    """File names without suffix for what is made of each input, in one folder.

    The stem of the input is kept where it is the only one. Otherwise its place in the list is
    added, and a number as long as the name is taken. No two names are equal, also where upper and
    lower case are the same, and none is that of an input in the folder.

    Args:
        inputs: The files; one that is listed twice has one name.
        folder: Where the outputs will be written.
        suffixes: The suffixes that the outputs may have.
        numbered: Outputs are called ``STEM_NUMBER.SUFFIX`` instead of ``STEM.SUFFIX``.
    """
    found = _names_of_inputs(inputs, folder)
    kinds = "|".join(re.escape(suffix.lower()) for suffix in suffixes)
    ending = re.compile((r"_\d+" if numbered else "") + f"(?:{kinds})")
    taken: set[str] = set()

    def free(stem: str) -> bool:
        key = _folded(stem)
        clash = (name[len(key) :] for name in found if name.startswith(key))
        return key not in taken and not any(ending.fullmatch(rest) for rest in clash)

    places = {path: place for place, path in reversed(list(enumerate(inputs)))}
    count: dict[str, int] = {}
    for path in places:
        key = _folded(path.stem)
        count[key] = count.get(key, 0) + 1
    chosen: dict[Path, str] = {}
    order = sorted(places, key=lambda path: (count[_folded(path.stem)] > 1, places[path]))
    for path in order:
        placed = f"{path.stem}_{places[path]}"
        stems = (f"{placed}_{number}" for number in itertools.count(1))
        first = [] if count[_folded(path.stem)] > 1 else [path.stem]
        stem = next(filter(free, itertools.chain(first, [placed], stems)))
        taken.add(_folded(stem))
        chosen[path] = stem
    return chosen


def _folded(name: str) -> str:
    """The form in which file systems without upper and lower case compare names."""
    return unicodedata.normalize("NFC", name).casefold()


def _names_of_inputs(inputs: Iterable[Path], folder: Path) -> set[str]:
    """The names, folded, under which inputs lie in a folder, also through links."""
    same = {_identity(path) for path in inputs} - {None}
    place = os.path.realpath(folder)
    names = [os.path.split(os.path.realpath(path)) for path in inputs]
    found = {_folded(name) for parent, name in names if parent == place}
    try:
        inside = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return found
    return found | {_folded(name) for name in inside if _identity(folder / name) in same}


def _identity(path: str | Path) -> _Identity | None:
    """What two paths of the same file have in common; None for a character device."""
    number = descriptor(Path(path))
    try:
        found = os.stat(path if number is None else number)  # noqa: PTH116
    except (OSError, ValueError):
        return None if number is not None else os.path.realpath(path)
    return None if stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)


def _mode(path: Path) -> int | None:
    """The mode of a file; None if it does not exist.

    Raises:
        OutputError: If the path cannot be looked at, as in a circle of links.
    """
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        text = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot be written ({text})", where=str(path)) from error


def _check_writable(folder: Path, path: Path) -> None:
    """Checks the folder, or the nearest one that exists.

    Raises:
        OutputError: If it cannot be written.
    """
    for parent in (folder, *folder.parents):
        mode = _mode(parent)
        if mode is None:
            continue
        if not stat.S_ISDIR(mode):
            raise OutputError("cannot be written (Not a directory)", where=str(path))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError("cannot be written (Permission denied)", where=str(path))
        return

"""The files of events: a file of JSON lines for each day, and pictures in a folder of the day.

::

    events/20261127.jsonl
    events/20261127/20261127T005400.123456-front-7.jpg        the frame, annotated
    events/20261127/20261127T005400.123456-front-7.face.jpg   the face with surroundings
    events/gallery.txt                                        ID of the gallery, see `Stamp`

Only regular files of these names in the folder itself are read or removed: what else lies there,
such as a link, belongs to somebody else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from ..errors import OutputError
from ..host.files import reason, replacing
from ..host.outputs import check_folder
from .camera_events import CameraEvent, is_event_id, read_event

__all__ = ["EventFiles", "Kind"]

_log = logging.getLogger("mobileface.live")

Kind = Literal["snapshot", "face"]

_SUFFIXES: dict[Kind, str] = {"snapshot": ".jpg", "face": ".face.jpg"}
_DAY = re.compile(r"[0-9]{8}")
_LEFTOVER = re.compile(r"\.([0-9]{8}T[\w.-]+?)(\.face)?\.[a-z0-9_]{8}\.jpg")
"""A picture that was being written when the process was killed; see `host.files.replacing`."""

_MOST_BYTES_A_DAY = 256_000_000
"""Size up to which a day's file is read."""

_GALLERY, _MOST_GALLERY_BYTES = "gallery.txt", 1000
_MOST_PICTURE_BYTES = 64_000_000
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class EventFiles:
    """Reads and writes the files of events. One thread at a time.

    Args:
        folder: The folder; it is created.

    Raises:
        OutputError: If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(f"cannot be written ({reason(error)})", where=str(folder)) from error
        self._damaged_said = False
        found = sorted(self._found_pictures(), key=lambda pair: pair[0].name)
        self._sizes = dict(found)  # in the order of time, also of what is added
        self._used = sum(self._sizes.values())

    @property
    def used(self) -> int:
        """Bytes of all pictures."""
        return self._used

    def days(self) -> list[str]:
        """The days that have files, oldest first."""
        try:
            paths = list(self.folder.iterdir())
        except OSError:
            return []
        files = {p.stem for p in paths if p.suffix == ".jsonl" and _is_day(p.stem) and _is_file(p)}
        return sorted(files | {p.name for p in paths if _is_day(p.name) and _is_folder(p)})

    def read(self, day: str) -> Iterator[CameraEvent]:
        """The events of a day, oldest first; damaged lines are left out."""
        path = self._lines(day)
        try:
            data = _read(path, _MOST_BYTES_A_DAY)
            if data is None:
                _log.warning("%s: is too large, or no file, and is not read", path)
                return
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s: cannot be read (%s)", path, reason(error))
            return
        for line in data.split(b"\n"):
            if not line.strip():
                continue
            try:
                event = read_event(line.decode())
                if event.day != day:
                    raise ValueError("an event of another day")
                yield event
            except (ValueError, RecursionError):
                if not self._damaged_said:
                    self._damaged_said = True
                    _log.warning("%s: damaged lines are left out", path)

    def append(self, event: CameraEvent) -> None:
        """Adds a line to the file of its day: all of it, or nothing.

        Raises:
            OutputError: If it cannot be written.
        """
        path = self._lines(event.day)
        data = (event.to_json() + "\n").encode()
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
            try:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise OutputError("is no regular file", where=str(path))
                size = status.st_size
                if size:  # a line that a crash has cut off ends here
                    os.lseek(handle, size - 1, os.SEEK_SET)
                    data = data if os.read(handle, 1) == b"\n" else b"\n" + data
                try:
                    os.lseek(handle, size, os.SEEK_SET)
                    written = 0
                    while written < len(data):
                        written += os.write(handle, data[written:])
                except OSError:
                    os.ftruncate(handle, size)
                    raise
            finally:
                os.close(handle)
        except OSError as error:
            raise OutputError(f"cannot be written ({reason(error)})", where=str(path)) from error

    def rewrite(self, day: str, change: Callable[[CameraEvent], CameraEvent | None]) -> None:
        """Changes the events of a day; None leaves one out. Damaged lines are lost.

        Raises:
            OutputError: If the file cannot be written; it is as before then.
        """
        before = list(self.read(day))
        after = [found for event in before if (found := change(event)) is not None]
        if after == before:
            return
        path = self._lines(day)
        if not after:
            _remove(path)
            return
        _write(path, "".join(event.to_json() + "\n" for event in after).encode())

    def gallery(self) -> str | None:
        """ID of the gallery that the events' people are from; None if it is not known."""
        try:
            data = _read(self.folder / _GALLERY, _MOST_GALLERY_BYTES)
        except OSError:
            return None
        return None if data is None else data.decode(errors="replace").strip()

    def write_gallery(self, gallery: str) -> None:
        """Keeps the ID of the gallery.

        Raises:
            OutputError: If it cannot be written.
        """
        _write(self.folder / _GALLERY, f"{gallery}\n".encode())

    def write_pictures(self, event_id: str, pictures: dict[Kind, bytes]) -> None:
        """Writes the pictures of an event: all of them, or none.

        Raises:
            OutputError: If one cannot be written.
        """
        folder = self.folder / event_id[:8]
        if folder.is_symlink():
            raise OutputError("is a link, not a folder of events", where=str(folder))
        with contextlib.ExitStack() as stack:
            for kind, data in pictures.items():
                path = self.picture(event_id, kind)
                temporary = stack.enter_context(replacing(path, private=True))
                try:
                    temporary.write_bytes(data)
                except OSError as error:
                    text = f"cannot be written ({reason(error)})"
                    raise OutputError(text, where=str(path)) from error
        for kind, data in pictures.items():
            self._sizes[self.picture(event_id, kind)] = len(data)
            self._used += len(data)

    def picture(self, event_id: str, kind: Kind) -> Path:
        """Where a picture of an event lies."""
        return self.folder / event_id[:8] / f"{event_id}{_SUFFIXES[kind]}"

    def read_picture(self, event_id: str, kind: Kind) -> bytes | None:
        """A picture of an event; None if there is none."""
        path = self.picture(event_id, kind)
        try:
            return None if path.parent.is_symlink() else _read(path, _MOST_PICTURE_BYTES)
        except OSError:
            return None

    def remove_pictures(self, event_id: str) -> None:
        """Removes the pictures of an event."""
        for kind in _SUFFIXES:
            path = self.picture(event_id, kind)
            if path in self._sizes:
                _remove(path)
                self._used -= self._sizes.pop(path)
        with contextlib.suppress(OSError):
            (self.folder / event_id[:8]).rmdir()  # if it was the last one

    def remove_day(self, day: str) -> None:
        """Removes all files of a day."""
        for path in [path for path in self._sizes if path.parent.name == day]:
            _remove(path)
            self._used -= self._sizes.pop(path, 0)
        with contextlib.suppress(OSError):
            (self.folder / day).rmdir()
        _remove(self._lines(day))

    def oldest_picture(self) -> str | None:
        """The ID of the oldest event with pictures."""
        path = next(iter(self._sizes), None)
        return None if path is None else path.name.removesuffix(".jpg").removesuffix(".face")

    def has_pictures(self, event_id: str) -> bool:
        """True if the pictures of an event are kept."""
        return self.picture(event_id, "snapshot") in self._sizes

    def _lines(self, day: str) -> Path:
        return self.folder / f"{day}.jsonl"

    def _found_pictures(self) -> Iterator[tuple[Path, int]]:
        for day in self.days():
            folder = self.folder / day
            try:
                paths = list(folder.iterdir()) if _is_folder(folder) else []
            except OSError as error:
                _log.warning("%s: cannot be read (%s)", folder, reason(error))
                continue
            for path in paths:
                left = _LEFTOVER.fullmatch(path.name)
                if left is not None and is_event_id(left[1]) and _is_file(path):
                    _remove(path)
                name = path.name.removesuffix(".jpg").removesuffix(".face")
                its = path.name.endswith(".jpg") and is_event_id(name) and name[:8] == day
                if its and _is_file(path):
                    with contextlib.suppress(OSError):
                        yield path, path.lstat().st_size


def _remove(path: Path) -> None:
    """Removes a file if it is there; what cannot be removed is logged."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: cannot be removed (%s)", path, reason(error))


def _write(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OutputError: If it cannot be written; it is as before then.
    """
    if path.is_symlink():
        raise OutputError("is a link, not a file of events", where=str(path))
    with replacing(path, private=True) as temporary:
        try:
            temporary.write_bytes(data)
        except OSError as error:
            raise OutputError(f"cannot be written ({reason(error)})", where=str(path)) from error


def _is_day(text: str) -> bool:
    """True for a date such as ``20261127``."""
    try:
        return _DAY.fullmatch(text) is not None and bool(datetime.strptime(text, "%Y%m%d"))
    except ValueError:
        return False


def _is_file(path: Path) -> bool:
    """True for a regular file, not for a link to one."""
    return path.is_file() and not path.is_symlink()


def _is_folder(path: Path) -> bool:
    """True for a folder, not for a link to one."""
    return path.is_dir() and not path.is_symlink()


def _read(path: Path, most: int) -> bytes | None:
    """The content of a regular file; None if it is too large, or no regular file.

    Raises:
        OSError: If it cannot be read, or is a link.
    """
    flags = os.O_RDONLY | _NO_LINK | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            return None
        return file.read(most)

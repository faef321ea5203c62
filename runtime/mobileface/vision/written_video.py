"""Checks a video after it was written: OpenCV's writer does not say that the disk was full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2

from ..errors import OutputError
from ..host.files import utf8_path

__all__ = ["check_written"]

_UNCOUNTED = frozenset({".mkv"})
"""Containers that store a duration instead of a number of frames, so that it may be one off."""


def check_written(path: Path, frames: int, where: Path) -> None:
    """Checks that a finished video has all its frames, and that the last one can be decoded.

    Args:
        path: The file.
        frames: Frames that were written, at least one.
        where: What error messages call it.

    Raises:
        OutputError: If the file cannot be opened, or frames are missing.
    """
    with utf8_path(path) as name, _without_messages():
        capture = cv2.VideoCapture(name)
        try:
            if not capture.isOpened():
                raise _incomplete("the video cannot be opened again", where)
            found = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if abs(found - frames) > (path.suffix.lower() in _UNCOUNTED):
                raise _incomplete(f"{max(found, 0)} of {frames} frames are in the video", where)
            capture.set(cv2.CAP_PROP_POS_FRAMES, frames - 1)
            if not capture.read()[0] and not _decodes(name, frames):
                raise _incomplete("the video's last frame cannot be decoded", where)
        finally:
            capture.release()


def _decodes(name: str, frames: int) -> bool:
    """True if reading from the first frame on, without searching, reaches the last one."""
    capture = cv2.VideoCapture(name)
    try:
        return sum(1 for _ in iter(capture.grab, False)) >= frames
    finally:
        capture.release()


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Silences FFmpeg, which writes to stderr what the error says already."""
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _incomplete(what: str, where: Path) -> OutputError:
    return OutputError(
        what, where=str(where), hint="the disk may be full; nothing was kept under this name"
    )

"""Image arguments: files, folders and glob patterns, read with progress and error reports."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ImageError, InputError
from ..vision.image import PICTURE_SUFFIXES, Image, read_image
from ..vision.video import is_video
from .progress import Progress

__all__ = ["ImageFiles", "find_pictures"]

_PATTERN = frozenset("*?[")


def find_pictures(arguments: Sequence[str], *, videos: bool = False) -> list[Path]:
    """Finds the image files that command-line arguments specify.

    Args:
        arguments: Files (used unchanged), folders (searched with their subfolders) and patterns
            with ``*``, ``?`` or ``**`` for shells that do not expand them.
        videos: Also find videos in folders.

    Raises:
        InputError: If a folder or pattern contains no image.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if _wanted(p, videos))
        elif not path.exists() and _PATTERN & set(argument):
            inside = sorted(Path(name) for name in glob.glob(argument, recursive=True))  # noqa: PTH207
        else:
            inside = [path]
        if not inside:
            raise InputError("no images found", where=argument)
        found += inside
    return found


def _wanted(path: Path, videos: bool) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES or (videos and is_video(path))


class ImageFiles:
    """Reads image files one by one; reports and counts those that cannot be read.

    Args:
        paths: The files.

    Attributes:
        failed: Number of files that could not be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.failed = 0

    def __iter__(self) -> Iterator[tuple[Path, Image]]:
        progress = Progress(len(self._paths))
        for path in self._paths:
            try:
                image = read_image(path)
            except ImageError as error:
                self.failed += 1
                print(f"mobileface: error: {error}", file=sys.stderr)
                continue
            yield path, image
            if len(self._paths) > 1:
                progress.step()
        progress.end()

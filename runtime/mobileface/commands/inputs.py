"""Picture arguments: files, folders and globs, with progress and a count of what failed."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ImageError, InputError
from ..vision.image import PICTURE_SUFFIXES, Image, read_image
from ..vision.video import is_video
from .progress import Progress

__all__ = ["Pictures", "find_pictures"]

_PATTERN = frozenset("*?[")


def find_pictures(arguments: Sequence[str], *, videos: bool = False) -> list[Path]:
    """The picture files that arguments name.

    Args:
        arguments: Files (taken as they are), folders (searched with their subfolders) and patterns
            with ``*``, ``?`` or ``**`` for shells that do not expand them.
        videos: Find videos in folders as well.

    Raises:
        InputError: A folder or pattern without a picture.
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
            raise InputError("no pictures found", where=argument)
        found += inside
    return found


def _wanted(path: Path, videos: bool) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES or (videos and is_video(path))


class Pictures:
    """Reads pictures one after the other; those that cannot be read are reported and counted.

    Args:
        paths: The files.

    Attributes:
        failed: How many could not be read.
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

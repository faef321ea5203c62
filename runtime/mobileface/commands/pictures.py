"""Picture arguments: files, folders and globs, with progress and a count of what failed."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ImageError, InputError
from ..image import Image, read_image

__all__ = ["Pictures", "find_pictures"]

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_PATTERN = frozenset("*?[")


def find_pictures(arguments: Sequence[str]) -> list[Path]:
    """The picture files that arguments name.

    Args:
        arguments: Files (taken as they are), folders (searched with their subfolders) and patterns
            with ``*``, ``?`` or ``**`` for shells that do not expand them.

    Raises:
        InputError: A folder or pattern without a picture.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
        elif not path.exists() and _PATTERN & set(argument):
            inside = sorted(Path(name) for name in glob.glob(argument, recursive=True))  # noqa: PTH207
        else:
            inside = [path]
        if not inside:
            raise InputError("no pictures found", where=argument)
        found += inside
    return found


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
        start = time.monotonic()
        for number, path in enumerate(self._paths):
            try:
                image = read_image(path)
            except ImageError as error:
                self.failed += 1
                print(f"mobileface: error: {error}", file=sys.stderr)
                continue
            yield path, image
            self._show(number + 1, time.monotonic() - start)

    def _show(self, done: int, seconds: float) -> None:
        """A line on the terminal that is rewritten."""
        total = len(self._paths)
        if total < 2 or not sys.stderr.isatty():
            return
        left = seconds / done * (total - done)
        end = "\n" if done == total else ""
        text = f"\r{done}/{total}  {done / max(seconds, 1e-9):.1f}/s  {left:.0f} s left "
        print(text, end=end, file=sys.stderr, flush=True)

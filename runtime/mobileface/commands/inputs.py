"""Image arguments: files, folders and glob patterns, read with progress and error reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ImageError, InputError, shown
from ..vision.image import Image
from ..vision.picture_files import is_picture, may_be_file, read_image, why_not_decoded
from ..vision.video import is_video
from .progress import Progress

__all__ = ["ImageFiles", "find_pictures"]

_PATTERN = frozenset("*?[")
_MOST_NAMES = 3


def find_pictures(arguments: Sequence[str], *, videos: bool = False) -> list[Path]:
    """Finds the image files that command-line arguments specify.

    Args:
        arguments: Files (used unchanged), folders (searched with their subfolders) and patterns
            with ``*``, ``?`` or ``**`` for shells that do not expand them.
        videos: Also find videos in folders.

    Images of a folder that cannot be decoded here are left out; stderr says which, and why.

    Raises:
        InputError: If a folder or pattern contains no image.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        left_out = ""
        if os.path.isdir(path):  # noqa: PTH112  # False where Path raises: a name that is too long
            files = sorted(path.rglob("*"))
            inside = [file for file in files if _wanted(file, videos)]
            left_out = _left_out(files)
        elif not os.path.exists(path) and _PATTERN & set(argument):  # noqa: PTH110
            inside = _matching(argument)
        else:
            inside = [path]
        if not inside:
            raise InputError("no images found", where=argument, hint=left_out)
        if left_out:
            print(f"mobileface: {shown(argument)}: {shown(left_out)}", file=sys.stderr)
        found += inside
    return found


def _matching(pattern: str) -> list[Path]:
    """Files that match a pattern; hidden ones only if it says so.

    ``**`` does not go through links to folders: one that leads to its own folder would have no end.
    Pipes and devices are left out, as in folders.

    Raises:
        InputError: If the pattern is invalid.
    """
    parts = [part if part == "**" else part.replace("**", "*") for part in Path(pattern).parts]
    first = next(at for at, part in enumerate(parts) if _PATTERN & set(part))
    base, rest = Path(*parts[:first]), parts[first:]
    if rest[-1] == "**":
        rest.append("*")
    hidden = any(part.startswith(".") for part in rest)
    try:
        found = set(base.glob("/".join(rest)))
    except (ValueError, NotImplementedError, RecursionError) as error:
        raise InputError(f"not a pattern ({error})", where=pattern) from error
    return sorted(
        path
        for path in found
        if may_be_file(path)
        and (hidden or not any(p.startswith(".") for p in path.parts[len(base.parts) :]))
    )


def _wanted(path: Path, videos: bool) -> bool:
    return (is_picture(path) or (videos and is_video(path))) and may_be_file(path)


def _left_out(files: Sequence[Path]) -> str:
    """Which images of a folder cannot be decoded here, counted and named, with the reasons."""
    reasons: dict[str, list[str]] = {}
    for file in files:
        if why := why_not_decoded(file):
            reasons.setdefault(why, []).append(file.name)
    parts = []
    for why, names in reasons.items():
        more = ", …" if len(names) > _MOST_NAMES else ""
        parts.append(f"{len(names)} left out ({', '.join(names[:_MOST_NAMES])}{more}; {why})")
    return "; ".join(parts)


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

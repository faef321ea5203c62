"""What commands share that change faces by their meshes: which faces of a picture they change."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from ..effects.mesh_faces import usable_faces
from ..errors import shown
from ..types import Face

__all__ = ["DETECT_EVERY", "accepted_faces", "add_detect_every"]

DETECT_EVERY = 10
"""Frames of a video from one detection to the next, unless another number is passed."""


def add_detect_every(
    parser: argparse.ArgumentParser, *, default: int | None = DETECT_EVERY, also: str = ""
) -> None:
    """Adds ``--detect-every`` of `mobileface.tracking.mesh_follower`.

    Args:
        parser: The parser that gets the option.
        default: Its value if it is not passed.
        also: What else it needs, for the help text.
    """
    parser.add_argument(
        "--detect-every",
        type=int,
        default=default,
        metavar="N",
        help=f"videos{also}: run the detector on every Nth frame; default: {DETECT_EVERY}",
    )


def accepted_faces(faces: Iterable[Face], where: str) -> list[Face]:
    """The faces that can be changed; the others are reported if some are left.

    Raises:
        InputError: If none is left: why the first is refused.
    """
    left, errors = usable_faces(faces, where)
    for error in errors:
        print(f"mobileface: a face is left as it is: {shown(error)}", file=sys.stderr)
    return left

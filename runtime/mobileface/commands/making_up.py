"""``mobileface makeup --like REFERENCE``: the makeup of a reference photo on images and videos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..analyzer import FaceAnalyzer
from ..effects.makeup_transfer import MakeupTransfer, makeup_of
from ..effects.mesh_faces import MESH_MODELS, MESH_TASKS, sorted_out
from ..errors import InputError, shown
from ..tasks.face_choice import only_face
from ..tracking.mesh_follower import MeshFollower
from ..vision.image import Image
from ..vision.picture_files import read_image
from ..vision.video import VideoReader, is_video
from .faces import write_picture
from .inputs import ImageFiles
from .mesh_choice import DETECT_EVERY, accepted_faces, add_detect_every
from .options import add_face_choice
from .output import print_text
from .rewriting import planned_outputs, rewrite_video

__all__ = ["add_like", "mesh_analyzer", "run_like"]

_REGIONS = {"skin": "skin", "lips": "lips", "eyes": "eye shadow"}


def add_like(parser: argparse.ArgumentParser) -> None:
    """Adds the options of makeup by example."""
    parser.add_argument(
        "--like",
        type=Path,
        metavar="REFERENCE",
        help="photo of a face whose makeup is put on the faces, instead of whitening",
    )
    for name, text in _REGIONS.items():
        parser.add_argument(
            f"--{name}",
            type=float,
            metavar="S",
            help=f"with --like: strength on the {text}, 0 to 1; default: 1",
        )
    add_face_choice(parser.add_argument, "refuse it", dest="like_face")
    add_detect_every(parser, default=None, also=" with --like")


def mesh_analyzer(options: argparse.Namespace) -> FaceAnalyzer:
    """An analyzer that finds meshes beside the landmarks.

    Raises:
        ModelNotFoundError: If there is no model of meshes, or no detector.
    """
    return FaceAnalyzer(options.models, MESH_TASKS, precision=options.precision, **MESH_MODELS)


def run_like(options: argparse.Namespace) -> int:
    """Puts the makeup of a reference on the faces of images and videos."""
    strengths = _strengths(options)
    targets = planned_outputs(options)
    analyzer = mesh_analyzer(options)
    every = DETECT_EVERY if options.detect_every is None else options.detect_every
    MeshFollower(analyzer, detect_every=every)  # refuses what is out of range
    transfer = _reference(analyzer, options)
    files = ImageFiles([path for path in targets if not is_video(path)])
    failed = 0
    for path, image in files:
        try:
            faces = accepted_faces(analyzer(image), shown(path))
            changed = transfer(image, faces, **strengths)
        except InputError as error:
            failed += 1
            where = "" if error.where else f"{shown(path)}: "
            print(f"mobileface: error: {where}{error}", file=sys.stderr)
            continue
        write_picture(targets[path], changed)
        print_text(f"{targets[path]} ({_count(len(faces))} made up)")
    for path in filter(is_video, targets):
        follow = MeshFollower(analyzer, detect_every=every)
        interrupted = _video(path, targets[path], follow, transfer, strengths)
        if interrupted:
            return interrupted
    return 2 if files.failed or failed else 0


def _strengths(options: argparse.Namespace) -> dict[str, Any]:
    """The strength of each region: its own times that of all."""
    if not 0 <= options.strength <= 1:
        raise InputError(f"strength {options.strength} is not between 0 and 1")
    if options.whole:
        raise InputError("--like needs faces, --whole changes all", hint="pass one of them")
    found = {}
    for name in _REGIONS:
        own = getattr(options, name)
        if own is not None and not 0 <= own <= 1:
            raise InputError(f"--{name} {own} is not between 0 and 1")
        found[name] = options.strength * (1.0 if own is None else own)
    return found


def _reference(analyzer: FaceAnalyzer, options: argparse.Namespace) -> MakeupTransfer:
    """The makeup of the reference's face."""
    where = shown(options.like)
    image = read_image(options.like)
    face = only_face(analyzer(image), options.like_face, where, "--face")
    return makeup_of(image, face, where)


def _video(
    path: Path,
    target: Path,
    follow: MeshFollower,
    transfer: MakeupTransfer,
    strengths: dict[str, Any],
) -> int:
    """Makes up a video; returns the exit code if it was interrupted, otherwise 0."""
    without = 0

    def change(image: Image, time: float) -> Image:
        nonlocal without
        usable, _ = sorted_out(follow(image, time).values(), shown(path))
        without += not usable
        try:
            return transfer(image, usable, **strengths)
        except InputError:  # a face in black and white
            without += 1
            return image

    with VideoReader(path) as video:
        frames = ((change(image, time), time) for _, time, image in video.frames())
        return rewrite_video(
            video, path, target, frames, note=lambda: f"{without} of them left as they are"
        )


def _count(number: int) -> str:
    return f"{number} face{'' if number == 1 else 's'}"

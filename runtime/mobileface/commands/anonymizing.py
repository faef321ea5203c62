"""``mobileface anonymize``: makes the faces of images and videos unrecognizable.

What is written has no metadata: images are encoded from their pixels alone, and the sound of videos
is copied without the tags and chapters that come with it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from ..analyzer import FaceAnalyzer
from ..effects.anonymize import (
    NOTHING_COVERED,
    AnonymizeMethod,
    AnonymizeShape,
    anonymize,
    check_anonymize,
)
from ..errors import shown
from ..tasks.loading import load_thorough_detector
from ..tracking.covering import FaceCover
from ..types import Face
from ..vision.image import Image
from ..vision.video import VideoReader, is_video
from .faces import write_picture
from .inputs import ImageFiles
from .options import (
    add_detector_options,
    add_model_choice,
    add_models_folder,
    detector_options,
)
from .output import print_text
from .rewriting import add_rewritten, planned_outputs, rewrite_video

__all__ = ["add_anonymize"]


def add_anonymize(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface anonymize``."""
    add_rewritten(parser)
    add = parser.add_argument
    add(
        "--method",
        choices=get_args(AnonymizeMethod),
        default="blur",
        help="what a face becomes: blurred cells, cells, black, or a drawn face of nobody; "
        "default: %(default)s",
    )
    add(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="1 to 4: at most 4 / S cells across a face; default: %(default)s",
    )
    add(
        "--margin",
        type=float,
        default=0.25,
        metavar="M",
        help="grow face boxes by this share of their sides, on each side; default: %(default)s",
    )
    add(
        "--shape",
        choices=get_args(AnonymizeShape),
        default="ellipse",
        help="outline of what is covered around a face box; default: %(default)s",
    )
    add(
        "--detect-every",
        type=int,
        default=1,
        metavar="N",
        help="videos: run the detector on every Nth frame; default: 1",
    )
    add(
        "--max-age",
        type=int,
        default=10,
        metavar="N",
        help="videos: cover a face that is no longer found for N more frames; default: 10",
    )
    add(
        "--lookback",
        type=int,
        default=5,
        metavar="N",
        help="videos: cover a face from N frames before it is found; default: 5",
    )
    add_models_folder(parser)
    add_model_choice(parser, "detector")
    add_detector_options(parser)
    parser.set_defaults(run=run_anonymize)


def run_anonymize(options: argparse.Namespace) -> int:
    """Covers the faces of images and videos."""
    check_anonymize(options.method, options.strength, options.margin, options.shape)
    cover_options: dict[str, Any] = {
        "margin": options.margin,
        "detect_every": options.detect_every,
        "max_age": options.max_age,
        "lookback": options.lookback,
    }
    FaceCover(lambda _: [], **cover_options)  # refuses what is out of range before any work
    targets = planned_outputs(options)
    detector = load_thorough_detector(
        options.detector, models=options.models, **detector_options(options)
    )
    analyzer = FaceAnalyzer(tasks=("detection",), detector=detector)
    settings = {"method": options.method, "strength": options.strength, "shape": options.shape}
    files = ImageFiles([path for path in targets if not is_video(path)])
    for path, image in files:
        faces = analyzer.detect(image)
        covered = anonymize(image, faces, margin=options.margin, **settings)
        write_picture(targets[path], covered)
        print_text(f"{targets[path]} ({_count(len(faces), 'face')} covered)")
        if not faces:
            _warn(path)
    for path in filter(is_video, targets):
        cover = FaceCover(analyzer.detect, **cover_options)
        interrupted = _cover_video(path, targets[path], cover, settings)
        if interrupted:
            return interrupted
    return 2 if files.failed else 0


def _cover_video(path: Path, target: Path, cover: FaceCover, settings: dict[str, Any]) -> int:
    """Covers the faces of a video; returns the exit code if it was interrupted, otherwise 0."""

    def note() -> str:
        return f"{_count(cover.faces, 'track')} covered"

    with VideoReader(path) as video:
        frames = _covered_frames(video, cover, settings)
        code = rewrite_video(video, path, target, frames, metadata=False, note=note)
    if not cover.faces:
        _warn(path)
    return code


def _covered_frames(
    video: VideoReader, cover: FaceCover, settings: dict[str, Any]
) -> Iterator[tuple[Image, float]]:
    """The frames of a video with their faces covered, and their times."""
    for found in cover.frames((image, time) for _, time, image in video.frames()):
        faces = [Face(bbox=box, det_score=1.0) for box in found.boxes]
        yield anonymize(found.image, faces, margin=found.margins, **settings), found.time


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _warn(path: Path) -> None:
    print(f"mobileface: {shown(path)}: {NOTHING_COVERED}", file=sys.stderr)

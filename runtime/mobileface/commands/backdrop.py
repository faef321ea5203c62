"""``mobileface background``: blurs or replaces what lies behind people in images and videos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..effects.backdrops import COLORS, Backdrop
from ..effects.background_picture import NobodyError, change_behind
from ..effects.background_video import BackgroundChanger
from ..errors import shown
from ..tasks.loading import load, load_detector
from ..tasks.person_segmenter import PersonSegmenter
from ..vision.picture_files import read_image
from ..vision.video import VideoReader, is_video
from .faces import write_picture
from .inputs import ImageFiles
from .options import add_model_choice, add_models_folder
from .output import print_text
from .rewriting import add_rewritten, planned_outputs, rewrite_video

__all__ = ["add_background"]


def add_background(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface background``."""
    add_rewritten(parser)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--blur",
        type=_strength,
        nargs="?",
        const=1.0,
        metavar="STRENGTH",
        help="blur the background, 0 (unchanged) to 4; without a number: %(const)s",
    )
    choice.add_argument(
        "--color", metavar="COLOR", help=f"fill it: #RRGGBB or one of {', '.join(COLORS)}"
    )
    choice.add_argument(
        "--image",
        type=Path,
        metavar="PICTURE",
        help="replace it by this picture, scaled to cover and cut to its middle",
    )
    add_models_folder(parser)
    add_model_choice(parser, "detector")
    parser.set_defaults(run=run_background)


def run_background(options: argparse.Namespace) -> int:
    """Changes the background of images and videos."""
    picture = None if options.image is None else read_image(options.image)
    backdrop = Backdrop(blur=options.blur, fill=options.color, picture=picture)
    targets = planned_outputs(options)
    segmenter: PersonSegmenter = load(task="segmentation", models=options.models)
    detector = load_detector(options.detector, models=options.models)
    files = ImageFiles([path for path in targets if not is_video(path)])
    empty = 0
    for path, image in files:
        try:
            changed = change_behind(image, backdrop, segmenter, detector, where=str(path))
        except NobodyError as error:
            empty += 1
            print(f"mobileface: error: {error}", file=sys.stderr)
            continue
        write_picture(targets[path], changed)
        print_text(str(targets[path]))
    for path in filter(is_video, targets):
        interrupted = _change_video(
            path, targets[path], BackgroundChanger(segmenter, backdrop, detector=detector)
        )
        if interrupted:
            return interrupted
    return 2 if files.failed or empty else 0


def _change_video(path: Path, target: Path, changer: BackgroundChanger) -> int:
    """Changes the background of a video; returns the exit code if it was interrupted, or 0."""

    def note() -> str:
        return f"{changer.empty} without a person" if changer.empty else ""

    with VideoReader(path) as video:
        frames = ((changer(image, time=time), time) for _, time, image in video.frames())
        code = rewrite_video(video, path, target, frames, note=note)
    if changer.frames and changer.empty == changer.frames:
        text = "no person found; all is background"
        print(f"mobileface: {shown(path)}: {text}", file=sys.stderr)
    return code


def _strength(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a number: write files before --blur, or --blur=1"
        ) from None

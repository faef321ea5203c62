"""``mobileface enhance | makeup``: corrects exposure or retouches faces in images and videos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..analyzer import FaceAnalyzer
from ..effects.enhance import HISTOGRAMS, Enhancer, enhance
from ..effects.makeup import makeup
from ..errors import InputError, ModelError, ModelNotFoundError, shown
from ..vision.image import Image
from ..vision.video import VideoReader, is_video
from .faces import report_damaged, write_picture
from .inputs import ImageFiles
from .making_up import add_like, mesh_analyzer, run_like
from .options import add_models_folder, add_precision
from .output import print_text
from .rewriting import add_rewritten, planned_outputs, rewrite_video

__all__ = ["add_enhance", "add_makeup"]

Change = Callable[[Image], Image]
TimedChange = Callable[[Image, float], Image]

_MAKEUP: tuple[tuple[str, float, str, str], ...] = (
    ("--whiten", 0.15, "RATE", "brightness increase"),
    ("--diameter", 15, "PIXELS", "diameter of the bilateral filter"),
    ("--sigma-color", 100.0, "SIGMA", "colour sigma of the bilateral filter"),
    ("--sigma-space", 100.0, "SIGMA", "spatial sigma of the bilateral filter"),
    ("--share", 0.7, "SHARE", "share of the smoothed image in the result"),
)
"""Option, default value, placeholder and help text of each setting of `makeup`."""


def add_enhance(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface enhance``."""
    _add_inputs(parser)
    parser.add_argument(
        "--gamma", type=float, help="gamma exponent; default: computed from the histogram"
    )
    parser.add_argument(
        "--histogram",
        choices=HISTOGRAMS,
        default=HISTOGRAMS[0],
        help="pixels that the exposure is measured on (published code: first_row); "
        "default: %(default)s",
    )
    parser.set_defaults(run=run_enhance)


def add_makeup(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface makeup``."""
    _add_inputs(parser)
    add = parser.add_argument
    add(
        "--whole",
        action="store_true",
        help="process the whole image, as in the published code; default: only faces",
    )
    add_models_folder(parser)
    for name, default, metavar, text in _MAKEUP:
        text += "; default: %(default)s"
        add(name, type=type(default), default=default, metavar=metavar, help=text)
    add_precision(parser)
    add_like(parser)
    parser.set_defaults(run=run_makeup)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add_rewritten(parser)
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="strength of the effect, 0 (unchanged) to 1 (full); default: %(default)s",
    )


def run_enhance(options: argparse.Namespace) -> int:
    """Corrects the exposure of images and videos."""
    settings = {
        "gamma": options.gamma,
        "strength": options.strength,
        "histogram": options.histogram,
    }

    def change(image: Image) -> Image:
        return enhance(image, **settings)

    def for_video(fps: float) -> TimedChange:
        enhancer = Enhancer(fps, **settings)
        return lambda image, time: enhancer(image, time=time)

    return _run(options, change, for_video)


def run_makeup(options: argparse.Namespace) -> int:
    """Whitens and smooths the skin of faces, or makes them up like a reference."""
    if options.like is not None:
        return run_like(options)
    for name in ("skin", "lips", "eyes", "like_face", "detect_every"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name.removeprefix('like_').replace('_', '-')} belongs to makeup by example",
                hint="pass --like REFERENCE too",
            )
    analyzer = None if options.whole else _skin_analyzer(options)

    def change(image: Image) -> Image:
        return makeup(
            image,
            None if analyzer is None else analyzer(image),
            whiten_rate=options.whiten,
            diameter=options.diameter,
            sigma_color=options.sigma_color,
            sigma_space=options.sigma_space,
            share=options.share,
            strength=options.strength,
        )

    return _run(options, change, lambda _: lambda image, _: change(image))


def _skin_analyzer(options: argparse.Namespace) -> FaceAnalyzer:
    """Finds faces, with meshes if there is a model of them."""
    try:
        analyzer = mesh_analyzer(options)
    except ModelError as error:
        if not isinstance(error, ModelNotFoundError):
            print(f"mobileface: no meshes: {shown(error)}", file=sys.stderr)
        tasks = ("detection", "landmarks")
        analyzer = FaceAnalyzer(options.models, tasks, precision=options.precision)
    report_damaged(analyzer)
    return analyzer


def _run(
    options: argparse.Namespace, change: Change, for_video: Callable[[float], TimedChange]
) -> int:
    """Processes every image and video; writes to a folder or, for a single input, to a file."""
    targets = planned_outputs(options)
    files = ImageFiles([path for path in targets if not is_video(path)])
    for path, image in files:
        write_picture(targets[path], change(image))
        print_text(str(targets[path]))
    code = 2 if files.failed else 0
    for path in filter(is_video, targets):
        with VideoReader(path) as video:
            change_frame = for_video(video.fps)
            frames = ((change_frame(image, time), time) for _, time, image in video.frames())
            interrupted = rewrite_video(video, path, targets[path], frames)
        if interrupted:
            return interrupted
    return code

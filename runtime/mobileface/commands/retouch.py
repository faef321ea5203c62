"""``mobileface enhance | makeup``: pictures, folders and videos in, the same changed out."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

from ..analyzer import FaceAnalyzer
from ..effects.enhance import HISTOGRAMS, Enhancer, enhance
from ..effects.makeup import makeup
from ..errors import InputError
from ..vision.image import Image
from ..vision.video import VideoReader, VideoWriter, is_video
from .faces import report_damaged, unique_stem, write_picture
from .inputs import Pictures, find_pictures
from .options import add_models_folder, add_precision
from .output import INTERRUPTED, print_text, say_interrupted
from .progress import Progress

__all__ = ["add_enhance", "add_makeup"]

Change = Callable[[Image], Image]
TimedChange = Callable[[Image, float], Image]


def add_enhance(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface enhance``."""
    _add_inputs(parser)
    parser.add_argument("--gamma", type=float, help="exponent; default: chosen by the histogram")
    parser.add_argument(
        "--histogram",
        choices=HISTOGRAMS,
        default=HISTOGRAMS[0],
        help="what the light is judged by; first_row as published; default: image",
    )
    parser.set_defaults(run=run_enhance)


def add_makeup(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface makeup``."""
    _add_inputs(parser)
    add = parser.add_argument
    add("--whole", action="store_true", help="the whole picture, as published; default: faces")
    add_models_folder(parser)
    add("--whiten", type=float, default=0.15, metavar="RATE", help="default: %(default)s")
    add("--diameter", type=int, default=15, help="of the bilateral filter; default: %(default)s")
    add("--sigma-color", type=float, default=100.0, help="default: %(default)s")
    add("--sigma-space", type=float, default=100.0, help="default: %(default)s")
    add("--share", type=float, default=0.7, help="of the smoothed picture; default: %(default)s")
    add_precision(parser)
    parser.set_defaults(run=run_makeup)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="pictures, videos, folders or patterns"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="OUT", help="folder; or file, for one input"
    )
    parser.add_argument(
        "--strength", type=float, default=1.0, help="0: unchanged, 1: full; default: %(default)s"
    )


def run_enhance(options: argparse.Namespace) -> int:
    """Corrects the light."""
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
    """Lightens and smooths skin."""
    analyzer = None
    if not options.whole:
        analyzer = FaceAnalyzer(
            options.models, ("detection", "landmarks"), precision=options.precision
        )
        report_damaged(analyzer)

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


def _run(
    options: argparse.Namespace, change: Change, for_video: Callable[[float], TimedChange]
) -> int:
    """Changes every picture and video, into a folder or, if it is a single one, a file."""
    paths = find_pictures(options.inputs, videos=True)
    to_file = options.output.suffix != "" and not options.output.is_dir()
    if to_file and len(paths) != 1:
        raise InputError(
            f"{len(paths)} inputs and one output file", hint="give a folder: --output DIR"
        )
    pictures = Pictures([path for path in paths if not is_video(path)])
    for path, image in pictures:
        target = options.output
        if not to_file:
            target = options.output / f"{unique_stem(path, paths)}.png"
        write_picture(target, change(image))
        print_text(str(target))
    code = 2 if pictures.failed else 0
    for path in filter(is_video, paths):
        target = options.output
        if not to_file:
            target = options.output / f"{unique_stem(path, paths)}.mp4"
        code = _change_video(path, target, for_video) or code
    return code


def _change_video(path: Path, target: Path, for_video: Callable[[float], TimedChange]) -> int:
    """Changes a video frame by frame; after Ctrl-C what was done stays."""
    interrupted = False
    with VideoReader(path) as video, contextlib.ExitStack() as stack:
        shape = (video.width, video.height)
        writer = stack.enter_context(VideoWriter(target, video.full_fps, *shape, sound=path))
        progress, change = Progress(video.count, "frames"), for_video(video.fps)
        try:
            for _, time, image in video.frames():
                writer.write(change(image, time), time)
                progress.step()
        except KeyboardInterrupt:
            interrupted = True
        progress.end()
    parts = [f"{progress.done} frames, {progress.rate:.1f}/s"]
    if writer.sound:
        parts.append(writer.sound)
    if video.broken:
        parts.append(f"{video.broken} broken frames skipped")
    print_text(f"{target} ({'; '.join(parts)})")
    if interrupted:
        say_interrupted()
    return INTERRUPTED if interrupted else 0

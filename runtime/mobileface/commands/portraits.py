"""``mobileface portrait``: draws the people of images and videos in black lines on white."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..analyzer import FaceAnalyzer
from ..effects.background_video import small_mask
from ..effects.portrait import PortraitStyle, draw_portrait
from ..errors import ImageError, InputError, OutputError, shown
from ..host.files import write_aside
from ..tasks.loading import load
from ..tasks.person_segmenter import PersonSegmenter
from ..vision.image import Image
from ..vision.video import VideoReader, is_video
from ..vision.written_pictures import encode_picture
from .faces import report_damaged, write_picture
from .inputs import ImageFiles
from .options import add_models_folder
from .output import print_text
from .rewriting import add_rewritten, planned_outputs, rewrite_video

__all__ = ["add_portrait"]


def add_portrait(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface portrait``."""
    add_rewritten(parser)
    add = parser.add_argument
    add(
        "--line-width",
        type=float,
        default=1.0,
        metavar="W",
        help="factor of the width of lines, 0.5 to 3; default: %(default)s",
    )
    add(
        "--darkness",
        type=float,
        default=1.0,
        metavar="D",
        help="how much becomes black, 0 (lines alone) to 2; default: %(default)s",
    )
    add(
        "--keep-background",
        action="store_true",
        help="draw what lies behind people, too",
    )
    add_models_folder(parser)
    parser.set_defaults(run=run_portrait)


class _Artist:
    """Draws images with the models that it needs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._style = PortraitStyle(options.line_width, options.darkness)
        self._analyzer = FaceAnalyzer(
            options.models, ("detection", "landmarks", "pose"), landmarks="landmark_mesh"
        )
        report_damaged(self._analyzer)
        self._segmenter: PersonSegmenter | None = None
        if not options.keep_background:
            self._segmenter = load(task="segmentation", models=options.models)

    def draw(self, image: Image, *, enlarge: bool = True) -> Image:
        """The drawing of an image; see `draw_portrait`."""
        mask = None if self._segmenter is None else small_mask(self._segmenter, image)
        faces = self._analyzer(image)
        return draw_portrait(image, faces, mask, self._style, enlarge=enlarge)


def run_portrait(options: argparse.Namespace) -> int:
    """Draws images and videos."""
    PortraitStyle(options.line_width, options.darkness)  # refuses what is out of range first
    targets = planned_outputs(options)
    for path, target in targets.items():
        if not is_video(path) and _is_svg(target) and importlib.util.find_spec("vtracer") is None:
            raise OutputError(
                "SVG needs vtracer", where=str(target), hint="pip install 'mobileface[svg]'"
            )
    artist = _Artist(options)
    files = ImageFiles([path for path in targets if not is_video(path)])
    refused = 0
    for path, image in files:
        try:
            drawn = artist.draw(image)
        except InputError as error:
            refused += 1
            print(f"mobileface: error: {ImageError(error.what, where=str(path))}", file=sys.stderr)
            continue
        _write(targets[path], drawn)
        print_text(str(targets[path]))
    for path in filter(is_video, targets):
        interrupted = _draw_video(path, targets[path], artist)
        if interrupted:
            return interrupted
    return 2 if files.failed or refused else 0


def _draw_video(path: Path, target: Path, artist: _Artist) -> int:
    """Draws a video; returns the exit code if it was interrupted, otherwise 0."""
    with VideoReader(path) as video:
        drawings = _Drawings(video, artist)
        code = rewrite_video(video, path, target, drawings, note=drawings.note)
    if drawings.missed and drawings.missed == drawings.frames:
        print(f"mobileface: {shown(path)}: no face to draw; all is white", file=sys.stderr)
    return code


class _Drawings:
    """The drawings of a video's frames; one without a face repeats the last, at first white."""

    def __init__(self, video: VideoReader, artist: _Artist) -> None:
        self._video, self._artist = video, artist
        self.frames = self.missed = 0

    def __iter__(self) -> Iterator[tuple[Image, float]]:
        drawn: Image = np.full((self._video.height, self._video.width), 255, np.uint8)
        for _, time, image in self._video.frames():
            self.frames += 1
            try:
                drawn = self._artist.draw(image, enlarge=False)
            except InputError:
                self.missed += 1
            yield np.asarray(cv2.cvtColor(drawn, cv2.COLOR_GRAY2BGR), np.uint8), time

    def note(self) -> str:
        """How many frames had no face to draw."""
        return f"{self.missed} without a face to draw" if self.missed else ""


def _is_svg(path: Path) -> bool:
    return path.suffix.lower() == ".svg"


def _write(target: Path, drawn: Image) -> None:
    """Writes a drawing as an image or, by the suffix, traced as SVG."""
    if not _is_svg(target):
        write_picture(target, drawn)
        return
    import vtracer

    bilevel = np.where(drawn < 128, 0, 255).astype(np.uint8)
    data = encode_picture(bilevel, ".png", where=str(target))
    text: str = vtracer.convert_raw_image_to_svg(
        data, img_format="png", colormode="binary", mode="spline", filter_speckle=4
    )
    write_aside(target, text.encode("utf-8"))

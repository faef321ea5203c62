"""The options of the commands for videos and for changed pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..effects.enhance import HISTOGRAMS
from ..models.index import PRECISIONS
from .gallery_options import add_gallery_options, add_thresholds
from .retouch import run_enhance, run_makeup
from .track import detect_every, run_track

__all__ = ["add_enhance", "add_fmr", "add_makeup", "add_precision", "add_track"]


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds ``--precision`` to a command that runs models."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="run models in it that have it; 'mobileface models' lists which; default: fp32",
    )


def add_track(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface track``."""
    add = parser.add_argument
    add("video", metavar="VIDEO", help="video file, or number of a camera")
    add("--output", type=Path, metavar="OUT.mp4", help="write the annotated video here")
    add("--tracks", type=Path, metavar="OUT.jsonl", help="write a JSON line a frame here")
    add("--tasks", nargs="+", metavar="TASK", help="run these tasks only; default: all that can")
    add(
        "--detect-every",
        "--every",
        type=detect_every,
        default=1,
        metavar="N",
        help="frames from one detection to the next, or 'auto': as few as suffice; default: 1",
    )
    add("--max-cpu-fps", type=float, metavar="N", help="detections a second of video, at most")
    add("--show-fps", action="store_true", help="write the frame rate into the video")
    add(
        "--max-age",
        type=int,
        default=10,
        metavar="N",
        help="frames a face may be lost; default: 10",
    )
    add(
        "--min-hits",
        type=int,
        default=3,
        metavar="N",
        help="frames until a face counts; default: 3",
    )
    add("--track-iou", type=float, default=0.3, metavar="IOU", help="least overlap of a track; 0.3")
    add(
        "--same-person",
        type=float,
        metavar="COSINE",
        help="keep identities through occlusions and cuts: embeddings from this cosine on are one "
        "person's; the scale is the identification model's",
    )
    add("--embeddings", action="store_true", help="with --tracks, embeddings as well")
    add("--limit", type=int, metavar="N", help="stop after so many frames")
    add("--models", type=Path, metavar="DIR", help="folder to look for models in")
    add("--detector", metavar="NAME", help="detector to use")
    add("--embedder", metavar="NAME", help="identification model to use")
    add("--score-threshold", type=float, metavar="S", help="lower finds more")
    add("--min-face-size", type=float, metavar="PIXELS", help="no smaller faces (HOG)")
    add_precision(parser)
    add_gallery_options(parser)
    add_thresholds(add, "name-")
    parser.set_defaults(run=run_track)


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


def add_fmr(parser: argparse.ArgumentParser) -> None:
    """Adds the option of commands that decide who is who."""
    parser.add_argument(
        "--fmr",
        type=float,
        metavar="RATE",
        help="say whether they are one person, with a threshold that this share of pairs of "
        "different people reaches, e.g. 0.001; needs a calibration of the model",
    )


def add_makeup(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface makeup``."""
    _add_inputs(parser)
    add = parser.add_argument
    add("--whole", action="store_true", help="the whole picture, as published; default: faces")
    add("--models", type=Path, metavar="DIR", help="folder to look for models in")
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

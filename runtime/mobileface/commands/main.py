"""The ``mobileface`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import MobileFaceError
from ..vision.crops import CROPS
from .bench import add_bench
from .certify import add_certify
from .doctor import add_doctor
from .faces import run_align, run_faces
from .gallery_options import add_gallery
from .model_list import run_models
from .options import add_enhance, add_fmr, add_makeup, add_precision, add_track
from .output import INTERRUPTED
from .tune import add_tune
from .vectors import run_compare, run_embed

__all__ = ["main"]

_FACE_COMMANDS = {
    "detect": "find faces",
    "landmarks": "find faces and their eyes, nose and mouth",
    "pose": "find faces and which way they turn",
    "attributes": "find faces and their gender, age and expression",
    "analyze": "find faces and run every task that has a model",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, or 2 after an error.

    `certify` and `doctor` return 1 where something is not as it should be.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except MobileFaceError as error:
        print(f"mobileface: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("mobileface: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobileface", description="Face tasks on small machines, on ONNX Runtime and OpenCV."
    )
    parser.add_argument("--version", action="version", version=f"mobileface {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _FACE_COMMANDS.items():
        _add_faces(commands.add_parser(name, help=text), name)
    _add_align(commands.add_parser("align", help="cut faces out, upright and of one size"))
    _add_embed(commands.add_parser("embed", help="turn faces into embeddings"))
    _add_compare(commands.add_parser("compare", help="similarity of two faces"))
    add_track(commands.add_parser("track", help="follow the faces of a video or camera"))
    add_gallery(commands.add_parser("gallery", help="enrol people and say who is in pictures"))
    add_enhance(commands.add_parser("enhance", help="correct the light of pictures and videos"))
    add_makeup(commands.add_parser("makeup", help="lighten and smooth the skin of faces"))
    add_bench(commands.add_parser("bench", help="how long models and the pipeline take here"))
    add_tune(commands.add_parser("tune", help="find and store the fastest settings for here"))
    add_doctor(commands.add_parser("doctor", help="see whether everything is there and works"))
    _add_models(commands.add_parser("models", help="list the models that are found"))
    add_certify(
        commands.add_parser("certify", help="see whether models give here what they should")
    )
    return parser


def _add_faces(parser: argparse.ArgumentParser, name: str) -> None:
    _add_images(parser)
    _add_detection(parser)
    _add_json(parser, "print one JSON object a picture")
    parser.add_argument("--draw", type=Path, metavar="OUT", help="write the annotated picture here")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write annotated pictures into this folder"
    )
    if name == "analyze":
        parser.add_argument("--tasks", nargs="+", metavar="TASK", help="run these tasks only")
        parser.add_argument("--embedder", metavar="NAME", help="identification model to use")
        parser.add_argument(
            "--embeddings", action="store_true", help="with --json, embeddings as well"
        )
    parser.set_defaults(run=run_faces, embeddings=False)


def _add_align(parser: argparse.ArgumentParser) -> None:
    _add_images(parser)
    _add_detection(parser)
    _add_json(parser, "print one JSON object a crop")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the crops")
    parser.add_argument(
        "--crop", choices=tuple(CROPS), help="template; default: the first possible"
    )
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side; default: the template's")
    parser.set_defaults(run=run_align)


def _add_embed(parser: argparse.ArgumentParser) -> None:
    _add_images(parser)
    _add_identification(parser)
    _add_json(parser, "print one JSON object")
    parser.add_argument("--output", type=Path, metavar="OUT.npz", help="write embeddings here")
    parser.set_defaults(run=run_embed)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(
            name, type=Path, metavar=name.upper(), help="picture file, or .npz that embed wrote"
        )
    _add_identification(parser)
    add_fmr(parser)
    _add_json(parser, "print one JSON object")
    parser.set_defaults(run=run_compare)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to look in")
    parser.add_argument(
        "--check", action="store_true", help="compare each file with its hash; exit code 2 if not"
    )
    _add_json(parser, "print one JSON object")
    parser.set_defaults(run=run_models)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images", nargs="+", metavar="IMG", help="picture files, folders or patterns"
    )


def _add_json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _add_detection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to look for models in")
    add_precision(parser)
    parser.add_argument("--detector", metavar="NAME", help="detector to use")
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lower finds more; default: the detector's own",
    )
    parser.add_argument(
        "--iou-threshold",
        type=float,
        metavar="IOU",
        help="of boxes that overlap more, one is kept (detectors of the YOLO kind)",
    )
    parser.add_argument("--topk", type=int, metavar="N", help="compare so many boxes (YOLO kind)")
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PIXELS",
        help="scale the picture's shorter side to this; more finds smaller faces (YOLO kind)",
    )
    parser.add_argument(
        "--min-face-size",
        type=float,
        metavar="PIXELS",
        help="do not search for smaller faces (HOG)",
    )
    parser.add_argument(
        "--upsample",
        type=int,
        default=0,
        metavar="N",
        help="double the picture N times first (HOG)",
    )


def _add_identification(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crops",
        action="store_true",
        help="the pictures are aligned face crops, of any size; else faces are searched for",
    )
    add_precision(parser)
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to look for models in")
    parser.add_argument("--detector", metavar="NAME", help="detector to use")
    parser.add_argument("--embedder", metavar="NAME", help="identification model to use")


if __name__ == "__main__":
    sys.exit(main())

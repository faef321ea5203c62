"""The ``mobileface`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from ..host.output_options import run_checked
from ..host.program import run_program
from ..tasks.table import TASKS
from .anonymizing import add_anonymize
from .backdrop import add_background
from .bench import add_bench
from .certify import add_certify
from .doctor import add_doctor
from .faces import add_align, add_analyze, add_task
from .gallery_options import add_gallery
from .model_list import add_models
from .portraits import add_portrait
from .retouch import add_enhance, add_makeup
from .serving import add_serve
from .swapping import add_swap
from .track import add_track
from .tune import add_tune
from .vectors import add_compare, add_embed

__all__ = ["main"]

_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "analyze": ("detect faces and run all tasks that have a model", add_analyze),
    "align": ("crop and align faces", add_align),
    "embed": ("compute face embeddings", add_embed),
    "compare": ("compute the similarity of two faces", add_compare),
    "track": ("track faces in a video or camera stream", add_track),
    "gallery": ("enrol people and identify them in images", add_gallery),
    "enhance": ("correct the exposure of images and videos", add_enhance),
    "makeup": (
        "whiten and smooth the skin of faces, or put the makeup of a photo on them",
        add_makeup,
    ),
    "anonymize": ("make the faces of images and videos unrecognizable", add_anonymize),
    "swap": ("put the face of a photo onto faces of photos and videos", add_swap),
    "background": ("blur or replace what lies behind people", add_background),
    "portrait": ("draw people in black lines on white", add_portrait),
    "serve": ("answer over HTTP, with a web page and live cameras", add_serve),
    "bench": ("measure the run time of models and the pipeline", add_bench),
    "tune": ("find and save the fastest settings for this machine", add_tune),
    "doctor": ("check that everything is installed and works", add_doctor),
    "models": ("list the available models", add_models),
    "certify": ("check that models reproduce their certified results here", add_certify),
}
"""The subcommands that do not belong to a single task."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, or 2 after an error.

    `certify` and `doctor` return 1 if a check fails.
    """

    def run() -> int:
        return run_checked(_parser().parse_args(arguments))

    return run_program("mobileface", run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobileface",
        description="Face analysis for small devices, with ONNX Runtime and OpenCV.",
    )
    parser.add_argument("--version", action="version", version=f"mobileface {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for task in TASKS:
        if task.command is not None:
            add_task(commands.add_parser(task.command, help=task.help), task)
    for name, (text, add) in _COMMANDS.items():
        add(commands.add_parser(name, help=text))
    return parser


if __name__ == "__main__":
    sys.exit(main())

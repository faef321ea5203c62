"""``mobileface detect | landmarks | pose | attributes | align | analyze``: faces in photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..analyzer import FaceAnalyzer
from ..errors import InputError, ModelNotFoundError, shown
from ..host.files import write_aside
from ..host.output_options import OutputFile, OutputFolder
from ..host.outputs import check_outputs, unique_stems
from ..tasks.align import align, allows_crop
from ..tasks.base import Task
from ..tasks.drawing import draw_faces
from ..tasks.records import face_record
from ..tasks.table import TASKS, with_needs
from ..types import Face
from ..vision.crops import CROPS
from ..vision.image import Image
from ..vision.written_pictures import encode_picture
from .inputs import ImageFiles, find_pictures
from .options import (
    add_detector_options,
    add_images,
    add_json,
    add_model_choice,
    add_models_folder,
    add_precision,
    chosen_models,
    detector_options,
)
from .output import print_json, print_text

__all__ = [
    "add_align",
    "add_analyze",
    "add_task",
    "report_damaged",
    "write_picture",
]


def add_task(parser: argparse.ArgumentParser, task: Task) -> None:
    """Adds the options of the command that runs one task."""
    _add_common(parser)
    tasks = with_needs(task.name)
    add_model_choice(parser, *(t.argument for t in TASKS[1:] if t.name in tasks))
    parser.set_defaults(run=run_faces, tasks=tasks, embeddings=False)


def add_analyze(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface analyze``."""
    _add_common(parser)
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="run only these tasks")
    add_model_choice(parser, *(task.argument for task in TASKS[1:]))
    parser.add_argument(
        "--embeddings", action="store_true", help="include embeddings in the JSON output"
    )
    parser.set_defaults(run=run_faces)


def add_align(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface align``."""
    _add_detection(parser)
    add_json(parser, "print one JSON object per crop")
    parser.add_argument(
        "--output",
        action=OutputFolder,
        required=True,
        metavar="DIR",
        help="folder to write the crops to",
    )
    parser.add_argument(
        "--crop",
        choices=tuple(CROPS),
        help="crop template; default: the first one that the landmarks allow",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side of the crops; default: the template's"
    )
    parser.set_defaults(run=run_align)


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_detection(parser)
    add_json(parser, "print one JSON object per image")
    parser.add_argument(
        "--draw", action=OutputFile, metavar="OUT", help="write the annotated image to this file"
    )
    parser.add_argument(
        "--output",
        action=OutputFolder,
        metavar="DIR",
        help="write annotated images to this folder",
    )


def _add_detection(parser: argparse.ArgumentParser) -> None:
    add_images(parser)
    add_models_folder(parser)
    add_precision(parser)
    add_model_choice(parser, "detector")
    add_detector_options(parser)


def run_faces(options: argparse.Namespace) -> int:
    """Analyses the faces of each image and writes the results."""
    paths = find_pictures(options.images)
    if options.draw is not None and len(paths) != 1:
        raise InputError(f"--draw needs one image, not {len(paths)}", hint="use --output DIR")
    targets = {}
    if options.output is not None:
        stems = unique_stems(paths, options.output)
        targets = {path: options.output / f"{stem}.png" for path, stem in stems.items()}
    check_outputs([options.draw, *targets.values()], paths)
    analyzer = _analyzer(options, options.tasks)
    files = ImageFiles(paths)
    for path, image in files:
        faces = analyzer(image)
        if options.json:
            print_json(face_record(path, image, faces, options.embeddings))
        else:
            print_text(*_text(path, faces))
        if options.draw is not None:
            write_picture(options.draw, draw_faces(image, faces))
        if options.output is not None:
            write_picture(targets[path], draw_faces(image, faces))
    return 2 if files.failed else 0


def run_align(options: argparse.Namespace) -> int:
    """Writes an aligned crop of each face."""
    paths = find_pictures(options.images)
    stems = unique_stems(paths, options.output, numbered=True)
    analyzer = _analyzer(options, with_needs("landmarks"), [options.crop] if options.crop else [])
    crop = options.crop or _first_crop(analyzer)
    files = ImageFiles(paths)
    for path, image in files:
        for number, face in enumerate(analyzer(image)):
            assert face.landmarks is not None
            chip = align(image, face.landmarks, crop=crop, size=options.size, box=face.bbox)
            target = options.output / f"{stems[path]}_{number}.png"
            write_picture(target, chip)
            if options.json:
                record = {"file": str(path), "face": number, "crop": str(target), "template": crop}
                print_json(record)
            else:
                print_text(str(target))
    return 2 if files.failed else 0


def write_picture(path: Path, image: Image, *, comment: str = "") -> None:
    """Writes an image in the format of the file's suffix, with a comment if one is given.

    Raises:
        OutputError: If OpenCV does not support the format, it has no place for a comment, or the
            file cannot be written.
    """
    write_aside(path, encode_picture(image, path.suffix, comment=comment, where=str(path)))


def _first_crop(analyzer: FaceAnalyzer) -> str:
    """The first crop template that the landmarks allow."""
    allowed = [crop for crop in CROPS if allows_crop(analyzer.point_names, crop)]
    if not allowed:
        raise ModelNotFoundError(
            f"the landmarks {', '.join(analyzer.point_names)} are not sufficient for any crop"
        )
    return allowed[0]


def _analyzer(
    options: argparse.Namespace, tasks: Sequence[str] | None, crops: Sequence[str] = ()
) -> FaceAnalyzer:
    """The analyzer that the options select; reports models that were rejected."""
    analyzer = FaceAnalyzer(
        options.models,
        tasks,
        crops=crops,
        precision=options.precision,
        **chosen_models(options),
        **detector_options(options),
    )
    report_damaged(analyzer)
    return analyzer


def report_damaged(analyzer: FaceAnalyzer) -> None:
    """Reports the tasks and models that are skipped because a model was rejected."""
    reasons = {task: analyzer.missing[task] for task in analyzer.damaged} | analyzer.refused
    for name, reason in reasons.items():
        print(f"mobileface: {shown(name)} skipped: {shown(reason)}", file=sys.stderr)


def _text(path: Path, faces: Sequence[Face]) -> list[str]:
    """The human-readable lines for one image."""
    lines = [f"{path}: {len(faces)} face{'' if len(faces) == 1 else 's'}"]
    for face in faces:
        lines.append("  " + "  ".join(part for task in TASKS for part in task.to_text(face)))
    return lines

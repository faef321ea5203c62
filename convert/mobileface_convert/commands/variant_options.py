"""Options of ``mobileface-convert all`` and ``starter`` for model variants."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mobileface.errors import ConversionError, shown
from mobileface.models.index import PRECISIONS, read_index

from ..build.calibration_images import read_samples
from ..build.ort_files import write_ort
from ..build.pipeline import Artefact
from ..build.variants import CONDITIONS, Plan

__all__ = ["add_variants", "finish", "plan_of"]


def add_variants(parser: argparse.ArgumentParser, default: Sequence[str]) -> None:
    """Adds the options for variants.

    Args:
        parser: The parser of the command.
        default: Precisions if ``--precision`` is not given.
    """
    words = " ".join(default) or "only that of the model's own file"
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        metavar="P",
        help=f"variants to build, some of: {', '.join(PRECISIONS)}; default: {words}",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="aligned face crops, as written by 'mobileface align', to calibrate int8 models; a "
        "third of them is reserved for evaluation",
    )
    parser.add_argument(
        "--calibrate-photos",
        type=Path,
        metavar="DIR",
        help="photos to calibrate int8 detectors, split in the same way",
    )
    parser.add_argument(
        "--ort",
        action="store_true",
        help="also write .ort files and a list of their operators, for minimal builds of ONNX "
        "Runtime",
    )
    parser.set_defaults(default_precisions=tuple(default))


def plan_of(options: argparse.Namespace) -> Plan:
    """The variants that the options select.

    Raises:
        ConversionError: If int8 is requested without calibration images, or a folder has too few.
    """
    calibrated = options.calibrate or options.calibrate_photos
    if "int8" in (options.precision or ()) and not calibrated:
        raise ConversionError(
            "int8 needs calibration images", hint="pass --calibrate DIR with aligned face crops"
        )
    precisions = list(options.precision or options.default_precisions)
    if calibrated and not options.precision and "int8" not in precisions:
        precisions.append("int8")
    return Plan(
        precisions=precisions,
        targets=tuple(CONDITIONS),
        faces=read_samples(options.calibrate) if options.calibrate else None,
        photos=read_samples(options.calibrate_photos) if options.calibrate_photos else None,
    )


def finish(options: argparse.Namespace, folder: Path, converted: Sequence[Artefact]) -> None:
    """Writes the .ort files if the options request them.

    Args:
        options: The options of the command.
        folder: The models folder.
        converted: The models that were converted.

    Raises:
        ConversionError: If a model cannot be converted to ORT format.
    """
    if options.ort:
        index = read_index(folder)
        written = write_ort(folder, [index[artefact.name] for artefact in converted])
        for path in written:
            print(shown(f"written: {path}"))

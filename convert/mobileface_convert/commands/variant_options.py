"""The options of ``mobileface-convert all`` and ``starter`` for variants of models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mobileface.errors import ConversionError
from mobileface.models.index import PRECISIONS, read_index

from ..build.calibration_images import read_samples
from ..build.ort_files import write_ort
from ..build.pipeline import Artefact
from ..build.variants import CONDITIONS, Plan

__all__ = ["add_variants", "finish", "plan_of"]


def add_variants(parser: argparse.ArgumentParser, default: Sequence[str]) -> None:
    """Adds the options.

    Args:
        parser: Where.
        default: Precisions without ``--precision``.
    """
    words = " ".join(default) or "that of the model's own file alone"
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        metavar="P",
        help=f"variants to make, of {', '.join(PRECISIONS)}; default: {words}",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="aligned faces, as 'mobileface align' writes them, for int8; a third of them is kept "
        "to see what it costs",
    )
    parser.add_argument(
        "--calibrate-photos", type=Path, metavar="DIR", help="whole pictures, for int8 detectors"
    )
    parser.add_argument(
        "--ort",
        action="store_true",
        help="also write .ort files and their operators, for minimal builds of ONNX Runtime",
    )
    parser.set_defaults(default_precisions=tuple(default))


def plan_of(options: argparse.Namespace) -> Plan:
    """The variants that the options ask for.

    Raises:
        ConversionError: int8 is asked for with nothing to calibrate by, or a folder has too little.
    """
    calibrated = options.calibrate or options.calibrate_photos
    if "int8" in (options.precision or ()) and not calibrated:
        raise ConversionError(
            "int8 needs pictures to calibrate with", hint="give --calibrate DIR with aligned faces"
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


def finish(options: argparse.Namespace, folder: Path, made: Sequence[Artefact]) -> None:
    """Writes what else the options ask for.

    Raises:
        ConversionError: As `write_ort`.
    """
    if options.ort:
        index = read_index(folder)
        written = write_ort(folder, [index[artefact.name] for artefact in made])
        for path in written:
            print(f"written: {path}")

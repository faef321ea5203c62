"""``mobileface-eval calibrate``: measures a model's error rates by similarity threshold."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from pathlib import Path

from mobileface.errors import InputError
from mobileface.host.output_options import OutputFile
from mobileface.matching.calibration import SUFFIX, Basis, Calibration

from ..calibrating import calibrate, scores_of_people
from ..datasets.face_sets import read_pairs
from ..embedding import Embedded
from ..plots import plot_calibration
from ..report import table, write_report
from .options import add_common, add_embedders, data_numbers, embed, embedded_sets, sources

__all__ = ["add_calibrate"]

_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval calibrate``."""
    add = parser.add_argument
    place = "folder with one subfolder per person, or .npz file of embeddings"
    add("--folder", type=Path, metavar="PLACE", help=f"{place}; default: the folder of --pairs")
    add(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="compare only these pairs, in the format of LFW's pairs.txt",
    )
    add("--people", type=int, metavar="N", help="use only the first N people")
    add("--name", metavar="TEXT", help="name of the data set; default: the folder's name")
    add("--note", metavar="TEXT", help="remark about the data set, stored in the calibration")
    add(
        "--write",
        action=OutputFile,
        metavar="FILE",
        help=f"calibration file to write; default: MODEL{SUFFIX} in the folder of --output; "
        "'mobileface compare --fmr' finds it next to the model",
    )
    add_embedders(parser, several=False)
    add_common(parser)
    parser.set_defaults(run=run_calibrate)


def run_calibrate(options: argparse.Namespace) -> int:
    """Measures and writes the calibration."""
    found = _embedded(options)
    people = set(found.set.people or ())
    basis = Basis(
        options.name or found.set.name,
        len(people),
        len(found.vectors),
        1,  # these two are counted
        1,
        datetime.now(timezone.utc).date().isoformat(),
        options.note,
    )
    made = calibrate(scores_of_people(found), len(people), found.model, basis)
    name = found.model.partition("@")[0]
    target = options.write or options.output / f"{name}{SUFFIX}"
    made.save(target)
    document = made.to_dict()
    numbers = {"data": data_numbers(found), "file": str(target), "calibration": document}
    figure = plot_calibration(made)
    write_report(options.output, "calibrate", figure, numbers, [*_summary(made), "", str(target)])
    return 0


def _embedded(options: argparse.Namespace) -> Embedded:
    if options.folder is None and options.pairs is None:
        raise InputError("no calibration data", hint="pass --folder or --pairs")
    folder = options.folder or options.pairs.parent
    if options.pairs is None:
        return next(embedded_sets(options, folder, people=options.people))[1]
    if options.people is not None or not folder.is_dir():
        raise InputError("--pairs requires a folder and cannot be combined with --people")
    [source] = sources(options)
    return embed(options, source, read_pairs(options.pairs, folder))


def _summary(made: Calibration) -> list[str]:
    """Summary lines: the data, and thresholds at a few false match rates."""
    basis = made.basis
    lowest = made.lowest_false_match_rate
    rates = sorted({lowest, *(rate for rate in _RATES if rate > lowest)}, reverse=True)
    rows = [(rate, made.threshold(rate)) for rate in rates]
    lines = [
        (
            f"{rate:.2g}",
            f"{similarity:.4f}",
            str(made.false_match_rate(similarity)),
            str(made.false_non_match_rate(similarity)),
        )
        for rate, similarity in rows
    ]
    head = ("requested false match rate", "threshold", "false match rate", "false non-match rate")
    return [
        f"{made.model} on {basis.data}: {basis.identities:,} people, {basis.faces:,} images, "
        f"{basis.genuine_pairs:,} genuine pairs, {basis.impostor_pairs:,} impostor pairs. The "
        f"lowest false match rate they support is {lowest:.2g}. "
        f"{made.confidence:.0%} confidence intervals, people resampled.",
        "",
        *table(head, lines),
    ]

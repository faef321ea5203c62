"""``mobileface-eval megaface``: identification of people among many distractors."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.commands.inputs import find_pictures
from mobileface.errors import InputError
from mobileface.host.array_files import load_array
from mobileface.matching.embeddings import require_unit_rows
from mobileface.types import require_same_model

from ..datasets.face_sets import FaceImage, FaceSet
from ..datasets.megaface import evaluate_megaface
from ..measured import RULE, interval, point_numbers, rate_text
from ..plots import plot_megaface
from ..report import table, write_report
from .options import (
    VECTORS,
    add_common,
    add_embedders,
    data_numbers,
    embed,
    embedded_sets,
    read_vectors,
    sources,
)

__all__ = ["add_megaface"]

_MATRIX = ".npy"
_RANKS = (1, 5, 10, 100)
_RATES = (1e-3, 1e-4, 1e-5, 1e-6)


def add_megaface(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval megaface``."""
    add = parser.add_argument
    place = "folder with one subfolder per person, or .npz file of embeddings"
    add("--probes", type=Path, required=True, metavar="PLACE", help=place)
    add(
        "--distractors",
        type=Path,
        required=True,
        metavar="PLACE",
        help="folder of images, .npz file of embeddings, or .npy file with a float32 matrix",
    )
    add("--flip", action="store_true", help="add the embedding of the mirror image")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="random seed for the smaller galleries; default: %(default)s",
    )
    add_embedders(parser, several=False)
    add_common(parser)
    parser.set_defaults(run=run_megaface)


def run_megaface(options: argparse.Namespace) -> int:
    """Runs the protocol and writes its report."""
    name, probes = next(embedded_sets(options, options.probes, flip=options.flip))
    distractors, skipped = _distractors(options, probes.model)
    start = time.perf_counter()
    found = evaluate_megaface(probes.vectors, probes.set.labels, distractors, seed=options.seed)
    seconds = time.perf_counter() - start
    ranks = {rank: found.rank_rate(rank) for rank in _RANKS if rank <= found.distractors}
    sizes = {size: found.rank1_rate(size) for size in found.rank1}
    points = {rate: found.point(rate) for rate in _RATES}
    summary = [
        f"{found.probes:,} probes with {len(found.ranks):,} mates among {found.distractors:,} "
        f"distractors, by {name}; searched in {seconds:.1f} s. {RULE}.",
        "",
        *table(
            ("rank", "identification rate"),
            [(str(rank), rate_text(value, 2)) for rank, value in ranks.items()],
        ),
        "",
        *table(
            ("false accept rate", "true accept rate"),
            [(f"{rate:g}", str(point)) for rate, point in points.items()],
        ),
        "",
        *table(
            ("distractors", "rank-1 rate"),
            [(f"{size:,}", rate_text(value, 2)) for size, value in sizes.items()],
        ),
    ]
    accepted = point_numbers(points)
    numbers = {
        "data": data_numbers(probes),
        "distractors": {"count": found.distractors, "left_out": skipped},
        "model": probes.model,
        "seconds": seconds,
        "cmc": {str(rank): value.value for rank, value in ranks.items()},
        "cmc_intervals": {str(rank): interval(value) for rank, value in ranks.items()},
        "rank1": {str(size): value.value for size, value in sizes.items()},
        "rank1_intervals": {str(size): interval(value) for size, value in sizes.items()},
        "true_accept_at": accepted["true_match_at"],
        "true_accept_intervals": accepted["true_match_intervals"],
        "false_accept_intervals": accepted["false_match_intervals"],
        "not_supported": accepted["not_supported"],
    }
    figure = plot_megaface(found, name, probes.set.name)
    write_report(options.output, "megaface", figure, numbers, summary)
    return 0


def _distractors(
    options: argparse.Namespace, model: str
) -> tuple[npt.NDArray[np.float32], list[dict[str, str]]]:
    """The embeddings of the distractors, and the skipped images.

    Raises:
        InputError: If the distractors cannot be read or belong to another model.
    """
    place: Path = options.distractors
    if place.suffix == _MATRIX:
        return _read_matrix(place), []
    if place.suffix == VECTORS:
        known = read_vectors(place)
        require_same_model(known.model, model)
        return known.vectors, []
    if not place.is_dir():
        raise InputError("no such folder or file", where=str(place))
    paths = find_pictures([str(place)])
    images = tuple(FaceImage(path.relative_to(place).as_posix(), path) for path in paths)
    [source] = sources(options)
    found = embed(options, source, FaceSet(place.name, images), flip=options.flip)
    require_same_model(found.model, model)
    return found.vectors, data_numbers(found)["left_out"]


def _read_matrix(path: Path) -> npt.NDArray[np.float32]:
    """A float32 matrix of rows of unit length, memory-mapped from its file."""
    matrix = load_array(path, "a .npy matrix")
    if matrix.dtype != np.float32 or matrix.ndim != 2:
        raise InputError(
            f"expected a float32 matrix, got {matrix.dtype} {matrix.shape}", where=str(path)
        )
    require_unit_rows(matrix, path)
    return np.asanyarray(matrix)

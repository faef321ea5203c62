"""``mobileface-eval lfw | roc``: verification of genuine and impostor pairs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import InputError
from mobileface.matching.error_rates import Rate

from ..datasets.drawn_pairs import DrawnPairs, draw_pairs
from ..datasets.face_sets import FaceSet, read_folder, read_pairs, read_verification_set
from ..datasets.lfw import LfwResult, evaluate_lfw
from ..embedding import Embedded
from ..lfw_rates import LfwRates, lfw_rates
from ..measured import (
    RULE,
    VerificationRates,
    interval,
    point_numbers,
    rate_text,
    unsupported_line,
    verification_rates,
)
from ..people_scores import scores_of_people
from ..plots import plot_lfw, plot_roc
from ..rates import PairScores, Verification, all_pairs, verify
from ..report import table, write_report
from .comparison import compare_folder, compare_models
from .options import add_common, add_embedders, add_people

__all__ = ["PAIRS_FILE", "add_lfw", "add_roc"]

Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]

PAIRS_FILE = "lfw_pairs.txt"
"""The list of pairs that ``lfw --make-pairs`` writes into the folder of the report."""


def add_lfw(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval lfw``."""
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="SET",
        help="lfw.bin or a file in the same format, or a folder with one subfolder per person",
    )
    add(
        "--pairs", type=Path, metavar="FILE", help="list of pairs; default: pairs.txt in the folder"
    )
    add(
        "--make-pairs",
        type=int,
        metavar="SEED",
        help="draw pairs at random from the people of the folder, as many genuine as impostor "
        "pairs, no person in two folds; the list is written next to the report",
    )
    add("--folds", type=int, default=10, metavar="N", help="default: %(default)s")
    add(
        "--far",
        type=float,
        default=1e-3,
        metavar="RATE",
        help="false accept rate for VAL; default: %(default)s",
    )
    add(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="add the embedding of the mirror image, as published; default: yes",
    )
    add_embedders(parser, several=True)
    add_common(parser)
    parser.set_defaults(run=run_lfw)


def add_roc(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval roc``."""
    add_people(parser, several=True)
    parser.set_defaults(run=run_roc)


def run_lfw(options: argparse.Namespace) -> int:
    """Runs the protocol for each model and writes the report."""
    if options.folds < 2:
        raise InputError(f"--folds must be at least 2, not {options.folds}")
    if not 0 < options.far < 1:
        raise InputError(f"--far must be between 0 and 1, not {options.far}")
    face_set, drawn = _pairs(options)
    compared = compare_models(options, face_set, flip=options.flip)
    results: dict[str, LfwResult] = {}
    rates: dict[str, LfwRates] = {}
    for name, found in compared.models.items():
        distances, same = _distances(found)
        results[name] = evaluate_lfw(distances, same, folds=options.folds, far_target=options.far)
        rates[name] = lfw_rates(results[name], found.set, distances)
    count = len(same)
    head = ("model", "accuracy", "folds", f"VAL@FAR {options.far:g}", "AUC", "EER")
    rows = [
        (
            name,
            rate_text(rates[name].accuracy, 2),
            f"± {r.accuracy_std:.2%}",
            str(rates[name].val),
            _number_text(rates[name].all.auc),
            rate_text(rates[name].all.eer, 2),
        )
        for name, r in results.items()
    ]
    summary = [
        f"{count:,} pairs of {face_set.name}, {options.folds} folds, "
        f"{'embeddings of image and mirror image added' if options.flip else 'no mirror images'}"
        f"{compared.text()}",
        "",
        *table(head, rows),
        "",
        f"± is the standard deviation of the folds. {RULE}.",
    ]
    data = {**compared.data(), "pairs": count}
    if drawn is not None:
        data["made_pairs"] = drawn.record(options.output / PAIRS_FILE)
        summary.insert(1, f"Pairs drawn at random with --make-pairs {drawn.seed}.")
        drawn.write(options.output / PAIRS_FILE)
    numbers = {
        "data": data,
        "flip": options.flip,
        "models": [
            _lfw_numbers(name, compared.models[name], results[name], rates[name])
            for name in results
        ],
    }
    figure = plot_lfw(results, rates, face_set.name)
    write_report(options.output, "lfw", figure, numbers, summary)
    return 0


def _distances(found: Embedded) -> tuple[Floats, Truths]:
    """Squared distance of each pair, and whether it is genuine."""
    pairs, same = found.set.pairs, found.set.same
    assert pairs is not None
    assert same is not None
    gaps = found.vectors[pairs[:, 0]].astype(np.float64) - found.vectors[pairs[:, 1]]
    return (gaps**2).sum(axis=1), same


def _pairs(options: argparse.Namespace) -> tuple[FaceSet, DrawnPairs | None]:
    """The pairs that the options select, and how they were drawn if they were."""
    place: Path = options.data
    if options.make_pairs is not None:
        if options.pairs is not None or not place.is_dir():
            raise InputError("--make-pairs needs a folder as --data, and no --pairs")
        drawn = draw_pairs(read_folder(place), options.folds, options.make_pairs)
        return drawn.set, drawn
    if place.is_dir():
        listed = options.pairs or place / "pairs.txt"
        if options.pairs is None and not listed.is_file():
            raise InputError(
                "the folder has no pairs.txt",
                where=str(place),
                hint="pass a list with --pairs FILE, or draw pairs with --make-pairs SEED",
            )
        return read_pairs(listed, place), None
    if options.pairs is not None:
        raise InputError("--pairs requires a folder as --data", where=str(place))
    return read_verification_set(place), None


def _lfw_numbers(name: str, found: Embedded, result: LfwResult, rates: LfwRates) -> dict[str, Any]:
    supported = rates.val.true_match is not None
    return {
        "name": name,
        "model": found.model,
        "accuracy": result.accuracy,
        "accuracy_interval": interval(rates.accuracy),
        "accuracy_std": result.accuracy_std,
        "fold_accuracies": result.accuracies.tolist(),
        "fold_thresholds": result.thresholds.tolist(),
        "val": result.val if supported else None,
        "val_interval": interval(rates.val.true_match),
        "val_std": result.val_std if supported else None,
        "far": result.far if supported else None,
        "far_interval": interval(rates.val.false_match),
        "far_target": result.far_target,
        "not_supported": {} if supported else {"val": rates.val.reason},
        "auc": rates.all.auc.value,
        "auc_interval": interval(rates.all.auc),
        "eer": rates.all.eer.value,
        "eer_interval": interval(rates.all.eer),
    }


def run_roc(options: argparse.Namespace) -> int:
    """Compares models on all pairs of images of a folder and writes the report."""
    compared = compare_folder(options, options.folder, people=options.people, flip=options.flip)
    results: dict[str, tuple[PairScores, Verification]] = {}
    rates: dict[str, VerificationRates] = {}
    for name, found in compared.models.items():
        scores = all_pairs(found.vectors, found.set.labels)
        results[name] = scores, verify(scores)
        count = len(np.unique(found.set.labels))
        rates[name] = verification_rates(scores_of_people(found), count, *results[name])
    title = compared.first.set.name
    summary = [
        f"{len(scores.genuine):,} genuine and {len(scores.impostor):,} impostor pairs "
        f"from {title}{compared.text()}",
        "",
        *_roc_table(results, rates),
        "",
        f"{RULE}.",
    ]
    data = {
        **compared.data(),
        "genuine_pairs": len(scores.genuine),
        "impostor_pairs": len(scores.impostor),
    }
    numbers = {
        "data": data,
        "flip": options.flip,
        "models": [
            _roc_numbers(name, compared.models[name], results[name][1], rates[name])
            for name in results
        ],
    }
    write_report(options.output, "roc", plot_roc(results, rates, title), numbers, summary)
    return 0


def _roc_table(
    results: dict[str, tuple[PairScores, Verification]], rates: dict[str, VerificationRates]
) -> list[str]:
    """The table; false match rates that no model supports are named in one line below it."""
    points = {name: found.true_match_at for name, found in rates.items()}
    every = sorted(next(iter(points.values())), reverse=True)
    shown = [rate for rate in every if any(p[rate].true_match for p in points.values())]
    head = (
        "model",
        "mean, genuine",
        "mean, impostor",
        "AUC",
        "EER",
        "balanced accuracy",
        *(f"TMR@FMR {rate:g}" for rate in shown),
    )
    rows = [
        (
            name,
            f"{v.genuine_mean:.4f}",
            f"{v.impostor_mean:.4f}",
            _number_text(rates[name].auc),
            rate_text(rates[name].eer),
            f"{rate_text(rates[name].balanced_accuracy)} at {v.threshold:.3f}",
            *(str(points[name][rate]) for rate in shown),
        )
        for name, (_, v) in results.items()
    ]
    rest = [rate for rate in every if rate not in shown]
    reasons = [str(p[rate].reason) for p in points.values() for rate in rest]
    return [*table(head, rows), *unsupported_line(rest, reasons)]


def _number_text(rate: Rate) -> str:
    """A number that is not given in per cent, with its interval."""
    return f"{rate.value:.4f} ({rate.low:.4f} to {rate.high:.4f})"


def _roc_numbers(
    name: str, found: Embedded, result: Verification, rates: VerificationRates
) -> dict[str, Any]:
    return {
        "name": name,
        "model": found.model,
        "genuine_mean": result.genuine_mean,
        "impostor_mean": result.impostor_mean,
        "auc": rates.auc.value,
        "auc_interval": interval(rates.auc),
        "eer": rates.eer.value,
        "eer_interval": interval(rates.eer),
        "balanced_accuracy": rates.balanced_accuracy.value,
        "balanced_accuracy_interval": interval(rates.balanced_accuracy),
        # infinite if no threshold is better than to refuse every pair
        "threshold": result.threshold if np.isfinite(result.threshold) else None,
        **point_numbers(rates.true_match_at),
    }

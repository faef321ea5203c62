"""``mobileface-eval lfw | roc``: verification of genuine and impostor pairs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mobileface.errors import InputError

from ..datasets.face_sets import FaceSet, read_pairs, read_verification_set
from ..datasets.lfw import LfwResult, evaluate_lfw
from ..embedding import Embedded
from ..plots import plot_lfw, plot_roc
from ..rates import PairScores, Verification, all_pairs, verify
from ..report import table, write_report
from .options import (
    add_common,
    add_embedders,
    add_people,
    data_numbers,
    embed,
    embedded_sets,
    sources,
)

__all__ = ["add_lfw", "add_roc"]


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
    face_set = _pairs(options)
    results: dict[str, LfwResult] = {}
    models: list[dict[str, Any]] = []
    for source in sources(options):
        found = embed(options, source, face_set, flip=options.flip)
        pairs, same = found.set.pairs, found.set.same
        assert pairs is not None
        assert same is not None
        gaps = found.vectors[pairs[:, 0]].astype(np.float64) - found.vectors[pairs[:, 1]]
        count = len(same)
        result = evaluate_lfw(
            (gaps**2).sum(axis=1), same, folds=options.folds, far_target=options.far
        )
        results[source.label] = result
        models.append(_lfw_numbers(source.label, found, result))
    head = ("model", "accuracy", f"VAL@FAR {options.far:g}", "AUC", "EER")
    rows = [
        (
            name,
            f"{r.accuracy:.3%} ± {r.accuracy_std:.3%}",
            f"{r.val:.3%} ± {r.val_std:.3%} (FAR {r.far:.5f})",
            f"{r.auc:.5f}",
            f"{r.eer:.3%}",
        )
        for name, r in results.items()
    ]
    summary = [
        f"{count:,} pairs of {found.set.name}, {options.folds} folds, "
        f"{'embeddings of image and mirror image added' if options.flip else 'no mirror images'}"
        f"{_missing(found)}",
        "",
        *table(head, rows),
    ]
    numbers = {"data": {**data_numbers(found), "pairs": count}, "flip": options.flip}
    figure = plot_lfw(results, found.set.name)
    write_report(options.output, "lfw", figure, {**numbers, "models": models}, summary)
    return 0


def _pairs(options: argparse.Namespace) -> FaceSet:
    """The pairs that the options select."""
    place: Path = options.data
    if place.is_dir():
        return read_pairs(options.pairs or place / "pairs.txt", place)
    if options.pairs is not None:
        raise InputError("--pairs requires a folder as --data", where=str(place))
    return read_verification_set(place)


def _lfw_numbers(name: str, found: Embedded, result: LfwResult) -> dict[str, Any]:
    return {
        "name": name,
        "model": found.model,
        "accuracy": result.accuracy,
        "accuracy_std": result.accuracy_std,
        "fold_accuracies": result.accuracies.tolist(),
        "fold_thresholds": result.thresholds.tolist(),
        "val": result.val,
        "val_std": result.val_std,
        "far": result.far,
        "far_target": result.far_target,
        "auc": result.auc,
        "eer": result.eer,
    }


def run_roc(options: argparse.Namespace) -> int:
    """Compares models on all pairs of images of a folder and writes the report."""
    results: dict[str, tuple[PairScores, Verification]] = {}
    models: list[dict[str, Any]] = []
    for name, found in embedded_sets(
        options, options.folder, people=options.people, flip=options.flip
    ):
        scores = all_pairs(found.vectors, found.set.labels)
        results[name] = scores, verify(scores)
        models.append(_roc_numbers(name, found, results[name][1]))
    rates = sorted(results[name][1].true_match_at, reverse=True)
    head = (
        "model",
        "mean, genuine",
        "mean, impostor",
        "AUC",
        "EER",
        "balanced accuracy",
        *(f"TMR@FMR {rate:g}" for rate in rates),
    )
    rows = [
        (
            name,
            f"{v.genuine_mean:.4f}",
            f"{v.impostor_mean:.4f}",
            f"{v.auc:.4f}",
            f"{v.eer:.2%}",
            f"{v.balanced_accuracy:.4f} at {v.threshold:.3f}",
            *(f"{v.true_match_at[rate]:.2%}" for rate in rates),
        )
        for name, (_, v) in results.items()
    ]
    scores = results[name][0]
    summary = [
        f"{len(scores.genuine):,} genuine and {len(scores.impostor):,} impostor pairs "
        f"from {found.set.name}{_missing(found)}",
        "",
        *table(head, rows),
    ]
    data = {
        **data_numbers(found),
        "genuine_pairs": len(scores.genuine),
        "impostor_pairs": len(scores.impostor),
    }
    numbers = {"data": data, "flip": options.flip, "models": models}
    write_report(options.output, "roc", plot_roc(results, found.set.name), numbers, summary)
    return 0


def _roc_numbers(name: str, found: Embedded, result: Verification) -> dict[str, Any]:
    return {
        "name": name,
        "model": found.model,
        "genuine_mean": result.genuine_mean,
        "impostor_mean": result.impostor_mean,
        "auc": result.auc,
        "eer": result.eer,
        "balanced_accuracy": result.balanced_accuracy,
        "threshold": result.threshold,
        "true_match_at": {f"{rate:g}": value for rate, value in result.true_match_at.items()},
    }


def _missing(found: Embedded) -> str:
    return f"; {len(found.skipped)} images skipped" if found.skipped else ""

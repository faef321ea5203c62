"""``mobileface-eval tsne | confusion``: maps of embeddings and of similarities between people."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.manifold import TSNE

from mobileface.errors import InputError
from mobileface.matching.error_rates import Rate

from ..embedding import Embedded
from ..measured import interval, rate_text, share_of_images
from ..plots import plot_heat_map, plot_tsne
from ..report import table, write_report
from .options import add_people, data_numbers, embedded_sets

__all__ = ["add_confusion", "add_tsne"]

Floats = npt.NDArray[np.float64]

_MOST_CONFUSED = 10


def add_tsne(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval tsne``."""
    add_people(parser, several=False)
    add = parser.add_argument
    add("--perplexity", type=float, metavar="P", help="default: 30, or less for few images")
    add("--seed", type=int, default=0, metavar="N", help="random seed; default: %(default)s")
    parser.set_defaults(run=run_tsne)


def add_confusion(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval confusion``."""
    add_people(parser, several=False)
    parser.set_defaults(run=run_confusion)


def _only(options: argparse.Namespace) -> tuple[str, Embedded]:
    """Name and embeddings of the selected model."""
    return next(embedded_sets(options, options.folder, people=options.people, flip=options.flip))


def run_tsne(options: argparse.Namespace) -> int:
    """Draws the t-SNE map."""
    name, found = _only(options)
    count = len(found.vectors)
    if count < 4:
        raise InputError(
            f"a map needs at least 4 images, not {count}",
            where=found.set.name,
        )
    perplexity = options.perplexity or min(30.0, (count - 1) / 3)
    if not 0 < perplexity < count:
        raise InputError(
            f"--perplexity must be between 0 and {count}, the number of images, not {perplexity}"
        )
    # The squared Euclidean distance of unit vectors is 2 − 2·cosine.
    model = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=options.seed)
    points = np.asarray(model.fit_transform(found.vectors), np.float64)
    people = sorted(set(found.set.people or ()))
    nearest = _nearest_right(points, found.set.labels)
    summary = [
        f"t-SNE of {count} embeddings of {len(people)} people by {name}, perplexity "
        f"{perplexity:.3g}, seed {options.seed}, Kullback-Leibler divergence "
        f"{model.kl_divergence_:.3f}; "
        + (
            "no person has two images"
            if nearest is None
            else f"for {rate_text(nearest)} of the points, the nearest point is of the same person"
        ),
    ]
    numbers = {
        "data": data_numbers(found),
        "model": found.model,
        "perplexity": perplexity,
        "seed": options.seed,
        "kl_divergence": float(model.kl_divergence_),
        "nearest_is_same_person": None if nearest is None else nearest.value,
        "nearest_is_same_person_interval": interval(nearest),
        "points": [
            {"picture": face_image.name, "person": person, "x": float(x), "y": float(y)}
            for face_image, person, (x, y) in zip(
                found.set.images, found.set.people or (), points, strict=True
            )
        ],
    }
    title = f"t-SNE of {name}, {found.set.name}"
    figure = plot_tsne(points, found.set.labels, people, title, "t-SNE")
    write_report(options.output, "tsne", figure, numbers, summary)
    return 0


def _nearest_right(points: Floats, labels: npt.NDArray[np.int64]) -> Rate | None:
    """Share of points with the nearest neighbour of the same person; lone points do not count."""
    gaps = ((points[:, None] - points) ** 2).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    several = np.bincount(labels)[labels] > 1
    right = labels[gaps.argmin(axis=1)] == labels
    return share_of_images(right[several], labels[several]) if several.any() else None


def run_confusion(options: argparse.Namespace) -> int:
    """Draws the heat map and lists which people are confused with each other."""
    name, found = _only(options)
    people = sorted(set(found.set.people or ()))
    labels = found.set.labels
    similarity = found.vectors.astype(np.float64) @ found.vectors.T
    means = _person_means(similarity, labels)
    taken = _taken_for(similarity, labels)
    several = np.bincount(labels)[labels] > 1
    right = taken == labels
    rank1 = share_of_images(right[several], labels[several]) if several.any() else None
    wrong = [(n, other) for n, other in enumerate(taken) if other >= 0 and other != labels[n]]
    off = means.copy()
    np.fill_diagonal(off, -np.inf)
    first, second = np.unravel_index(
        np.argsort(np.triu(off, 1) - np.tri(len(off)) * 9, axis=None), off.shape
    )
    similar = list(zip(first[::-1], second[::-1], strict=True))[:_MOST_CONFUSED]
    shown = [(i, j) for i, j in similar if i < j]
    summary = [
        f"{len(labels)} images of {len(people)} people by {name}. Mean similarity of the same "
        f"person {np.nanmean(np.diag(means)):.4f}, of different people {_mean_off(means):.4f}. "
        + (
            f"For {rate_text(rank1)} of {several.sum()} images, the most similar other image is of "
            "the same person."
            if rank1 is not None
            else "No person has two images."
        ),
        "",
        *table(
            ("most similar people", "mean similarity"),
            [(f"{people[i]}, {people[j]}", f"{means[i, j]:.4f}") for i, j in shown],
        ),
    ]
    numbers: dict[str, Any] = {
        "data": data_numbers(found),
        "model": found.model,
        "people": people,
        "mean_similarity": [[None if np.isnan(v) else float(v) for v in row] for row in means],
        "rank1_accuracy": None if rank1 is None else rank1.value,
        "rank1_accuracy_interval": interval(rank1),
        "confused": [
            {"picture": found.set.images[n].name, "taken_for": people[other]} for n, other in wrong
        ],
    }
    title = f"Mean similarity between people, {name}, {found.set.name}"
    write_report(options.output, "confusion", plot_heat_map(means, people, title), numbers, summary)
    return 0


def _person_means(similarity: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Mean similarity between every two people; on the diagonal, between a person's images."""
    member = np.eye(labels.max() + 1)[labels]
    counts = member.sum(axis=0)
    sums = member.T @ similarity @ member
    pairs = np.outer(counts, counts)
    diagonal = np.arange(len(counts))
    sums[diagonal, diagonal] -= member.T @ np.diag(similarity)
    pairs[diagonal, diagonal] -= counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, sums / pairs, np.nan))


def _taken_for(similarity: Floats, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The person of the most similar other image; -1 for people with one image."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    several = np.bincount(labels)[labels] > 1
    return np.where(several, labels[others.argmax(axis=1)], -1)


def _mean_off(means: Floats) -> float:
    """Mean over all pairs of different people; nan for one person."""
    return float(means[~np.eye(len(means), dtype=bool)].mean()) if len(means) > 1 else float("nan")

"""Pairs for the LFW protocol, drawn at random from a folder of people.

As in LFW's own view 2, no person is in two folds, and each fold has as many genuine as impostor
pairs (G. B. Huang et al., "Labeled Faces in the Wild", technical report 07-49, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import InputError
from mobileface.host.files import write_aside

from .face_sets import FaceSet

__all__ = ["DrawnPairs", "draw_pairs"]

MOST = 300
"""Largest number of genuine pairs in a fold, LFW's."""

_MOST_IMAGES = 3000
"""Number of images in a fold that pairs are drawn from; bounds the memory for all their pairs."""

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DrawnPairs:
    """Pairs, and how they were drawn.

    Attributes:
        set: The pairs, fold after fold.
        seed: The random seed.
        each: Number of genuine pairs in each fold, and of impostor pairs.
        folds: Number of folds.
    """

    set: FaceSet
    seed: int
    each: int
    folds: int

    def record(self, path: Path) -> dict[str, Any]:
        """The report's entry, as a JSON object."""
        return {"seed": self.seed, "folds": self.folds, "each": self.each, "file": str(path)}

    def write(self, path: Path) -> None:
        """Writes the list, in the form ``FILE<TAB>FILE<TAB>0|1`` that `read_pairs` reads.

        Raises:
            OutputError: If the file cannot be written.
        """
        assert self.set.pairs is not None
        assert self.set.same is not None
        names = [image.name for image in self.set.images]
        lines = [
            f"{names[a]}\t{names[b]}\t{int(flag)}"
            for (a, b), flag in zip(self.set.pairs, self.set.same, strict=True)
        ]
        write_aside(path, "\n".join([f"{self.folds}\t{self.each}", *lines]) + "\n")


def draw_pairs(face_set: FaceSet, folds: int, seed: int) -> DrawnPairs:
    """Draws pairs.

    Args:
        face_set: The images, with the people they show.
        folds: Number of folds.
        seed: Random seed; the same seed and files give the same pairs.

    Raises:
        InputError: If there are too few people, or too few of them have two images.
    """
    if seed < 0:
        raise InputError(f"--make-pairs needs a seed of at least 0, not {seed}")
    labels = face_set.labels
    counts = np.bincount(labels)
    random = np.random.default_rng(seed)
    order = random.permutation(len(counts))
    # People with several images first, so that each fold gets its share of them.
    order = order[np.argsort(counts[order] < 2, kind="stable")]
    parts = [order[number::folds] for number in range(folds)]
    choices = [_pairs_of(_images_of(part, labels, counts, random), labels) for part in parts]
    each = min(MOST, *(min(len(genuine), len(impostor)) for genuine, impostor in choices))
    if not each:
        several = int((counts > 1).sum())
        most = min(several, len(counts) // 2)
        hint = f"use at most --folds {most}" if most > 1 else "add images and people"
        raise InputError(
            f"{len(counts)} people, {several} of them with several images, are too few for "
            f"{folds} folds that share nobody",
            where=face_set.name,
            hint=hint,
        )
    drawn = [random.choice(pairs, each, replace=False) for choice in choices for pairs in choice]
    same = np.tile(np.repeat([True, False], each), folds)
    pairs = np.concatenate(drawn)
    kept, places = np.unique(pairs, return_inverse=True)
    people = face_set.people or ()
    chosen = FaceSet(
        face_set.name,
        tuple(face_set.images[number] for number in kept),
        tuple(people[number] for number in kept),
        np.asarray(places.reshape(pairs.shape), np.int64),
        same,
    )
    return DrawnPairs(chosen, seed, each, folds)


def _images_of(people: Whole, labels: Whole, counts: Whole, random: np.random.Generator) -> Whole:
    """The images of as many people as `_MOST_IMAGES` allow, ascending."""
    within = np.cumsum(counts[people]) <= _MOST_IMAGES
    within[:2] = True
    images = np.flatnonzero(np.isin(labels, people[within]))
    if len(images) > _MOST_IMAGES:
        images = np.sort(random.choice(images, _MOST_IMAGES, replace=False))
    return images


def _pairs_of(images: Whole, labels: Whole) -> tuple[Whole, Whole]:
    """All genuine and all impostor pairs of some images, int64 (P, 2) each."""
    first, second = np.triu_indices(len(images), 1)
    pairs = np.stack([images[first], images[second]], axis=1)
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    return pairs[same], pairs[~same]

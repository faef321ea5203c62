"""From embeddings to people: similarities, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError, InputError
from ..types import FloatArray
from .database import Database
from .engine import ExactEngine, SearchEngine
from .entries import Identification, Match, check_embedding
from .exact import best_rows, similarities
from .matrix import FaceMatrix
from .stamp import Stamp

__all__ = ["Searcher", "Templates"]

Templates = Literal["best", "mean"]

_AT_ONCE = 256
"""Probes that are searched together."""

_MOST_TOP = 10_000

Hit = tuple[int, int | None, float]
"""Person, face (None: a mean), similarity."""


class Searcher:
    """Searches one gallery.

    Args:
        database: Its file.
        stamp: Its stamp.
    """

    def __init__(self, database: Database, stamp: Stamp) -> None:
        self._database, self._stamp = database, stamp
        self.matrix = FaceMatrix(database, stamp)
        self._exact = ExactEngine()
        self._means: tuple[tuple[str, int], FloatArray, npt.NDArray[np.int64]] | None = None

    def search(
        self,
        embeddings: FloatArray,
        *,
        top: int,
        threshold: float | None,
        rates: Mapping[str, float | None],
        templates: Templates,
        engine: SearchEngine | None,
    ) -> list[Identification]:
        """As `mobileface.gallery.Gallery.search`."""
        if not 1 <= top <= _MOST_TOP:
            raise InputError(f"top {top} is not a number from 1 to {_MOST_TOP}")
        if templates not in ("best", "mean"):
            raise InputError(f"templates '{templates}' is neither 'best' nor 'mean'")
        if templates == "mean" and engine is not None:
            raise InputError("mean templates are searched exactly, not by another engine")
        rows = [np.asarray(row) for row in np.atleast_2d(np.asarray(embeddings))]
        probes = [check_embedding(row, self._stamp.size) for row in rows]
        with self._database.read():
            self.matrix.refresh()
            count = self.comparisons(templates)
            least = self._threshold(threshold, rates, count)
            found: list[Identification] = []
            for start in range(0, len(probes), _AT_ONCE):
                some = np.stack(probes[start : start + _AT_ONCE])
                hits = self._hits(some, max(top, 2), templates, engine)
                found += [self._identified(each, top, least, count) for each in hits]
        self.matrix.confirm()
        return found

    def comparisons(self, templates: Templates) -> int:
        """How many comparisons one search makes, after the matrix was refreshed."""
        return len(self._mean_templates()[1]) if templates == "mean" else self.matrix.rows

    def _hits(
        self, probes: FloatArray, top: int, templates: Templates, engine: SearchEngine | None
    ) -> Iterator[list[Hit]]:
        """The best people for each probe, the best first."""
        if templates == "mean":
            means, people = self._mean_templates()
            for rows, products in best_rows([means], probes, top):
                numbers = people[rows]
                yield [
                    (int(person), None, float(product))
                    for person, product in zip(numbers, products, strict=True)
                ]
            return
        # So many faces belong to at least so many people, whoever has the most faces.
        count = (top - 1) * max(self.matrix.most_faces, 1) + 1
        chosen = (engine or self._exact).candidates(self.matrix, probes, count)
        parts = [part[0] for part in self.matrix.parts()]
        for probe, rows in zip(probes, chosen, strict=True):
            rows = np.sort(rows)
            products = similarities(parts, rows, probe)
            order = np.argsort(-products, kind="stable")
            _, faces, persons = self.matrix.take(rows)
            yield _of_each_person(persons[order], faces[order], products[order], top)

    def _identified(
        self, hits: list[Hit], top: int, threshold: float | None, comparisons: int
    ) -> Identification:
        matches = tuple(self._match(*hit, comparisons) for hit in hits)
        runner_up = matches[1] if len(matches) > 1 else None
        return Identification(matches[:top], runner_up, threshold, comparisons)

    def _match(self, person: int, face: int | None, similarity: float, comparisons: int) -> Match:
        name = self._database.value("SELECT name FROM person WHERE id = ?", (person,))
        if name is None:
            raise GalleryError(
                f"damaged: face {face} belongs to nobody", where=str(self._database.path)
            )
        calibration = self._stamp.calibration
        if calibration is None:
            return Match(name, person, face, similarity)
        return Match(
            name,
            person,
            face,
            similarity,
            calibration.false_match_rate(similarity),
            calibration.false_identification_rate(similarity, comparisons),
        )

    def _threshold(
        self, threshold: float | None, rates: Mapping[str, float | None], comparisons: int
    ) -> float | None:
        """The least cosine that is accepted, as a cosine or a rate asks for it."""
        asked = {name: rate for name, rate in rates.items() if rate is not None}
        if (threshold is not None) + len(asked) > 1:
            raise InputError("give one of threshold, fmr and fpir")
        if threshold is not None:
            if not -1 <= threshold <= 1:  # false for nan
                raise InputError(f"threshold {threshold} is no cosine")
            return threshold
        if not asked:
            return None
        calibration = self._stamp.calibration
        if calibration is None:
            raise InputError(
                f"no calibration says what similarities of {self._stamp.model} mean, so "
                f"{next(iter(asked))} cannot be asked for",
                where=str(self._database.path),
                hint="give a cosine as threshold, or add a calibration with "
                "'mobileface gallery calibrate'",
            )
        if "fmr" in asked:
            return calibration.threshold(asked["fmr"])
        rate = asked["fpir"]
        if not 0 < rate < 1:
            raise InputError(f"a false identification rate of {rate} is not between 0 and 1")
        return calibration.threshold(float(-np.expm1(np.log1p(-rate) / max(comparisons, 1))))

    def _mean_templates(self) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """The mean of each person's embeddings, at unit length, and who each is."""
        key = (self.matrix.epoch, self.matrix.last)
        if self._means is None or self._means[0] != key:
            self._means = (key, *_means(self.matrix))
        return self._means[1], self._means[2]


def _of_each_person(
    persons: npt.NDArray[np.int64],
    faces: npt.NDArray[np.int64],
    products: npt.NDArray[np.float64],
    top: int,
) -> list[Hit]:
    """The best face of each person, of rows that the best come first of."""
    hits: dict[int, Hit] = {}
    for person, face, product in zip(persons, faces, products, strict=True):
        if int(person) not in hits:
            hits[int(person)] = (int(person), int(face), float(product))
            if len(hits) == top:
                break
    return list(hits.values())


def _means(matrix: FaceMatrix) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Unit means of the embeddings of each person, float32 (P, D), and the persons (P,)."""
    parts = matrix.parts()
    persons = np.concatenate([part[2] for part in parts] or [np.empty(0, np.int64)])
    people, which = np.unique(persons, return_inverse=True)
    sums = np.zeros((len(people), matrix.size), np.float32)
    offset = 0
    for vectors, faces, _ in parts:
        for start in range(0, len(faces), 4096):
            block = np.asarray(vectors[start : start + 4096], np.float32)
            place = offset + start
            np.add.at(sums, which[place : place + len(block)], block)
        offset += len(faces)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(lengths, 1e-12), np.float32), people

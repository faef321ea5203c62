"""Searches a gallery: from embeddings to people, similarities and error rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError, InputError
from ..matching.decisions import DecisionRule, decision_rule
from ..types import FloatArray
from .checksums import checksum
from .database import Database
from .engine import ExactEngine, SearchEngine
from .entries import Identification, Match, check_embedding
from .exact import best_rows, similarities
from .matrix import FaceMatrix
from .stamp import Stamp

__all__ = ["Searcher", "Templates"]

Templates = Literal["best", "mean"]

_BATCH = 256
"""Number of probes searched together."""

_MAX_TOP = 10_000

Hit = tuple[int, int | None, float]
"""Person ID, face ID (None for an averaged template) and similarity."""


class Searcher:
    """Searches one gallery.

    Args:
        database: The gallery's database.
        stamp: The gallery's model stamp.
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
        """See `mobileface.gallery.Gallery.search`."""
        if not 1 <= top <= _MAX_TOP:
            raise InputError(f"top must be from 1 to {_MAX_TOP}, not {top}")
        _check_templates(templates)
        if templates == "mean" and engine is not None:
            raise InputError("averaged templates only support the exact search, not an engine")
        rows = [np.asarray(row) for row in np.atleast_2d(np.asarray(embeddings))]
        probes = [check_embedding(row, self._stamp.size) for row in rows]
        with self._database.read():
            self.matrix.refresh()
            count = self.comparisons(templates)
            rule = self._rule(threshold, rates, count)
            found: list[Identification] = []
            for start in range(0, len(probes), _BATCH):
                some = np.stack(probes[start : start + _BATCH])
                hits = self._hits(some, max(top, 2), templates, engine)
                found += [self._identified(each, top, rule, count) for each in hits]
        self.matrix.confirm()
        return found

    def rule(
        self, *, threshold: float | None, rates: Mapping[str, float | None], templates: Templates
    ) -> DecisionRule | None:
        """See `mobileface.gallery.Gallery.decision_rule`."""
        _check_templates(templates)
        with self._database.read():
            self.matrix.refresh()
            return self._rule(threshold, rates, self.comparisons(templates))

    def comparisons(self, templates: Templates) -> int:
        """Number of comparisons per search; call it after the matrix was refreshed."""
        return len(self._mean_templates()[1]) if templates == "mean" else self.matrix.rows

    def _hits(
        self, probes: FloatArray, top: int, templates: Templates, engine: SearchEngine | None
    ) -> Iterator[list[Hit]]:
        """For each probe, the most similar people, sorted by similarity, highest first."""
        if templates == "mean":
            means, people = self._mean_templates()
            for rows, products in best_rows([means], probes, top):
                numbers = people[rows]
                yield [
                    (int(person), None, float(product))
                    for person, product in zip(numbers, products, strict=True)
                ]
            return
        # Any ``count`` faces belong to at least ``top`` different people.
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
        self, hits: list[Hit], top: int, rule: DecisionRule | None, comparisons: int
    ) -> Identification:
        matches = tuple(self._match(*hit, comparisons) for hit in hits)
        runner_up = matches[1] if len(matches) > 1 else None
        return Identification(matches[:top], runner_up, rule, comparisons)

    def _match(self, person: int, face: int | None, similarity: float, comparisons: int) -> Match:
        row = self._database.row("SELECT id, name, checksum FROM person WHERE id = ?", (person,))
        if row is None or row[2] != checksum(*row[:2]):
            what = "is missing" if row is None else "is damaged"
            raise GalleryError(
                f"corrupt: the row of person {person} {what}",
                where=str(self._database.path),
                hint="restore it from a backup",
            )
        name = row[1]
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

    def _rule(
        self, threshold: float | None, rates: Mapping[str, float | None], comparisons: int
    ) -> DecisionRule | None:
        return decision_rule(
            self._stamp.calibration,
            threshold=threshold,
            **rates,
            comparisons=comparisons,
            model=self._stamp.model,
            where=str(self._database.path),
        )

    def _mean_templates(self) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """The L2-normalized mean of each person's embeddings, and the person IDs."""
        key = (self.matrix.epoch, self.matrix.last)
        if self._means is None or self._means[0] != key:
            self._means = (key, *_means(self.matrix))
        return self._means[1], self._means[2]


def _check_templates(templates: str) -> None:
    if templates not in ("best", "mean"):
        raise InputError(f"templates must be 'best' or 'mean', not '{templates}'")


def _of_each_person(
    persons: npt.NDArray[np.int64],
    faces: npt.NDArray[np.int64],
    products: npt.NDArray[np.float64],
    top: int,
) -> list[Hit]:
    """The most similar face of each person, from rows sorted by similarity, highest first."""
    hits: dict[int, Hit] = {}
    for person, face, product in zip(persons, faces, products, strict=True):
        if int(person) not in hits:
            hits[int(person)] = (int(person), int(face), float(product))
            if len(hits) == top:
                break
    return list(hits.values())


def _means(matrix: FaceMatrix) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """L2-normalized mean embedding of each person, float32 (P, D), and the person IDs (P,)."""
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
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(norms, 1e-12), np.float32), people

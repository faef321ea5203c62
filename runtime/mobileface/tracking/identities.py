"""The people of one video: their numbers, and what they look like."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..errors import InputError
from ..types import FloatArray

__all__ = ["Identities"]

_NEWEST = 0.3
"""Share of the latest embedding in the mean of an identity."""

_MARGIN = 0.5
"""Of the distance between "the same" and "not alike at all": a known track is given up only when
its face is clearly another's."""


class Identities:
    """Numbers from 1 on, and a running mean embedding of each.

    Args:
        same_person: Least cosine of one person's embeddings; None: embeddings are not used.
        memory: Identities that are remembered.

    Raises:
        InputError: An option out of range.
    """

    def __init__(self, same_person: float | None, memory: int) -> None:
        if same_person is not None and not -1 < same_person < 1:
            raise InputError(f"same_person {same_person} is no cosine between -1 and 1")
        if memory < 1:
            raise InputError(f"memory {memory} is below 1")
        self._same_person, self._memory = same_person, memory
        self._count = 0
        self._means: dict[int, FloatArray] = {}

    @property
    def used(self) -> bool:
        """True if embeddings count."""
        return self._same_person is not None

    def next(self) -> int:
        """A number that nobody has."""
        self._count += 1
        return self._count

    def remember(self, track_id: int, embedding: FloatArray) -> None:
        """Adds an embedding, (D,), to what an identity looks like; the oldest identity may go.

        Zeros, of a face that could not be embedded, say nothing and are not taken in.
        """
        if not embedding.any():
            return
        before = self._means.pop(track_id, None)
        mean = embedding if before is None else (1 - _NEWEST) * before + _NEWEST * embedding
        self._means[track_id] = np.asarray(mean / np.linalg.norm(mean), np.float32)
        if len(self._means) > self._memory:
            self._means.pop(next(iter(self._means)))

    def find(self, embedding: FloatArray, *, without: Collection[int | None]) -> int | None:
        """The identity that looks most alike, if it looks like the same person.

        Args:
            embedding: (D,), of unit length.
            without: Identities that are in the picture already.
        """
        known = [track_id for track_id in self._means if track_id not in without]
        if not known or self._same_person is None or not embedding.any():
            return None
        cosines = np.stack([self._means[track_id] for track_id in known]) @ embedding
        best = int(cosines.argmax())
        return known[best] if cosines[best] >= self._same_person else None

    def agrees(self, track_id: int, embedding: FloatArray) -> bool:
        """False if a face is clearly not that identity; True if nothing is known of it."""
        if track_id not in self._means or self._same_person is None or not embedding.any():
            return True
        cosine = float(self._means[track_id] @ embedding)
        return 1 - cosine <= (1 - self._same_person) * (1 + _MARGIN)

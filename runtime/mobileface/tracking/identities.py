"""The identities of one video: their IDs and mean embeddings."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..errors import InputError
from ..types import FloatArray

__all__ = ["Identities"]

_NEW_WEIGHT = 0.3
"""Weight of the latest embedding in the mean of an identity."""

_MARGIN = 0.5
"""Margin by which the cosine distance of a face may exceed that of ``same_person`` before the face
is considered another person's: 0.5 means 1.5 times as far."""


class Identities:
    """IDs, starting at 1, each with a running mean embedding.

    Args:
        same_person: Cosine at or above which two embeddings are considered the same person; None
            disables the use of embeddings.
        memory: Maximum number of identities that are remembered.

    Raises:
        InputError: If an option is out of range.
    """

    def __init__(self, same_person: float | None, memory: int) -> None:
        if same_person is not None and not -1 < same_person < 1:
            raise InputError(f"same_person {same_person} is not a cosine between -1 and 1")
        if memory < 1:
            raise InputError(f"memory must be at least 1, not {memory}")
        self._same_person, self._memory = same_person, memory
        self._count = 0
        self._means: dict[int, FloatArray] = {}

    @property
    def used(self) -> bool:
        """True if embeddings are used."""
        return self._same_person is not None

    def next(self) -> int:
        """An unused ID."""
        self._count += 1
        return self._count

    def remember(self, track_id: int, embedding: FloatArray) -> None:
        """Adds an embedding, (D,), to the mean of an identity.

        If the memory is full, the identity that was updated least recently is forgotten. Zeros, of
        a face that could not be embedded, are ignored.
        """
        if not embedding.any():
            return
        before = self._means.pop(track_id, None)
        mean = embedding if before is None else (1 - _NEW_WEIGHT) * before + _NEW_WEIGHT * embedding
        self._means[track_id] = np.asarray(mean / np.linalg.norm(mean), np.float32)
        if len(self._means) > self._memory:
            self._means.pop(next(iter(self._means)))

    def find(self, embedding: FloatArray, *, without: Collection[int | None]) -> int | None:
        """The most similar identity; None if none is similar enough to be the same person.

        Args:
            embedding: (D,), L2-normalized.
            without: Identities to exclude, because they are already in the frame.
        """
        known = [track_id for track_id in self._means if track_id not in without]
        if not known or self._same_person is None or not embedding.any():
            return None
        cosines = np.stack([self._means[track_id] for track_id in known]) @ embedding
        best = int(cosines.argmax())
        return known[best] if cosines[best] >= self._same_person else None

    def agrees(self, track_id: int, embedding: FloatArray) -> bool:
        """False if a face clearly is not the given identity; True if that cannot be decided."""
        if track_id not in self._means or self._same_person is None or not embedding.any():
            return True
        cosine = float(self._means[track_id] @ embedding)
        return 1 - cosine <= (1 - self._same_person) * (1 + _MARGIN)

"""Names for the tracks of a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..tracking.follower import FollowedFace
from .entries import Identification
from .gallery import Gallery

__all__ = ["TrackNames"]

_MAX_TRACKS = 4096


class TrackNames:
    """Identifies the faces of a video; searches the gallery only when an embedding has changed.

    Without a rule, because there is no calibration and no threshold, everybody is unknown.

    Args:
        gallery: The gallery.
        threshold: Similarity threshold (cosine).
        fmr: False match rate that determines the threshold instead.
        fpir: False positive identification rate that determines the threshold instead.

    Attributes:
        gallery: The gallery.
        rule: The rule at the start; that of each `Identification` follows the gallery's size.

    Raises:
        InputError: As for `Gallery.search`.
    """

    def __init__(
        self,
        gallery: Gallery,
        *,
        threshold: float | None = None,
        fmr: float | None = None,
        fpir: float | None = None,
    ) -> None:
        self.gallery = gallery
        self._wanted: dict[str, Any] = {"threshold": threshold, "fmr": fmr, "fpir": fpir}
        self.rule = gallery.decision_rule(**self._wanted)
        self._known: dict[int, tuple[bytes, Identification]] = {}

    def require(self, analyzer: FaceAnalyzer) -> None:
        """Checks that an analyzer uses the gallery's model; see `Stamp.require_model`."""
        self.gallery.stamp.require_model(analyzer.embedder, str(self.gallery.path))

    def __call__(self, faces: Sequence[FollowedFace]) -> dict[int, Identification]:
        """The identifications of a frame's faces, by `track_id`; omits faces without embedding."""
        keys = {
            followed.track_id: followed.face.embedding.tobytes()
            for followed in faces
            if followed.face.embedding is not None and followed.face.embedding.any()
        }
        fresh = [
            track_id
            for track_id, key in keys.items()
            if track_id not in self._known or self._known[track_id][0] != key
        ]
        if fresh:
            vectors = np.stack([np.frombuffer(keys[track_id], np.float32) for track_id in fresh])
            found = self.gallery.search(vectors, top=1, **self._wanted)
            for track_id, result in zip(fresh, found, strict=True):
                self._known[track_id] = (keys[track_id], result)
        while len(self._known) > _MAX_TRACKS:
            self._known.pop(next(iter(self._known)))
        return {track_id: self._known[track_id][1] for track_id in keys if track_id in self._known}

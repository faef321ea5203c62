"""Similarities as clients of other face services expect them: 0 to 1, 0.5 at our threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import ModelNotFoundError
from ..matching.calibration import Calibration
from ..matching.decisions import decision_rule
from .picture_analysis import require_embedder
from .service import Service

__all__ = ["SAME_FROM", "SimilarityScale", "scale_of"]

SAME_FROM = 0.5
"""Similarity that the default threshold is mapped to."""

_USUAL = 0.97
"""Similarity that the median of genuine pairs (two photos of one person) is mapped to."""

_LEAST_SHARE = 0.1
"""The median counts as at least this share of the way from the threshold to 1."""


@dataclass(frozen=True, slots=True)
class SimilarityScale:
    """A strictly monotone map from cosines to similarities between 0 and 1.

    ``(1 + tanh(steepness · (cosine − threshold))) / 2``: the threshold, by default that of a false
    match rate of 0.1 %, becomes 0.5, and the median of the calibration's genuine pairs 0.97. So
    whatever a client's own threshold from 0.5 up, no pair passes it that our decision refuses.

    Attributes:
        threshold: Cosine that becomes 0.5.
        steepness: Twice the slope at the threshold.
    """

    threshold: float
    steepness: float

    @classmethod
    def of(cls, calibration: Calibration | None, model: str) -> SimilarityScale:
        """The scale of a model.

        Args:
            calibration: The model's calibration; None if there is none.
            model: `Embedder.identity` of the model, for error messages.

        Raises:
            ModelNotFoundError: If there is no calibration that supports a decision.
        """
        rule = decision_rule(calibration, model=model)
        if calibration is None or rule is None:
            raise ModelNotFoundError(
                f"no calibration of {model}, so its similarities have no scale",
                hint="run 'mobileface-eval calibrate'",
            )
        # Of equal rates np.interp uses the last, here the highest cosine.
        rates = calibration.false_non_match_curve.value
        median = float(np.interp(0.5, rates, calibration.similarity))
        least = _LEAST_SHARE * (1 - rule.threshold)
        spread = max(median - rule.threshold, least, 1e-6)
        return cls(rule.threshold, math.atanh(2 * _USUAL - 1) / spread)

    def __call__(self, cosine: float) -> float:
        """The similarity, 0 to 1, of a cosine, −1 to 1."""
        return (1 + math.tanh(self.steepness * (cosine - self.threshold))) / 2


def scale_of(service: Service) -> SimilarityScale:
    """The scale of the service's model: by the gallery's calibration if there is a gallery.

    Raises:
        ModelNotFoundError: If there is no identification model, or no calibration of it.
    """
    embedder = require_embedder(service)
    calibration = service.calibration
    if service.has_gallery:
        with service.gallery() as gallery:
            calibration = gallery.stamp.calibration
    return SimilarityScale.of(calibration, embedder.identity)

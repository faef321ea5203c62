"""Measures how well two sets of outputs agree, and defines the required tolerances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ParityError

__all__ = ["Agreement", "Bounds", "compare_outputs"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tolerances of a conversion.

    Attributes:
        max_abs_error: Maximum absolute difference of output elements.
        min_cosine: Minimum cosine of corresponding output rows.
        mean_cosine: Minimum of the mean of these cosines; -1 for no requirement.
    """

    max_abs_error: float
    min_cosine: float
    mean_cosine: float = -1.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two sets of outputs.

    Attributes:
        oracle: Name of the reference implementation.
        inputs: Number of inputs.
        max_abs_error: Largest absolute difference of any element.
        min_cosine: Smallest cosine of corresponding rows.
        scale: Largest absolute value of the reference outputs.
        mean_cosine: Mean of the cosines.
    """

    oracle: str
    inputs: int
    max_abs_error: float
    min_cosine: float
    scale: float
    mean_cosine: float = 1.0

    def within(self, bounds: Bounds) -> bool:
        """True if all values are within the tolerances; False for NaN."""
        return (
            self.max_abs_error <= bounds.max_abs_error
            and self.min_cosine >= bounds.min_cosine
            and self.mean_cosine >= bounds.mean_cosine
        )

    def failure(self, bounds: Bounds) -> str:
        """The measured and the allowed values, for an error message."""
        parts = [
            f"max abs error {self.max_abs_error:.3g} (allowed {bounds.max_abs_error:.3g})",
            f"min cosine {self.min_cosine:.9f} (allowed {bounds.min_cosine:.9f})",
        ]
        if bounds.mean_cosine > -1:
            parts.append(f"mean cosine {self.mean_cosine:.6f} (allowed {bounds.mean_cosine:.6f})")
        return ", ".join(parts)


def compare_outputs(found: FloatArray, expected: FloatArray, oracle: str) -> Agreement:
    """Measures the agreement of two (N, …) outputs.

    Raises:
        ParityError: If the shapes differ.
    """
    if found.shape != expected.shape:
        raise ParityError(f"the output has shape {found.shape}, that of {oracle} {expected.shape}")
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (found, expected))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.where(norms > 0, (a * b).sum(axis=1) / np.where(norms > 0, norms, 1), 1.0)
    cosines[(norms == 0) & (a != b).any(axis=1)] = 0.0
    return Agreement(
        oracle=oracle,
        inputs=len(a),
        max_abs_error=float(np.abs(a - b).max(initial=0.0)),
        min_cosine=float(min(cosines.min(initial=1.0), 1.0)),
        scale=float(np.abs(b).max(initial=0.0)),
        mean_cosine=float(min(cosines.mean(), 1.0)) if len(cosines) else 1.0,
    )

"""Smooths points over time: still ones a lot, moving ones little."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["PointSmoother"]

_DEFAULT_STEP = 0.04
"""Seconds between two frames whose times are not in order."""


class PointSmoother:
    """The 1€ filter (Casiez, Roussel, Vogel 2012, https://doi.org/10.1145/2207676.2208639).

    x̂ = a·x + (1 − a)·x̂ of the frame before, with a = 1 / (1 + 1 / (2π·f·Δt)) and the cutoff
    frequency f = ``cutoff`` + ``speed_factor`` · v. Here v is one number for all points, so that
    their shape stays: the length of the mean step per second, in units of the points' spread (root
    mean square distance from their mean), low-pass filtered at 1 Hz as published.

    Args:
        cutoff: Cutoff frequency of points at rest, in Hz.
        speed_factor: By how many Hz it grows for each spread per second.
    """

    def __init__(self, cutoff: float = 2.0, speed_factor: float = 10.0) -> None:
        self._cutoff, self._factor = cutoff, speed_factor
        self._points: npt.NDArray[np.float64] | None = None
        self._velocity: npt.NDArray[np.float64] | None = None
        self._time = 0.0

    def __call__(self, points: npt.ArrayLike, time: float) -> npt.NDArray[np.float64]:
        """The smoothed points of the next frame.

        Args:
            points: (P, D), finite; as many in each frame.
            time: Seconds.

        Returns:
            float64 (P, D).
        """
        given = np.asarray(points, np.float64)
        if self._points is None or self._velocity is None:
            self._points, self._velocity = given, np.zeros(given.shape[1])
        else:
            step = time - self._time
            step = step if step > 0 else _DEFAULT_STEP
            spread = math.sqrt(float(((given - given.mean(axis=0)) ** 2).sum(axis=1).mean()))
            velocity = (given - self._points).mean(axis=0) / step / max(spread, 1e-9)
            self._velocity = self._velocity + _share(1.0, step) * (velocity - self._velocity)
            cutoff = self._cutoff + self._factor * float(np.linalg.norm(self._velocity))
            self._points = self._points + _share(cutoff, step) * (given - self._points)
        self._time = time
        return self._points


def _share(cutoff: float, step: float) -> float:
    """The share of a new value, for a cutoff in Hz and a step in seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))

"""How long to wait before a camera is opened again."""

from __future__ import annotations

import random

__all__ = ["Pauses"]

_FIRST, _LONGEST, _JITTER = 0.25, 1.0, 0.25
_REFUSALS, _REFUSED, _LONGEST_REFUSED = 3, 60.0, 600.0
"""Many cameras lock an account, for everybody, after five or seven wrong passwords."""


class Pauses:
    """Pauses that grow, from a quarter of a second to one second.

    From the third refusal of the login on they grow from a minute to ten.
    """

    def __init__(self) -> None:
        self._random = random.Random()
        self._pause, self._refusals = _FIRST, 0

    def opened(self) -> None:
        """The camera was open: its login is right."""
        self._refusals = 0

    def sent(self) -> None:
        """The camera has sent frames."""
        self._pause = _FIRST

    def next(self, *, refused: bool = False) -> float:
        """Seconds until the next attempt.

        Args:
            refused: The camera has refused the login.
        """
        self._refusals += refused
        if refused and self._refusals >= _REFUSALS:
            return min(_REFUSED * 2.0 ** (self._refusals - _REFUSALS), _LONGEST_REFUSED)
        pause = self._pause * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        self._pause = min(2 * self._pause, _LONGEST)
        return min(pause, _LONGEST)

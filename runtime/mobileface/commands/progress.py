"""A progress line on the terminal."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

_EVERY = 0.2
"""Seconds between two updates."""


class Progress:
    """Counts steps and shows their number, the rate and the remaining time on a terminal.

    Args:
        total: Total number of steps; None if unknown.
        unit: Name of the steps, in the plural.

    Attributes:
        done: Number of completed steps.
    """

    def __init__(self, total: int | None, unit: str = "") -> None:
        self.done = 0
        self._total, self._unit = total, unit
        self._start = self._shown = time.monotonic()
        self._visible = sys.stderr.isatty()
        self._written = False

    @property
    def rate(self) -> float:
        """Steps per second so far."""
        return self.done / max(time.monotonic() - self._start, 1e-9)

    def step(self) -> None:
        """Advances the progress by one step."""
        self.advance(1)

    def advance(self, steps: int) -> None:
        """Advances the progress by a number of steps."""
        self.done += steps
        now = time.monotonic()
        if self._visible and (now - self._shown >= _EVERY or self.done == self._total):
            self._shown = now
            self._show()

    def end(self) -> None:
        """Ends the progress line."""
        if self._written:
            self._show()
            print(file=sys.stderr, flush=True)
            self._written = False

    def _show(self) -> None:
        rate = self.rate
        count = f"{self.done}" if self._total is None else f"{self.done}/{self._total}"
        text = f"{count} {self._unit}".rstrip() + f"  {rate:.1f}/s"
        if self._total is not None:
            text += f"  {max(self._total - self.done, 0) / max(rate, 1e-9):.0f} s left"
        print(f"\r{text}  ", end="", file=sys.stderr, flush=True)
        self._written = True

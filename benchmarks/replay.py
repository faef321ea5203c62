"""Engines measured in turn, and handed to pytest-benchmark engine by engine.

Measuring one engine after the other would charge a change of the machine's speed to one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["measure_in_turn", "report"]

Item = TypeVar("Item")


def measure_in_turn(
    engines: Mapping[str, Callable[[Item], Any]],
    items: Sequence[Item],
    rounds: int,
    warm_up: int,
) -> dict[str, list[float]]:
    """Seconds that each engine needs for each item, item by item, engine by engine.

    Args:
        engines: What to run, by name.
        items: Inputs; they are rotated.
        rounds: Measurements an engine.
        warm_up: Runs an engine before that.
    """
    measured: dict[str, list[float]] = {name: [] for name in engines}
    for count in range(warm_up + rounds):
        for name, run in engines.items():
            item = items[count % len(items)]
            start = time.perf_counter()
            run(item)
            if count >= warm_up:
                measured[name].append(time.perf_counter() - start)
    return measured


def report(benchmark: Any, group: str, engine: str, seconds: Sequence[float]) -> None:
    """Hands measured times to pytest-benchmark's statistics, through a clock that replays them."""
    clock = _Clock()
    replay = iter(seconds)
    benchmark.group = group
    benchmark.extra_info["engine"] = engine
    benchmark._timer = clock
    rounds = len(seconds)
    benchmark.pedantic(lambda: clock.advance(next(replay)), rounds=rounds, iterations=1)


class _Clock:
    """A timer that stands still except where a measured time is replayed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

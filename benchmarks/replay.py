"""Engines measured in turn, and handed to pytest-benchmark engine by engine.

Measuring one engine after the other would charge a change of the machine's speed to one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import pytest

from benchmarks.engines import UnavailableError
from mobileface.diagnostics.measure import measure_in_turn, summarise

__all__ = ["OURS", "Contest", "replay", "report"]

OURS = "mobileface"
"""The engine that others are compared with."""

Item = TypeVar("Item")


@dataclass
class Contest(Generic[Item]):
    """Engines that do the same, measured in turn on rotating inputs when the first is asked for.

    Attributes:
        group: What they do.
        makers: Makes each engine; raises `UnavailableError` where it is not there.
        items: The inputs.
        rounds: Measurements an engine.
        extra: What the results say beside the times: task, model, batch …
        turn: As `measure_in_turn` takes it.
        absent: Engines that are not there, with the reason.
        outputs: What each engine gave for the first inputs, where that is an array.
    """

    group: str
    makers: Mapping[str, Callable[[], Callable[[Item], Any]]]
    items: Sequence[Item]
    rounds: int
    extra: Mapping[str, Any] = field(default_factory=dict)
    turn: int = 1
    absent: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, list[np.ndarray[Any, Any]]] = field(default_factory=dict)
    _seconds: dict[str, list[float]] = field(default_factory=dict)

    def seconds(self, engine: str) -> list[float]:
        """An engine's times, in seconds.

        Raises:
            UnavailableError: It is not there.
        """
        if not self._seconds:
            engines = self._make()
            warm_up = max(2, self.rounds // 10)
            self._seconds = measure_in_turn(
                engines, self.items, self.rounds, warm_up, turn=self.turn
            )
        if engine in self.absent:
            raise UnavailableError(self.absent[engine])
        return self._seconds[engine]

    def error(self, engine: str, oracle: str) -> float | None:
        """Largest difference of an engine's outputs from another's; None if one has none."""
        pair = self.outputs.get(engine), self.outputs.get(oracle)
        if pair[0] is None or pair[1] is None:
            return None
        differences = [np.abs(a.ravel() - b.ravel()).max() for a, b in zip(*pair, strict=True)]
        return float(max(differences))

    def _make(self) -> dict[str, Callable[[Item], Any]]:
        """The engines that are there; each has run every input once."""
        engines = {}
        for name, make in self.makers.items():
            try:
                run = make()
                outputs = [run(item) for item in self.items]
            except UnavailableError as error:
                self.absent[name] = str(error)
                continue
            engines[name] = run
            if isinstance(outputs[0], np.ndarray):
                self.outputs[name] = outputs
        return engines


def report(
    benchmark: Any,
    contest: Contest[Any],
    engine: str,
    facts: list[dict[str, Any]] | None = None,
) -> None:
    """Hands an engine's times to pytest-benchmark's statistics, through a clock that replays them.

    An engine that is not there is skipped, and noted among the facts.
    """
    try:
        seconds = contest.seconds(engine)
    except UnavailableError as error:
        if facts is not None:
            facts.append(
                {"fact": "absent", "group": contest.group, "engine": engine, "reason": str(error)}
            )
        pytest.skip(f"{engine}: {error}")
    benchmark.extra_info.update(contest.extra, engine=engine, threads=1)
    benchmark.extra_info["p90"] = summarise(seconds).p90
    replay(benchmark, contest.group, seconds)


def replay(benchmark: Any, group: str, seconds: Sequence[float]) -> None:
    """Replays measured times."""
    clock = _Clock()
    times = iter(seconds)
    benchmark.group = group
    benchmark._timer = clock
    rounds = len(seconds)
    benchmark.pedantic(lambda: clock.advance(next(times)), rounds=rounds, iterations=1)


class _Clock:
    """A timer that stands still except where a measured time is replayed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

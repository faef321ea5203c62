"""Measures engines with interleaved runs and passes the timings to pytest-benchmark.

If the engines ran one after the other, a change in the machine's speed would affect only one of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import pytest

from benchmarks.engines import UnavailableError
from mobileface.host.measure import measure_in_turn, summarise

__all__ = ["OURS", "Contest", "replay", "report"]

OURS = "mobileface"
"""The engine that the others are compared with."""

Item = TypeVar("Item")


@dataclass
class Contest(Generic[Item]):
    """Engines for the same task, measured with interleaved runs on rotating inputs.

    The measurement happens when the timings of any engine are first requested.

    Attributes:
        group: Name of the benchmark group.
        makers: Functions that create each engine; they raise `UnavailableError` if the engine is
            not available.
        items: The inputs.
        rounds: Number of measurements per engine.
        extra: Additional fields of the results: task, model, batch …
        turn: As for `measure_in_turn`.
        absent: Reasons by name for engines that are not available.
        outputs: Outputs of each engine for all inputs, if they are arrays.
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
        """An engine's timings, in seconds.

        Raises:
            UnavailableError: If the engine is not available.
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
        """Largest difference between the outputs of two engines; None if either has no outputs."""
        pair = self.outputs.get(engine), self.outputs.get(oracle)
        if pair[0] is None or pair[1] is None:
            return None
        differences = [np.abs(a.ravel() - b.ravel()).max() for a, b in zip(*pair, strict=True)]
        return float(max(differences))

    def _make(self) -> dict[str, Callable[[Item], Any]]:
        """Creates the available engines and runs every input once on each."""
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
    """Passes an engine's timings to pytest-benchmark, using a clock that replays them.

    If the engine is not available, the test is skipped and the reason is added to ``facts``.
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
    """Replays measured times, in seconds, as one pytest-benchmark run."""
    clock = _Clock()
    times = iter(seconds)
    benchmark.group = group
    benchmark._timer = clock
    rounds = len(seconds)
    benchmark.pedantic(lambda: clock.advance(next(times)), rounds=rounds, iterations=1)


class _Clock:
    """A timer that advances only when a measured time is replayed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

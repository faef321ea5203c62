"""Measures run time and memory: interleaved, with rotating inputs, and in fresh processes.

If candidates were measured one after the other, a change of the machine's speed would affect only
one of them. Measurements of candidates that are compared are therefore interleaved. A time is the
median of many runs; the 90th percentile shows how much it varies.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import InputError

__all__ = [
    "Fresh",
    "Timing",
    "measure_fresh",
    "measure_in_turn",
    "measure_within",
    "peak_memory",
    "summarise",
]

Item = TypeVar("Item")

_SLICE = 0.03
"""Seconds per turn in `measure_within`."""

_WARM_UP = 3
"""Number of runs that are not counted, to fill caches and allocate memory."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A measured run time.

    Attributes:
        median: Median of the runs, in seconds.
        p90: 90th percentile of the runs, in seconds.
        runs: Number of measured runs.
    """

    median: float
    p90: float
    runs: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """Time and memory used by a fresh process.

    Attributes:
        seconds: Time from the first statement to the end of the work, without the start of Python.
        peak_bytes: Peak resident memory; None if the system does not provide it.
    """

    seconds: float
    peak_bytes: int | None


def summarise(seconds: Sequence[float]) -> Timing:
    """Median and 90th percentile of one or more measured times."""
    ordered = sorted(seconds)
    rank = -(-9 * len(ordered) // 10)  # nearest-rank percentile: one of the measured times
    return Timing(statistics.median(ordered), ordered[rank - 1], len(ordered))


def measure_in_turn(
    engines: Mapping[str, Callable[[Item], object]],
    items: Sequence[Item],
    rounds: int,
    warm_up: int,
    *,
    turn: int = 1,
) -> dict[str, list[float]]:
    """Measures the run times of several engines, interleaved.

    The order of the engines is shuffled in each round: an engine leaves its data in the CPU's
    caches, which speeds up or slows down the next one.

    Args:
        engines: The functions to measure, by name.
        items: Inputs, which are rotated.
        rounds: Number of measurements per engine.
        warm_up: Number of uncounted runs per engine before the measurements.
        turn: Number of consecutive measurements of one engine. If it is greater than 1, each turn
            begins with an uncounted run, so that all engines find their own data in the caches.

    Returns:
        The measured times in seconds, by engine.
    """
    shuffled = random.Random(0)
    measured: dict[str, list[float]] = {name: [] for name in engines}
    for run in engines.values():
        for count in range(warm_up):
            run(items[count % len(items)])
    for first in range(0, rounds, turn):
        for name in shuffled.sample(list(engines), len(engines)):
            run = engines[name]
            if turn > 1:
                run(items[(first - 1) % len(items)])
            for count in range(first, min(first + turn, rounds)):
                start = time.perf_counter()
                run(items[count % len(items)])
                measured[name].append(time.perf_counter() - start)
    return measured


def measure_within(
    works: Mapping[str, Callable[[int], object]],
    seconds: float,
    progress: Callable[[], None] | None = None,
) -> dict[str, Timing]:
    """Measures functions of very different run times, interleaved, within a time limit.

    They take turns of a few hundredths of a second or one run, whichever is longer, so that fast
    functions are measured more often than slow ones.

    Args:
        works: The functions to measure, by name; each is called with the number of its run, to
            rotate inputs.
        seconds: Time limit; each function is measured at least once, even if that takes longer.
        progress: Progress callback, called after each turn.
    """
    measured: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds
    for work in works.values():
        begin = time.perf_counter()
        for number in range(_WARM_UP):
            work(number)
            if time.perf_counter() - begin > seconds / (4 * len(works)):
                break
    first = True
    while first or time.perf_counter() < end:
        first = False
        for name, work in works.items():
            _turn(work, measured[name])
            if progress is not None:
                progress()
    return {name: summarise(times) for name, times in measured.items()}


def _turn(work: Callable[[int], object], times: list[float]) -> None:
    """Runs one function for its time slice."""
    begin = start = time.perf_counter()
    while start - begin < _SLICE:
        work(len(times))
        now = time.perf_counter()
        times.append(now - start)
        start = now


_FRESH = """
import time
_start = time.perf_counter()
{code}
_seconds = time.perf_counter() - _start
import json
from mobileface.host.measure import peak_memory
_peak = peak_memory()
print()
print(json.dumps([_seconds, _peak]))
"""


def measure_fresh(
    code: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Fresh:
    """Measures Python code in a new process of this interpreter.

    Args:
        code: Statements, not indented; ``sys.argv[1:]`` contains the arguments.
        arguments: Arguments of the code.
        environment: Environment variables to set in addition to those of this process.

    Raises:
        InputError: If the code fails; the error contains the last line of its error output.
    """
    command = [sys.executable, "-c", _FRESH.format(code=code), *arguments]
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, "PYTHONPATH": path, **(environment or {})}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise InputError(f"a fresh process failed ({lines[-1]})")
    seconds, peak = json.loads(result.stdout.splitlines()[-1])
    return Fresh(float(seconds), peak if peak is None else int(peak))


def peak_memory() -> int | None:
    """Peak resident memory of this process in bytes; None if the system does not provide it.

    On Linux this is the kernel's high-water mark: the value of `resource.getrusage` includes the
    memory of the parent process at the time it started this one.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return _peak_by_usage()
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return _peak_by_usage()


def _peak_by_usage() -> int | None:
    try:
        import resource  # not available on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

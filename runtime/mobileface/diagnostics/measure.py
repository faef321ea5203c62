"""Measuring time and memory: in turn, on rotating inputs, and from fresh processes.

Measuring one thing after the other would charge a change of the machine's speed to one of them. So
everything that is compared runs in turn. A time is the median of many runs; the 90th percentile
says how steady it was.
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
"""Seconds that one thing runs until it is the next one's turn."""

_WARM_UP = 3
"""Runs that are not counted: caches fill, and memory is claimed."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long something takes.

    Attributes:
        median: Seconds; half of the runs took no longer.
        p90: Seconds; nine of ten runs took no longer.
        runs: How many were measured.
    """

    median: float
    p90: float
    runs: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a fresh process needed.

    Attributes:
        seconds: From its first statement to the end of its work; the start of Python itself is
            not counted.
        peak_bytes: The most memory that it held at a time (resident); None if the system does not
            tell.
    """

    seconds: float
    peak_bytes: int | None


def summarise(seconds: Sequence[float]) -> Timing:
    """Median and 90th percentile of measured times, of which there is at least one."""
    ordered = sorted(seconds)
    rank = -(-9 * len(ordered) // 10)  # nearest rank: a time that was measured
    return Timing(statistics.median(ordered), ordered[rank - 1], len(ordered))


def measure_in_turn(
    engines: Mapping[str, Callable[[Item], object]],
    items: Sequence[Item],
    rounds: int,
    warm_up: int,
    *,
    turn: int = 1,
) -> dict[str, list[float]]:
    """Seconds that each engine needs for each item, engine by engine.

    The order of the engines is another one every time: what ran before leaves its data in the
    CPU's caches, which helps or hinders the next.

    Args:
        engines: What to run, by name.
        items: Inputs; they are rotated.
        rounds: Measurements an engine.
        warm_up: Runs an engine before that.
        turn: Measurements until it is the next engine's turn. If more than one, a turn begins with
            a run that is not counted, so that all find their own data in the caches.
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
    """Times of several things of very different length, in a limited time.

    They run in turn, each for a few hundredths of a second or one run, whichever is longer, so
    that a quick one is measured more often than a slow one.

    Args:
        works: What to run, by name; each gets the number of its run, to rotate inputs by.
        seconds: How long to go on. Each is measured once at least, however long that takes.
        progress: Called after every turn.
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
    """Runs one thing for its time slice."""
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
from mobileface.diagnostics.measure import peak_memory
_peak = peak_memory()
print()
print(json.dumps([_seconds, _peak]))
"""


def measure_fresh(
    code: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Fresh:
    """Runs Python code in a new process of this interpreter.

    Args:
        code: Statements, not indented; ``sys.argv[1:]`` are the arguments.
        arguments: For the code.
        environment: Variables to set beside those of this process.

    Raises:
        InputError: The code failed; says with what.
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
    """The most memory that this process ever held at a time, in bytes (resident).

    On Linux the number of `resource.getrusage` begins with what the parent held when it started
    this process; the kernel's own high-water mark does not.
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
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Measured times and memory, against numpy and against what the work is known to need."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.host.environment import describe_environment
from mobileface.host.measure import (
    measure_fresh,
    measure_in_turn,
    measure_within,
    peak_memory,
    summarise,
)
from mobileface.vision.synthetic_faces import draw_frames


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 100, 101])
def test_median_and_p90(count: int) -> None:
    values = np.random.RandomState(count).rand(count)
    timing = summarise(values.tolist())
    assert timing.median == pytest.approx(np.median(values), rel=1e-15)
    assert timing.p90 == np.percentile(values, 90, method="inverted_cdf")
    assert timing.runs == count


@pytest.mark.parametrize("turn", [1, 3, 4])
def test_in_turn_every_engine_gets_the_same_items(turn: int) -> None:
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    engines = {name: calls.append for name, calls in seen.items()}
    measured = measure_in_turn(engines, [1, 2, 3], 10, 2, turn=turn)
    assert {name: len(times) for name, times in measured.items()} == dict.fromkeys("abc", 10)
    assert seen["a"] == seen["b"] == seen["c"]
    leads = 0 if turn == 1 else -(-10 // turn)
    assert len(seen["a"]) == 10 + 2 + leads
    assert set(seen["a"]) == {1, 2, 3}


def test_in_turn_no_engine_always_follows_the_same_one() -> None:
    order: list[str] = []
    engines = {name: (lambda _, name=name: order.append(name)) for name in "abcd"}
    measure_in_turn(engines, [0], 60, 0)
    after_a = {order[i + 1] for i, name in enumerate(order[:-1]) if name == "a"}
    assert after_a >= {"b", "c", "d"}


def test_in_turn_tells_slow_from_quick() -> None:
    engines = {"slow": lambda _: time.sleep(0.004), "quick": lambda _: time.sleep(0.001)}
    measured = measure_in_turn(engines, [0], 8, 1)
    assert min(measured["slow"]) >= 0.004
    assert summarise(measured["quick"]).median < summarise(measured["slow"]).median


def test_within_measures_quick_things_more_often_and_ends_in_time() -> None:
    works = {"slow": lambda _: time.sleep(0.02), "quick": lambda _: time.sleep(0.0005)}
    steps: list[None] = []
    start = time.perf_counter()
    timings = measure_within(works, 0.4, lambda: steps.append(None))
    assert time.perf_counter() - start >= 0.4
    assert timings["quick"].runs > 3 * timings["slow"].runs
    assert timings["slow"].median >= 0.02
    assert len(steps) % 2 == 0


def test_within_measures_once_at_least() -> None:
    numbers: list[int] = []
    timings = measure_within({"one": numbers.append, "two": lambda _: time.sleep(0.05)}, 1e-9)
    assert timings["two"].runs == 1
    assert timings["one"].runs >= 1


def test_fresh_process_counts_its_own_time_and_memory() -> None:
    """A process that fills 60 MB more needs 60 MB more, and one that sleeps takes longer."""
    small = measure_fresh("value = 1")
    large = measure_fresh("block = bytearray(60_000_000)\nimport time; time.sleep(0.2)")
    assert large.seconds - small.seconds >= 0.15
    if sys.platform == "linux":
        assert large.peak_bytes is not None
        assert small.peak_bytes is not None
        assert large.peak_bytes - small.peak_bytes == pytest.approx(60e6, rel=0.05)


def test_fresh_process_does_not_inherit_the_peak() -> None:
    """``ru_maxrss`` would begin with this process's memory; the kernel's own mark does not."""
    block = np.ones(80_000_000, np.uint8)
    fresh = measure_fresh("value = 1")
    assert block.all()
    own = peak_memory()
    if sys.platform == "linux":
        assert own is not None
        assert fresh.peak_bytes is not None
        assert own > 80e6 > 2 * fresh.peak_bytes


def test_fresh_process_gets_arguments_and_variables() -> None:
    code = "import os, sys\nassert sys.argv[1:] == ['a b', 'c'] and os.environ['SOME'] == 'x'"
    measure_fresh(code, ["a b", "c"], {"SOME": "x"})


def test_fresh_process_that_fails() -> None:
    with pytest.raises(InputError, match="ValueError: too bad"):
        measure_fresh("raise ValueError('too bad')")


def test_environment_is_json_and_names_no_place() -> None:
    text = json.dumps(describe_environment())
    assert json.loads(text)["cpus_usable"] >= 1
    assert "/" not in text.replace("/proc", "")


def test_drawn_frames_are_all_different_and_seeded() -> None:
    first, second = draw_frames(3, 120, 160), draw_frames(3, 120, 160)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[0].shape == (120, 160, 3)
    assert first[0].dtype == np.uint8
    assert not np.array_equal(first[0], first[1])

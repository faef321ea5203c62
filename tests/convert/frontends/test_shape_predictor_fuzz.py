"""Damaged shape predictor files: each is refused with our own error, or is safe to use."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
import pytest

from mobileface.errors import SourceFormatError
from mobileface_convert.frontends.shape_predictor import ShapePredictor, read_shape_predictor
from mobileface_convert.frontends.shape_predictor_onnx import build_landmark_graph
from mobileface_convert.frontends.shape_predictor_reference import evaluate
from tests.convert.frontends.dlib_writer import (
    random_shape_predictor,
    shape_predictor_bytes,
    shape_predictor_integers,
    stream_bytes,
)

MUTANTS = 2000
REAL_MUTANTS = 40
GRAPHS_EACH = 25
"""One in so many of the mutants that load is also built and run; building takes most time."""
LONGEST_SECONDS = 1.0
"""Of the processor: other processes do not count."""

STRANGE_INTEGERS = [0, 1, -1, 2, 255, 2**15, 2**31, -(2**31), 2**32 + 1, 2**62, 2**63 - 1]
BOXES = np.array([[10, 10, 90, 90], [-50, -50, 20, 20], [5, 5, 5, 5], [90, 80, 10, -30]])


def damage_bytes(random: np.random.Generator, data: bytes) -> tuple[str, bytes]:
    """Flips one bit or several, cuts the file off, or inserts or deletes up to eight bytes."""
    place = int(random.integers(len(data)))
    length = int(random.integers(1, 9))
    kind = str(random.choice(["bit", "bits", "truncate", "insert", "delete"]))
    if kind in {"bit", "bits"}:
        changed = bytearray(data)
        for _ in range(1 if kind == "bit" else length):
            changed[random.integers(len(data))] ^= 1 << int(random.integers(8))
        return kind, bytes(changed)
    if kind == "truncate":
        return kind, data[:place]
    if kind == "insert":
        return kind, data[:place] + random.bytes(length) + data[place:]
    return kind, data[:place] + data[place + length :]


def damage_integers(random: np.random.Generator, values: list[int]) -> tuple[str, bytes]:
    """Changes one integer, most often among the first, where the counts are."""
    changed = list(values)
    index = int(random.integers(random.choice([20, len(values)])))
    strange = [*STRANGE_INTEGERS, values[index] + 1, values[index] - 1, -values[index]]
    changed[index] = int(strange[random.integers(len(strange))])
    return "integer", stream_bytes(changed)


def mutants(seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged files, each with the kind of its damage."""
    random = np.random.default_rng(seed)
    model = random_shape_predictor(seed, 3, 2, 6, 3, 12)
    values, data = shape_predictor_integers(model), shape_predictor_bytes(model)
    for _ in range(MUTANTS):
        if random.random() < 0.4:
            yield damage_integers(random, values)
        else:
            yield damage_bytes(random, data)


def read_mutant(data: bytes) -> ShapePredictor | None:
    """The model, or None where it was refused; bounds time and memory either way."""
    tracemalloc.start()
    start = time.process_time()
    try:
        return read_shape_predictor(data, "mutant.dat")
    except SourceFormatError:
        return None
    finally:
        seconds = time.process_time() - start
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < LONGEST_SECONDS
        assert peak < 60 * len(data) + 500_000


def assert_consistent(model: ShapePredictor) -> None:
    """All sizes agree, all numbers are finite and all indices are in range."""
    points, cascades, trees, pixels = model.points, model.cascades, model.trees, model.pixels
    splits = 2**model.depth - 1
    assert model.initial_shape.shape == (points, 2)
    assert model.anchors.shape == (cascades, pixels)
    assert model.deltas.shape == (cascades, pixels, 2)
    assert model.thresholds.shape == (cascades, trees, splits)
    assert model.leaves.shape == (cascades, trees, splits + 1, points, 2)
    for indices, count in (
        (model.anchors, points),
        (model.first_pixels, pixels),
        (model.second_pixels, pixels),
    ):
        assert indices.min() >= 0
        assert indices.max() < count
    for floats in (model.initial_shape, model.deltas, model.thresholds, model.leaves):
        assert np.isfinite(floats).all()


def run_graph(model: ShapePredictor, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = ir.to_proto(build_landmark_graph(model)).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    landmarks: npt.NDArray[np.float32] = session.run(None, {"image": image, "boxes": BOXES})[0]
    return landmarks


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_damaged_files_are_refused_or_safe(seed: int, noise: npt.NDArray[np.uint8]) -> None:
    outcomes: Counter[str] = Counter()
    for number, (kind, data) in enumerate(mutants(seed)):
        model = read_mutant(data)
        outcomes[f"{kind} {'refused' if model is None else 'loaded'}"] += 1
        if model is None:
            continue
        assert_consistent(model)
        landmarks = evaluate(model, noise, BOXES)
        if number % GRAPHS_EACH == 0:
            outcomes["graphs"] += 1
            np.testing.assert_array_equal(run_graph(model, noise), landmarks.astype(np.float32))
    print(dict(sorted(outcomes.items())))
    assert sum(outcomes.values()) - outcomes["graphs"] == MUTANTS
    assert outcomes["graphs"] >= 10


@pytest.mark.slow
def test_damaged_real_files_are_refused_or_safe(
    source_root: Path, noise: npt.NDArray[np.uint8]
) -> None:
    path = source_root / "MobileFace_Landmark" / "mobileface_landmark_eme_v1.dat"
    data = path.read_bytes()
    random = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for _ in range(REAL_MUTANTS):
        kind, damaged = damage_bytes(random, data)
        model = read_mutant(damaged)
        outcomes[f"{kind} {'refused' if model is None else 'loaded'}"] += 1
        if model is not None:
            assert_consistent(model)
            found = run_graph(model, noise)
            np.testing.assert_array_equal(found, evaluate(model, noise, BOXES).astype(np.float32))
    print(dict(sorted(outcomes.items())))
    assert sum(outcomes.values()) == REAL_MUTANTS
    assert outcomes["bit loaded"] > 0

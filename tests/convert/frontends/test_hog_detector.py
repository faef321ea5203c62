"""The reader of dlib's detector files and the graph made of them."""

from __future__ import annotations

import sys
import time
import tracemalloc

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from mobileface.errors import ConversionError, SourceFormatError
from mobileface.models.kinds import HogSpec
from mobileface_convert.frontends.hog_detector import (
    HogDetector,
    installed_detector_bytes,
    read_hog_detector,
)
from mobileface_convert.frontends.hog_histogram import orientation_table
from mobileface_convert.frontends.hog_onnx import build_hog_graph
from tests.convert.frontends.hog_cases import (
    evaluate_scores,
    require_dlib,
    session_run,
    small_detector,
    write_detector,
    write_integer,
)

SCORE_TOLERANCE = 1e-4
"""Scores are around 1; magnitudes rounded to 1/512 leave errors of a quarter of this."""


def model_bytes(detector: HogDetector) -> bytes:
    serialized: bytes = ir.to_proto(build_hog_graph(detector)).SerializeToString()
    return serialized


def test_reads_what_was_written() -> None:
    detector = small_detector()
    read = read_hog_detector(write_detector(detector), "small.svm")
    for name, value in vars(detector).items():
        np.testing.assert_array_equal(getattr(read, name), value, err_msg=name)


def test_reads_installed_detector() -> None:
    require_dlib()
    detector = read_hog_detector(installed_detector_bytes(), "installed")
    assert (detector.window_width, detector.window_height, detector.cell_size) == (80, 80, 8)
    assert detector.filters.shape == (5, 31, 10, 10)
    assert detector.filters.dtype == np.float64
    np.testing.assert_allclose(
        detector.thresholds, [3.2745, 3.9868, 3.8959, 3.5149, 3.5580], atol=1e-4
    )
    assert detector.overlap_threshold == pytest.approx(0.33008, abs=1e-5)
    assert detector.covered_threshold == pytest.approx(0.78857, abs=1e-5)


def test_without_dlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ConversionError, match="pip install dlib-bin"):
        installed_detector_bytes()


def test_spec_reaches_the_runtime() -> None:
    spec = HogSpec(image="image", output="scores", **small_detector().to_spec())  # type: ignore[arg-type]
    assert (spec.filters, spec.filter_rows, spec.filter_columns) == (2, 3, 4)
    assert (spec.pyramid_step, spec.overlap_threshold) == (6, 0.375)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("detector version", 3),
        ("scanner version", 2),
        ("feature extractor state", 1),
        ("cell size", 0),
        ("cell size", 2),
        ("padding", 1),
        ("padding", -1),
        ("window width", 33),
        ("window height", 1 << 40),
        ("layer width", 0),
        ("pyramid levels", 0),
        ("number of weights", 10),
        ("overlap threshold", 1.5),
        ("covered threshold", -0.25),
        ("number of filters", 0),
        ("number of filters", 3),
        ("number of filters", 1),
    ],
)
def test_refuses_impossible_fields(field: str, value: int | float) -> None:
    data = write_detector(small_detector(), **{field: value})
    with pytest.raises(SourceFormatError, match=r"^bad\.svm, byte \d+"):
        read_hog_detector(data, "bad.svm")


def test_refuses_bytes_after_the_end() -> None:
    with pytest.raises(SourceFormatError, match="1 more integers follow"):
        read_hog_detector(write_detector(small_detector()) + write_integer(0), "long.svm")


def test_refuses_every_truncation() -> None:
    data = write_detector(small_detector())
    for size in [*range(200), *range(200, len(data), 97)]:
        with pytest.raises(SourceFormatError):
            read_hog_detector(data[:size], "short.svm")


def test_thousand_mutations_load_or_raise() -> None:
    data = write_detector(small_detector())
    generator = np.random.default_rng(5)
    loaded = 0
    tracemalloc.start()
    start = time.perf_counter()
    for _ in range(1000):
        mutated = bytearray(data)
        # Half of the mutations hit the header, which decides what is read and how much.
        reach = 120 if generator.random() < 0.5 else len(data)
        for _ in range(generator.integers(1, 4)):
            mutated[generator.integers(reach)] = generator.integers(256)
        if generator.random() < 0.1:
            del mutated[generator.integers(len(mutated)) :]
        try:
            read_hog_detector(bytes(mutated), "mutated.svm")
            loaded += 1
        except ConversionError:
            pass
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{loaded} of 1000 loaded, {seconds:.1f} s, peak {peak / 1e6:.2f} MB")
    assert peak < 2e6
    assert seconds < 60


def test_orientations_turn_with_the_gradient() -> None:
    table = orientation_table()
    assert table.shape == (511, 511)
    angles = np.deg2rad(np.arange(18) * 20)
    steps = np.round(200 * np.stack([np.cos(angles), np.sin(angles)])).astype(int) + 255
    np.testing.assert_array_equal(table[steps[0], steps[1]], np.arange(18))
    # An upright gradient lies between directions 4 and 5, and the first of equals counts.
    assert table[255, 256] == 4
    assert table[255, 254] == 13


def test_graph_is_valid_and_small() -> None:
    proto = ir.to_proto(build_hog_graph(small_detector()))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 17
    assert len(proto.SerializeToString()) < 400_000


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(20, 20), (37, 53), (64, 61), (83, 100), (92, 44)])
def test_graph_equals_evaluator(channels: int, size: tuple[int, int]) -> None:
    detector = small_detector()
    generator = np.random.default_rng(size[0])
    noise = generator.integers(0, 256, (channels, *size))
    smooth = np.add.outer(np.arange(size[0]) * 2, np.arange(size[1])) % 256
    run = session_run(model_bytes(detector))
    for values in (noise, smooth + noise // 32, np.full_like(noise, 7)):
        planes = np.clip(values, 0, 255).astype(np.uint8)
        planes = np.ascontiguousarray(np.broadcast_to(planes, noise.shape))
        expected = evaluate_scores(planes, detector)
        scores = run(planes)
        assert scores.shape == expected.shape
        error = float(np.abs(scores - expected).max())
        print(f"{channels} channels of {size}: largest error {error:.1e}")
        assert error < SCORE_TOLERANCE


def test_strongest_gradients_do_not_overflow() -> None:
    """Period-four stripes: as many full-scale gradients as an image can have."""
    detector = small_detector()
    stripes = np.where(np.arange(64) % 4 < 2, 0, 255).astype(np.uint8)
    planes = np.ascontiguousarray(np.broadcast_to(stripes, (1, 64, 64)))
    diagonal = np.roll(planes, 1, axis=2)
    for image in (planes, diagonal, planes.transpose(0, 2, 1).copy()):
        error = np.abs(session_run(model_bytes(detector))(image) - evaluate_scores(image, detector))
        assert error.max() < SCORE_TOLERANCE

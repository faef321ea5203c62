"""Reading, evaluating and building shape predictors. Points must be those of dlib: all, exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from mobileface.errors import ImageError, InputError, SourceFormatError
from mobileface_convert.frontends.shape_predictor import ShapePredictor, read_shape_predictor
from mobileface_convert.frontends.shape_predictor_onnx import build_landmark_graph
from mobileface_convert.frontends.shape_predictor_reference import evaluate
from tests.convert.frontends.dlib_writer import (
    random_shape_predictor,
    shape_predictor_bytes,
    shape_predictor_integers,
    stream_bytes,
    tiny_shape_predictor,
)

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.int64]

FIELDS = tuple(ShapePredictor.__dataclass_fields__)

# points, cascades, trees, depth, pool
SIZES = [
    (1, 1, 1, 1, 1),
    (1, 3, 4, 2, 7),
    (3, 10, 20, 4, 50),
    (4, 2, 5, 7, 30),
    (5, 4, 30, 4, 40),
    (7, 2, 300, 3, 300),
    (68, 3, 10, 5, 60),
]
TINY = (3, 2, 3, 2, 6)


def make_session(model: ir.Model, **options: Any) -> onnxruntime.InferenceSession:
    """Checks a model and loads it for one thread, unless the options say otherwise."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session_options = onnxruntime.SessionOptions()
    for name, value in {"intra_op_num_threads": 1, **options}.items():
        setattr(session_options, name, value)
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
    )


def run(session: onnxruntime.InferenceSession, image: Image, boxes: Boxes) -> npt.NDArray[Any]:
    landmarks: npt.NDArray[Any]
    (landmarks,) = session.run(["landmarks"], {"image": image, "boxes": boxes})
    assert landmarks.dtype == np.float32
    return landmarks


def run_dlib(dlib: ModuleType, path: Path, image: Image, boxes: Boxes) -> npt.NDArray[np.int64]:
    predictor = dlib.shape_predictor(str(path))
    found = [predictor(image, dlib.rectangle(*box)).parts() for box in boxes.tolist()]
    return np.array([[(part.x, part.y) for part in parts] for parts in found])


def random_boxes(seed: int, image: Image, count: int) -> Boxes:
    """Inside, partly and fully outside, a pixel large, far larger than the image, inside out."""
    random = np.random.default_rng(seed)
    height, width = image.shape
    around = random.integers([-width, -height] * 2, [2 * width, 2 * height] * 2, (count, 4))
    corner = random.integers(0, [width, height], (count, 2))
    side = random.integers(1, min(height, width), (count, 1))
    inside = np.concatenate([corner, corner + side], axis=1)
    single = np.concatenate([corner, corner], axis=1)
    huge = random.integers(-(10**6), 10**6, (count // 4, 4))
    return np.concatenate([inside, around, single[: count // 4], huge])


def assert_same(name: str, found: npt.NDArray[Any], due: npt.NDArray[Any]) -> None:
    equal = (found == due).all(axis=(1, 2))
    print(
        f"{name}: {equal.sum()} of {equal.size} boxes equal, largest error "
        f"{np.abs(found - due).max(initial=0)} px"
    )
    assert equal.all()


def assert_same_fields(found: ShapePredictor, due: ShapePredictor) -> None:
    for name in FIELDS:
        found_field, due_field = getattr(found, name), getattr(due, name)
        assert found_field.dtype == due_field.dtype
        np.testing.assert_array_equal(found_field, due_field, err_msg=name)


@pytest.mark.parametrize("size", SIZES)
def test_reads_what_was_written(size: tuple[int, ...]) -> None:
    model = random_shape_predictor(0, *size)
    read = read_shape_predictor(shape_predictor_bytes(model), "tiny.dat")
    assert_same_fields(read, model)
    assert (read.points, read.cascades, read.trees, read.depth, read.pixels) == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_equals_dlib_on_random_predictors(
    size: tuple[int, ...], seed: int, dlib: ModuleType, noise: Image, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.dat"
    path.write_bytes(tiny_shape_predictor(seed, *size))
    model = read_shape_predictor(path.read_bytes(), path.name)
    boxes = random_boxes(seed, noise, 120)
    due = run_dlib(dlib, path, noise, boxes)
    assert_same("numpy", evaluate(model, noise, boxes), due)
    assert_same("graph", run(make_session(build_landmark_graph(model)), noise, boxes), due)


@pytest.mark.slow
def test_two_points_are_almost_those_of_dlib(
    dlib: ModuleType, noise: Image, tmp_path: Path
) -> None:
    """Two points lie on a line, so the sign of a determinant that should be 0 is left to rounding.

    Where it comes out negative dlib mirrors the pixels. No trained predictor has two points.
    """
    path = tmp_path / "tiny.dat"
    total = equal = 0
    for seed in range(20):
        path.write_bytes(tiny_shape_predictor(seed, 2, 4, 20, 3, 30))
        model = read_shape_predictor(path.read_bytes(), path.name)
        boxes = random_boxes(seed, noise, 60)
        found = evaluate(model, noise, boxes)
        assert_same("graph", run(make_session(build_landmark_graph(model)), noise, boxes), found)
        equal += int((found == run_dlib(dlib, path, noise, boxes)).all(axis=(1, 2)).sum())
        total += len(boxes)
    print(f"{equal} of {total} boxes equal dlib's")
    assert equal >= 0.99 * total


@pytest.mark.parametrize("height_width", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_equals_dlib_on_tiny_images(
    height_width: tuple[int, int], dlib: ModuleType, noise: Image, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.dat"
    path.write_bytes(tiny_shape_predictor(5, *TINY))
    image = np.ascontiguousarray(noise[: height_width[0], : height_width[1]])
    boxes = np.random.default_rng(0).integers(-60, 60, (200, 4))
    due = run_dlib(dlib, path, image, boxes)
    model = read_shape_predictor(path.read_bytes(), path.name)
    assert_same("numpy", evaluate(model, image, boxes), due)
    assert_same("graph", run(make_session(build_landmark_graph(model)), image, boxes), due)


def face_boxes(dlib: ModuleType, gray: Image, count: int, seed: int) -> Boxes:
    """What dlib's detector finds, and the same moved and resized at random."""
    found = dlib.get_frontal_face_detector()(gray, 1)
    boxes = np.array([(box.left(), box.top(), box.right(), box.bottom()) for box in found])
    random = np.random.default_rng(seed)
    jitter = random.integers(-25, 26, (count, 4))
    return np.concatenate([boxes, boxes[random.integers(0, len(boxes), count)] + jitter])


@pytest.fixture(scope="module")
def pictures(dlib: ModuleType, source_root: Path) -> list[tuple[Image, Boxes]]:
    """Grey pictures and boxes: a photograph and frames of a film, more than 2,000 boxes."""
    photograph = cv2.imread(str(source_root / "example" / "friends.jpg"))
    film = cv2.VideoCapture(str(source_root / "example" / "friends1.mp4"))
    frames = [photograph]
    for _ in range(3):
        film.set(cv2.CAP_PROP_POS_FRAMES, 12 * len(frames))
        read, frame = film.read()
        assert read
        frames.append(frame)
    grays = [(frame.astype(np.uint16).sum(axis=2) // 3).astype(np.uint8) for frame in frames]
    return [
        (gray, np.concatenate([face_boxes(dlib, gray, 300, seed), random_boxes(seed, gray, 120)]))
        for seed, gray in enumerate(grays)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eme", "ene"])
def test_equals_dlib_on_real_predictors(
    name: str, dlib: ModuleType, source_root: Path, pictures: list[tuple[Image, Boxes]]
) -> None:
    path = source_root / "MobileFace_Landmark" / f"mobileface_landmark_{name}_v1.dat"
    model = read_shape_predictor(path.read_bytes(), path.name)
    assert (model.points, model.cascades, model.trees, model.depth, model.pixels) == (
        (3, 10, 500, 4, 500)
    )
    session = make_session(build_landmark_graph(model))
    assert sum(len(boxes) for _, boxes in pictures) > 2000
    for image, boxes in pictures:
        due = run_dlib(dlib, path, image, boxes)
        assert_same("numpy", evaluate(model, image, boxes), due)
        assert_same("graph", run(session, image, boxes), due)
        single = [run(session, image, boxes[index : index + 1]) for index in range(0, 400, 8)]
        assert_same("graph, one at a time", np.concatenate(single), due[:400:8])


@pytest.mark.parametrize("name", ["eme", "ene"])
def test_writes_real_predictors_back(name: str, source_root: Path) -> None:
    """Proves the test writer, on which parity without downloads rests, against dlib's own bytes."""
    path = source_root / "MobileFace_Landmark" / f"mobileface_landmark_{name}_v1.dat"
    data = path.read_bytes()
    assert shape_predictor_bytes(read_shape_predictor(data, path.name)) == data


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("threads", [1, 2])
def test_graph_does_not_depend_on_optimization(level: str, threads: int, noise: Image) -> None:
    model = random_shape_predictor(1, 5, 3, 100, 4, 100)
    boxes = random_boxes(1, noise, 60)
    session = make_session(
        build_landmark_graph(model),
        graph_optimization_level=getattr(onnxruntime.GraphOptimizationLevel, level),
        intra_op_num_threads=threads,
    )
    assert_same(level, run(session, noise, boxes), evaluate(model, noise, boxes))


def test_graph_takes_no_boxes(noise: Image) -> None:
    model = random_shape_predictor(0, *TINY)
    none = np.empty((0, 4), np.int64)
    assert run(make_session(build_landmark_graph(model)), noise, none).shape == (0, 3, 2)
    assert evaluate(model, noise, none).shape == (0, 3, 2)


def test_graph_survives_boxes_at_the_limits_of_int64(noise: Image) -> None:
    """Numbers are then of no use, but no pixel outside the image may be touched."""
    limits = np.array([np.iinfo(np.int64).min, -1, 0, np.iinfo(np.int64).max])
    boxes = np.stack(np.meshgrid(*[limits] * 4), axis=-1).reshape(-1, 4)
    session = make_session(build_landmark_graph(random_shape_predictor(0, *TINY)))
    assert np.isfinite(run(session, noise, boxes)).all()


def test_graph_has_the_documented_interface() -> None:
    model = build_landmark_graph(random_shape_predictor(0, *TINY), metadata={"points": "3"})
    graph = ir.to_proto(model).graph
    described = {
        value.name: (
            value.type.tensor_type.elem_type,
            [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim],
        )
        for value in [*graph.input, *graph.output]
    }
    assert described == {
        "image": (onnx.TensorProto.UINT8, ["H", "W"]),
        "boxes": (onnx.TensorProto.INT64, ["N", 4]),
        "landmarks": (onnx.TensorProto.FLOAT, ["N", 3, 2]),
    }
    assert model.opset_imports == {"": 17, "ai.onnx.ml": 3}
    assert model.metadata_props == {"points": "3"}


@pytest.mark.parametrize(
    "boxes",
    [[[1, 2, 3]], [1, 2, 3, 4], [[0.5, 1, 2, 3]], [[0, 0, 2**31, 0]], [[0, -(2**31), 0, 0]]],
)
def test_evaluate_refuses_boxes(boxes: list[Any], noise: Image) -> None:
    with pytest.raises(InputError, match="boxes must"):
        evaluate(random_shape_predictor(0, *TINY), noise, boxes)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_evaluate_refuses_images(image: Any) -> None:
    with pytest.raises(ImageError, match="grey image"):
        evaluate(random_shape_predictor(0, *TINY), image, [[0, 0, 1, 1]])


# Where the integers of a file of size TINY stand: 3 points, 2 x 3 trees of 3 splits, 6 pixels.
VERSION, ROWS, COLUMNS, FIRST_FLOAT, CASCADES = 0, 1, 2, 3, 15
TREES, SPLITS, PIXEL, THRESHOLD = 16, 17, 18, 20
LEAVES = SPLITS + 1 + 4 * 3
LEAF_ROWS, LEAF_FLOAT = LEAVES + 1, LEAVES + 3
TREE_LENGTH = 1 + 4 * 3 + 1 + 4 * 14
ANCHOR_CASCADES = TREES + 2 * (1 + 3 * TREE_LENGTH)
ANCHOR_COUNT, ANCHOR = ANCHOR_CASCADES + 1, ANCHOR_CASCADES + 2
DELTA_CASCADES = ANCHOR_COUNT + 2 * 7
DELTA_COUNT, DELTA = DELTA_CASCADES + 1, DELTA_CASCADES + 2


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (VERSION, 2, "the version of a shape predictor must be 1, not 2"),
        (ROWS, -5, "an initial shape of 5 x 1 is not a list of points"),
        (ROWS, 10**12, "not the size of a matrix"),
        (ROWS, -(10**12), "cannot hold 1000000000000 x 1 floats"),
        (COLUMNS, -2, "an initial shape of 6 x 2"),
        (FIRST_FLOAT + 1, 32000, "the initial shape is not finite"),
        (FIRST_FLOAT + 1, 90, "million face boxes away"),
        (CASCADES, 0, "expected at least 1 cascade and 1 tree, got 0 and"),
        (CASCADES, 3, r"expected \d+ integers"),
        (CASCADES, 10**15, "cannot hold 1000000000000000 cascades"),
        (CASCADES, -1, "cannot hold -1 cascades"),
        (TREES, 0, "expected at least 1 cascade and 1 tree, got 2 and 0"),
        (TREES, 10**15, r"expected \d+ integers"),
        (SPLITS, 2, "2 splits are not a complete tree"),
        (SPLITS, 0, "0 splits are not a complete tree"),
        (SPLITS, 2**62 - 1, r"expected \d+ integers"),
        (SPLITS + TREE_LENGTH, 7, "7 splits in a tree, expected 3"),
        (TREES + 1 + 3 * TREE_LENGTH, 4, "4 trees in a cascade, expected 3"),
        (LEAVES, 3, "3 leaves in a tree, expected 4"),
        (LEAF_ROWS, 6, "6 is the first size of a leaf that is not 6 x 1"),
        (LEAF_ROWS, -4, "-4 is the first size of a leaf that is not 6 x 1"),
        (PIXEL, 6, "6 is not the index of a pixel, from 0 to 5"),
        (PIXEL + 1, -1, "-1 is not the index of a pixel"),
        (THRESHOLD + 1, 32002, "is the mantissa of a float that is not finite"),
        (LEAF_FLOAT + 1, 32001, "is the mantissa of a float that is not finite"),
        (LEAF_FLOAT + 1, 80, "million face boxes away"),
        (ANCHOR_CASCADES, 3, "expected anchors of 2 cascades, got 3"),
        (ANCHOR_COUNT, 0, "0 anchors in a cascade"),
        (ANCHOR_COUNT, -7, "-7 anchors in a cascade"),
        (ANCHOR_COUNT, 10**15, r"expected \d+ integers"),
        (ANCHOR, 3, "3 is not the index of a point, from 0 to 2"),
        (ANCHOR, -1, "-1 is not the index of a point, from 0 to 2"),
        (ANCHOR_COUNT + 7, 5, "5 anchors in a cascade, expected 6"),
        (DELTA_CASCADES, 1, "expected offsets of 2 cascades, got 1"),
        (DELTA_COUNT, 5, "5 offsets in a cascade"),
        (DELTA + 1, 40000, "is the mantissa of a float that is not finite"),
        (DELTA + 1, 100, "million face boxes away"),
    ],
)
def test_refuses_damaged_fields(index: int, value: int, message: str) -> None:
    values = shape_predictor_integers(random_shape_predictor(0, *TINY))
    values[index] = value
    with pytest.raises(SourceFormatError, match=f"^damaged.dat.*{message}") as caught:
        read_shape_predictor(stream_bytes(values), "damaged.dat")
    print(caught.value)


def test_names_the_place_of_a_damage() -> None:
    values = shape_predictor_integers(random_shape_predictor(0, *TINY))
    place = PIXEL + 2 * TREE_LENGTH + 4
    values[place] = 99
    offset = len(stream_bytes(values[:place]))
    with pytest.raises(SourceFormatError, match=rf"byte {offset} \(integer {place}\): 99 is"):
        read_shape_predictor(stream_bytes(values), "damaged.dat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: [*values, 0], "the model ends here, but 1 more integers follow"),
        (lambda values: values[:-1], r"expected \d+ integers"),
        (lambda values: values[:1], "the initial shape: expected 1 integers, 0 are left"),
        (lambda _: [], "the version: expected 1 integers, 0 are left"),
    ],
)
def test_refuses_wrong_lengths(change: Callable[[list[int]], list[int]], message: str) -> None:
    values = shape_predictor_integers(random_shape_predictor(0, *TINY))
    with pytest.raises(SourceFormatError, match=message):
        read_shape_predictor(stream_bytes(change(values)), "damaged.dat")


def test_refuses_a_mean_face_without_size() -> None:
    values = shape_predictor_integers(random_shape_predictor(0, *TINY))
    values[FIRST_FLOAT : FIRST_FLOAT + 12] = [1, -1] * 6
    with pytest.raises(SourceFormatError, match="points of the initial shape are all identical"):
        read_shape_predictor(stream_bytes(values), "damaged.dat")


def test_thresholds_decide_at_whole_grey_levels(dlib: ModuleType, tmp_path: Path) -> None:
    """Thresholds at, just below and far beyond whole differences: greater means greater."""
    model = random_shape_predictor(2, 2, 1, 64, 1, 8)
    differences = np.array([-300, -256, -255.5, -255, -1, -0.5, 0, 0.5, 1, 254.5, 255, 256, 1e30])
    nudged = [np.nextafter(differences, side, dtype=np.float64) for side in (-np.inf, np.inf)]
    thresholds = np.concatenate([differences, *nudged]).astype(np.float32)
    model.thresholds[:] = np.resize(thresholds, model.thresholds.shape)
    path = tmp_path / "tiny.dat"
    path.write_bytes(shape_predictor_bytes(model))
    extremes = np.random.default_rng(0).choice(np.array([0, 1, 254, 255], np.uint8), (80, 80))
    boxes = random_boxes(3, extremes, 300)
    due = run_dlib(dlib, path, extremes, boxes)
    assert_same("numpy", evaluate(model, extremes, boxes), due)
    assert_same("graph", run(make_session(build_landmark_graph(model)), extremes, boxes), due)

"""Landmarks: dlib and the graph made from its file, on real faces, with one thread.

Run with ``pytest benchmarks/test_landmark.py``; one round is one call for all N faces. The boxes
rotate through the faces of the photograph, because dlib's trees run up to twice as fast on a box
that the processor's branch prediction has just learnt.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
import pytest

from mobileface.gray import dlib_gray
from mobileface_convert.frontends.shape_predictor import read_shape_predictor
from mobileface_convert.frontends.shape_predictor_onnx import build_landmark_graph

PROJECT_ROOT = Path(__file__).resolve().parents[1]
FACES = [1, 6, 32]

Predict = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]


def unavailable(reason: str) -> NoReturn:
    """Skips on a developer's machine and fails in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def dlib() -> Any:
    try:
        return importlib.import_module("dlib")
    except ImportError:
        unavailable("dlib is not installed")


@pytest.fixture(scope="module")
def source_root() -> Path:
    default = PROJECT_ROOT.parent / "shared" / "mobileface"
    root = Path(os.environ.get("MOBILEFACE_SOURCE", default))
    if not root.is_dir():
        unavailable(f"no source files at {root}; set MOBILEFACE_SOURCE")
    return root


@pytest.fixture(scope="module")
def gray(source_root: Path) -> npt.NDArray[np.uint8]:
    """(700, 1280) uint8."""
    image = cv2.imread(str(source_root / "example" / "friends.jpg"))
    return dlib_gray(np.asarray(image, np.uint8))


@pytest.fixture(scope="module")
def boxes(dlib: Any, gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The faces that dlib's detector finds in the photograph, (6, 4)."""
    found = dlib.get_frontal_face_detector()(gray, 1)
    return np.array([(box.left(), box.top(), box.right(), box.bottom()) for box in found])


@pytest.fixture(scope="module", params=["eme", "ene"])
def path(request: pytest.FixtureRequest, source_root: Path) -> Path:
    return source_root / "MobileFace_Landmark" / f"mobileface_landmark_{request.param}_v1.dat"


@pytest.fixture(scope="module")
def with_dlib(dlib: Any, path: Path, gray: npt.NDArray[np.uint8]) -> Predict:
    predictor = dlib.shape_predictor(str(path))

    def predict(corners: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        found = [predictor(gray, dlib.rectangle(*box)).parts() for box in corners.tolist()]
        return np.array([[(part.x, part.y) for part in parts] for parts in found])

    return predict


@pytest.fixture(scope="module")
def with_graph(path: Path, gray: npt.NDArray[np.uint8]) -> Predict:
    model = build_landmark_graph(read_shape_predictor(path.read_bytes(), path.name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def predict(corners: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        landmarks: npt.NDArray[Any] = session.run(None, {"image": gray, "boxes": corners})[0]
        return landmarks

    return predict


def rotations(boxes: npt.NDArray[np.int64], faces: int) -> list[npt.NDArray[np.int64]]:
    """As many boxes as asked for, starting with each face in turn."""
    repeated = np.resize(boxes, (faces + len(boxes), 4))
    return [repeated[start : start + faces] for start in range(len(boxes))]


@pytest.mark.parametrize("faces", FACES)
@pytest.mark.parametrize("engine", ["dlib", "graph"])
def test_landmark(
    engine: str,
    faces: int,
    boxes: npt.NDArray[np.int64],
    with_dlib: Predict,
    with_graph: Predict,
    benchmark: Any,
) -> None:
    batches = rotations(boxes, faces)
    for batch in batches:
        np.testing.assert_array_equal(with_graph(batch), with_dlib(batch))
    predict = with_dlib if engine == "dlib" else with_graph
    turn = itertools.cycle(batches)
    benchmark.group = f"landmarks, {faces} faces"
    benchmark(lambda: predict(next(turn)))

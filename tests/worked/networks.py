"""Tiny random networks for the worked examples, evaluated by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

STRIDE = 8

SPEC_OF = """
from mobileface_convert.recipes.recipe import load_recipe
print(load_recipe({recipe!r}).spec.to_json())
"""
"""Prints the spec of a recipe."""

CERTIFY = """
import sys
from mobileface.models.agreement import Bounds
from mobileface.models.replay import make_record, replay
from mobileface.models.session import Session
session = Session(sys.argv[1])
agreement, _ = replay(session, make_record(session, Bounds(0, 1)), "here")
print(agreement.max_abs_error, round(agreement.min_cosine, 6))
kind, section = session.spec.kind, session.spec.section
print(kind.describe_input(section), kind.describe_output(section))
"""
"""Records what a model gives, replays it, and prints what a card says."""

DIRECT = """
import json, sys, mobileface
from mobileface.tasks.align import align
image = mobileface.read_image(sys.argv[1])
analyzer = mobileface.FaceAnalyzer(sys.argv[2], ("landmarks",), score_threshold=0.7)
model = mobileface.load("sharpness_v1", models=sys.argv[2])
values = []
for face in analyzer(image):
    try:
        values.append(float(model([align(image, face.landmarks, crop=model.crop)])[0]))
    except mobileface.MobileFaceError:
        pass
print(json.dumps(values))
"""
"""Runs the model of the new task on crops, without the analyzer."""

FloatArray = npt.NDArray[np.float32]


def centers(
    spec: str, image: npt.NDArray[np.uint8], path: Path
) -> tuple[Path, npt.NDArray[np.float64]]:
    """A detector of one convolution, and its boxes and scores in an image, highest score first.

    Args:
        spec: JSON of the spec.
        image: uint8 (H, W, 3), sides multiples of the stride.
        path: Where it is written.

    Returns:
        The path, and float64 (N, 5): box and score, computed with scipy.
    """
    random = np.random.RandomState(11)
    weight = (random.standard_normal((3, 3, STRIDE, STRIDE)) * 2e-3).astype(np.float32)
    bias = np.array([0.1, 24, 24], np.float32)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "weight", "bias"], ["maps"], strides=[STRIDE] * 2),
        helper.make_node("Split", ["maps", "parts"], ["logits", "sizes"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["heat"]),
    ]
    stored = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "parts"),
    ]
    graph = helper.make_graph(
        nodes,
        "centers",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "H", "W", 3])],
        [
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1, 1, "rows", "columns"]),
            helper.make_tensor_value_info("sizes", TensorProto.FLOAT, [1, 2, "rows", "columns"]),
        ],
        stored,
    )
    _save(graph, spec, path)
    rows, columns = (side // STRIDE for side in image.shape[:2])
    cells = image.astype(np.float64).reshape(rows, STRIDE, columns, STRIDE, 3)
    maps = np.einsum("rycxk,okyx->orc", cells, weight.astype(np.float64)) + bias[:, None, None]
    heat = 1 / (1 + np.exp(-maps[0]))
    peaks = heat == ndimage.maximum_filter(heat, size=3, mode="constant", cval=-1)
    found = []
    for row, column in zip(*np.nonzero(peaks & (heat >= 0.5)), strict=True):
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        width, height = maps[1:, row, column] / 2
        found.append([x - width, y - height, x + width, y + height, heat[row, column]])
    return path, np.array(sorted(found, key=lambda box: -box[4]))


def sharpness(spec: str, folder: Path, analyzer: Path) -> None:
    """A folder of models: those of the tiny analyzer, and a random network for the new task."""
    shutil.copytree(analyzer, folder)
    weight = np.random.RandomState(5).standard_normal((3 * 24 * 24, 1)).astype(np.float32) * 0.05
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["sharpness"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sharpness",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 24, 24])],
        [helper.make_tensor_value_info("sharpness", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = folder / "sharpness_v1.onnx"
    _save(graph, spec, path)
    index = json.loads((folder / "index.json").read_text())
    like = next(iter(index["models"].values()))
    data = path.read_bytes()
    index["models"]["sharpness_v1"] = {
        **{key: value for key, value in like.items() if key != "variants"},
        "file": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "task": "sharpness",
        "preference": 0,
    }
    index.pop("checksum", None)  # as after an edit by hand
    (folder / "index.json").write_text(json.dumps(index))


def _save(graph: onnx.GraphProto, spec: str, path: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"mobileface.spec": spec.strip()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())

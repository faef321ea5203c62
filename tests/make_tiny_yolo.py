"""Builds tests/models/yolo: a YOLO detector, landmarks and attributes for runtime tests.

    python tests/make_tiny_yolo.py

The graphs are real, the weights are seeded random numbers: the detections are not faces, but every
step of the analysis runs on machines that have only the runtime.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS.parent))

from mobileface.models.index import write_index  # noqa: E402
from mobileface.models.kinds import AttributeSpec, YoloSpec  # noqa: E402
from mobileface.models.spec import ModelSpec  # noqa: E402
from mobileface_convert.backends.onnx import clean, to_onnx  # noqa: E402
from mobileface_convert.frontends.mxnet_symbol import read_symbol  # noqa: E402
from mobileface_convert.frontends.shape_predictor import read_shape_predictor  # noqa: E402
from mobileface_convert.frontends.shape_predictor_onnx import build_landmark_graph  # noqa: E402
from mobileface_convert.graph.source_graph import Graph  # noqa: E402
from mobileface_convert.heads.nms import BoxNms  # noqa: E402
from mobileface_convert.makers.yolo import Trunk, build_model  # noqa: E402
from tests.convert.frontends.dlib_writer import tiny_shape_predictor  # noqa: E402
from tests.make_tiny_analyzer import POINTS, write  # noqa: E402
from tests.make_tiny_models import model_spec  # noqa: E402

FOLDER = TESTS / "models" / "yolo"
ANCHORS = np.array([[12, 16], [24, 30], [40, 52]], np.float64)
VALUES = 6

YOLO: dict[str, Any] = {
    "name": "tiny_yolo",
    "task": "detection",
    "title": "Random weights: boxes of 12 to 52 pixels, for tests",
    "yolo": {
        "image": "image",
        "ids": "ids",
        "scores": "scores",
        "boxes": "boxes",
        "iou_input": "iou_threshold",
        "valid_input": "valid_threshold",
        "topk_input": "topk",
        "rows": 100,
        "short_side": 64,
        "max_side": 256,
        "multiple": 1,
        "score_threshold": 0.5,
        "iou_threshold": 0.45,
        "topk": 200,
        "labels": ["face"],
    },
    "landmark_box": {"side": 0.75, "shift_down": 0.1},
}
ATTRIBUTES: dict[str, Any] = {
    "name": "tiny_attributes",
    "task": "attributes",
    "title": "Random weights: attributes of 24x24, for tests",
    "input": {
        "name": "data",
        "height": 24,
        "width": 24,
        "color": "rgb",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "fit": "center_crop",
    },
    "attributes": {
        "gender_output": "gender",
        "age_output": "age",
        "expression_output": "expression",
        "genders": ["female", "male"],
        "ages": [5, 15, 25, 35, 50, 70],
        "expressions": ["laugh", "smile", "smile", "calm"],
        "uncertain_below": 0.45,
        "uncertain_expression": "complicated",
        "crop": "mobileface",
    },
}
MARKS = {"image": "image", "boxes": "boxes", "output": "landmarks", "points": POINTS}
LANDMARKS = {"name": "tiny_points", "task": "landmarks", "title": "Random", "landmarks": MARKS}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = {}
    points = read_shape_predictor(tiny_shape_predictor(1, 5, 2, 4, 3, 20), "tiny")
    for fields, model in (
        (YOLO, detector(model_spec(YOLO))),
        (ATTRIBUTES, attributes(model_spec(ATTRIBUTES))),
        (LANDMARKS, ir.to_proto(build_landmark_graph(points))),
    ):
        spec = model_spec(fields)
        index[spec.name] = write(spec, model, FOLDER)
    write_index(FOLDER, index)


def detector(spec: ModelSpec) -> Any:
    """One convolution that predicts three anchors per cell of 8×8 pixels."""
    random = np.random.RandomState(5)
    weight = random.standard_normal((VALUES * 3, 3, 8, 8)).astype(np.float32) * 2e-3
    bias = np.tile(np.float32([0, 0, 0, 0, 0.5, 1.5]), 3)
    geometry = {"kernel": "(8, 8)", "stride": "(8, 8)", "num_filter": str(VALUES * 3)}
    nodes = [operator("Convolution", "head", ["data", "weight", "bias"], geometry)]
    graph = network(nodes, {"weight": weight, "bias": bias}, ["head"])
    trunk = Trunk(graph, (8,), (ANCHORS,), (123.675, 116.28, 103.53), BoxNms(0.45, 0.01, 400))
    section = spec.require(YoloSpec)
    return clean(ir.to_proto(build_model(trunk, section, spec.name, 17)), spec.name)


def attributes(spec: ModelSpec) -> Any:
    """Average pooling over 4×4 pixels, and a fully connected layer for each head."""
    random = np.random.RandomState(6)
    assert spec.input is not None
    heads = spec.require(AttributeSpec)
    sizes = {
        heads.gender_output: len(heads.genders),
        heads.age_output: len(heads.ages),
        heads.expression_output: len(heads.expressions),
    }
    window = {"kernel": "(4, 4)", "stride": "(4, 4)", "pool_type": "avg"}
    nodes = [operator("Pooling", "pool", ["data"], window)]
    arrays = {}
    for name, size in sizes.items():
        arrays[f"{name}_weight"] = random.standard_normal((size, 3 * 36)).astype(np.float32) / 4
        arrays[f"{name}_bias"] = random.standard_normal(size).astype(np.float32)
        inputs = ["pool", f"{name}_weight", f"{name}_bias"]
        nodes.append(operator("FullyConnected", name, inputs, {"num_hidden": str(size)}))
    graph = network(nodes, arrays, list(sizes))
    shape = ("N", 3, spec.input.height, spec.input.width)
    return to_onnx(graph, {"data": shape}, list(sizes), name=spec.name)


def operator(op: str, name: str, inputs: list[str], attrs: dict[str, str]) -> dict[str, Any]:
    return {"op": op, "name": name, "inputs": inputs, "attrs": attrs}


def network(operators: list[dict[str, Any]], arrays: dict[str, Any], heads: list[str]) -> Graph:
    """A source graph from operators that refer to their inputs by name."""
    variables = [{"op": "null", "name": name, "inputs": []} for name in ("data", *arrays)]
    nodes = [*variables, *operators]
    places = {node["name"]: place for place, node in enumerate(nodes)}
    written = [{**n, "inputs": [[places[i], 0] for i in n["inputs"]]} for n in nodes]
    document = {
        "nodes": written,
        "heads": [[places[name], 0] for name in heads],
        "attrs": {"mxnet_version": ["int", 10500]},
    }
    return read_symbol(json.dumps(document), arrays, "tiny-symbol.json")


if __name__ == "__main__":
    main()

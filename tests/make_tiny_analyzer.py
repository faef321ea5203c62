"""Builds tests/models/analyzer: detector, landmarks, pose model and embedder for runtime tests.

    python tests/make_tiny_analyzer.py

The weights are seeded random numbers: the detections are not faces, but every step of the analysis
runs on machines that have only the runtime. expected.npz contains the expected results for a probe
image: landmarks from the independent evaluator of the offline stage, everything else as computed
when the file was built.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS.parent))

from mobileface.analyzer import FaceAnalyzer  # noqa: E402
from mobileface.models.index import IndexEntry, write_index  # noqa: E402
from mobileface.models.probes import make_probes  # noqa: E402
from mobileface.models.spec import METADATA_KEY, ModelSpec  # noqa: E402
from mobileface_convert.build.certificate import certificate, write_certificate  # noqa: E402
from mobileface_convert.frontends.hog_onnx import build_hog_graph  # noqa: E402
from mobileface_convert.frontends.shape_predictor import read_shape_predictor  # noqa: E402
from mobileface_convert.frontends.shape_predictor_onnx import build_landmark_graph  # noqa: E402
from mobileface_convert.frontends.shape_predictor_reference import evaluate  # noqa: E402
from mobileface_convert.makers import Built  # noqa: E402
from tests.convert.frontends.dlib_writer import tiny_shape_predictor  # noqa: E402
from tests.convert.frontends.hog_cases import small_detector  # noqa: E402
from tests.make_tiny_models import COLOR, export, model_spec, tiny_color  # noqa: E402

FOLDER = TESTS / "models" / "analyzer"
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
THRESHOLD = 0.73
HEIGHT, WIDTH = 120, 160


def main() -> None:
    predictor = read_shape_predictor(tiny_shape_predictor(1, 5, 2, 4, 3, 20), "tiny")
    detector = small_detector()
    geometry = {"image": "image", "output": "scores", **detector.to_spec()}
    marks = {"image": "image", "boxes": "boxes", "output": "landmarks", "points": POINTS}
    rows = np.random.RandomState(3).uniform(-0.01, 0.01, (3, 11)).round(6).tolist()
    embedding = model_spec({**COLOR, "preference": 1})
    network, _ = export(tiny_color(), embedding)
    landmarks = ir.to_proto(build_landmark_graph(predictor))
    models = {
        "tiny_hog": ("detection", {"hog": geometry}, ir.to_proto(build_hog_graph(detector))),
        "tiny_points": ("landmarks", {"landmarks": marks}, landmarks),
        "tiny_pose": ("pose", {"pose": {"points": POINTS, "coefficients": rows}}, None),
        "tiny_color": ("embedding", None, network),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, (task, section, model) in models.items():
        spec = embedding if section is None else make_spec(name, task, section)
        index[name] = write(spec, model)
    write_index(FOLDER, index)
    write_expected(predictor)


def make_spec(name: str, task: str, section: Mapping[str, Any]) -> ModelSpec:
    fields = {"name": name, "task": task, "title": f"Random weights for tests: {task}"}
    return model_spec({**fields, **section})


def write(spec: ModelSpec, model: onnx.ModelProto | None, folder: Path = FOLDER) -> IndexEntry:
    """Writes one model with its certificate; returns its index entry."""
    if model is None:
        content, suffix = (json.dumps(spec.to_dict(), indent=1) + "\n").encode(), ".json"
    else:
        onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
        content, suffix = model.SerializeToString(deterministic=True), ".onnx"
    path = folder / f"{spec.name}{suffix}"
    path.write_bytes(content)
    built = Built(spec, content, suffix, nodes=0 if model is None else len(model.graph.node))
    document = certificate(built, path.read_bytes(), path.name)
    document["tools"] = {}
    target = folder / f"{spec.name}.certificate.json"
    write_certificate(target, document)
    return IndexEntry(
        path.name, document["sha256"], document["bytes"], spec.task, spec.preference, target.name
    )


def write_expected(predictor: Any) -> None:
    """Writes this machine's boxes, scores and embeddings and the reference landmarks."""
    image = make_probes(2, HEIGHT, WIDTH, 3, 7)[1]
    faces = FaceAnalyzer(FOLDER, score_threshold=THRESHOLD)(image)
    boxes = np.array([face.bbox for face in faces], np.float32)
    gray = np.asarray(image.astype(np.uint16).sum(axis=2) // 3, np.uint8)
    points = evaluate(predictor, gray, boxes.astype(np.int64))
    vectors = np.array([face.embedding for face in faces], np.float32)
    scores = np.array([face.det_score for face in faces], np.float32)
    own = [face.pose.published for face in faces if face.pose]
    poses = [(pose.pitch, pose.roll, pose.yaw) for pose in own if pose]
    np.savez_compressed(
        FOLDER / "expected.npz",
        boxes=boxes,
        scores=scores,
        points=points,
        poses=np.array(poses),
        vectors=vectors,
    )
    print(f"{len(faces)} boxes, scores {scores.min():.2f} to {scores.max():.2f}")


if __name__ == "__main__":
    main()

"""The readers of files that somebody else may have written, each with files to begin from."""

from __future__ import annotations

import importlib.util
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mobileface.host.array_files import load_array
from mobileface.matching.calibration import Calibration
from mobileface.matching.embeddings import EmbeddingSet
from mobileface.models.external_weights import has_external_weights
from mobileface.models.index import read_index
from mobileface.models.lookup import list_models
from mobileface.models.session import Session
from mobileface.models.spec import ModelSpec
from mobileface.models.stored_spec import read_stored_spec
from mobileface.vision.picture_files import decode_image
from mobileface.vision.video import VideoReader
from mobileface_convert.exports.network_export import export_model
from mobileface_convert.frontends.dlib_network import read_dlib_network
from mobileface_convert.frontends.mxnet_params import read_params, write_params
from mobileface_convert.frontends.onnx_file import read_onnx_file
from mobileface_convert.frontends.shape_predictor import read_shape_predictor
from mobileface_convert.frontends.tflite.tflite_file import read_tflite
from mobileface_convert.frontends.tflite.tflite_onnx import build_tflite
from mobileface_convert.recipes import recipe as recipes
from mobileface_convert.recipes.recipe import load_recipe
from tests.convert.frontends.dlib_network_writer import network_bytes, random_network
from tests.convert.frontends.dlib_writer import random_shape_predictor, shape_predictor_bytes

from .model_readers import MODEL_READERS
from .reader import Reader
from .service_readers import SERVICE_READERS

__all__ = ["READERS"]

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models_onnx"


def _noise() -> Any:
    return np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)


def _pictures() -> list[bytes]:
    kinds = (".jpg", ".png", ".webp", ".tiff", ".bmp", ".ppm")
    found = [bytes(cv2.imencode(kind, _noise())[1]) for kind in kinds]
    deep = [_noise().astype(np.uint16) * 257, _noise().astype(np.float32) / 255]
    return [*found, *(bytes(cv2.imencode(".tiff", image)[1]) for image in deep)]


def _embeddings() -> list[bytes]:
    vectors = np.eye(5, 8, dtype=np.float32)
    arrays = {"embeddings": vectors, "files": np.array(list("abcde")), "model": np.array("m@0")}
    found = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays)
        found.append(stream.getvalue())
    return found


def _matrix() -> list[bytes]:
    stream = io.BytesIO()
    np.save(stream, np.eye(5, 8, dtype=np.float32))
    return [stream.getvalue()]


def _specs() -> list[bytes]:
    stored = [model.path for model in list_models(MODELS) if model.path.suffix == ".onnx"]
    return [Session(path).spec.to_json().encode() for path in stored]


def _onnx() -> list[bytes]:
    tests = ROOT / "tests" / "models"
    return [path.read_bytes() for path in sorted(tests.glob("tiny_*.onnx"))]


def _stored_specs() -> list[bytes]:
    return [(MODELS / "expression.onnx").read_bytes()]


def _videos() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in ((".mp4", "mp4v"), (".avi", "MJPG"), (".mkv", "mp4v")):
            path = Path(folder) / f"v{suffix}"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (32, 24))
            for _ in range(5):
                writer.write(_noise())
            writer.release()
            found.append(path.read_bytes())
    return found


def _symbols() -> list[bytes]:
    """A small network with many kinds of operators."""
    nodes: list[dict[str, Any]] = []

    def add(op: str, name: str, inputs: Sequence[int], **attrs: str) -> int:
        nodes.append(
            {"op": op, "name": name, "attrs": attrs, "inputs": [[n, 0, 0] for n in inputs]}
        )
        return len(nodes) - 1

    data = add("null", "data", [])
    weight, bias = add("null", "c_weight", []), add("null", "c_bias", [])
    x = add("Convolution", "c", [data, weight, bias], kernel="(3, 3)", num_filter="4", pad="(1, 1)")
    norm = [add("null", f"b_{n}", []) for n in ("gamma", "beta", "moving_mean", "moving_var")]
    x = add("BatchNorm", "b", [x, *norm], eps="0.001", fix_gamma="False")
    x = add("Activation", "a", [x], act_type="relu")
    y = add("Pooling", "p", [x], kernel="(2, 2)", stride="(2, 2)", pool_type="max")
    y = add("UpSampling", "u", [y], scale="2", sample_type="nearest")
    x = add("elemwise_add", "s", [x, y])
    x = add("slice_axis", "l", [x], axis="1", begin="0", end="2")
    x = add("repeat", "r", [x], repeats="2", axis="1")
    x = add("clip", "k", [x], a_min="0", a_max="6")
    x = add("transpose", "t", [x], axes="(0, 2, 3, 1)")
    x = add("Reshape", "h", [x], shape="(0, -1, 4)")
    x = add("softmax", "o", [x], axis="-1")
    document = {
        "nodes": nodes,
        "arg_nodes": [place for place, node in enumerate(nodes) if node["op"] == "null"],
        "heads": [[x, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }
    return [json.dumps(document).encode()]


def _params() -> bytes:
    arrays = {"arg:c_weight": np.ones((4, 3, 3, 3)), "arg:c_bias": np.ones(4)}
    for name in ("arg:b_gamma", "arg:b_beta", "aux:b_moving_mean", "aux:b_moving_var"):
        arrays[name] = np.ones(4)
    return write_params({name: array.astype(np.float32) for name, array in arrays.items()})


def _convert(symbol: Path) -> object:
    params = symbol.with_suffix(".params")
    if not params.is_file():
        params.write_bytes(_params())
    shapes = {"": (1, 3, 8, 8)}
    return export_model(
        symbol, params, symbol.with_suffix(".onnx"), shapes=shapes, allow_extra=True
    )


def _indexes() -> list[bytes]:
    """With its checksum, and as after an edit by hand."""
    content = (MODELS / "index.json").read_bytes()
    plain = json.loads(content)
    del plain["checksum"]
    return [content, json.dumps(plain).encode()]


def _index(path: Path) -> object:
    place = path.with_name("index.json")
    place.write_bytes(path.read_bytes())
    return read_index(path.parent)


def _video(path: Path) -> object:
    with VideoReader(path) as video:
        return sum(1 for _, _ in zip(video.frames(), range(50), strict=False))


def _recipes() -> list[bytes]:
    folder = Path(recipes.__file__).parent
    return [path.read_bytes() for path in sorted(folder.glob("*.toml")) if path.stem != "upstreams"]


def _calibrations() -> list[bytes]:
    folder = ROOT / "runtime" / "mobileface" / "matching" / "calibrations"
    return [path.read_bytes() for path in sorted(folder.glob("*.json"))][:2]


def _tflite() -> list[bytes]:
    """Of weights that are plain, and of weights stored as int8."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return []
    from tests.convert.frontends.tflite_writer import Writer

    found = []
    for quantized in (False, True):
        net = Writer()
        weight: Any = np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2)
        if quantized:
            weight = net.stored(weight.astype(np.int8), [0.5, 1, 2], axis=0)
            weight = net.op("DEQUANTIZE", [weight], shape=(3, 2, 2, 2))
        made = net.conv(net.input("image", (1, 4, 4, 2)), weight, np.ones(3, np.float32))
        found.append(net.file(net.op("RELU", [made])))
    return found


def _build(path: Path) -> object:
    return build_tflite(read_tflite(path))


READERS = (
    Reader("pictures", _pictures, lambda path: decode_image(path.read_bytes(), str(path))),
    Reader("videos", _videos, _video, ".mp4"),
    Reader("npz", _embeddings, EmbeddingSet.load, ".npz"),
    Reader("npy", _matrix, lambda path: np.sum(load_array(path, "a matrix")), ".npy"),
    Reader("index", _indexes, _index, ".json", True),
    Reader("spec", _specs, lambda path: ModelSpec.from_json(_utf8(path)), ".json", True),
    Reader("calibration", _calibrations, Calibration.load, ".json", True),
    Reader("recipe", _recipes, lambda path: load_recipe(str(path)), ".toml"),
    Reader("symbol", _symbols, _convert, ".json", True),
    Reader("params", lambda: [_params()], lambda path: read_params(path.read_bytes()), ".params"),
    Reader(
        "shape_predictor",
        lambda: [shape_predictor_bytes(random_shape_predictor(1, 3, 2, 6, 3, 12))],
        lambda path: read_shape_predictor(path.read_bytes(), str(path)),
        ".dat",
    ),
    Reader(
        "dlib_network",
        lambda: [network_bytes(random_network(1, 40, 40))],
        lambda path: read_dlib_network(path.read_bytes(), str(path)),
        ".dat",
    ),
    Reader("tflite", _tflite, _build, ".tflite"),
    Reader("onnx", _onnx, read_onnx_file, ".onnx"),
    Reader("external", _onnx, has_external_weights, ".onnx"),
    Reader("stored_spec", _stored_specs, read_stored_spec, ".onnx"),
    *MODEL_READERS,
    *SERVICE_READERS,
)


def _utf8(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")

"""The published TensorFlow Lite files of face models beside LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx_ir as ir
import pytest

from mobileface.errors import UnsupportedOperatorError
from mobileface_convert.backends.onnx import clean
from mobileface_convert.frontends.tflite import build_tflite, parse_tflite, read_tflite
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.oracles.verify import open_model
from tests.conftest import packaged

pytestmark = [pytest.mark.needs_litert, pytest.mark.needs_mediapipe, pytest.mark.needs_packages]

MODULES = "mediapipe/modules"
FILES: dict[str, tuple[str, int, float]] = {
    "mesh": (f"{MODULES}/face_landmark/face_landmark.tflite", 0, 1e-5),
    "iris": (f"{MODULES}/iris_landmark/iris_landmark.tflite", 0, 1e-5),
    "selfie": (f"{MODULES}/selfie_segmentation/selfie_segmentation.tflite", 0, 2e-4),
    "selfie, wide": (
        f"{MODULES}/selfie_segmentation/selfie_segmentation_landscape.tflite", 0, 1e-4,
    ),
    "short range": (f"{MODULES}/face_detection/face_detection_short_range.tflite", 4, 1e-5),
    "full range": (f"{MODULES}/face_detection/face_detection_full_range_sparse.tflite", 1, 1e-5),
    "expression": ("fer/data/emotion_model_quantized.tflite", 0, 1e-5),
    "hand": (f"{MODULES}/hand_landmark/hand_landmark_lite.tflite", 0, 1e-5),
    "palm": (f"{MODULES}/palm_detection/palm_detection_lite.tflite", 4, 1e-5),
    "body": (f"{MODULES}/pose_detection/pose_detection.tflite", 6, 1e-5),
}  # fmt: skip
"""By name: the file in its package, transposes in the model (one a head), and the bound.

The mask of `selfie` is as steep as rounding shows: `test_how_far_litert_differs_from_itself`.
"""


def inputs(shape: tuple[int, ...]) -> Any:
    """Two images of noise and two that are as smooth as photographs, 0..1."""
    random = np.random.RandomState(11)
    noise = random.uniform(0, 1, (4, *shape[1:])).astype(np.float32)
    for row in noise[2:]:
        row[:] = cv2.GaussianBlur(row, (0, 0), 8).reshape(row.shape)
        row -= row.min()
        row /= row.max()
    return noise


def outputs(path: Path) -> tuple[Any, dict[str, Any], Any]:
    """The model's outputs in the published order of axes, the images, and the model."""
    network = read_tflite(path)
    model = clean(ir.to_proto(build_tflite(network)), "published")
    session = open_model(model)
    (number,) = network.inputs
    tensor = network.tensors[number]
    images = inputs(tensor.shape)
    found = session.run(None, {tensor.name: images.transpose(0, 3, 1, 2)})
    names = [item.name for item in session.get_outputs()]
    moved = [item.transpose(0, 2, 3, 1) if item.ndim == 4 else item for item in found]
    return {tensor.name: images}, dict(zip(names, moved, strict=True)), model


@pytest.mark.parametrize("name", FILES)
def test_file_as_litert_has_it(name: str) -> None:
    file, transposes, bound = FILES[name]
    path = packaged(file)
    fed, found, model = outputs(path)
    expected = LiteRTReference(path.read_bytes(), file).run(fed)
    assert set(found) == set(expected)
    for output, ours in found.items():
        theirs = expected[output]
        assert ours.shape == theirs.shape
        error = float(np.abs(ours - theirs).max() / np.ptp(theirs))
        print(f"{name}, {output}: {error:.2g} of a range of {np.ptp(theirs):.3g}")
        assert error <= bound
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == transposes


@pytest.mark.parametrize(
    ("file", "operator"),
    [
        ("face_landmark/face_landmark_with_attention.tflite", "custom operator 'Landmarks2Transf"),
        ("holistic_landmark/hand_recrop.tflite", "operator 'STRIDED_SLICE'"),
    ],
)
def test_unknown_operators_are_named(file: str, operator: str) -> None:
    network = read_tflite(packaged(f"{MODULES}/{file}"))
    with pytest.raises(UnsupportedOperatorError, match=operator) as caught:
        build_tflite(network)
    assert "CONV_2D, " in caught.value.hint


def test_layers_of_8_bits_are_rounded_by_litert_alone() -> None:
    """Why weights are dequantized before comparing: LiteRT rounds values to 8 bits as well."""
    from ai_edge_litert.interpreter import Interpreter

    path = packaged("fer/data/emotion_model_quantized.tflite")
    fed, found, _ = outputs(path)
    engine = Interpreter(model_path=str(path), num_threads=1)
    engine.allocate_tensors()
    rows = []
    for image in fed["x"]:
        engine.set_tensor(engine.get_input_details()[0]["index"], image[None])
        engine.invoke()
        rows.append(engine.get_tensor(engine.get_output_details()[0]["index"]))
    error = float(np.abs(np.concatenate(rows) - found["Identity"]).max())
    print(f"largest difference {error:.3g}")
    assert 1e-3 < error < 0.1


def test_how_far_litert_differs_from_itself() -> None:
    """The mask: XNNPACK and the plain loops differ more than this project from either.

    The plain loops do not know MediaPipe's operator: TRANSPOSE_CONV stands for it.
    """
    path = packaged(FILES["selfie"][0])
    fed, found, _ = outputs(path)
    (name,) = found
    content = standard(path.read_bytes())
    plain = LiteRTReference(content, "standard", reference_kernels=True).run(fed)[name]
    fast = LiteRTReference(path.read_bytes(), "published").run(fed)[name]
    apart = float(np.abs(plain - fast).max())
    errors = [float(np.abs(found[name] - other).max()) for other in (plain, fast)]
    print(f"LiteRT from itself {apart:.2g}, ours {errors[0]:.2g} and {errors[1]:.2g}")
    assert max(errors) < apart < 2e-4
    moved = open_model(ir.to_proto(build_tflite(parse_tflite(content, where="standard"))))
    (ours,) = moved.run(None, {key: value.transpose(0, 3, 1, 2) for key, value in fed.items()})
    assert np.abs(ours.transpose(0, 2, 3, 1) - found[name]).max() < 2e-4


def standard(content: bytes) -> bytes:
    """The file with TRANSPOSE_CONV instead of MediaPipe's custom operator."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if not code.customCode:
            continue
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE_CONV
        code.customCode, code.version, operator.customOptions = None, 3, None
        operator.builtinOptionsType = schema.BuiltinOptions.TransposeConvOptions
        operator.builtinOptions = schema.TransposeConvOptionsT()
        operator.builtinOptions.strideW = operator.builtinOptions.strideH = 2
        size = np.array(graph.tensors[operator.outputs[0]].shape, np.int32)
        buffer, tensor = schema.BufferT(), schema.TensorT()
        buffer.data = np.frombuffer(size.tobytes(), np.uint8)
        tensor.shape, tensor.type, tensor.name = np.array([4], np.int32), 2, b"size"
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
        image, weight, bias = operator.inputs
        operator.inputs = np.array([len(graph.tensors) - 1, weight, image, bias], np.int32)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())

"""``mobileface-convert inspect``: published numbers, and one network in three formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from mobileface_convert.backends.onnx import clean, to_onnx
from mobileface_convert.build.inspection import format_description
from mobileface_convert.frontends.mxnet_checkpoint import load_checkpoint
from mobileface_convert.frontends.tflite import build_tflite, read_tflite
from mobileface_convert.source_passes import merge_batchnorm
from tests.conftest import packaged
from tests.convert.build.inspected_networks import Layers, mobilefacenet, resnet50
from tests.convert.build.inspecting import inspected, said
from tests.convert.frontends.tflite_writer import Writer, transpose_options
from tests.networks import NetworkWriter, identification, save


def test_mobilefacenet_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mobilefacenet(tmp_path / "net.onnx")
    found = inspected(capsys, path)
    # arXiv:1804.07573: 221 M multiply-adds, and, with normalisation folded into the convolutions,
    # 0.99 M parameters in a file of 4.0 MB
    assert round(found["macs"] / 1e6) == 221, found["macs"]
    assert found["shapes"] == {"image": ["N", 3, 112, 112], found["outputs"][0]: ["N", 128]}
    assert found["fixed_batch"] is None
    assert found["convertible"]
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    onnx.save(clean(onnx.load(str(path)), "net"), str(tmp_path / "folded.onnx"))
    folded = inspected(capsys, tmp_path / "folded.onnx")
    assert "BatchNormalization" not in folded["operators"]
    assert round(folded["parameters"] / 1e6, 2) == 0.99, folded["parameters"]
    assert round(folded["weight_bytes"] / 1e6, 1) == 4.0, folded["weight_bytes"]
    assert folded["macs"] == found["macs"]
    # each of the 9792 channels that were normalised had a scale besides its shift
    assert found["parameters"] == folded["parameters"] + 9792


def test_resnet50_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = resnet50(tmp_path / "net.onnx")
    found = inspected(capsys, path, "--size", 224, 224)
    print(f"{found['macs']} multiply-adds, {found['parameters']} parameters")
    # torchvision 0.15, ResNet50_Weights: num_params 25557032, _ops 4.089
    assert found["parameters"] == 25_557_032
    assert round(found["macs"] / 1e9, 3) == 4.089
    assert found["size"] == [224, 224]
    assert found["shapes"]["image"] == ["N", 3, 224, 224]
    open_size = inspected(capsys, path)
    assert open_size["macs"] is None
    assert "--size" in open_size["macs_reason"]
    assert open_size["parameters"] == 25_557_032
    assert open_size["shapes"] == {"image": ["N", 3, "H", "W"], found["outputs"][0]: ["N", 1000]}
    assert open_size["next"].endswith("--size PIXELS")
    text = format_description(open_size)
    assert "multiply-adds: not known: the size of the image is open: pass --size H W\n" in text


def test_a_batch_that_is_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, four = mobilefacenet(tmp_path / "net.onnx"), mobilefacenet(tmp_path / "four.onnx", 4)
    one, fixed = inspected(capsys, path), inspected(capsys, four)
    assert fixed["macs"] == one["macs"]
    assert (fixed["fixed_batch"], fixed["batch_can_be_freed"]) == (4, True)
    assert fixed["shapes"]["image"] == [4, 3, 112, 112]
    assert "batch: fixed at 4 in the graph; the converter can open it\n" in said(capsys, four)


def test_a_batch_that_stays_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Layers()
    net.weights.append(numpy_helper.from_array(np.array([4, 3, 50], np.int64), "sizes"))
    mixed = net.add("Reshape", net.add("Transpose", "image", perm=[1, 0, 2, 3]), "sizes")
    path = net.save(tmp_path / "net.onnx", 10, 2, mixed)
    found = inspected(capsys, path)
    assert (found["fixed_batch"], found["batch_can_be_freed"]) == (2, False)
    assert "batch: fixed at 2 in the graph; the converter cannot open it\n" in said(capsys, path)


def three_forms(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[Path, ...]]:
    """A convolution, one in groups, one turned round and a dense layer, in each format."""
    mxnet = NetworkWriter(10200, 5)
    x = mxnet.convolution("first", mxnet.data(3), 8, 3, 2, bias=True)
    x = mxnet.convolution("second", x, 8, 3, 1, groups=8, bias=True)
    weight = mxnet.weight("up_weight", mxnet.random.standard_normal((8, 6, 2, 2)))
    bias = mxnet.weight("up_bias", mxnet.random.standard_normal(6))
    x = mxnet.add(
        "Deconvolution", "up", [x, weight, bias], 6,
        kernel=(2, 2), stride=(2, 2), num_filter=6, no_bias=False,
    )  # fmt: skip
    mxnet.feature(x, 16 * 12)
    checkpoint = save(mxnet, folder, "net")
    shape = {"data": ("N", 3, 16, 12)}
    onnx.save(to_onnx(load_checkpoint(*checkpoint), shape), str(folder / "net.onnx"))
    net, zeros = Writer(), lambda *shape: np.zeros(shape, np.float32)
    y = net.conv(
        net.input("data", (1, 16, 12, 3)), zeros(8, 3, 3, 3), zeros(8),
        padding=0, strideH=2, strideW=2, shape=(1, 8, 6, 8),
    )  # fmt: skip
    y = net.op(
        "DEPTHWISE_CONV_2D", [y, net.stored(zeros(1, 3, 3, 8)), net.stored(zeros(8))],
        "DepthwiseConv2DOptions", padding=0, strideH=1, strideW=1, depthMultiplier=1,
        dilationHFactor=1, dilationWFactor=1, shape=(1, 8, 6, 8),
    )  # fmt: skip
    y = net.op(
        "Convolution2DTransposeBias",
        [y, net.stored(zeros(6, 2, 2, 8)), net.stored(zeros(6))],
        custom=transpose_options(2, 2, 2),
        shape=(1, 16, 12, 6),
    )
    y = net.op("FULLY_CONNECTED", [y, net.stored(zeros(256, 6 * 16 * 12))], "FullyConnectedOptions")
    (folder / "net.tflite").write_bytes(net.file(y))
    return checkpoint, (folder / "net.onnx",), (folder / "net.tflite",)


@pytest.mark.needs_litert
def test_one_network_in_three_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, graph, lite = three_forms(tmp_path)
    found = [
        inspected(capsys, *checkpoint, "--size", 16, 12),
        inspected(capsys, *graph),
        inspected(capsys, *lite),
    ]
    pixels = 8 * 6
    # by hand: 8·27, 8·9 and 8·6·4 for each of the 8×6 pixels, 256 sums over 16×12×6
    macs = pixels * (8 * 27 + 8 * 9 + 8 * 6 * 4) + 256 * 16 * 12 * 6
    parameters = 8 * 27 + 8 + 8 * 9 + 8 + 8 * 6 * 4 + 6 + 256 * 16 * 12 * 6
    for one in found:
        print(one["format"], one["macs"], one["parameters"], one["weight_dtypes"])
        assert (one["macs"], one["parameters"]) == (macs, parameters)
        assert one["weight_dtypes"]["float32"] == 4 * parameters
        assert one["convertible"]
        assert one["shapes"][one["inputs"][0]][0] in ("N", 1)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_checkpoints_and_their_onnx_files(
    version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = save(identification(version), tmp_path, "net")
    found = inspected(capsys, *files, "--size", 112, 112)
    graph = merge_batchnorm(load_checkpoint(*files)).graph
    shape = ("N", found["shapes"]["data"][1], 112, 112)
    onnx.save(to_onnx(graph, {"data": shape}), str(tmp_path / "net.onnx"))
    made = inspected(capsys, tmp_path / "net.onnx")
    print(version, found["macs"], made["macs"])
    assert found["macs"] == made["macs"] > 1e6
    unknown = inspected(capsys, *files)
    assert unknown["macs"] is None
    assert "--size" in unknown["macs_reason"]
    assert unknown["shapes"]["data"] == ["N", shape[1], "H", "W"]
    assert f"--params {files[1]}" in found["next"] or f"{files[0]} {files[1]}" in found["next"]


@pytest.mark.needs_litert
@pytest.mark.needs_mediapipe
@pytest.mark.needs_packages
@pytest.mark.parametrize(
    "file",
    [
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        "fer/data/emotion_model_quantized.tflite",
    ],
)
def test_published_files_and_their_onnx_files(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packaged(file)
    found = inspected(capsys, path)
    onnx.save(ir.to_proto(build_tflite(read_tflite(path))), str(tmp_path / "net.onnx"))
    made = inspected(capsys, tmp_path / "net.onnx")
    print(found["macs"], made["macs"], found["parameters"], made["parameters"])
    assert found["macs"] == made["macs"] > 1e6
    assert (found["fixed_batch"], made["fixed_batch"]) == (1, None)


class Noise(CalibrationDataReader):
    """Two images of noise."""

    def __init__(self, side: int) -> None:
        random = np.random.RandomState(2)
        self.rows = iter(random.uniform(0, 1, (2, 1, 3, side, side)).astype(np.float32))

    def get_next(self) -> dict[str, Any] | None:
        row = next(self.rows, None)
        return None if row is None else {"image": row}


def convolutions(path: Path) -> Path:
    """Two convolutions with biases for images of 12×12: 8·27 and 8·72 at 144 pixels."""
    net = Layers()
    x = net.add("Conv", "image", net.weight(8, 3, 3, 3), net.weight(8), pads=[1] * 4)
    x = net.add("Conv", x, net.weight(8, 8, 3, 3), net.weight(8), pads=[1] * 4)
    net.nodes[-1].output[0] = "made"
    path = net.save(path, 12, "N", "made")
    model = onnx.load(str(path))
    random = np.random.RandomState(4)
    for tensor in model.graph.initializer:
        values = random.uniform(-0.5, 0.5, tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_quantised_files(
    form: QuantFormat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, path = convolutions(tmp_path / "plain.onnx"), tmp_path / "eight.onnx"
    quantize_static(str(plain), str(path), Noise(12), quant_format=form, per_channel=True)
    before, found = inspected(capsys, plain), inspected(capsys, path)
    assert before["macs"] == 144 * (8 * 27 + 8 * 72)
    assert (found["macs"], found["parameters"]) == (before["macs"], before["parameters"])
    assert found["weight_dtypes"]["int8"] >= 8 * 27 + 8 * 72
    assert found["weight_dtypes"]["int32"] >= 4 * 16  # biases, and their zero points
    assert found["weight_bytes"] == sum(found["weight_dtypes"].values())
    assert found["convertible"]


@pytest.mark.parametrize("cast", [False, True])
def test_float16_files(cast: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = convolutions(tmp_path / "plain.onnx")
    model = onnx.load(str(plain))
    casts = []
    for tensor in model.graph.initializer:
        name = f"{tensor.name}_half" if cast else tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(half, name))
    if cast:
        nodes = [*casts, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    else:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, str(tmp_path / "half.onnx"))
    before, found = inspected(capsys, plain), inspected(capsys, tmp_path / "half.onnx")
    assert (found["macs"], found["parameters"]) == (before["macs"], before["parameters"])
    assert found["weight_dtypes"] == {"float16": before["weight_bytes"] // 2}
    assert found["dtypes"]["image"] == ("float32" if cast else "float16")
    assert found["convertible"]


@pytest.mark.needs_litert
def test_a_tflite_file_of_8_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Writer()
    image = net.tensor("image", (1, 6, 6, 3), "int8")
    net.graph.inputs.append(image)
    weight = net.stored(np.ones((4, 3, 3, 3), np.int8), [0.1] * 4)
    made = net.conv(image, weight)
    for number in (image, made):
        net.graph.tensors[number].quantization = _scale(0.5)
    net.graph.tensors[made].type, net.graph.tensors[made].shape = (
        9,
        np.array([1, 6, 6, 4], np.int32),
    )
    path = tmp_path / "net.tflite"
    path.write_bytes(net.content(made))
    found = inspected(capsys, path)
    assert found["dtypes"] == {"image": "int8", "made_0": "int8"}
    assert (found["macs"], found["parameters"]) == (36 * 4 * 27, 4 * 27)
    assert found["weight_dtypes"] == {"int8": 4 * 27}
    assert not found["convertible"]
    assert "'image' is int8" in found["refused"]
    assert found["next"] is None


def _scale(scale: float) -> Any:
    from ai_edge_litert import schema_py_generated

    found = schema_py_generated.QuantizationParametersT()
    found.scale, found.zeroPoint = np.array([scale], np.float32), np.array([0], np.int64)
    return found

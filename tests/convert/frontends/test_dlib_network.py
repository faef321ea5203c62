"""Networks in dlib's format: invented ones against MXNet, damaged ones against the reader."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from mobileface.errors import GraphError, SourceFormatError
from mobileface_convert.frontends.dlib_network import (
    Affine,
    Convolution,
    DlibNetwork,
    FullyConnected,
    Pool,
    Relu,
    read_dlib_network,
)
from mobileface_convert.frontends.dlib_network_onnx import build_dlib_network, fold_network
from tests.convert.frontends.dlib_network_writer import (
    network_bytes,
    random_network,
    run_in_mxnet,
    text,
)
from tests.convert.frontends.dlib_writer import integer_bytes

SIZES = [(41, 41), (45, 39), (31, 67), (80, 64)]
"""At 41×41 and 31×67 the parts of sums have different sizes, and filters see mostly padding."""

Pictures = npt.NDArray[np.float32]


def pictures(network: DlibNetwork, count: int) -> Pictures:
    random = np.random.RandomState(count)
    shape = (count, 3, network.height, network.width)
    return random.randint(0, 256, shape).astype(np.float32)


def onnx_model(network: DlibNetwork) -> onnx.ModelProto:
    model = ir.to_proto(build_dlib_network(network, name="net", image="data", output="embedding"))
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, images: Pictures) -> Any:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"data": images})[0]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(size: tuple[int, int]) -> None:
    written = random_network(1, *size)
    found = read_dlib_network(network_bytes(written), "file")
    assert (found.mean, found.scale) == (written.mean, written.scale)
    assert (found.height, found.width) == size
    for one, other in zip(found.layers, written.layers, strict=True):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_mxnet(seed: int, size: tuple[int, int]) -> None:
    """Folded, trimmed and padded as it is, a network gives what its plain layers give."""
    network = random_network(seed, *size)
    model, worst = onnx_model(network), 0.0
    for count in (1, 5):
        images = pictures(network, count)
        expected = run_in_mxnet(network, images)
        found = run(model, images)
        assert found.shape == expected.shape == (count, 7)
        worst = max(worst, float(np.abs(found - expected).max()))
    print(f"{size}: largest difference {worst:.2g} of {np.abs(expected).max():.2g}")
    assert worst < 2e-6


def test_what_sees_only_padding_is_cut_off() -> None:
    """On one padded pixel, one weight of nine is left; elsewhere all are."""
    network = random_network(1, 41, 41)
    model = onnx_model(network)
    shapes = [list(tensor.dims[2:]) for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert shapes.count([1, 1]) == 2  # the last filters, and the weights after them
    assert shapes.count([3, 3]) == 5
    stored = sum(int(np.prod(t.dims)) for t in model.graph.initializer if len(t.dims) == 4)
    given = sum(
        layer.weights.size
        for layer in network.layers
        if isinstance(layer, (Convolution, FullyConnected))
    )
    assert given - stored == 12 * 12 * 8
    large = onnx_model(random_network(1, 80, 64))
    assert sum(int(np.prod(t.dims)) for t in large.graph.initializer if len(t.dims) == 4) == given


def test_nothing_is_left_to_fold() -> None:
    folded = fold_network(random_network(1, 41, 41))
    assert not any(isinstance(layer, Affine) for layer in folded.layers)
    assert (folded.mean, folded.scale) == ((0.0, 0.0, 0.0), 1.0)
    kinds = {node.op_type for node in onnx_model(folded).graph.node}
    assert kinds <= {
        "Conv",
        "Relu",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Add",
        "Pad",
        "Flatten",
    }


def changed(network: DlibNetwork, index: int, layer: Any) -> DlibNetwork:
    layers = list(network.layers)
    layers[index] = layer
    return dataclasses.replace(network, layers=tuple(layers))


WRONG: dict[str, tuple[int, Any, str]] = {
    "no convolution before": (2, Affine(np.ones(6, np.float32), np.ones(6, np.float32)), "without"),
    "another count": (
        1,
        Affine(np.ones(5, np.float32), np.ones(5, np.float32)),
        "expected 6 factors, got 5",
    ),
    "no convolution first": (0, Relu(), "without"),
    "another channel count": (
        5,
        Convolution(np.ones((6, 4, 3, 3), np.float32), np.ones(6, np.float32), (1, 1), (1, 1)),
        "expected filters for 6 channels, got 4",
    ),
    "a window larger than the picture": (
        3,
        Pool("max", (60, 60), (2, 2), (0, 0)),
        "a window of 60 pixels exceeds 19 pixels",
    ),
    "weights for another value": (
        -1,
        FullyConnected(np.ones((11, 7), np.float32)),
        "11 weights do not fit a value of",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_layers_that_do_not_fit(name: str) -> None:
    index, layer, message = WRONG[name]
    with pytest.raises(GraphError, match=re.escape(message)) as caught:
        build_dlib_network(
            changed(random_network(1, 41, 41), index, layer), name="n", image="i", output="o"
        )
    print(caught.value)


def test_padding_in_the_first_layer_is_refused() -> None:
    network = random_network(1, 41, 41)
    first = network.layers[0]
    assert isinstance(first, Convolution)
    padded = changed(network, 0, dataclasses.replace(first, padding=(1, 1)))
    with pytest.raises(GraphError, match="convolution without padding"):
        fold_network(padded)


FILE = network_bytes(random_network(1, 41, 41))


def test_every_cut_is_refused() -> None:
    """However short a file is cut, the error names the byte; nothing else is raised."""
    lengths = {*range(0, 400), *range(400, len(FILE), 37), len(FILE) - 1}
    for length in lengths:
        with pytest.raises(SourceFormatError, match=r"file, byte \d+") as caught:
            read_dlib_network(FILE[:length], "file")
        assert "byte" in str(caught.value)
    print(f"{len(lengths)} lengths")


@pytest.mark.slow
def test_damage_is_refused_or_harmless() -> None:
    """Flipped bytes give one clear error, or another network of finite numbers."""
    random, refused = np.random.RandomState(7), 0
    for _ in range(3000):
        data = bytearray(FILE)
        place = random.randint(len(data)) if random.rand() < 0.5 else random.randint(120)
        data[place] ^= 1 << random.randint(8)
        try:
            network = read_dlib_network(bytes(data), "file")
        except SourceFormatError:
            refused += 1
            continue
        for layer in network.layers:
            if isinstance(layer, Convolution):
                assert np.isfinite(layer.weights).all()
    print(f"{refused} of 3000 refused")
    assert refused > 500


REPLACED: dict[str, tuple[bytes, bytes, str]] = {
    "another loss": (text("loss_metric_2"), text("loss_mmod"), "its loss is 'loss_mmod'"),
    "another input": (
        text("input_rgb_image_sized"),
        text("input_rgb_image_pyramid"),
        "its input is 'input_rgb_image_pyramid'",
    ),
    "an unknown layer": (
        text("max_pool_2"),
        text("mult_prev_"),
        "layer 3 (mult_prev_) is not supported",
    ),
    "a newer layer": (text("con_4"), text("con_5"), "layer 0 (con_5) is not supported"),
    "a name that is none": (text("con_4"), b"\x01\x05con_\xff", "is not printable ASCII"),
}


@pytest.mark.parametrize("name", REPLACED)
def test_what_cannot_be_read_is_named(name: str) -> None:
    old, new, message = REPLACED[name]
    assert old in FILE
    with pytest.raises(SourceFormatError, match=re.escape(message)) as caught:
        read_dlib_network(FILE.replace(old, new, 1), "file")
    print(caught.value)


def test_what_follows_is_refused() -> None:
    with pytest.raises(SourceFormatError, match="ends here, but 3 bytes follow"):
        read_dlib_network(FILE + b"abc", "file")


def test_a_size_is_never_trusted() -> None:
    """A tensor that claims 2**60 elements is refused before memory is asked for."""
    start = FILE.index(text("con_4")) + len(text("con_4"))
    huge = b"\x01\x02" + b"\x08" + (1 << 60).to_bytes(8, "little") + b"\x01\x01" * 3
    with pytest.raises(SourceFormatError, match="a size of parameters of layer 0"):
        read_dlib_network(FILE[:start] + huge + FILE[start + 20 :], "file")
    most = len(FILE) // 2
    square = b"\x01\x02" + b"".join(integer_bytes(most) for _ in range(4))
    with pytest.raises(SourceFormatError, match="cannot hold"):
        read_dlib_network(FILE[:start] + square + FILE[start + 20 :], "file")

"""Networks that read uint8 pixels and give rows of unit length: equal to MXNet and to numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mobileface.errors import GraphError
from mobileface_convert import passes
from mobileface_convert.backends.onnx import build_onnx, clean
from mobileface_convert.makers import apply_passes
from mobileface_convert.passes import interleave, read_uint8, unit_length
from tests.convert.ops.op_check import (
    Network,
    Symbol,
    assert_close,
    conv,
    data,
    dense,
    norm,
    relu,
    run_mxnet,
    run_onnx,
    scalar,
    sym,
)
from tests.convert.passes.onnx_check import as_onnx, assert_same, names, operators

pytestmark = pytest.mark.needs_mxnet

Build = Callable[[], Symbol]
Numbers = Sequence[float]
TOLERANCE = 1e-6


def centred(x: Symbol) -> Symbol:
    """A network's own scaling."""
    return scalar("mul", scalar("minus", x, 127.5, "minus"), 0.0078125, "mul")


def read(network: Network, mean: Numbers = (0.0,), std: Numbers = (1.0,)) -> passes.Network:
    """The network with uint8 input, through all passes."""
    found = as_onnx(network)
    read_uint8(found, name="data", mean=mean, std=std)
    apply_passes(found, "plain")
    return found


def assert_same_on_pixels(
    network: Network, found: passes.Network, mean: Numbers = (0.0,), std: Numbers = (1.0,)
) -> list[str]:
    """Compares a model that reads pixels with MXNet on planes; returns its ONNX operators."""
    batch, channels, height, width = network.shape
    pixels = np.random.RandomState(2).randint(0, 256, (batch, height, width, channels))
    pixels = pixels.astype(np.uint8)
    scaled = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)
    model = clean(found.proto(), "invented")
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]] == [
        height,
        width,
        channels,
    ]
    for count in (1, batch):
        planes = np.ascontiguousarray(scaled[:count].transpose(0, 3, 1, 2))
        expected = run_mxnet(network.symbol, network.arrays, {"data": planes})
        assert_close(run_onnx(model, {"data": pixels[:count]}), expected, TOLERANCE)
    return [node.op_type for node in model.graph.node]


DIRECT: dict[str, tuple[Build, int]] = {
    "padded, with a stride": (lambda: conv(centred(data()), pad=(1, 1), stride=(2, 2)), 3),
    "gray": (lambda: conv(centred(data()), pad=(1, 1), stride=(2, 2)), 1),
    "four channels": (lambda: conv(centred(data()), pad=(2, 1), stride=(1, 3)), 4),
    "not padded": (lambda: conv(centred(data()), no_bias=True), 3),
    "another kernel": (lambda: conv(data(), kernel=(5, 2), pad=(0, 3), stride=(3, 2)), 3),
    "rows with gaps": (lambda: conv(data(), dilate=(2, 1), pad=(2, 1)), 3),
    "operators of each number": (
        lambda: conv(relu(scalar("plus", centred(data()), 0.3, "plus")), pad=(1, 1)),
        3,
    ),
}


@pytest.mark.parametrize("size", [(12, 10), (11, 9)])
@pytest.mark.parametrize("case", DIRECT)
def test_a_convolution_reads_pixels_in_place(case: str, size: tuple[int, int]) -> None:
    build, channels = DIRECT[case]
    network = Network(build(), (3, channels, *size))
    operators = assert_same_on_pixels(network, read(network))
    print(operators)
    assert "Transpose" not in operators


LEFT: dict[str, tuple[Build, str]] = {
    "columns with gaps": (
        lambda: conv(data(), dilate=(1, 2)),
        "the kernel of 'c' is dilated along columns",
    ),
    "groups": (lambda: conv(data(), num_filter=6, num_group=3), "not a convolution without groups"),
    "two readers": (
        lambda: sym().Group([conv(data()), relu(data())]),
        "'data_float' is read by several layers, or is an output",
    ),
    "a value a channel": (
        lambda: conv(relu(norm(data()))),
        r"its reader 'b' \(BatchNormalization\)",
    ),
    "fully connected": (lambda: dense(data()), r"is not a convolution without groups"),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_reads_planes_still_gets_them(case: str) -> None:
    build, reason = LEFT[case]
    network = Network(build(), (3, 3, 8, 9))
    found = as_onnx(network)
    read_uint8(found, name="data")
    before = names(found)
    result = interleave(found)
    assert names(found) == before
    assert [refusal.node for refusal in result.refused] == ["data_planes"]
    assert re.search(reason, result.refused[0].reason)
    assert "Transpose" in assert_same_on_pixels(network, read(network))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((127.5,), (127.5,)),
        ((127.5,), (1.0,)),
        ((0.0,), (58.0,)),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ((100.0, 100.0, 100.0), (58.395, 57.12, 57.375)),
    ],
)
def test_what_was_scaled_outside_is_scaled_inside(mean: Numbers, std: Numbers) -> None:
    """Also at the border, where a mean folded into a bias would be wrong."""
    network = Network(conv(data(), pad=(1, 1), stride=(2, 2)), (3, 3, 12, 10))
    found = read(network, mean, std)
    assert_same_on_pixels(network, found, mean, std)
    assert not {"Div", "Mul", "Transpose"} & set(operators(found))


def test_a_missing_input_is_named() -> None:
    with pytest.raises(GraphError, match=r"no input 'image'.*available: data"):
        read_uint8(as_onnx(Network(conv(data()))), name="image")


def test_a_network_that_transposes_pixels_itself() -> None:
    """It is no other case; a transposition of another order is left."""
    network = Network(conv(sym().transpose(data(), axes=(0, 3, 1, 2)), pad=(1, 1)))
    found = as_onnx(network)
    result = interleave(found)
    assert len(result.changed) == 1
    assert_same(network, found, tolerance=TOLERANCE)
    other = Network(conv(sym().transpose(data(), axes=(0, 1, 3, 2))))
    assert not interleave(as_onnx(other)).changed


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1.0, 86.0, 1e6])
def test_unit_length_is_numpys(scale: float) -> None:
    """As the runtime computes it, to a rounding; a row of zeros stays zero."""
    network = Network(sym().identity(data()), (5, 256))
    rows = (np.random.RandomState(1).standard_normal((5, 256)) * scale).astype(np.float32)
    rows[3] = 0
    rewritten = passes.Network(build_onnx(network.graph, {"data": ("N", 256)}, ["embedding"]))
    unit_length(rewritten)
    model = clean(rewritten.proto(), "invented")
    assert [value.name for value in model.graph.output] == ["embedding"]
    (found,) = run_onnx(model, {"data": rows})
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    expected = rows / np.where(lengths > 0, lengths, 1)
    error = np.abs(found - expected).max()
    print(f"largest error {error:.2g}")
    if scale >= 1e-4:  # below, squares leave float32's range, in numpy as well
        assert error <= 6e-8
    assert np.isfinite(found).all()
    assert not found[3].any()


def test_unit_length_is_computed_once() -> None:
    found = as_onnx(Network(sym().L2Normalization(dense(data()), name="unit"), (2, 4)))
    before = names(found)
    result = unit_length(found)
    assert names(found) == before
    assert [refusal.reason for refusal in result.refused] == ["it is already L2-normalised"]
    with pytest.raises(GraphError, match="single output can be L2-normalised, not 2"):
        unit_length(as_onnx(Network(sym().Group([dense(data()), relu(data())]), (2, 4))))

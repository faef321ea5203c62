"""Rewrites a network's ONNX form and compares what is left with MXNet's own results."""

from __future__ import annotations

from collections import Counter

from mobileface_convert.backends.onnx import build_onnx, clean
from mobileface_convert.passes import Network
from tests.convert.ops import op_check
from tests.convert.ops.op_check import assert_close, run_mxnet, run_onnx

__all__ = ["as_onnx", "assert_same", "channels", "names", "operators"]


def as_onnx(network: op_check.Network) -> Network:
    """The network in ONNX, node by node, for any batch size."""
    shape = ("N", *network.shape[1:])
    return Network(build_onnx(network.graph, {"data": shape}), "invented")


def assert_same(network: op_check.Network, rewritten: Network, *, tolerance: float) -> None:
    """Compares ONNX Runtime on a rewritten network with MXNet on the source, at two batch sizes."""
    model = clean(rewritten.proto(), "invented")
    for batch in (1, network.shape[0]):
        fed = {"data": network.fed["data"][:batch]}
        expected = run_mxnet(network.symbol, network.arrays, fed)
        assert_close(run_onnx(model, fed), expected, tolerance)


def operators(network: Network) -> Counter[str]:
    """How many nodes of each operator there are."""
    return Counter(node.op_type for node in network.nodes)


def names(network: Network) -> list[str]:
    """The names of the nodes."""
    return [str(node.name) for node in network.nodes]


def channels(network: Network, name: str) -> int:
    """The number of output channels of a layer."""
    node = next(node for node in network.nodes if node.name == name)
    weight = network.stored(node.inputs[1])
    assert weight is not None
    return int(weight.shape[0])

"""Compares converted networks with MXNet's own results, from the JSON that MXNet writes."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.checkpoint import save_checkpoint
from mobileface_convert.frontends.mxnet_checkpoint import load_checkpoint
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from mobileface_convert.graph.source_graph import Array, Graph
from mobileface_convert.oracles.mxnet_oracle import MXNetReference, import_mxnet

FloatArray = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Symbol = Any

BATCHES = (1, 3)
IMAGE = (2, 4, 6, 7)


@dataclass(frozen=True)
class Case:
    """One operator with attributes on inputs of one shape (without the batch axis)."""

    op: str
    shape: tuple[int, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    inputs: int = 1
    tolerance: float = 0.0

    @property
    def title(self) -> str:
        told = ",".join(f"{key}={value}" for key, value in self.attrs.items())
        return f"{self.op}-{'x'.join(map(str, self.shape))}-{told}".replace(" ", "")

    def symbol(self) -> Symbol:
        """The operator in MXNet, with variables for its weights."""
        data = [sym().Variable(f"data{i or ''}") for i in range(self.inputs)]
        return operator(self.op)(*data, name="n", **self.attrs)


def check_case(case: Case, opset: int) -> onnx.ModelProto:
    """Compares one operator with MXNet, after making sure that MXNet saves it under its name."""
    symbol = case.symbol()
    saved = json.loads(symbol.tojson())["nodes"]
    assert [entry["op"] for entry in saved if entry["op"] != "null"] == [case.op]
    return check(symbol, *case.shape, tolerance=case.tolerance, opset=opset)


def random_arrays(symbol: Symbol, seed: int, **shapes: Shape) -> dict[str, FloatArray]:
    """Seeded weights and states for every variable of a symbol that is not one of the inputs."""
    arguments, _, states = symbol.infer_shape(**shapes)
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    generator = np.random.RandomState(seed)
    arrays = {}
    for name, shape in zip(names, [*arguments, *states], strict=True):
        if name not in shapes and not name.endswith("_label"):  # no checkpoint holds labels
            values = generator.standard_normal(shape)
            if name.endswith(("_var", "_gamma")):
                values = np.abs(values) + 0.1
            arrays[name] = values.astype(np.float32)
    return arrays


def run_mxnet(
    symbol: Symbol, arrays: Mapping[str, FloatArray], feeds: Mapping[str, FloatArray]
) -> list[FloatArray]:
    """What MXNet's executor computes at inference."""
    mxnet = import_mxnet()
    held = {name: mxnet.nd.array(array, dtype=np.float32) for name, array in arrays.items()}
    shapes = {name: array.shape for name, array in feeds.items()}
    executor = symbol.simple_bind(mxnet.cpu(), grad_req="null", **shapes)
    executor.copy_params_from(held, held, allow_extra_params=True)
    fed = {name: mxnet.nd.array(array, dtype=np.float32) for name, array in feeds.items()}
    return [output.asnumpy() for output in executor.forward(is_train=False, **fed)]


def run_onnx(model: onnx.ModelProto, feeds: Mapping[str, FloatArray]) -> list[FloatArray]:
    """What ONNX Runtime computes with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[FloatArray] = session.run(None, dict(feeds))
    return outputs


def assert_close(
    found: Sequence[FloatArray], expected: Sequence[FloatArray], tolerance: float
) -> float:
    """Fails unless all arrays agree; returns and prints the worst error seen.

    The error is relative to the largest value of the same sample (index on axis 0), so that a
    small sample is not hidden behind a large one. nan and inf must stand at the same places.
    """
    assert len(found) == len(expected)
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype == np.float32
        finite = np.isfinite(theirs)
        np.testing.assert_array_equal(ours[~finite], theirs[~finite])
        for mine, wanted, mask in zip(ours, theirs, finite, strict=True):
            left, right = mine[mask].astype(np.float64), wanted[mask].astype(np.float64)
            scale = np.abs(right).max(initial=0)
            error = np.abs(left - right).max(initial=0)
            worst = max(worst, error / scale if scale else error)
    print(f"worst relative error {worst:.2e}, allowed {tolerance:.0e}")
    assert worst <= tolerance
    return worst


def check(
    symbol: Symbol,
    *shape: int,
    tolerance: float = 1e-6,
    opset: int = 17,
    seed: int = 1,
    feeds: Mapping[str, FloatArray] | None = None,
    arrays: Mapping[str, FloatArray] | None = None,
) -> onnx.ModelProto:
    """Converts a symbol for any batch size and compares it with MXNet for batches of 1 and 3.

    Args:
        symbol: An MXNet symbol; its variables ``data``, ``data1``, … are the inputs.
        shape: Shape of each input without its batch axis.
        tolerance: Allowed error, relative to the largest value of a sample; 0 means equal.
        opset: ONNX operator set.
        seed: For weights and inputs.
        feeds: The inputs to compare on, instead of noise.
        arrays: Some or all of the weights, instead of noise.

    Returns:
        The ONNX model.
    """
    inputs = [name for name in symbol.list_arguments() if name.startswith("data")]
    batches = BATCHES if feeds is None else [len(next(iter(feeds.values())))]
    found = random_arrays(symbol, seed, **dict.fromkeys(inputs, (batches[0], *shape)))
    found.update(arrays or {})
    graph = read_symbol(symbol.tojson(), found)
    model = to_onnx(graph, dict.fromkeys(inputs, ("batch", *shape)), opset=opset)
    generator = np.random.RandomState(seed + 1)
    for batch in batches:
        fed = feeds or {
            name: generator.standard_normal((batch, *shape)).astype(np.float32) for name in inputs
        }
        assert_close(run_onnx(model, fed), run_mxnet(symbol, found, fed), tolerance)
    return model


def check_dynamic(
    symbol: Symbol,
    *shapes: Shape,
    fixed: Sequence[int] = (1,),
    tolerance: float = 1e-6,
    opset: int = 17,
    seed: int = 1,
    arrays: Mapping[str, FloatArray] | None = None,
) -> onnx.ModelProto:
    """Converts a symbol once for inputs of any size and compares it with MXNet on several shapes.

    Args:
        symbol: An MXNet symbol; its variables ``data``, ``data1``, … are the inputs.
        shapes: Shapes of every input, batch axis included; they differ in dynamic axes only.
        fixed: The axes that are not dynamic (the channels).
        tolerance: Allowed error, relative to the largest value of a sample; 0 means equal.
        opset: ONNX operator set.
        seed: For weights and inputs.
        arrays: Some or all of the weights, instead of noise.

    Returns:
        The ONNX model.
    """
    inputs = [name for name in symbol.list_arguments() if name.startswith("data")]
    runs = [dict.fromkeys(inputs, shape) for shape in shapes]
    declared = tuple(size if i in fixed else f"d{i}" for i, size in enumerate(shapes[0]))
    return check_inputs(
        symbol,
        dict.fromkeys(inputs, declared),
        *runs,
        tolerance=tolerance,
        opset=opset,
        seed=seed,
        arrays=arrays,
    )


def check_inputs(
    symbol: Symbol,
    declared: Mapping[str, Sequence[int | str]],
    *runs: Mapping[str, Shape],
    tolerance: float = 1e-6,
    opset: int = 17,
    seed: int = 1,
    arrays: Mapping[str, FloatArray] | None = None,
) -> onnx.ModelProto:
    """Converts a symbol once for inputs of their own shapes and compares it with MXNet.

    Args:
        symbol: An MXNet symbol.
        declared: Shape of each input as the conversion sees it; a text dimension is dynamic.
        runs: Shapes of the inputs to compare on.
        tolerance: Allowed error, relative to the largest value of a sample; 0 means equal.
        opset: ONNX operator set.
        seed: For weights and inputs.
        arrays: Some or all of the weights, instead of noise.

    Returns:
        The ONNX model.
    """
    found = random_arrays(symbol, seed, **runs[0])
    found.update(arrays or {})
    model = to_onnx(read_symbol(symbol.tojson(), found), declared, opset=opset)
    generator = np.random.RandomState(seed + 1)
    for shapes in runs:
        fed = {n: generator.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
        assert_close(run_onnx(model, fed), run_mxnet(symbol, found, fed), tolerance)
    return model


def assert_refused(
    op: str,
    attrs: Mapping[str, Any],
    kind: type[Exception],
    message: str,
    *shapes: Sequence[int | str],
    arrays: Mapping[str, FloatArray] | None = None,
) -> None:
    """Fails unless a conversion refuses an operator with one error that names its node.

    Args:
        op: MXNet's name of the operator.
        attrs: Its attributes.
        kind: Type of the error.
        message: Pattern that the error's text has after the node.
        shapes: Shape of each input.
        arrays: Weights by name; the node is called ``n``.
    """
    names = [f"data{i or ''}" for i in range(len(shapes))]
    symbol = operator(op)(*(sym().Variable(name) for name in names), name="n", **attrs)
    graph = read_symbol(symbol.tojson(), dict(arrays or {}))
    with pytest.raises(kind, match=rf"node 'n' \({op}\).*({message})"):
        to_onnx(graph, dict(zip(names, shapes, strict=True)))


# One node in JSON.

SHAPE = (1, 4, 5, 5)
VERSION = {"mxnet_version": ["int", 10901]}


def convert(
    op: str,
    attrs: Mapping[str, str],
    *arrays: Array,
    inputs: int = 1,
    head: int = 0,
    shape: Sequence[int | str] = SHAPE,
) -> onnx.ModelProto:
    """Converts one node called ``bad`` whose further inputs are the arrays ``w1``, ``w2``, …."""
    names = ["data"] * inputs + [f"w{i + 1}" for i in range(len(arrays))]
    nodes: list[dict[str, Any]] = [{"op": "null", "name": n, "inputs": []} for n in names]
    edges = [[i, 0] for i in range(len(names))]
    nodes.append({"op": op, "name": "bad", "attrs": dict(attrs), "inputs": edges})
    text = json.dumps({"nodes": nodes, "heads": [[len(names), head]], "attrs": VERSION})
    graph = read_symbol(text, dict(zip(names[inputs:], arrays, strict=True)), "x-symbol.json")
    return to_onnx(graph, {"data": shape} if inputs else {})


# Networks built in Python, and what a pass makes of them.


def sym() -> Any:
    return import_mxnet().sym


@functools.cache
def data() -> Symbol:
    """The input; one object, because a network has one variable of a name."""
    return sym().Variable("data")


def conv(x: Symbol, name: str = "c", **attrs: Any) -> Symbol:
    return sym().Convolution(x, name=name, **{"kernel": (3, 3), "num_filter": 8, **attrs})


def norm(x: Symbol, name: str = "b", **attrs: Any) -> Symbol:
    return sym().BatchNorm(x, name=name, **{"fix_gamma": False, **attrs})


def dense(x: Symbol, name: str = "f", **attrs: Any) -> Symbol:
    return sym().FullyConnected(x, name=name, **{"num_hidden": 5, **attrs})


def relu(x: Symbol, name: str = "r") -> Symbol:
    return sym().Activation(x, act_type="relu", name=name)


def flat(x: Symbol, name: str = "flat") -> Symbol:
    return sym().Flatten(x, name=name)


def scalar(op: str, x: Symbol, value: float, name: str) -> Symbol:
    return operator(f"_{op}_scalar")(x, scalar=value, name=name)


def operator(name: str) -> Any:
    """MXNet's function for an operator, public or not."""
    if name.startswith("_contrib_"):
        return getattr(sym().contrib, name.removeprefix("_contrib_"))
    return getattr(sym(), name, None) or getattr(sym()._internal, name)


class Network:
    """A symbol with random weights, as a source graph and in MXNet."""

    def __init__(
        self,
        symbol: Symbol,
        shape: tuple[int, ...] = IMAGE,
        arrays: Mapping[str, FloatArray] | None = None,
    ) -> None:
        self.symbol, self.shape = symbol, shape
        self.arrays = {**random_arrays(symbol, 5, data=shape), **(arrays or {})}
        self.graph = read_symbol(symbol.tojson(), self.arrays, "x-symbol.json")
        self.fed = {"data": np.random.RandomState(8).standard_normal(shape).astype(np.float32)}

    def assert_same_outputs(self, graph: Graph, folder: Path, tolerance: float = 1e-5) -> None:
        """Saves a graph as a checkpoint and compares MXNet's outputs for it with the original's."""
        symbol, params = save_checkpoint(graph, folder / "passed")
        found = MXNetReference(symbol, params).run(self.fed)
        assert_close(found, run_mxnet(self.symbol, self.arrays, self.fed), tolerance)
        again = load_checkpoint(symbol, params)
        assert list(again.weights) == list(graph.weights)
        assert again.auxiliary == graph.auxiliary

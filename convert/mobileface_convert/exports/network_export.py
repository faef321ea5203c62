"""Exports any MXNet checkpoint as one ONNX file: ``mobileface-convert model``.

The batch is always dynamic. Height and width are dynamic too, unless the network fixes them, as a
fully connected layer on all pixels does. Nothing is written unless every step succeeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError, GraphError
from mobileface.host.files import scratch_folder

from ..frontends.checkpoint import save_checkpoint
from ..frontends.gluon import read_gluon, recognise
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..frontends.mxnet_params import load_params
from ..graph.onnx_builder import DEFAULT_OPSET
from ..graph.shapes import Shape, known_shapes
from ..graph.source_graph import Graph
from ..makers import PassRecord, to_optimised_onnx
from ..oracles.mxnet_oracle import MXNetReference, mxnet_is_installed
from ..oracles.onnx_reference import ReferenceNetwork
from ..oracles.verify import open_model
from .exported import Exported, Parity, relative_error, require_parity, write_exported
from .interface import Interface, image_input

__all__ = ["TOLERANCE", "Exported", "Parity", "export_model", "load_network_files"]

TOLERANCE = 1e-5
"""Tolerance for an output, relative to its largest value if that exceeds 1."""

_BATCHES = (1, 4)
_SEED = 20200229
_SIZE = (128, 160)
"""Height and width for the comparison if neither the caller nor the network specifies them."""
_STEPS = ((0, 0), (32, 64))
"""Added to height and width, to test whether a model accepts other sizes."""

FloatArray = npt.NDArray[np.float32]


def export_model(
    symbol: Path | None,
    params: Path,
    output: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] = (),
    opset: int = DEFAULT_OPSET,
    static: bool = False,
    allow_extra: bool = False,
    verify: bool = False,
    tolerance: float = TOLERANCE,
    target: str = "portable",
    uint8: bool = False,
    normalize: bool = False,
) -> Exported:
    """Converts a checkpoint.

    Args:
        symbol: The ``-symbol.json`` file; None for a parameter file whose arrays identify the
            network (`frontends.gluon.NETWORKS`).
        params: The parameter file.
        output: The ONNX file to write.
        shapes: Shape of each input, including the batch; "" is the only input. The channels of an
            input without a shape are those of the convolution that reads it.
        outputs: Names of nodes or outputs, also internal ones; by default the network's outputs.
        opset: Version of the ONNX operator set.
        static: Keep height and width as given; the batch is dynamic anyway.
        allow_extra: Drop arrays that the network does not use instead of raising an error.
        verify: Compare with MXNet or, if it is not installed, with the ONNX project's reference
            evaluator on the network before the passes; a model that differs is not written.
        tolerance: See `TOLERANCE`.
        target: The kind of machine to optimise for, a key of `passes.TARGETS`.
        uint8: Change the only image input to uint8 (N, H, W, C).
        normalize: L2-normalise the rows of the only output.

    Raises:
        ConversionError: If a step fails; names node and array.
    """
    whole = load_network_files(symbol, params)
    if not allow_extra:
        _check_no_extra(whole, str(params))
    graph = _select(whole, outputs)
    known = known_shapes(graph, dict(shapes or {}))
    interface = Interface(image_input(graph, known) if uint8 else None, normalize)
    rewrite = partial(to_optimised_onnx, graph, target=target, first=interface.passes)
    convert = partial(rewrite, opset=opset, name=output.stem)
    model, records, declared, note = _convert(convert, graph, known, interface, static=static)
    parity = None
    if verify:
        oracle = _oracle(graph, symbol, params, outputs)
        parity = _compare(model, declared, known, oracle, interface)
        require_parity(parity, tolerance, str(output))
    sources = [path for path in (symbol, params) if path is not None]
    return write_exported(
        output, model, sources, inputs=declared, passes=records, note=note, parity=parity
    )


def load_network_files(symbol: Path | None, params: Path) -> Graph:
    """Loads the graph of a checkpoint, or of a parameter file whose arrays identify the network.

    Raises:
        ConversionError: If a file is invalid, or no known network has these arrays.
    """
    if symbol is not None:
        return load_checkpoint(symbol, params)
    arrays = load_params(params)
    return read_gluon(arrays, recognise(arrays, str(params)), str(params))


def _check_no_extra(graph: Graph, where: str) -> None:
    """Checks that the network uses all arrays; unused ones suggest a wrong file.

    Raises:
        GraphError: If there are unused arrays; lists up to five.
    """
    extra = [name for name in graph.params if name not in graph.weights]
    if extra:
        listed = ", ".join(extra[:5]) + (", …" if len(extra) > 5 else "")
        raise GraphError(
            f"{len(extra)} of {len(graph.params)} arrays are not part of the network: {listed}",
            where=where,
            hint="pass --allow-extra to drop them, if the network was cut on purpose",
        )


def _select(graph: Graph, outputs: Sequence[str]) -> Graph:
    """The network with the requested outputs.

    Raises:
        GraphError: If an output is not found, or two names stand for the same value.
    """
    if not outputs:
        return graph
    edges = tuple(graph.find(name) for name in outputs)
    if len(set(edges)) < len(edges):
        raise GraphError(
            f"outputs {', '.join(outputs)} include the same value twice", where=graph.origin
        )
    return dataclasses.replace(graph, outputs=edges)


Convert = Callable[[Mapping[str, Shape]], tuple[onnx.ModelProto, list[PassRecord]]]
"""Converts a network for given shapes of its inputs."""


def _convert(
    convert: Convert,
    graph: Graph,
    known: Mapping[str, Shape],
    interface: Interface,
    *,
    static: bool,
) -> tuple[onnx.ModelProto, list[PassRecord], dict[str, Shape], str]:
    """Converts the network, with dynamic height and width if possible.

    Returns:
        The model, the result of each pass, the shapes of the inputs, and why height and width are
        fixed (empty if dynamic).

    Raises:
        ConversionError: If the size is fixed but not known.
    """
    free = {n: ("N", s[1], "H", "W") if len(s) == 4 else s for n, s in known.items()}
    whole = all(isinstance(size, int) for shape in known.values() for size in shape[1:])
    if static and not whole:
        raise ConversionError(
            "--static needs the input size",
            where=graph.origin,
            hint="pass --input-shape 1,3,112,112",
        )
    reason = "requested by --static" if static else ""
    if not static:
        try:
            model, records = convert(free)
            reason = _why_fixed(model, known, interface)
        except (GraphError, ConversionError) as error:
            if not whole:
                raise
            reason = str(error)
        if not reason:
            return model, records, interface.shapes(free), ""
    if not whole:
        raise ConversionError(
            f"the network needs a fixed input size: {reason}",
            where=graph.origin,
            hint="pass --input-shape, for example 1,3,112,112",
        )
    model, records = convert(known)
    return model, records, interface.shapes(known), reason


def _why_fixed(model: onnx.ModelProto, known: Mapping[str, Shape], interface: Interface) -> str:
    """Runs a model with several sizes; returns why it fails for one, empty if it does not."""
    session = open_model(model)
    for step in _STEPS:
        for batch in _BATCHES:
            try:
                noise = interface.noise(_sizes(known, batch, step), _SEED)
                session.run(None, interface.fed(noise))
            except Exception as error:
                return _pixel_counter(model) or " ".join(str(error).split())
    return ""


def _pixel_counter(model: onnx.ModelProto) -> str:
    """Message about a fully connected layer whose width depends on the image size, if any."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: list(value.type.tensor_type.shape.dim) for value in inferred.value_info}
    for node in inferred.node:
        dims = shapes.get(node.input[0], []) if node.op_type == "Gemm" else []
        if len(dims) == 2 and not dims[1].HasField("dim_value"):
            return f"'{node.name}' is connected to every pixel"
    return ""


def _sizes(
    known: Mapping[str, Shape], batch: int, step: tuple[int, int]
) -> dict[str, tuple[int, ...]]:
    """Concrete input shapes for a batch size and a step added to height and width."""
    found = {}
    for name, shape in known.items():
        sizes = list(shape)
        if len(sizes) == 4:
            for axis, (usual, more) in enumerate(zip(_SIZE, step, strict=True), start=2):
                size = sizes[axis]
                sizes[axis] = (size if isinstance(size, int) else usual) + more
        found[name] = (batch, *(int(size) for size in sizes[1:]))
    return found


def _oracle(
    graph: Graph, symbol: Path | None, params: Path, outputs: Sequence[str]
) -> MXNetReference | ReferenceNetwork:
    """The reference that computes the expected outputs."""
    if not mxnet_is_installed():
        return ReferenceNetwork(graph)
    if symbol is not None:
        return MXNetReference(symbol, params, outputs or None)
    with scratch_folder() as folder:
        return MXNetReference(*save_checkpoint(graph, Path(folder) / "network"))


def _compare(
    model: onnx.ModelProto,
    declared: Mapping[str, Shape],
    known: Mapping[str, Shape],
    oracle: MXNetReference | ReferenceNetwork,
    interface: Interface,
) -> Parity:
    """Runs model and reference on random inputs of several sizes."""
    session = open_model(model)
    names = [value.name for value in model.graph.output]
    free = any(isinstance(size, str) for shape in declared.values() for size in shape[1:])
    errors = dict.fromkeys(names, 0.0)
    shapes = []
    for step in _STEPS if free else _STEPS[:1]:
        for batch in _BATCHES:
            shapes.append(_sizes(known, batch, step))
            fed = interface.noise(shapes[-1], _SEED + len(shapes))
            found, reference = session.run(None, interface.fed(fed)), oracle.run(fed)
            pairs = zip(names, found, interface.expected(reference), strict=True)
            for name, ours, theirs in pairs:
                errors[name] = max(errors[name], relative_error(name, ours, theirs))
    return Parity(oracle.name, tuple(shapes), errors)

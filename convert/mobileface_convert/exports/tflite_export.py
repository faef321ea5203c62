"""Exports a TensorFlow Lite file as one ONNX file: ``mobileface-convert model FILE.tflite``.

The batch is dynamic where the file allows it; height and width stay as published. Nothing is
written unless every step succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from mobileface.errors import GraphError

from ..backends.onnx import clean
from ..frontends.tflite import TfliteNetwork, build_tflite, free_batch, read_tflite
from ..graph.onnx_builder import DEFAULT_OPSET
from ..oracles.litert_oracle import LiteRTReference, litert_is_installed
from ..oracles.verify import open_model
from .exported import Exported, Parity, relative_error, require_parity, write_exported

__all__ = ["TFLITE_TOLERANCE", "export_tflite"]

TFLITE_TOLERANCE = 1e-4
"""Tolerance for an output, relative to its largest value if that exceeds 1. On steep masks LiteRT's
own kernels differ from each other by as much."""

_BATCH = 4
_SEED = 20200229
_PATCH = 8

FloatArray = npt.NDArray[np.float32]


def export_tflite(
    path: Path,
    output: Path,
    *,
    outputs: Sequence[str] = (),
    opset: int = DEFAULT_OPSET,
    verify: bool = False,
    tolerance: float = TFLITE_TOLERANCE,
) -> Exported:
    """Converts a file.

    Args:
        path: The TensorFlow Lite file.
        output: The ONNX file to write.
        outputs: Names of the outputs to keep; all by default.
        opset: Version of the ONNX operator set.
        verify: Compare with LiteRT if it is installed; a model that differs is not written.
        tolerance: See `TFLITE_TOLERANCE`.

    Returns:
        The result; ``parity`` is None if nothing was compared.

    Raises:
        ConversionError: The file is refused, or a step fails.
    """
    network = read_tflite(path)
    built, note = _built(network, output.stem, outputs, opset)
    model = clean(ir.to_proto(built), str(path))
    parity = None
    if verify and litert_is_installed():
        parity = _compare(model, network, path)
        require_parity(parity, tolerance, str(output))
    inputs = {
        value.name: tuple(
            size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim
        )
        for value in model.graph.input
    }
    return write_exported(output, model, [path], inputs=inputs, passes=(), note=note, parity=parity)


def _built(
    network: TfliteNetwork, name: str, outputs: Sequence[str], opset: int
) -> tuple[ir.Model, str]:
    """The model, and why its batch is not dynamic; empty if it is."""
    reason = "it is not the first axis of all values"
    if free_batch(network):
        try:
            return build_tflite(network, name=name, outputs=outputs, opset=opset), ""
        except GraphError as error:
            reason = str(error)  # raised again below unless the batch was the trouble
    return build_tflite(network, name=name, outputs=outputs, opset=opset, batch=False), reason


def _compare(model: onnx.ModelProto, network: TfliteNetwork, path: Path) -> Parity:
    """Runs model and LiteRT on random images, half of them noise, half of large patches."""
    oracle = LiteRTReference(path.read_bytes(), str(path))
    session = open_model(model)
    free = bool(model.graph.input[0].type.tensor_type.shape.dim[0].dim_param)
    random = np.random.RandomState(_SEED)
    fed = {
        network.tensors[number].name: _images(random, network.tensors[number].shape, free)
        for number in network.inputs
    }
    names = [value.name for value in model.graph.output]
    found = session.run(
        names,
        {
            name: value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
            for name, value in fed.items()
        },
    )
    expected = oracle.run(fed) if free else oracle.run_whole(fed)
    errors = {}
    for name, ours in zip(names, found, strict=True):
        published = ours.transpose(0, 2, 3, 1) if ours.ndim == 4 else ours
        errors[name] = relative_error(name, published, expected[name])
    return Parity(oracle.name, ({name: value.shape for name, value in fed.items()},), errors)


def _images(random: np.random.RandomState, shape: tuple[int, ...], free: bool) -> FloatArray:
    """Values 0..1 for an input, in the published order of axes."""
    sizes = (_BATCH, *shape[1:]) if free else shape
    found = random.uniform(0, 1, sizes).astype(np.float32)
    if free and len(shape) == 4:
        coarse = found[_BATCH // 2 :, ::_PATCH, ::_PATCH]
        large = coarse.repeat(_PATCH, axis=1).repeat(_PATCH, axis=2)
        found[_BATCH // 2 :] = large[:, : shape[1], : shape[2]]
    return found

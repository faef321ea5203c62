"""Exports an ONNX model in the dialect of ncnn's files that FeatherCNN reads, with a sidecar.

Two readers of the written files are compared with ONNX Runtime: ncnn, and an evaluator that reads
them as FeatherCNN does. The worse of the two agreements decides and is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError

from ..backends.feathercnn import FeatherModel, to_feathercnn
from ..backends.ncnn_engine import NcnnNetwork, require_ncnn
from ..makers import PassRecord
from ..makers.network import worst
from ..oracles.feathercnn_evaluator import FeatherEvaluator
from .onnx_part import ExportPart, compare_engine, output_sections, part_of, spec_of
from .sidecar import (
    Export,
    Network,
    check_exportable,
    image_section,
    why_not_exported,
    write_export,
)

__all__ = ["export_feathercnn"]

FloatArray = npt.NDArray[np.float32]


def export_feathercnn(
    model: onnx.ModelProto,
    name: str,
    folder: Path,
    *,
    sources: Sequence[Mapping[str, Any]],
    known: Mapping[str, Any] | None = None,
    shape: Sequence[int | str] | None = None,
    passes: Sequence[PassRecord] = (),
) -> Export:
    """Converts, verifies and writes a model.

    Args:
        model: An ONNX model, with or without a spec.
        name: Name of the files.
        folder: The output folder.
        sources: Path, hash and size of each source file.
        known: How the ONNX model agreed with its own source; None if not known.
        shape: Shape of the input (1, C, H, W), if neither model nor spec has a fixed one.
        passes: Results of the passes that the model has been through.

    Raises:
        UnsupportedOperatorError: If an operator cannot be written; says which node and why.
        ParityError: If the exported network differs from the model.
        ConversionError: If another step fails.
    """
    require_ncnn()
    spec = spec_of(model, name)
    check_exportable(why_not_exported(spec, "FeatherCNN"), "FeatherCNN", name)
    _check_batch(model, shape, name)
    part = part_of(model, spec, name, shape)
    converted = to_feathercnn(part.model, (1, *part.shapes[0]), name)
    engines = (NcnnNetwork(converted.files, name), FeatherEvaluator(converted.files, name))
    runs = [_completed(converted, engine.run) for engine in engines]
    norm, files = 1 / part.std, converted.files
    image = image_section(files.inputs[0], part.free(part.shapes[0]), spec, part.mean, norm)
    outputs = output_sections(part, files.outputs, engines[0].run)
    network = _describe(part, converted, passes, input_section=image, outputs=outputs)
    return write_export(
        folder,
        name,
        network,
        spec,
        agreement=worst([compare_engine(part, spec, run, part.mean, norm) for run in runs]),
        shapes=part.shapes,
        engine=" and ".join(engine.name for engine in engines),
        sources=sources,
        known=known,
    )


def _describe(
    part: ExportPart,
    converted: FeatherModel,
    passes: Sequence[PassRecord],
    *,
    input_section: Mapping[str, Any],
    outputs: Sequence[dict[str, Any]],
) -> Network:
    """The network with the sections of its sidecar."""
    for section, lengthened in zip(outputs, converted.lengthened, strict=True):
        if lengthened:
            section["left_out"] = "l2_normalization"
    files = converted.files
    return Network(
        target="feathercnn",
        contents={"param": files.param.encode(), "bin": files.bin},
        layers=len(files.layers),
        weights="float32",
        input=input_section,
        outputs=outputs,
        detection=part.detection,
        tools=("ncnn",),
        passes=passes,
    )


def _check_batch(model: onnx.ModelProto, shape: Sequence[int | str] | None, name: str) -> None:
    """Checks that a model can run one image at a time.

    Raises:
        ConversionError: If its batch is fixed to another number.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    images = [v.type.tensor_type.shape.dim for v in model.graph.input if v.name not in stored]
    given = list(shape or ()) or [d.dim_value or d.dim_param for dims in images[:1] for d in dims]
    if given and isinstance(given[0], int) and given[0] > 1:
        raise ConversionError(
            f"a batch of {given[0]}: FeatherCNN runs one image at a time",
            where=name,
            hint="export the network with a dynamic batch or a batch of 1",
        )


def _completed(
    model: FeatherModel, run: Callable[[FloatArray], list[FloatArray]]
) -> Callable[[FloatArray], list[FloatArray]]:
    """A run of the files that does what the files leave to the program."""

    def complete(tensor: FloatArray) -> list[FloatArray]:
        found = [rows.reshape(len(rows), -1) for rows in run(tensor)]
        return [
            rows / np.linalg.norm(rows, axis=1, keepdims=True) if lengthened else rows
            for rows, lengthened in zip(found, model.lengthened, strict=True)
        ]

    return complete

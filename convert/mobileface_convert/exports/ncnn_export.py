"""Exports an ONNX model as ncnn's two files and a sidecar, verified against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from ..backends.ncnn import TIME_LIMIT, NcnnModel, to_ncnn
from ..backends.ncnn_engine import NcnnNetwork, require_ncnn
from ..backends.ncnn_prepare import prepare
from ..makers import PassRecord
from .onnx_part import ExportPart, compare_engine, output_sections, part_of, spec_of
from .sidecar import (
    Export,
    Network,
    check_exportable,
    image_section,
    why_not_exported,
    write_export,
)

__all__ = ["export_ncnn"]


def export_ncnn(
    model: onnx.ModelProto,
    name: str,
    folder: Path,
    *,
    sources: Sequence[Mapping[str, Any]],
    known: Mapping[str, Any] | None = None,
    shape: Sequence[int | str] | None = None,
    passes: Sequence[PassRecord] = (),
    weights: str = "float32",
    time_limit: float = TIME_LIMIT,
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
        weights: "float32" or "float16"; the comparison always computes in float32.
        time_limit: Time limit for pnnx, in seconds.

    Raises:
        UnsupportedOperatorError: If ncnn has no layer for an operator; lists the operators.
        ParityError: If the exported network differs from the model.
        ConversionError: If another step fails.
    """
    require_ncnn()
    spec = spec_of(model, name)
    check_exportable(why_not_exported(spec, "ncnn"), "ncnn", name)
    part = part_of(model, spec, name, shape)
    prepared = prepare(part.model, (1, *part.shapes[0]), name)
    converted = to_ncnn(
        prepared.model, prepared.shape, name, half=weights == "float16", time_limit=time_limit
    )
    engine = NcnnNetwork(converted, name)
    mean, norm = prepared.mean_and_norm(part.mean, part.std)
    blob, sizes = converted.inputs[0], part.free(part.shapes[0])
    network = _describe(
        part,
        converted,
        weights,
        passes,
        input_section=image_section(blob, sizes, spec, mean, norm),
        outputs=output_sections(part, converted.outputs, engine.run),
    )
    return write_export(
        folder,
        name,
        network,
        spec,
        agreement=compare_engine(part, spec, engine.run, mean, norm),
        shapes=part.shapes,
        engine=engine.name,
        sources=sources,
        known=known,
    )


def _describe(
    part: ExportPart,
    converted: NcnnModel,
    weights: str,
    passes: Sequence[PassRecord],
    *,
    input_section: Mapping[str, Any],
    outputs: Sequence[Mapping[str, Any]],
) -> Network:
    """The network with the sections of its sidecar."""
    return Network(
        target="ncnn",
        contents={"param": converted.param.encode(), "bin": converted.bin},
        layers=len(converted.layers),
        weights=weights,
        input=input_section,
        outputs=outputs,
        detection=part.detection,
        tools=("pnnx", "ncnn"),
        passes=passes,
        # On ARM with half precision (Cortex-A76), ncnn's default lowers the cosine by 1 to 2 %.
        options={"use_fp16_arithmetic": False},
    )

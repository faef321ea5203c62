"""Exports an ONNX model as ncnn's two files and a sidecar, verified against ONNX Runtime.

A detector is exported up to its predictions: decoding and non-maximum suppression count cells and
sort rows, which is left to the program that uses the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from mobileface.errors import ConversionError
from mobileface.models.spec import METADATA_KEY, ModelSpec

from ..backends.ncnn import TIME_LIMIT, NcnnModel, to_ncnn
from ..backends.ncnn_engine import NcnnNetwork, require_ncnn
from ..backends.ncnn_prepare import extract_part, prepare
from ..makers import PassRecord
from ..makers.network import worst
from ..oracles.verify import Agreement, open_model
from ..recipes.recipe import load_recipe
from .sidecar import (
    DETECTION_SHAPES,
    Export,
    Network,
    check_exportable,
    compare_all,
    detection_section,
    image_section,
    probe_tensors,
    scaled_pixels,
    why_not_exported,
    write_export,
)

__all__ = ["export_ncnn"]

FloatArray = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """The part of a model that is exported.

    Attributes:
        model: The network from normalised pixels to outputs.
        shapes: Channels, height and width of the images to compare on; the first is the input
            size of the exported network.
        mean: Mean to subtract from pixels, one value or one per channel.
        std: Divisor of the difference, one value or one per channel.
        detection: The section ``detection`` of the sidecar; None for other tasks.
    """

    model: onnx.ModelProto
    shapes: tuple[tuple[int, ...], ...]
    mean: Doubles
    std: Doubles
    detection: Mapping[str, Any] | None = None

    def free(self, sizes: Sequence[int]) -> list[int | None]:
        """Channels, height and width; None for height and width of a detector."""
        return list(sizes) if self.detection is None else [sizes[0], None, None]


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
    spec = _spec(model, name)
    check_exportable(why_not_exported(spec, "ncnn"), "ncnn", name)
    part = _part(model, spec, name, shape)
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
        outputs=_outputs(part, converted, engine),
    )
    return write_export(
        folder,
        name,
        network,
        spec,
        agreement=_compare(part, spec, engine, mean, norm),
        shapes=part.shapes,
        engine=engine.name,
        sources=sources,
        known=known,
    )


def _describe(
    part: _Part,
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


def _spec(model: onnx.ModelProto, name: str) -> ModelSpec | None:
    """The spec in a model's metadata; None if it has none."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return ModelSpec.from_json(entry.value, name)
    return None


def _part(
    model: onnx.ModelProto, spec: ModelSpec | None, name: str, shape: Sequence[int | str] | None
) -> _Part:
    """Selects the part of a model to export.

    Raises:
        ConversionError: If the size of the input is not known.
    """
    zero, one = np.zeros(1), np.ones(1)
    if spec is not None and spec.kind.exports_trunk:
        recipe = load_recipe(spec.name)
        section = detection_section(recipe)
        pixels = _float_pixels(model, next(iter(spec.kind.tensors(spec.section).inputs)), name)
        predictions = [str(output) for output in recipe.options["predictions"]]
        part = extract_part(model, pixels, predictions, name)
        return _Part(part, DETECTION_SHAPES, zero, one, section)
    if spec is not None and spec.input is not None:
        image = spec.input
        sizes = (image.channels, image.height, image.width)
        return _Part(model, (sizes,), np.array(image.mean), np.array(image.std))
    return _Part(model, (_static(model, name, shape),), zero, one)


def _float_pixels(model: onnx.ModelProto, image: str, name: str) -> str:
    """Name of the value with the float32 pixels (N, 3, H, W), after ``Transpose`` and ``Cast``.

    Raises:
        ConversionError: If these two nodes do not follow the input.
    """
    readers = {edge: node for node in model.graph.node for edge in node.input}
    value = image
    for kind in ("Transpose", "Cast"):
        node = readers.get(value)
        if node is None or node.op_type != kind:
            raise ConversionError(f"no {kind} follows '{value}'", where=name)
        value = node.output[0]
    return value


def _static(
    model: onnx.ModelProto, name: str, shape: Sequence[int | str] | None
) -> tuple[int, ...]:
    """Channels, height and width of the input of a model without a spec.

    Raises:
        ConversionError: If they are not known.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    dims = (
        [d.dim_value or d.dim_param for d in inputs[0].type.tensor_type.shape.dim] if inputs else []
    )
    full = list(shape or dims)
    sizes = tuple(size for size in full[1:] if isinstance(size, int) and size > 0)
    if len(full) != 4 or len(sizes) != 3:
        raise ConversionError(
            f"the input of shape ({', '.join(map(str, full))}) has no fixed channels, height "
            "and width",
            where=name,
            hint="pass --input-shape 1,3,112,112",
        )
    return sizes


def _compare(
    part: _Part, spec: ModelSpec | None, engine: NcnnNetwork, mean: Doubles, norm: Doubles
) -> Agreement:
    """Runs the ONNX model and the ncnn network on the same images."""
    session = open_model(part.model)
    (fed,) = (value.name for value in session.get_inputs())
    oracle = f"ONNX Runtime {onnxruntime.__version__}"
    agreements = []
    for pixels in probe_tensors(spec, part.shapes):
        prepared = scaled_pixels(pixels, part.mean, 1 / part.std)
        expected = [session.run(None, {fed: image[None]}) for image in prepared]
        found = engine.run(scaled_pixels(pixels, mean, norm))
        agreements += compare_all(
            found, [np.concatenate(o) for o in zip(*expected, strict=True)], oracle
        )
    return worst(agreements)


def _outputs(part: _Part, converted: NcnnModel, engine: NcnnNetwork) -> list[dict[str, Any]]:
    """Blob, name and shape of each output; a detector's height and width are None."""
    found = engine.run(np.zeros((1, *part.shapes[0]), np.float32))
    names = [value.name for value in part.model.graph.output]
    return [
        {"blob": blob, "name": name, "shape": part.free(rows.shape[1:])}
        for blob, name, rows in zip(converted.outputs, names, found, strict=True)
    ]

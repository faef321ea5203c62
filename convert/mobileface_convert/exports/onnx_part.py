"""The part of an ONNX model that engines run, and how they are compared with ONNX Runtime on it.

A detector is exported up to its predictions: decoding and non-maximum suppression count cells and
sort rows, which is left to the program that uses the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from mobileface.errors import ConversionError
from mobileface.host.files import sha256
from mobileface.models.spec import METADATA_KEY, ModelSpec

from ..backends.ncnn_prepare import extract_part
from ..makers.network import worst
from ..oracles.verify import Agreement, open_model
from ..recipes.recipe import load_recipe
from .sidecar import (
    DETECTION_SHAPES,
    compare_all,
    detection_section,
    probe_tensors,
    scaled_pixels,
)

__all__ = [
    "ExportPart",
    "compare_engine",
    "known_agreement",
    "output_sections",
    "part_of",
    "spec_of",
]

FloatArray = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Engine = Callable[[FloatArray], list[FloatArray]]
"""Runs a network on a batch (N, C, H, W); returns each output (N, …)."""


@dataclass(frozen=True)
class ExportPart:
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


def spec_of(model: onnx.ModelProto, name: str) -> ModelSpec | None:
    """The spec in a model's metadata; None if it has none."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return ModelSpec.from_json(entry.value, name)
    return None


def part_of(
    model: onnx.ModelProto, spec: ModelSpec | None, name: str, shape: Sequence[int | str] | None
) -> ExportPart:
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
        return ExportPart(part, DETECTION_SHAPES, zero, one, section)
    if spec is not None and spec.input is not None:
        image = spec.input
        sizes = (image.channels, image.height, image.width)
        return ExportPart(model, (sizes,), np.array(image.mean), np.array(image.std))
    return ExportPart(model, (_static(model, name, shape),), zero, one)


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


def compare_engine(
    part: ExportPart,
    spec: ModelSpec | None,
    engine: Engine,
    mean: npt.ArrayLike,
    norm: npt.ArrayLike,
) -> Agreement:
    """Runs the ONNX model and the exported network on the same images.

    Args:
        part: The part that is exported.
        spec: Spec of the model; None for a network without a recipe.
        engine: The exported network.
        mean: Mean to subtract from pixels for the engine.
        norm: Factor to multiply the difference with.
    """
    session = open_model(part.model)
    (fed,) = (value.name for value in session.get_inputs())
    oracle = f"ONNX Runtime {onnxruntime.__version__}"
    agreements = []
    for pixels in probe_tensors(spec, part.shapes):
        prepared = scaled_pixels(pixels, part.mean, 1 / part.std)
        expected = [session.run(None, {fed: image[None]}) for image in prepared]
        found = engine(scaled_pixels(pixels, mean, norm))
        agreements += compare_all(
            found, [np.concatenate(o) for o in zip(*expected, strict=True)], oracle
        )
    return worst(agreements)


def output_sections(part: ExportPart, blobs: Sequence[str], engine: Engine) -> list[dict[str, Any]]:
    """Blob, name and shape of each output; a detector's height and width are None."""
    found = engine(np.zeros((1, *part.shapes[0]), np.float32))
    names = [value.name for value in part.model.graph.output]
    return [
        {"blob": blob, "name": name, "shape": part.free(rows.shape[1:])}
        for blob, name, rows in zip(blobs, names, found, strict=True)
    ]


def known_agreement(path: Path) -> Mapping[str, Any] | None:
    """How a model agreed with its source, from the certificate next to it; None if not known."""
    try:
        text = path.with_name(f"{path.stem}.certificate.json").read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("sha256") != sha256(path):
        return None
    found = document.get("verification")
    return found if isinstance(found, dict) else None

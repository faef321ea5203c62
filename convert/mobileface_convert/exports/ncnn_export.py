"""An ONNX model → ncnn's two files and a sidecar, proven against ONNX Runtime.

Of a detector the network up to its predictions is exported: what decodes and suppresses them counts
cells and sorts rows, which belongs into the program that uses the network.
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
from ..backends.ncnn_prepare import between, prepare
from ..makers import PassRecord
from ..makers.network import worst
from ..oracles.verify import Agreement, open_model
from ..recipes.recipe import load_recipe
from .sidecar import (
    DETECTION_SHAPES,
    Export,
    Network,
    compare_all,
    detection_section,
    picture_input,
    probe_tensors,
    refusal,
    refuse,
    scaled_pixels,
    write_export,
)

__all__ = ["export_ncnn"]

FloatArray = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """What of a model is exported.

    Attributes:
        model: From pixels, or what the spec makes of them, to outputs.
        shapes: Channels, height and width of the pictures to prove it with; the first is its own.
        mean: What the model wants subtracted from pixels.
        std: And what it wants them divided by then.
        detection: How predictions are read.
    """

    model: onnx.ModelProto
    shapes: tuple[tuple[int, ...], ...]
    mean: Doubles
    std: Doubles
    detection: Mapping[str, Any] | None = None

    def free(self, sizes: Sequence[int]) -> list[int | None]:
        """Channels, rows and columns, of which a detector fixes the first only."""
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
    """Converts, proves and writes a model.

    Args:
        model: An ONNX model, with a spec or without.
        name: Name of the files.
        folder: Where they go.
        sources: Path, hash and size of what it was read from.
        known: How it agreed with its own source.
        shape: Shape of its input (1, C, H, W), where neither model nor spec says one.
        passes: What was rewritten on the way to it.
        weights: "float32" or "float16"; the comparison computes in float32 either way.
        time_limit: Seconds that pnnx may take.

    Raises:
        UnsupportedOperatorError: ncnn has no layers for it; says what it lacks.
        ParityError: The network differs from the model.
        ConversionError: Any other step failed.
    """
    require_ncnn()
    spec = _spec(model, name)
    refuse(refusal(spec, "ncnn"), "ncnn", name)
    part = _part(model, spec, name, shape)
    prepared = prepare(part.model, (1, *part.shapes[0]), name)
    made = to_ncnn(
        prepared.model, prepared.shape, name, half=weights == "float16", time_limit=time_limit
    )
    engine = NcnnNetwork(made, name)
    mean, norm = prepared.pixels(part.mean, part.std)
    agreement = _compare(part, spec, engine, mean, norm)
    network = Network(
        target="ncnn",
        contents={"param": made.param.encode(), "bin": made.bin},
        layers=len(made.layers),
        weights=weights,
        input=picture_input(made.inputs[0], part.free(part.shapes[0]), spec, mean, norm),
        outputs=_outputs(part, made, engine),
        detection=part.detection,
        tools=("pnnx", "ncnn"),
        passes=passes,
        # On ARM with half precision (Cortex-A76) ncnn's default costs 1 to 2 % of cosine.
        options={"use_fp16_arithmetic": False},
    )
    return write_export(
        folder,
        name,
        network,
        spec,
        agreement=agreement,
        shapes=part.shapes,
        engine=engine.name,
        sources=sources,
        known=known,
    )


def _spec(model: onnx.ModelProto, name: str) -> ModelSpec | None:
    """The spec that a model carries."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return ModelSpec.from_json(entry.value, name)
    return None


def _part(
    model: onnx.ModelProto, spec: ModelSpec | None, name: str, shape: Sequence[int | str] | None
) -> _Part:
    """What of a model is exported.

    Raises:
        ConversionError: Its input has no size.
    """
    zero, one = np.zeros(1), np.ones(1)
    if spec is not None and spec.kind.exports_trunk:
        recipe = load_recipe(spec.name)
        section = detection_section(recipe)
        pixels = _float_pixels(model, next(iter(spec.kind.tensors(spec.section).inputs)), name)
        predictions = [str(output) for output in recipe.options["predictions"]]
        part = between(model, pixels, predictions, name)
        return _Part(part, DETECTION_SHAPES, zero, one, section)
    if spec is not None and spec.input is not None:
        image = spec.input
        sizes = (image.channels, image.height, image.width)
        return _Part(model, (sizes,), np.array(image.mean), np.array(image.std))
    return _Part(model, (_static(model, name, shape),), zero, one)


def _float_pixels(model: onnx.ModelProto, image: str, name: str) -> str:
    """The value that holds the pixels (N, 3, H, W) as float32, behind ``Transpose`` and ``Cast``.

    Raises:
        ConversionError: There is none.
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
        ConversionError: They are unknown.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    dims = (
        [d.dim_value or d.dim_param for d in inputs[0].type.tensor_type.shape.dim] if inputs else []
    )
    wanted = list(shape or dims)
    sizes = tuple(size for size in wanted[1:] if isinstance(size, int) and size > 0)
    if len(wanted) != 4 or len(sizes) != 3:
        raise ConversionError(
            f"its input of shape ({', '.join(map(str, wanted))}) has no fixed channels, height "
            "and width",
            where=name,
            hint="give --input-shape 1,3,112,112",
        )
    return sizes


def _compare(
    part: _Part, spec: ModelSpec | None, engine: NcnnNetwork, mean: Doubles, norm: Doubles
) -> Agreement:
    """Runs model and network on the same pictures."""
    session = open_model(part.model)
    (fed,) = (value.name for value in session.get_inputs())
    oracle = f"ONNX Runtime {onnxruntime.__version__}"
    agreements = []
    for pixels in probe_tensors(spec, part.shapes):
        prepared = scaled_pixels(pixels, part.mean, 1 / part.std)
        expected = [session.run(None, {fed: picture[None]}) for picture in prepared]
        found = engine.run(scaled_pixels(pixels, mean, norm))
        agreements += compare_all(
            found, [np.concatenate(o) for o in zip(*expected, strict=True)], oracle
        )
    return worst(agreements)


def _outputs(part: _Part, made: NcnnModel, engine: NcnnNetwork) -> list[dict[str, Any]]:
    """Blob, name and shape of each output, where a detector's rows and columns are free."""
    found = engine.run(np.zeros((1, *part.shapes[0]), np.float32))
    names = [value.name for value in part.model.graph.output]
    return [
        {"blob": blob, "name": name, "shape": part.free(rows.shape[1:])}
        for blob, name, rows in zip(made.outputs, names, found, strict=True)
    ]

"""Inputs and outputs of a network that is rewritten: what it is fed with and compared on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from mobileface.errors import ConversionError, GraphError

from ..graph.shapes import Shape
from ..passes import Pass, read_uint8, unit_length
from .exported import Parity, relative_error

__all__ = ["Ends", "Fed", "Pixels", "open_session"]

_BATCHES = (1, 3)
_SIZE = (128, 160)
_SEED = 20200229

FloatArray = npt.NDArray[np.float32]
Fed = dict[str, npt.NDArray[Any]]
"""Values of inputs by name."""


@dataclass(frozen=True)
class Pixels:
    """How the only image input is changed to uint8 (N, H, W, C); see `passes.read_uint8`.

    Attributes:
        mean: Mean that is subtracted in the network, one value or one per channel.
        std: Standard deviation that the difference is divided by.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


class Ends:
    """Inputs and outputs of a network, before and after the rewriting.

    Args:
        model: The network as it was read.
        where: Its name in error messages.
        pixels: See `optimise_network`.
        normalize: See `optimise_network`.
        given: Sizes of inputs.

    Raises:
        ConversionError: A size is not known, an input has another type than float32, or there is
            not exactly one image.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        where: str,
        pixels: Pixels | None,
        normalize: bool,
        given: dict[str, Sequence[int]],
    ) -> None:
        self._model, self._where, self._normalize = model, where, normalize
        self._pixels = pixels
        stored = {tensor.name for tensor in model.graph.initializer}
        self._shapes: dict[str, Shape] = {}
        for value in model.graph.input:
            if value.name not in stored:
                self._shapes[value.name] = self._shape(value, given)
        for name in given:
            if name not in self._shapes and (name or len(self._shapes) > 1):
                listed = ", ".join(self._shapes)
                raise ConversionError(f"no input '{name}'", where=where, hint=f"inputs: {listed}")
        self._image = None if pixels is None else self._find_image()
        self._planes = self._image is not None and self._shapes[self._image][1] in (1, 3)

    @property
    def passes(self) -> list[tuple[str, Pass]]:
        """The passes that change inputs and outputs, by name."""
        found: list[tuple[str, Pass]] = []
        if self._pixels is not None and self._image is not None:
            scaling = partial(
                read_uint8,
                name=self._image,
                mean=self._pixels.mean,
                std=self._pixels.std,
                planes=self._planes,
            )
            found.append(("read_uint8", scaling))
        if self._normalize:
            found.append(("unit_length", unit_length))
        return found

    def sizes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Sizes of the inputs for a batch size, or for the one that is fixed."""
        return {
            name: tuple(batch if isinstance(size, str) else size for size in shape)
            for name, shape in self._shapes.items()
        }

    def feeds(self, batch: int, seed: int) -> tuple[Fed, Fed]:
        """Random values for the network as it was read, and for the rewritten one."""
        draw = np.random.RandomState(seed)
        before: Fed = {}
        after: Fed = {}
        for name, sizes in self.sizes(batch).items():
            if name != self._image or self._pixels is None:
                before[name] = after[name] = draw.standard_normal(sizes).astype(np.float32)
                continue
            pixels = draw.randint(0, 256, sizes).astype(np.uint8)
            shape = (1, -1, 1, 1) if self._planes else (1, 1, 1, -1)
            mean, std = (
                np.reshape(np.asarray(values, np.float32), shape)
                for values in (self._pixels.mean, self._pixels.std)
            )
            before[name] = (pixels.astype(np.float32) - mean) / std
            after[name] = pixels.transpose(0, 2, 3, 1).copy() if self._planes else pixels
        return before, after

    def compare(self, rewritten: onnx.ModelProto, *, before: bool = False) -> Parity:
        """Runs the network as it was read, without any optimisation, and another one.

        Args:
            rewritten: The other one.
            before: It has the inputs and outputs of the network as it was read.
        """
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        reference = open_session(self._model, 1, self._where, level)
        session = open_session(rewritten, 1, self._where)
        names = [value.name for value in rewritten.graph.output]
        errors, shapes = dict.fromkeys(names, 0.0), []
        for count, batch in enumerate(_BATCHES):
            sizes = self.sizes(batch)
            if sizes in shapes:
                continue
            shapes.append(sizes)
            given, changed = self.feeds(batch, _SEED + count)
            expected = _run(reference, given, self._where)
            found = _run(session, given if before else changed, self._where)
            wanted = expected if before else self._expected(expected)
            for name, ours, theirs in zip(names, found, wanted, strict=True):
                error = relative_error(name, ours, theirs)
                errors[name] = max(errors[name], error)
        oracle = f"ONNX Runtime {onnxruntime.__version__}, not optimised, on the given network"
        return Parity(oracle, tuple(shapes), errors)

    def _expected(self, outputs: list[FloatArray]) -> list[FloatArray]:
        if not self._normalize:
            return outputs
        (rows,) = outputs
        norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        return [(rows / np.where(norms > 0, norms, 1)).astype(np.float32)]

    def _shape(self, value: onnx.ValueInfoProto, given: Mapping[str, Sequence[int]]) -> Shape:
        """Sizes of an input: the first is text if the batch is dynamic."""
        tensor = value.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
            raise ConversionError(
                f"input '{value.name}' is {kind}, only float32 inputs can be verified",
                where=self._where,
            )
        if not tensor.HasField("shape") and value.name not in given:
            raise self._unknown(value.name, "1,3,112,112")
        sizes = [dim.dim_value or None for dim in tensor.shape.dim]
        found: list[int | str | None] = [
            "N" if sizes and sizes[0] is None else sizes[0],
            *sizes[1:],
        ]
        if value.name in given or "" in given:
            named = list(given.get(value.name, given.get("", ())))
            pairs = zip(sizes, named, strict=False)
            if min(named, default=0) < 1:
                raise ConversionError(
                    f"input '{value.name}' must have sizes of at least 1, not {named}",
                    where=self._where,
                )
            if len(named) != len(sizes) or any(have not in (None, want) for have, want in pairs):
                raise ConversionError(
                    f"input '{value.name}' has sizes "
                    f"{['any' if size is None else size for size in sizes]}, not {named}",
                    where=self._where,
                )
            found = [found[0], *named[1:]]
        elif len(sizes) == 4 and sizes[1] is not None:
            usual = dict(zip((2, 3), _SIZE, strict=True))
            found = [usual.get(i, size) if size is None else size for i, size in enumerate(found)]
        if None in found:
            raise self._unknown(value.name, ",".join("1" if s is None else str(s) for s in sizes))
        return tuple(size for size in found if size is not None)

    def _unknown(self, name: str, example: str) -> ConversionError:
        return ConversionError(
            f"the sizes of input '{name}' are not known",
            where=self._where,
            hint=f"pass --input-shape, for example {name}={example}",
        )

    def _find_image(self) -> str:
        found = [
            name
            for name, shape in self._shapes.items()
            if len(shape) == 4 and (shape[1] in (1, 3) or shape[3] in (1, 3))
        ]
        if len(found) != 1:
            raise ConversionError(
                f"{len(found)} inputs are images with 1 or 3 channels, uint8 needs exactly one",
                where=self._where,
            )
        return found[0]


def open_session(
    model: onnx.ModelProto,
    threads: int,
    where: str,
    level: onnxruntime.GraphOptimizationLevel | None = None,
) -> onnxruntime.InferenceSession:
    """Opens a network that is in memory.

    Args:
        model: The network.
        threads: Number of threads.
        where: Its name in error messages.
        level: How ONNX Runtime optimises it; by default, fully.

    Raises:
        GraphError: ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if level is not None:
        options.graph_optimization_level = level
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # it has an error type for each reason
        text = " ".join(str(error).split())[:300]
        raise GraphError(f"ONNX Runtime cannot load it ({text})", where=where) from error


def _run(session: onnxruntime.InferenceSession, fed: Fed, where: str) -> list[FloatArray]:
    try:
        return [np.asarray(value, np.float32) for value in session.run(None, fed)]
    except Exception as error:  # as above
        text = " ".join(str(error).split())[:300]
        raise GraphError(f"ONNX Runtime cannot run it ({text})", where=where) from error

"""What a TensorFlow Lite file says, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Array",
    "DimensionMetadata",
    "Quantization",
    "Shape",
    "Sparsity",
    "TfliteNetwork",
    "TfliteOperator",
    "TfliteTensor",
]

Array = npt.NDArray[np.generic]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Quantization:
    """real value = scale · (stored value − zero point).

    Attributes:
        scales: float32, one or one for each index of the axis; finite and above zero.
        zeros: int64, as many.
        axis: The axis with a scale for each index.
    """

    scales: npt.NDArray[np.float32]
    zeros: npt.NDArray[np.int64]
    axis: int


@dataclass(frozen=True)
class DimensionMetadata:
    """How one level of a sparse array is stored.

    Attributes:
        size: Size of a dense level; 0 for compressed rows (CSR).
        segments: Where each row begins and ends in ``indices``, int64; None for a dense level.
        indices: The indices that are stored, int64; None for a dense level.
    """

    size: int
    segments: npt.NDArray[np.int64] | None = None
    indices: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Sparsity:
    """How a sparse array is stored, as schema.fbs of TensorFlow Lite describes it.

    Attributes:
        order: The axes from the outermost level to the innermost; the numbers from the rank on are
            the axes within a block.
        blocks: The axis that each axis within a block belongs to.
        levels: One for each entry of ``order``.
    """

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    levels: tuple[DimensionMetadata, ...]


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor of a file.

    Attributes:
        name: Its name; not unique.
        shape: Its shape in the published order of axes, images as (N, height, width, channels).
        dtype: numpy's name of the element type.
        data: The stored values in this shape, or in one axis if sparse; None if it is computed.
        quantization: How the stored values mean real ones; None if they are these.
        sparsity: How the stored values lie in the shape; None if all are stored.
        batch_open: Whether the file leaves the first size open; the shape then has a sample of it.
    """

    name: str
    shape: Shape
    dtype: str
    data: Array | None = None
    quantization: Quantization | None = None
    sparsity: Sparsity | None = None
    batch_open: bool = False

    @property
    def fact_bytes(self) -> int:
        """Bytes of what is said about the stored values: scales, zero points, sparse indices."""
        found, levels = self.quantization, self.sparsity.levels if self.sparsity else ()
        arrays: list[Array | None] = [found.scales, found.zeros] if found else []
        for level in levels:
            arrays += [level.segments, level.indices]
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class TfliteOperator:
    """An operator of a file.

    Attributes:
        kind: The operator's name in the schema, or the name of a custom operator.
        index: Its number in the file.
        inputs: Numbers of the tensors that it reads; −1 is an omitted one.
        outputs: Numbers of the tensors that it writes.
        options: Its options by name, those that `tflite_options` lists.
        custom: The bytes of a custom operator's options; None for the schema's operators.
    """

    kind: str
    index: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool | Shape]
    custom: bytes | None = None


@dataclass(frozen=True)
class TfliteNetwork:
    """The only graph of a file: each tensor is stored, an input, or written by one operator before.

    Attributes:
        origin: The file, for messages.
        size: Bytes of the file.
        tensors: All tensors.
        operators: All operators, in the order in which they run.
        inputs: Numbers of the tensors that are fed.
        outputs: Numbers of the tensors that are the result.
    """

    origin: str
    size: int
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def place(self, operator: TfliteOperator) -> str:
        """Where an operator is, for messages."""
        return f"{self.origin}, operator {operator.index} ({operator.kind})"

    @property
    def computed(self) -> frozenset[int]:
        """Numbers of the tensors that depend on an input; all others are fixed by the file."""
        found = set(self.inputs)
        for operator in self.operators:
            if found.intersection(operator.inputs):
                found.update(operator.outputs)
        return frozenset(found)

    @property
    def parameters(self) -> int:
        """How many numbers are stored as weights; integers are weights if they have scales."""
        return sum(
            tensor.data.size
            for tensor in self.tensors
            if tensor.data is not None
            and tensor.shape
            and (tensor.quantization is not None or tensor.dtype in ("float32", "float16"))
        )

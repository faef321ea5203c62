"""The result of ``mobileface-convert model``: how it is compared, written and described."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ParityError
from mobileface.host.files import write_together

from ..build.certificate import certificate_text, export_certificate
from ..graph.shapes import Shape
from ..makers import PassRecord

__all__ = ["Exported", "Parity", "relative_error", "require_parity", "write_exported"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """The comparison of an exported model with its reference.

    Attributes:
        oracle: Name of the reference.
        shapes: Shapes of the inputs of each run.
        errors: Largest error of each output, relative to its largest value if that exceeds 1.
    """

    oracle: str
    shapes: tuple[Mapping[str, tuple[int, ...]], ...]
    errors: Mapping[str, float]


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        path: The ONNX file; its certificate is next to it.
        inputs: Shape of each input; a string is a dynamic dimension.
        outputs: Names of the outputs.
        nodes: Number of ONNX nodes.
        bytes: Size of the file.
        passes: Results of the passes.
        note: Why height and width are fixed; empty if they are dynamic.
        parity: The comparison with the reference; None if it was not requested.
    """

    path: Path
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    nodes: int
    bytes: int
    passes: tuple[PassRecord, ...]
    note: str
    parity: Parity | None


def write_exported(
    output: Path,
    model: onnx.ModelProto,
    sources: Sequence[Path],
    *,
    inputs: Mapping[str, Shape],
    passes: Sequence[PassRecord],
    note: str,
    parity: Parity | None,
) -> Exported:
    """Writes the model and its certificate; returns the result of the export.

    Args:
        output: The ONNX file.
        model: The model.
        sources: The files that it was made from.
        inputs: Shape of each input.
        passes: Results of the passes.
        note: See `Exported`.
        parity: See `Exported`.
    """
    nodes = len(model.graph.node)
    content = model.SerializeToString()
    document = export_certificate(
        content,
        output.name,
        sources=sources,
        nodes=nodes,
        passes=passes,
        verification=None if parity is None else {**dataclasses.asdict(parity)},
    )
    place = output.with_name(f"{output.stem}.certificate.json")
    write_together([(output, content), (place, certificate_text(document))])
    return Exported(
        path=output,
        inputs=inputs,
        outputs=tuple(value.name for value in model.graph.output),
        nodes=nodes,
        bytes=document["bytes"],
        passes=tuple(passes),
        note=note,
        parity=parity,
    )


def relative_error(name: str, found: FloatArray, expected: FloatArray) -> float:
    """Largest difference, relative to the largest value if that exceeds 1.

    Raises:
        ParityError: If the shapes differ, the positions or signs of infinite values differ, a value
            is nan, or none is finite: equal nans verify nothing.
    """
    if found.shape != expected.shape:
        raise ParityError(f"output '{name}' has shape {found.shape}, expected {expected.shape}")
    finite = np.isfinite(expected)
    if np.isnan(expected).any() or np.isnan(found).any() or (finite.size and not finite.any()):
        raise ParityError(
            f"output '{name}' is nan or infinite for pictures of noise; nothing can be verified",
            hint="check the network's weights and scalars",
        )
    if (
        not np.array_equal(found[~finite], expected[~finite])
        or not np.isfinite(found[finite]).all()
    ):
        raise ParityError(f"output '{name}' has inf at different positions")
    ours, theirs = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    return float(np.abs(ours - theirs).max(initial=0) / max(1.0, np.abs(theirs).max(initial=0)))


def require_parity(parity: Parity, tolerance: float, where: str) -> None:
    """Checks all errors against a tolerance; nan is not within it.

    Raises:
        ParityError: One is larger.
    """
    for name, error in parity.errors.items():
        if not error <= tolerance:
            raise ParityError(
                f"output '{name}' differs from {parity.oracle} by {error:.3g} "
                f"(allowed {tolerance:.3g})",
                where=where,
            )

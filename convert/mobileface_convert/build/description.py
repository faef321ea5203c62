"""What `inspect` says of a network, whatever its format is: as JSON and as text."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobileface.errors import shown

__all__ = ["SIZE_NEEDED", "Description", "End", "Layer", "Sizes", "format_description"]

Sizes = tuple[int | str | None, ...]
"""Sizes of the axes; a text is the name of an open one, None an open one without a name."""

SIZE_NEEDED = "the size of the image is open: pass --size H W"
_FORMATS = {"mxnet": "MXNet", "onnx": "ONNX", "tflite": "TensorFlow Lite"}
_ADOPT = "--task TASK --crop CROP --color COLOR --mean X --std X"
_MOST_NAMES = 5


@dataclass(frozen=True)
class Layer:
    """An operator of the network.

    Attributes:
        op: Its type, with the domain in front unless that is ai.onnx.
        name: Its name in the file.
        inputs: Names of what it reads that is computed.
        weights: Shapes of the stored arrays that it reads.
        macs: Multiply-adds for the batch; None if they are not known.
    """

    op: str
    name: str
    inputs: Sequence[str]
    weights: Mapping[str, Sequence[int]]
    macs: int | None = 0


@dataclass(frozen=True)
class End:
    """An input or output.

    Attributes:
        name: Its name.
        shape: Its sizes, batch first; None if nothing is known.
        dtype: numpy's name of the element type; "" if the file does not say.
    """

    name: str
    shape: Sizes | None
    dtype: str


@dataclass(frozen=True)
class Description:
    """What is known of a network.

    Attributes:
        format: A key of ``_FORMATS``.
        files: The files, for the next command.
        layers: All operators.
        inputs: All inputs.
        outputs: All outputs.
        parameters: Numbers in weights, without running means and variances, scales and zero points;
            None without the arrays.
        weights: Stored bytes by element type.
        size: Height and width that the caller gave.
        macs_reason: Why multiply-adds are not known; "" if they are.
        not_counted: How many layers multiply but are not counted, by type.
        batch: The fixed number of images; None if it is open or not said.
        freeable: Whether the converter can make a fixed batch open; None if it is not fixed.
        unsupported: Names of the layers whose operator has no conversion, by operator.
        refused: Why the converter refuses the network otherwise; "" if it does not.
        made: Name of the model if it is one of mobileface's already.
    """

    format: str
    files: Sequence[Path]
    layers: Sequence[Layer]
    inputs: Sequence[End]
    outputs: Sequence[End]
    parameters: int | None
    weights: Mapping[str, int]
    size: tuple[int, int] | None = None
    macs_reason: str = ""
    not_counted: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    freeable: bool | None = None
    unsupported: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: str = ""
    made: str = ""

    @property
    def macs(self) -> int | None:
        """Multiply-adds for one image; None if they are not known."""
        if self.macs_reason:
            return None
        return sum(layer.macs or 0 for layer in self.layers) // (self.batch or 1)

    @property
    def convertible(self) -> bool:
        """Whether the converter can convert all operators."""
        return not self.unsupported and not self.refused

    @property
    def next(self) -> str | None:
        """The command to go on with; None if there is none."""
        if self.made:
            return f"mobileface bench --model {shlex.quote(self.made)}"
        if not self.convertible:
            return None
        files = shlex.join(map(str, self.files))
        shape = self.inputs[0].shape if len(self.inputs) == 1 else None
        if shape is not None and len(shape) == 4 and {1, 3} & {shape[1], shape[3]}:
            sides = shape[2:] if shape[1] in (1, 3) else shape[1:3]
            size = "" if all(isinstance(side, int) for side in sides) else " --size PIXELS"
            return f"mobileface-convert adopt {files} {_ADOPT}{size}"
        if self.format == "tflite":
            return f"mobileface-convert model {files} --output X.onnx --verify"
        if self.format == "mxnet" and len(self.files) == 2:
            symbol, params = (shlex.quote(str(path)) for path in self.files)
            return (
                f"mobileface-convert model --symbol {symbol} --params {params} --output X.onnx "
                "--verify"
            )
        return None

    def as_json(self) -> dict[str, Any]:
        """One JSON object; docs/convert.md states its fields."""
        ends = [*self.inputs, *self.outputs]
        return {
            "format": self.format,
            "layers": [
                {
                    "op": layer.op,
                    "name": layer.name,
                    "inputs": list(layer.inputs),
                    "weights": {name: list(shape) for name, shape in layer.weights.items()},
                    "macs": layer.macs if layer.macs is None else layer.macs // (self.batch or 1),
                }
                for layer in self.layers
            ],
            "operators": dict(Counter(layer.op for layer in self.layers).most_common()),
            "inputs": [end.name for end in self.inputs],
            "outputs": [end.name for end in self.outputs],
            "shapes": {e.name: None if e.shape is None else list(e.shape) for e in ends},
            "dtypes": {end.name: end.dtype for end in ends},
            "size": None if self.size is None else list(self.size),
            "parameters": self.parameters,
            "weight_bytes": sum(self.weights.values()),
            "weight_dtypes": dict(self.weights),
            "macs": self.macs,
            "macs_reason": self.macs_reason or None,
            "macs_not_counted": dict(self.not_counted),
            "fixed_batch": self.batch,
            "batch_can_be_freed": self.freeable,
            "convertible": self.convertible,
            "unsupported": {op: list(names) for op, names in self.unsupported.items()},
            "refused": self.refused or None,
            "model": self.made or None,
            "next": self.next,
        }


def format_description(found: Mapping[str, Any]) -> str:
    """The JSON object as text for a terminal."""
    lines = []
    for layer in found.get("layers", ()):
        weights = ", ".join(f"{tuple(shape)}" for shape in layer["weights"].values())
        reads = ", ".join(layer["inputs"])
        lines.append(f"{layer['op']:<22} {layer['name']:<34} <- {reads}  {weights}".rstrip())
    for array in found.get("arrays", ()):
        lines.append(f"{array['name']:<48} {array['dtype']:<8} {tuple(array['shape'])}")
    if "operators" in found:
        lines += _network_lines(found)
    types = ", ".join(f"{name} {size / 1e6:.3f}" for name, size in found["weight_dtypes"].items())
    lines.append(f"weights: {found['weight_bytes'] / 1e6:.3f} MB ({types or 'none'})")
    if "operators" in found:
        lines += _conversion_lines(found)
    return "\n".join(map(shown, lines))


def _network_lines(found: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {op}" for op, count in found["operators"].items())
    lines = [
        f"format: {_FORMATS[found['format']]}",
        f"operators: {sum(found['operators'].values())} ({counts})",
    ]
    for ends in ("inputs", "outputs"):
        named = [_end(name, found) for name in found[ends]]
        lines.append(f"{ends}: {', '.join(named)}")
    if found["fixed_batch"] is None:
        lines.append("batch: not fixed")
    else:
        free = "can" if found["batch_can_be_freed"] else "cannot"
        lines.append(
            f"batch: fixed at {found['fixed_batch']} in the graph; the converter {free} open it"
        )
    parameters = found["parameters"]
    lines.append(f"parameters: {'not known' if parameters is None else parameters}")
    macs = found["macs"]
    lines.append(
        f"multiply-adds: not known: {found['macs_reason']}"
        if macs is None
        else f"multiply-adds: {macs} ({macs / 1e6:.1f} M) for one image"
    )
    if found["macs_not_counted"]:
        more = ", ".join(f"{count} {op}" for op, count in found["macs_not_counted"].items())
        lines.append(f"multiply-adds not counted: of {more}")
    return lines


def _end(name: str, found: Mapping[str, Any]) -> str:
    shape = found["shapes"][name]
    sizes = "of unknown shape"
    if shape is not None:
        sizes = f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
    return f"{name} {sizes} {found['dtypes'][name]}".rstrip()


def _conversion_lines(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if found["model"]:
        return [f"model: {found['model']}, made by mobileface", f"next: {found['next']}"]
    if found["convertible"]:
        lines.append("conversion: all operators can be converted")
    for op, names in found["unsupported"].items():
        listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        lines.append(f"conversion: operator '{op}' is not supported: {listed}")
    if found["refused"]:
        lines.append(f"conversion: refused: {found['refused']}")
    if found["next"]:
        lines.append(f"next: {found['next']}")
    return lines

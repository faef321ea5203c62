"""Turns anyone's network into a recipe, which converts like those of the package.

::

    a file or two, what its author says of it ─ read ─ run on the probes ─ recipe (a TOML document)

The recipe states what was found: sizes, names, whether the vectors have unit length, whether the
batch can be any number, hashes of the files, and tolerances for the comparison with the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError, MobileFaceError, ParityError

from ..makers import MAKERS, Files
from ..oracles.verify import open_model, probe_input
from ..recipes.recipe import Recipe, recipe_from
from ..sources.files import DirectorySource
from .adopted_document import Adopted, License, check_numbers, origin_tables
from .adopted_sources import HALF_TOLERANCE, Network, read_network
from .adopted_tasks import EmbeddingTask, Task
from .pipeline import fetch_all

__all__ = ["Adopted", "License", "Request", "adopt"]

FloatArray = npt.NDArray[np.float32]

_HALF_COSINE = 0.999
"""Smallest cosine where something is rounded to float16."""

_INT8_COSINE, _INT8_MEAN_COSINE = 0.8, 0.97
"""Smallest and mean cosine of an int8 network to the float32 one, on images it was not calibrated
with; below, it is not kept."""

_HUGE = 1e30


@dataclass(frozen=True)
class Request:
    """What is said of a network.

    Attributes:
        files: An ONNX or TensorFlow Lite file, or a symbol file and a parameter file of MXNet.
        name: The model's name.
        crop: How faces are cut out for it; a name in `mobileface.vision.crops`.
        color: "rgb", "bgr" or "gray".
        mean: Subtracted from the values 0..255; one number, or one per channel.
        std: Divisor of the result.
        size: Side of the crop in pixels; None for that of the network, else of the crop.
        task: What it does.
        weights: How to store weights, "float32" or "float16"; None for float16 only if the network
            computes in it.
        tolerance: Largest error, relative to the largest value of the output if that exceeds 1;
            None for the default of the format.
        license: Terms of use; None if not stated.
        origin: Where the network comes from.
    """

    files: tuple[Path, ...]
    name: str
    crop: str
    color: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    task: Task = field(default_factory=EmbeddingTask)
    size: int | None = None
    weights: str | None = None
    tolerance: float | None = None
    license: License | None = None
    origin: str = "not stated"


def adopt(request: Request, folder: Path) -> Adopted:
    """The recipe of a network that reads a face crop.

    Args:
        request: What is said of it.
        folder: The folder that the recipe's paths are relative to; the files lie in or below it.

    Raises:
        ConversionError: A file is refused, or contradicts what is said of it.
        ParityError: The network gives no finite numbers, or the same ones for every picture.
    """
    check_numbers(request.name, request.size, request.tolerance, request.std)
    network = read_network(request.files, request.task.outputs)
    document = _document(request, network, folder, _side(request, network))
    draft = recipe_from(document, request.name, folder)
    files = fetch_all(draft, DirectorySource(folder))
    measure = MAKERS[network.maker].rows
    assert measure is not None
    rows, _ = measure(draft, files)
    _check_rows(rows, request)
    request.task.check_shapes(network.shapes, request.name)
    measured = request.task.measured(request.crop, rows, request.name)
    document["spec"][request.task.kind] = dict(measured.section)
    document["spec"]["title"] += f", {measured.title}"
    _state_bounds(document, request, network, rows)
    recipe = recipe_from(document, request.name, folder)
    notes = [measured.note]
    reason = _why_fixed(recipe, files)
    if reason:
        document["spec"]["input"]["batch"] = 1
        limit = "One crop per run: its batch is fixed at 1, so larger batches are not faster."
        document["card"]["limits"].append(limit)
        recipe = recipe_from(document, request.name, folder)
        notes.append(f"batch fixed at 1: {reason}")
    return Adopted(recipe, tuple(notes))


def _side(request: Request, network: Network) -> int:
    """Side of the crop, in pixels.

    Raises:
        ConversionError: The network reads others, other channels, or no squares.
    """
    where, channels = str(request.files[0]), 1 if request.color == "gray" else 3
    if network.channels not in (None, channels):
        raise ConversionError(
            f"the network reads {network.channels} channels, '{request.color}' has {channels}",
            where=where,
            hint="pass --color gray" if network.channels == 1 else "pass --color rgb or bgr",
        )
    known = {size for size in network.size if size is not None}
    if len(known) > 1:
        height, width = network.size
        raise ConversionError(
            f"the network reads {height} rows of {width} pixels, but crops are square", where=where
        )
    side = known.pop() if known else request.size or request.task.side(request.crop)
    if request.size not in (None, side):
        raise ConversionError(
            f"the network reads {side}x{side} pixels, not {request.size}",
            where=where,
            hint="leave --size out",
        )
    return side


def _document(request: Request, network: Network, folder: Path, side: int) -> dict[str, Any]:
    """The recipe before anything was measured, with bounds that hold for everything."""
    task = request.task
    loose = {"max_abs_error": _HUGE, "min_cosine": -1.0}
    source = ", ".join(path.name for path in request.files)
    return {
        **origin_tables(request.license, request.origin, network.files, folder),
        "convert": {
            "maker": network.maker,
            "weights": request.weights or ("float16" if network.half else "float32"),
            **network.options,
        },
        "verify": {**loose, "float16": dict(loose)},
        "card": {
            "purpose": f"{task.purpose} Adopted from {source}.",
            "published": "Not stated.",
            "measured": task.measure,
            "limits": [f"For the crop '{request.crop}' only.", *task.limits],
        },
        "spec": {
            "name": request.name,
            "task": task.name,
            "title": f"{source}: {request.color} {side}x{side}",
            "input": {
                "name": network.input,
                "height": side,
                "width": side,
                "color": request.color,
                "mean": list(request.mean),
                "std": list(request.std),
                "dtype": "uint8",
                "layout": "nhwc",
            },
            task.kind: task.section(request.crop),
        },
    }


def _check_rows(rows: FloatArray, request: Request) -> None:
    """Checks that the published network gives something that can be compared.

    Raises:
        ParityError: It does not.
    """
    where, hint = request.name, "check the file, and how its pixels are scaled"
    if not np.isfinite(rows).all():
        raise ParityError(
            "the network gives nan or infinite numbers for generated pictures; nothing can be "
            "verified",
            where=where,
            hint=hint,
        )
    if not (rows != rows[:1]).any():
        what = "the same numbers for every picture"
        raise ParityError(f"the network gives {what}", where=where, hint=hint)


def _state_bounds(
    document: dict[str, Any], request: Request, network: Network, rows: FloatArray
) -> None:
    """Sets the tolerances for outputs as large as these."""
    scale = max(1.0, float(np.abs(rows).max()))
    relative = network.tolerance if request.tolerance is None else request.tolerance
    rounded = max(relative, HALF_TOLERANCE)
    document["verify"] = {
        **_bounds(relative * scale, _HALF_COSINE if network.half else 0.9999999),
        "float16": _bounds(rounded * scale, _HALF_COSINE),
        "int8": {**_bounds(scale, _INT8_COSINE), "mean_cosine": _INT8_MEAN_COSINE},
    }


def _bounds(error: float, cosine: float) -> dict[str, float]:
    """Tolerances, rounded to two digits."""
    return {"max_abs_error": float(f"{error:.2g}"), "min_cosine": cosine}


def _why_fixed(recipe: Recipe, files: Files) -> str:
    """Why the model takes one crop at a time; empty if it takes any number.

    It is built for any number, and two crops are compared with each of them alone.
    """
    image = recipe.spec.require_input()
    fed = probe_input(image, 2)
    try:
        built = MAKERS[recipe.maker].build(recipe, files)
        session = open_model(onnx.load_from_string(built.content))
    except MobileFaceError as error:
        return error.what
    try:
        both, *single = (
            _rows(session.run(None, {image.name: part})) for part in (fed, fed[:1], fed[1:])
        )
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        return f"the network fails for two crops ({' '.join(str(error).split())[:160]})"
    alone = np.concatenate(single)
    if both.shape != alone.shape:
        return "two crops give other shapes than one"
    near = np.abs(both - alone).max() <= 1e-3 * max(1.0, float(np.abs(alone).max()))
    return "" if near else "the numbers of one crop depend on the other ones"


def _rows(outputs: Sequence[npt.NDArray[Any]]) -> FloatArray:
    """All outputs side by side, float32 (N, D)."""
    rows = [value.reshape(len(value), -1) for value in outputs]
    return np.asarray(np.concatenate(rows, axis=1), np.float32)

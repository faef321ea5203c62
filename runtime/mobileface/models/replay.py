"""What a model gave when it was certified, so that any machine can see whether it gives the same.

A record is a part of each variant's certificate::

    "record": {"schema": 1,
               "inputs": {"generator": "probes", "seed": 20200229},
               "rows": 4, "columns": 256, "float32": "…",
               "bounds": {"max_abs_error": 5e-5, "min_cosine": 0.9999999, "mean_cosine": -1.0},
               "platform": {"machine": "x86_64", "cpu": "…", "system": "Linux",
                            "onnxruntime": "1.32.0"}}

The inputs are not stored: every machine makes the same ones (`mobileface.models.probes`), in the
sizes that the spec says. ``float32`` is the outputs as they were, rows × columns, little endian,
base64:

=========== ==================================== ==================================================
task        inputs                               a row
=========== ==================================== ==================================================
embedding   4 pictures of the model's size       the embedding of a picture, not scaled
attributes  4 pictures of the model's size       what all heads give for a picture
landmarks   2 pictures, 8 boxes in each          x and y of the points in a box, pixels
detection   HOG: 1 layer of the pyramid          scores of a filter at all places
detection   YOLO: 2 pictures of different sizes  score, and box in parts of the longer side
=========== ==================================== ==================================================

The bounds are those of the recipe: what another machine's arithmetic may change.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelIntegrityError, SpecError
from ..host.machine import Machine, this_machine
from . import fields as checks
from .agreement import Agreement, Bounds, FloatArray, compare_outputs
from .probes import make_probes
from .session import Session, runtime_version
from .spec import ImageInput, ModelSpec, YoloSpec

__all__ = [
    "Feeds",
    "make_record",
    "output_rows",
    "paired",
    "platform_of",
    "probe_input",
    "probe_tensor",
    "replay",
]

Feeds = Iterable[Mapping[str, npt.NDArray[Any]]]
"""Inputs of a network, one mapping for each run."""

_SCHEMA = 1
_SEED = 20200229
_PICTURES = 4
_BOXES = 8
_GRAY = (120, 160)
_YOLO = ((129, 160), (200, 96))
"""Height and width of probe pictures for networks that take any size."""

_LARGEST = 1 << 20
"""Numbers in a record, at most: nothing is allocated for a size that a damaged file claims."""


def make_record(session: Session, bounds: Bounds) -> dict[str, Any]:
    """Runs a model on its probes and keeps what it gives, as JSON types.

    Args:
        session: The model.
        bounds: What a replay must keep.
    """
    rows = output_rows(session)
    return {
        "schema": _SCHEMA,
        "inputs": {"generator": "probes", "seed": _SEED},
        "rows": len(rows),
        "columns": rows.shape[1],
        "float32": base64.b64encode(rows.astype("<f4").tobytes()).decode("ascii"),
        "bounds": dataclasses.asdict(bounds),
        "platform": platform_of(this_machine()),
    }


def replay(session: Session, record: object, where: str) -> tuple[Agreement, Bounds]:
    """Runs a model on its probes and compares with what it gave when it was certified.

    Args:
        session: The model.
        record: The part ``record`` of its certificate.
        where: The certificate, for messages.

    Raises:
        ModelIntegrityError: It is no record, or one of another version.
        ModelError: The model cannot be run.
    """
    expected, bounds = _read_record(record, where)
    found = output_rows(session)
    if session.spec.yolo is not None:
        found = paired(found, expected)
    if found.shape != expected.shape:
        raise ModelIntegrityError(
            f"a record of {expected.shape[0]}×{expected.shape[1]} numbers, the model gives "
            f"{found.shape[0]}×{found.shape[1]}",
            where=where,
            hint="the certificate belongs to another file",
        )
    return compare_outputs(found, expected, "its record"), bounds


def platform_of(machine: Machine) -> dict[str, str]:
    """Where something was run, for a certificate."""
    return {
        "machine": machine.name,
        "cpu": machine.cpu,
        "system": platform.system(),
        "onnxruntime": runtime_version(),
    }


def probe_tensor(spec: ImageInput, count: int, seed: int) -> FloatArray:
    """Probe pictures as a network's input in float32, scaled: (count, C, height, width)."""
    probes = make_probes(count, spec.height, spec.width, spec.channels, seed)
    tensor = probes.transpose(0, 3, 1, 2).astype(np.float32)
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (spec.mean, spec.std))
    return np.ascontiguousarray((tensor - mean) / std, np.float32)


def probe_input(spec: ImageInput, count: int, seed: int) -> FloatArray | npt.NDArray[np.uint8]:
    """Probe pictures as a model's own input, which may be uint8 (count, height, width, C)."""
    if spec.dtype == "float32":
        tensor = probe_tensor(spec, count, seed)
        return tensor if spec.layout == "nchw" else tensor.transpose(0, 2, 3, 1)
    probes = make_probes(count, spec.height, spec.width, spec.channels, seed)
    return probes if spec.layout == "nhwc" else probes.transpose(0, 3, 1, 2)


def output_rows(session: Session, feeds: Feeds | None = None) -> FloatArray:
    """What a network gives, in one row for each thing that it tells of; float32 (N, D).

    Args:
        session: The network.
        feeds: What it is fed; None: its probes.

    Raises:
        SpecError: The spec names no outputs of a network.
        ModelError: The network cannot be run.
    """
    spec = session.spec
    parts = []
    for fed in _probes(spec) if feeds is None else feeds:
        found = session.run(fed)
        if spec.yolo is not None:
            rows = _detections(spec.yolo, fed, found)
        else:
            values = [found[name] for name in _output_names(spec)]
            rows = np.concatenate([value.reshape(len(value), -1) for value in values], axis=1)
        parts.append(rows)
    return np.asarray(np.concatenate(parts), np.float32)


def paired(found: FloatArray, expected: FloatArray) -> FloatArray:
    """For each detection the found one that overlaps it most; zeros where none overlaps by half.

    Args:
        found: float32 (M, 5): score and box.
        expected: float32 (N, 5).

    Returns:
        float32 (N, 5).
    """
    matched = np.zeros_like(expected)
    for row, wanted in enumerate(expected):
        overlaps = _overlaps(found[:, 1:], wanted[1:])
        if len(found) and overlaps.max() >= 0.5:
            # Of boxes that are equally good the one of the nearest score.
            near = np.flatnonzero(overlaps >= overlaps.max() - 1e-4)
            matched[row] = found[near[np.abs(found[near, 0] - wanted[0]).argmin()]]
    return matched


def _overlaps(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """Intersection over union of boxes (M, 4) with one box."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
    return np.asarray(shared / np.maximum(areas, 1e-12), np.float32)


def _detections(
    spec: YoloSpec, fed: Mapping[str, npt.NDArray[Any]], found: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Score, and box in parts of the picture's longer side; unused rows, of -1, left out."""
    side = np.float32(max(fed[spec.image].shape[1:3]))
    rows = np.concatenate([found[spec.scores], found[spec.boxes] / side], axis=-1)
    rows = rows.reshape(-1, rows.shape[-1])
    return np.asarray(rows[rows[:, 0] > 0])


def _probes(spec: ModelSpec) -> Feeds:
    """The inputs that every machine makes alike.

    Raises:
        SpecError: The model is no network.
    """
    if spec.input is not None:
        return [{spec.input.name: probe_input(spec.input, _PICTURES, _SEED)}]
    if spec.landmarks is not None:
        marks, boxes = spec.landmarks, _boxes()
        pictures = make_probes(2, *_GRAY, 1, _SEED)[..., 0]
        return [{marks.image: picture, marks.boxes: boxes} for picture in pictures]
    if spec.hog is not None:
        return [{spec.hog.image: make_probes(2, *_GRAY, 1, _SEED)[1].transpose(2, 0, 1)}]
    if spec.yolo is not None:
        # The smooth one of two: noise shows a detector nothing.
        pairs = [make_probes(2, height, width, 3, _SEED) for height, width in _YOLO]
        return [{spec.yolo.image: pair[1:]} for pair in pairs]
    raise SpecError(f"a model for '{spec.task}' has no network", where=spec.name)


def _boxes() -> npt.NDArray[np.int64]:
    """Boxes inside, partly outside and around the picture."""
    random = np.random.RandomState(_SEED)
    corner = random.randint(-30, 120, (_BOXES, 2))
    return np.hstack([corner, corner + random.randint(20, 120, (_BOXES, 1))]).astype(np.int64)


def _output_names(spec: ModelSpec) -> tuple[str, ...]:
    if spec.embedding is not None:
        return (spec.embedding.output,)
    if spec.landmarks is not None:
        return (spec.landmarks.output,)
    if spec.hog is not None:
        return (spec.hog.output,)
    if spec.attributes is not None:
        heads = spec.attributes
        return (heads.gender_output, heads.age_output, heads.expression_output)
    raise SpecError(f"a model for '{spec.task}' has no network", where=spec.name)


_BOUNDS = dict.fromkeys(("max_abs_error", "min_cosine", "mean_cosine"), checks.number)


def _read_record(record: object, where: str) -> tuple[FloatArray, Bounds]:
    """The numbers and bounds of a record.

    Raises:
        ModelIntegrityError: It is none.
    """
    try:
        fields = checks.mapping(record, "record")
        if fields.get("schema") != _SCHEMA or fields.get("inputs") != {
            "generator": "probes",
            "seed": _SEED,
        }:
            raise SpecError("a record of another version")
        rows, columns = (checks.whole(1)(fields.get(n), n) for n in ("rows", "columns"))
        text = checks.text(fields.get("float32"), "float32")
        bounds = checks.build(Bounds, fields.get("bounds"), "bounds", _BOUNDS)
        size = 4 * math.prod((rows, columns))
        if size > 4 * _LARGEST or len(text) > 2 * size + 4:
            raise SpecError(f"{rows}×{columns} numbers in {len(text)} characters")
        data = base64.b64decode(text, validate=True)
        if len(data) != size:
            raise SpecError(f"{len(data)} bytes instead of {size}")
    except (SpecError, binascii.Error) as error:
        raise ModelIntegrityError(
            f"its record cannot be used ({error})", where=where, hint="convert the model anew"
        ) from error
    return np.frombuffer(data, "<f4").reshape(rows, columns).astype(np.float32), bounds

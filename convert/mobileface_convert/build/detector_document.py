"""The recipes of adopted face detectors, before anything that must be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileface import fields

from ..heads.single_shot_head import Reads
from ..heads.single_shot_layouts import FORMS, POINTS, Form, Reading
from ..recipes.recipe import load_recipe
from .adopted_document import License, origin_tables
from .adopted_sources import HALF_TOLERANCE

__all__ = ["DetectorRequest", "described", "detector_document", "section_of", "yunet_section"]

_LIKE = "detection_yunet"
"""The recipe whose names of tensors and points, tiles and square for landmarks are used."""

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class DetectorRequest:
    """What is said of a face detector.

    Attributes:
        files: An ONNX file.
        name: The model's name.
        layout: One of `heads.single_shot_layouts.LAYOUTS`.
        color: "rgb" or "bgr"; None: as published.
        mean: Subtracted from pixels 0..255, one number or one per channel; None: as published.
        std: Divisor of the result, likewise.
        size: Side of the network's input in pixels if the file leaves it open; None: any.
        weights: How to store weights; None for float16 only if the network computes in it.
        tolerance: Largest error of a score, or of a place in parts of the picture's longer side;
            None for 1e-4, or 1e-2 for float16.
        license: Terms of use; None if not stated.
        origin: Where the network comes from.
    """

    files: tuple[Path, ...]
    name: str
    layout: str
    color: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | None = None
    weights: str | None = None
    tolerance: float | None = None
    license: License | None = None
    origin: str = "not stated"


def yunet_section() -> dict[str, Any]:
    """The section of the package's detector."""
    section: dict[str, Any] = fields.plain(load_recipe(_LIKE).spec.section)
    return section


def described(reading: Reading, section: Mapping[str, Any]) -> str:
    """What was found, for the console."""
    what = [FORMS[reading.form].title]
    if reading.strides:
        what.append(f"strides {', '.join(map(str, reading.strides))}")
    what.append(f"{POINTS} points" if reading.points else "no points")
    if reading.logits:
        what.append("classes as logits")
    height, width = section["height"], section["width"]
    what.append(f"pictures scaled to {width}x{height}" if height else "pictures of any size")
    return ", ".join(what)


def section_of(reading: Reading, reads: Reads, form: Form) -> dict[str, Any]:
    """The section of the spec before anything was measured."""
    section = yunet_section()
    height, width = reads.size or (0, 0)
    side = max(height, width) or int(section["max_side"])
    return section | {
        "score_threshold": form.score_threshold,
        "iou_threshold": form.iou_threshold,
        "max_side": side,
        "second_side": side,
        "second_above": side,
        "tile_side": side,
        "tile_overlap": min(int(section["tile_overlap"]), side // 2),
        "points": section["points"] if reading.points else [],
        "layout": reading.form,
        "batch": 1 if reading.flat else 0,
        "height": height,
        "width": width,
        "probe_score": 0.0,
    }


def detector_document(
    request: DetectorRequest, folder: Path, section: Mapping[str, Any], half: bool
) -> dict[str, Any]:
    """The recipe but for what its maker reads."""
    (path,) = request.files
    default = HALF_TOLERANCE if half else _TOLERANCE
    error = default if request.tolerance is None else request.tolerance
    title = FORMS[section["layout"]].title if "layout" in section else "YuNet"
    points = f" and {POINTS} points of each" if section["points"] else ""
    limits = ["Nothing is known of its accuracy: measure on your own pictures."]
    if section.get("height"):
        scaled = f"{section['width']}x{section['height']}"
        limits.append(f"Each picture, or tile, is scaled to {scaled} pixels: small faces are lost.")
    return {
        **origin_tables(request.license, request.origin, {"model": path}, folder),
        "convert": {"weights": request.weights or ("float16" if half else "float32")},
        "verify": {
            "max_abs_error": error,
            "min_cosine": 0.999 if half else 0.9999999,
            "float16": {"max_abs_error": max(error, HALF_TOLERANCE), "min_cosine": 0.999},
        },
        "card": {
            "purpose": f"Finds faces{points} in pictures. Adopted from {path.name}.",
            "published": "Not stated.",
            "measured": "Not measured.",
            "limits": limits,
        },
        "spec": {
            "name": request.name,
            "task": "detection",
            "title": f"{path.name}: {title}, faces{points}",
            "yunet" if "layout" not in section else "single_shot": dict(section),
            "landmark_box": fields.plain(load_recipe(_LIKE).spec.landmark_box),
        },
    }

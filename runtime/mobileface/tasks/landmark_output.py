"""Landmarks as text, JSON and drawings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..types import Face
from ..vision.draw import Canvas

__all__ = ["draw", "problem", "to_json", "to_text"]


def to_json(face: Face, _: bool) -> dict[str, Any]:
    """Points with their names; a mesh as rows of x, y, z in order, without names."""
    record: dict[str, Any] = {}
    if face.landmarks is not None:
        points = face.landmarks.points
        record["kps"] = [[round(float(value), 2) for value in point] for point in points]
        record["kps_names"] = list(face.landmarks.names)
        if face.landmarks.z is not None:
            depths = face.landmarks.z.tolist()
            record["kps_z"] = [round(z, 2) if math.isfinite(z) else None for z in depths]
    if face.mesh is not None and face.mesh.z is not None:
        rows = np.column_stack([face.mesh.points, face.mesh.z]).tolist()
        record["mesh"] = [[round(value, 1) for value in row] for row in rows]
        record["mesh_score"] = None if face.mesh.score is None else round(face.mesh.score, 4)
    return record


def to_text(face: Face) -> list[str]:
    """Points with their names and whole pixels; the size of a mesh."""
    parts: list[str] = []
    if face.landmarks is not None:
        points = zip(face.landmarks.names, face.landmarks.points, strict=True)
        parts += [f"{name} ({x:.0f}, {y:.0f})" for name, (x, y) in points]
    if face.mesh is not None:
        score = "" if face.mesh.score is None else f", score {face.mesh.score:.2f}"
        parts.append(f"mesh of {len(face.mesh.points)} points{score}")
    return parts


def draw(canvas: Canvas, face: Face) -> None:
    """Draws mesh and points."""
    if face.mesh is not None:
        canvas.mesh(face.mesh.points)
    if face.landmarks is not None:
        canvas.points(face.landmarks.points, face.bbox)


def problem(first: Face, second: Face) -> str:
    """What is wrong with the landmarks of two runs; empty if nothing is."""
    marks = [found.points for found in (first.landmarks, first.mesh) if found is not None]
    finite = bool(marks) and all(np.isfinite(points).all() for points in marks)
    return "" if finite else "the landmarks are missing or not finite"

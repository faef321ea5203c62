"""The triangles between the points of landmark_mesh.

They are the Delaunay triangulation of the mean shape (`mobileface.effects.mesh_shape`), its mouth
opened, unrolled from a cylinder behind the face. With a closed mouth some would lead from one lip
across the other. tests/record_mesh_shape.py derives them (``--triangles``) and describes the steps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Triangles", "load_triangles"]


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """Triangles of a mesh, as numbers of its points, clockwise as the viewer sees them.

    Attributes:
        mesh: Name of the model whose points are meant.
        count: Number of its points.
        corners: int64 (T, 3): all triangles, those between the lips last.
        skin: How many of them are not between the lips.
    """

    mesh: str
    count: int
    corners: npt.NDArray[np.int64]
    skin: int


@lru_cache(maxsize=1)
def load_triangles() -> Triangles:
    """The triangles, read once."""
    place = Path(__file__).with_suffix(".json")
    record = json.loads(place.read_text(encoding="utf-8"))
    corners = np.asarray(record["skin"] + record["mouth"], np.int64)
    corners.setflags(write=False)
    return Triangles(record["mesh"], record["count"], corners, len(record["skin"]))

"""Derives the triangles of effects/mesh_triangles.json from faces; writes the file.

    python -m tests.record_mesh_triangles [--source DIR]

From the meshes of the portraits of LFW-Aligned-100Pair, as tests/record_mesh_shape.py finds them:

1. The mean shape of its steps 1 to 3, all points.
2. Its mouth is opened: the difference between the means of the quarter of the people with the
   widest and with the narrowest gap between points 13 and 14 (the middle of the inner lips) is
   added until the gap is `GAP`. In a closed mouth the lips' edges coincide, and triangles would
   lead from one lip across the other.
3. It is unrolled from a cylinder behind the face, (atan2(x, depth to the axis), y), so that cheeks
   and temples are not seen edge-on; the axis is upright, `AXIS` behind the deepest point.
4. The Delaunay triangulation of these points.
5. The triangles of the open mouth, listed last: those whose area between the narrow and the wide
   group grows the most, at least `GROWTH` times, and that join both lips.

Lengths are in units of the mean shape: the root mean square distance of its points from the middle.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tests.record_mesh_shape import LFW, _normal, _rotation, derive, meshes

TESTS = Path(__file__).resolve().parent
TARGET = TESTS.parent / "runtime" / "mobileface" / "effects" / "mesh_triangles.json"
UPPER, LOWER = 13, 14
GAP, AXIS, GROWTH = 0.2, 0.3, 10.0

Points = npt.NDArray[np.float64]


def unrolled(found: list[Points]) -> tuple[Points, Points, Points]:
    """The points (468, 2) that are triangulated, and the shapes of narrow and of wide mouths."""
    numbers, mean = derive(found, kept=len(found[0]))
    assert numbers == list(range(len(mean)))
    shapes = [_normal(points) for points in found]
    shapes = [shape @ _rotation(mean, shape) for shape in shapes]
    order = np.argsort([shape[LOWER, 1] - shape[UPPER, 1] for shape in shapes], kind="stable")
    quarter = len(order) // 4
    parts = order[:quarter], order[-quarter:]
    narrow, wide = (_symmetric(np.mean([shapes[n] for n in part], axis=0), mean) for part in parts)
    opening = wide - narrow
    gaps = [shape[LOWER, 1] - shape[UPPER, 1] for shape in (mean, opening)]
    opened = mean + (GAP - gaps[0]) / gaps[1] * opening
    depth = mean[:, 2].max() + AXIS - mean[:, 2]
    return np.column_stack([np.arctan2(opened[:, 0], depth), opened[:, 1]]), narrow, wide


def triangulated(points: Points) -> list[tuple[int, int, int]]:
    """The Delaunay triangles by OpenCV, each clockwise as the viewer sees it, sorted."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = np.asarray((points - low) / (high - low).max() * 1e4 + 1e4, np.float32)
    plane = cv2.Subdiv2D((0, 0, 30000, 30000))
    plane.insert(scaled.tolist())
    rows = np.asarray(plane.getTriangleList()).reshape(-1, 3, 2)
    number = {tuple(row): index for index, row in enumerate(scaled.tolist())}
    found = []
    for row in rows.tolist():
        corners = [number.get(tuple(corner)) for corner in row]
        if None in corners:  # one of the corners at infinity
            continue
        first, second, third = sorted(corners)  # type: ignore[type-var]
        if _area(points, (first, second, third)) < 0:
            second, third = third, second
        found.append((first, second, third))
    return sorted(found)  # type: ignore[arg-type]


def mouth(triangles: list[tuple[int, int, int]], narrow: Points, wide: Points) -> list[int]:
    """The indices of the triangles between the lips: what opens, joined to its middle."""
    grown = [
        abs(_area(wide, corners)) > GROWTH * abs(_area(narrow, corners)) for corners in triangles
    ]
    reached, corners = set[int](), {UPPER, LOWER}
    while True:
        more = {
            index
            for index, row in enumerate(triangles)
            if grown[index] and index not in reached and len(corners & set(row)) >= 2
        }
        if not more:
            return sorted(reached)
        reached |= more
        corners |= {corner for index in more for corner in triangles[index]}


def _area(points: Points, corners: tuple[int, int, int]) -> float:
    a, b, c = (points[corner, :2] for corner in corners)
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _symmetric(shape: Points, mean: Points) -> Points:
    """The mean of a shape and its mirror image, whose pairs are those of the mean shape."""
    mirrored = mean * [-1, 1, 1]
    partner = np.linalg.norm(mean[:, None] - mirrored[None], axis=2).argmin(axis=1)
    return np.asarray((shape + (shape * [-1, 1, 1])[partner]) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=TESTS.parents[1] / "shared" / "mobileface")
    points, narrow, wide = unrolled(meshes(parser.parse_args().source / LFW))
    triangles = triangulated(points)
    opening = mouth(triangles, narrow, wide)
    skin = [row for index, row in enumerate(triangles) if index not in opening]
    record = {
        "mesh": "landmark_mesh",
        "count": len(points),
        "skin": skin,
        "mouth": [triangles[index] for index in opening],
    }
    TARGET.write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(points)} points, {len(skin)} triangles of skin, {len(opening)} of the mouth")


if __name__ == "__main__":
    main()

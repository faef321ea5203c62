"""Derives the mean shape of landmark_mesh and its triangles; prints what pose_mesh.toml compares.

    python tests/record_mesh_shape.py [--source DIR] [--table | --triangles]

From the meshes of the portraits of LFW-Aligned-100Pair, found by detection_yunet and landmark_mesh:

1. The mean shape: each mesh is turned and scaled onto the mean (generalised Procrustes analysis,
   Gower 1975, https://doi.org/10.1007/BF02291478), starting from the first.
2. Its symmetric half: a point's partner is the one that is nearest to its mirror image; the mean of
   both is kept. So a head that looks into the camera has no yaw and no roll.
3. No pitch either: points 10 (top of the forehead) and 152 (chin) lie one above the other, as in
   the axes of the head by 234–454 and 10–152.
4. The 60 points that move least between people and expressions: with the smallest mean square
   distance from the mean shape after the rotation of all points, in parts of their own squared
   distance from the middle, since a far point tells more of the rotation.

With ``--table`` it prints all points of step 3 in thousandths, as in mobileface.effects.mesh_shape.

With ``--triangles`` it writes effects/mesh_triangles.json:

5. The mean shape's mouth is opened: the difference between the means of the quarter of the people
   with the widest and with the narrowest gap between points 13 and 14 (the middle of the inner
   lips) is added until the gap is `GAP`. In a closed mouth the lips' edges coincide, and triangles
   would lead from one lip across the other.
6. It is unrolled from a cylinder behind the face, (atan2(x, depth to the axis), y), so that cheeks
   and temples are not seen edge-on; the axis is upright, `AXIS` behind the deepest point.
7. The Delaunay triangulation of these points.
8. The triangles of the open mouth, listed last: those whose area between the narrow and the wide
   group grows the most, at least `GROWTH` times, and that join both lips.

Lengths are in units of the mean shape: the root mean square distance of its points from the middle.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mobileface import FaceAnalyzer, read_image

TESTS = Path(__file__).resolve().parent
LFW = "data/LFW-Aligned-100Pair"
KEPT = 60
ROUNDS = 5
RIGHT, LEFT, TOP, CHIN = 454, 234, 10, 152
TRIANGLES = TESTS.parent / "runtime" / "mobileface" / "effects" / "mesh_triangles.json"
UPPER, LOWER = 13, 14
GAP, AXIS, GROWTH = 0.2, 0.3, 10.0

Points = npt.NDArray[np.float64]


def meshes(folder: Path) -> list[Points]:
    """The meshes of the surest face in each image, float64 (468, 3)."""
    analyzer = FaceAnalyzer(
        tasks=("detection", "landmarks"), landmarks="landmark_mesh", intra_op_num_threads=1
    )
    found = []
    for path in sorted(folder.rglob("*.jpg")):
        for face in analyzer(read_image(path))[:1]:
            if face.mesh is not None and face.mesh.z is not None:
                rows = np.column_stack([face.mesh.points, face.mesh.z])
                found.append(rows.astype(np.float64))
    return found


def mean_shape(found: list[Points]) -> tuple[Points, npt.NDArray[np.intp]]:
    """The mean of all points, steps 1 to 3, and each point's partner on the other side."""
    shapes = [_normal(points) for points in found]
    mean = shapes[0]
    for _ in range(ROUNDS):
        mean = _normal(np.mean([shape @ _rotation(mean, shape) for shape in shapes], axis=0))
    mean = _upright(mean)
    mirrored = mean * [-1, 1, 1]
    partner = np.linalg.norm(mean[:, None] - mirrored[None], axis=2).argmin(axis=1)
    if not np.array_equal(partner[partner], np.arange(len(mean))):
        raise SystemExit("the points are no pairs")
    return _upright(_normal((mean + mirrored[partner]) / 2)), partner


def derive(found: list[Points], kept: int = KEPT) -> tuple[list[int], Points]:
    """Numbers and places of the points, as the module describes."""
    mean, partner = mean_shape(found)
    shapes = [_normal(points) for points in found]
    moved = [((s @ _rotation(mean, s) - mean) ** 2).sum(axis=1) for s in shapes]
    error = np.mean(moved, axis=0) / (mean**2).sum(axis=1)
    order = np.argsort(error + error[partner], kind="stable")[:kept]
    numbers = sorted(int(number) for number in order if partner[number] in order)
    return numbers, mean[numbers]


def table(mean: Points) -> str:
    """All points as x,y,z in thousandths, in lines of at most 96 characters."""
    rows = (",".join(str(int(value)) for value in row) for row in np.round(mean * 1000))
    return "\n".join(textwrap.wrap(" ".join(rows), 96, break_on_hyphens=False))


def unrolled(found: list[Points]) -> tuple[Points, Points, Points]:
    """The points (468, 2) that are triangulated, and the shapes of narrow and of wide mouths."""
    mean, partner = mean_shape(found)
    shapes = [_normal(points) for points in found]
    shapes = [shape @ _rotation(mean, shape) for shape in shapes]
    order = np.argsort([shape[LOWER, 1] - shape[UPPER, 1] for shape in shapes], kind="stable")
    quarter = len(order) // 4
    parts = order[:quarter], order[-quarter:]
    narrow, wide = (
        _symmetric(np.mean([shapes[n] for n in part], axis=0), partner) for part in parts
    )
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
        corners = sorted(number[key] for key in map(tuple, row) if key in number)
        if len(corners) < 3:  # one of the corners at infinity
            continue
        first, second, third = corners
        if _area(points, (first, second, third)) < 0:
            second, third = third, second
        found.append((first, second, third))
    return sorted(found)


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


def _normal(points: Points) -> Points:
    """The points around their mean, with a mean square distance of 1 from it."""
    centred = points - points.mean(axis=0)
    return np.asarray(centred / np.sqrt((centred**2).sum(axis=1).mean()))


def _rotation(shape: Points, points: Points) -> Points:
    """The rotation R with the smallest squared distances between shape · Rᵀ and the points."""
    left, _, right = np.linalg.svd(points.T @ shape)
    return np.asarray(left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right)


def _upright(shape: Points) -> Points:
    """The shape in the axes of the head: x from 234 to 454, y from 10 to 152 as far as possible."""
    across = shape[RIGHT] - shape[LEFT]
    across /= np.linalg.norm(across)
    into = np.cross(across, shape[CHIN] - shape[TOP])
    into /= np.linalg.norm(into)
    return np.asarray(shape @ np.stack([across, np.cross(into, across), into], axis=1))


def _area(points: Points, corners: tuple[int, int, int]) -> float:
    a, b, c = (points[corner, :2] for corner in corners)
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _symmetric(shape: Points, partner: npt.NDArray[np.intp]) -> Points:
    """The mean of a shape and its mirror image, whose pairs are given."""
    return np.asarray((shape + (shape * [-1, 1, 1])[partner]) / 2)


def write_triangles(found: list[Points]) -> None:
    """Derives the triangles and writes their file."""
    points, narrow, wide = unrolled(found)
    triangles = triangulated(points)
    opening = mouth(triangles, narrow, wide)
    skin = [row for index, row in enumerate(triangles) if index not in opening]
    record = {
        "mesh": "landmark_mesh",
        "count": len(points),
        "skin": skin,
        "mouth": [triangles[index] for index in opening],
    }
    TRIANGLES.write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(points)} points, {len(skin)} triangles of skin, {len(opening)} of the mouth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=TESTS.parents[1] / "shared" / "mobileface")
    parser.add_argument("--table", action="store_true", help="print all points in thousandths")
    parser.add_argument("--triangles", action="store_true", help="write the triangles' file")
    options = parser.parse_args()
    found = meshes(options.source / LFW)
    if options.triangles:
        write_triangles(found)
        return
    if options.table:
        print(table(mean_shape(found)[0]))
        return
    numbers, rows = derive(found)
    print(f"{len(found)} meshes, {len(numbers)} points", file=sys.stderr)
    print(f"points = {numbers}\nreference = [")
    for row in rows:
        print(f"    [{', '.join(f'{value:.4f}' for value in row)}],")
    print("]")


if __name__ == "__main__":
    main()

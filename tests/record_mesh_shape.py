"""Derives the shape that recipes/pose_mesh.toml compares a mesh with; prints its rows.

    python tests/record_mesh_shape.py [--source DIR] [--table]

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
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface import FaceAnalyzer, read_image

TESTS = Path(__file__).resolve().parent
LFW = "data/LFW-Aligned-100Pair"
KEPT = 60
ROUNDS = 5
RIGHT, LEFT, TOP, CHIN = 454, 234, 10, 152

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=TESTS.parents[1] / "shared" / "mobileface")
    parser.add_argument("--table", action="store_true", help="print all points in thousandths")
    options = parser.parse_args()
    found = meshes(options.source / LFW)
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

"""Where each pixel of one face lies in another: a piecewise affine map over the mesh's triangles.

For a triangle with the corners p1, p2, p3 in the target and q1, q2, q3 in the source, the pixel
x = Σ wᵢ·pᵢ with Σ wᵢ = 1 shows the source at Σ wᵢ·qᵢ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..types import FloatArray, Landmarks
from .mesh_triangles import Triangles

__all__ = [
    "Booleans",
    "FaceMap",
    "clockwise",
    "extent",
    "facing",
    "hidden",
    "map_face",
    "settled",
]

Booleans = npt.NDArray[np.bool_]

_SIDE = 200.0
"""Longer side of a mesh, in pixels, at which it is seen what hides what."""

_BEHIND = 0.08
"""A triangle that lies this much behind the one that is seen in its middle is hidden, in sizes of
the face."""

_MOST = 0.6
"""Share of the triangles around one that must be shown."""

_SHIFT = 4
"""Bits after the point of the corners that are filled: 1/16 pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceMap:
    """A part of the target that shows a face of the source.

    Attributes:
        place: Rows and columns of the part in the target.
        x: float32 (H, W): column in the source of each pixel.
        y: float32 (H, W): row in the source.
        number: int32 (H, W): the triangle that is shown at each pixel; −1 without one.
        mouth: bool (H, W): where a triangle between the lips is shown.
    """

    place: tuple[slice, slice]
    x: FloatArray
    y: FloatArray
    number: npt.NDArray[np.int32]
    mouth: Booleans

    @property
    def drawn(self) -> Booleans:
        """Where a triangle is shown, bool (H, W)."""
        return np.asarray(self.number >= 0)


def extent(mesh: Landmarks) -> float:
    """The size of a face: the square root of the area of its mesh's convex hull, in pixels."""
    hull = cv2.convexHull(np.ascontiguousarray(mesh.points, np.float32))
    return max(float(np.sqrt(cv2.contourArea(hull))), 1.0)


def clockwise(points: FloatArray, triangles: Triangles) -> Booleans:
    """Which triangles show their outside to the camera, bool (T,): those clockwise in the image.

    Unlike `facing` this is exact: a triangle that noise has turned over is not among them.

    Args:
        points: float32 (P, 2): the points of a mesh, in pixels.
        triangles: Its triangles.
    """
    first, second, third = (points[triangles.corners[:, corner]] for corner in range(3))
    a, b = second - first, third - first
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0)


def facing(mesh: Landmarks, triangles: Triangles) -> FloatArray:
    """The cosine of the angle between each triangle's normal and the camera's axis, float32 (T,).

    It is 1 for a triangle that faces the camera, negative for one that looks away. The normal at a
    point is the mean of those of its triangles by their areas, that of a triangle the mean of those
    of its points: a single one that noise has turned over leaves no hole.
    """
    assert mesh.z is not None
    points = np.column_stack([mesh.points, mesh.z]).astype(np.float64)
    first, second, third = (points[triangles.corners[:, corner]] for corner in range(3))
    # z grows away from the camera: the normal of a clockwise triangle is turned towards it.
    normals = np.cross(third - first, second - first)[: triangles.skin]
    at_points = np.zeros_like(points)
    for corner in triangles.corners[: triangles.skin].T:
        for axis in range(3):
            at_points[:, axis] += np.bincount(corner, normals[:, axis], len(points))
    at_points /= np.maximum(np.linalg.norm(at_points, axis=1, keepdims=True), 1e-12)
    means = at_points[triangles.corners].mean(axis=1)
    lengths = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    return np.asarray(-means[:, 2] / lengths, np.float32)


def hidden(mesh: Landmarks, triangles: Triangles, size: float) -> Booleans:
    """Which triangles lie behind others, e.g. behind the nose, bool (T,).

    Args:
        mesh: The mesh.
        triangles: Its triangles.
        size: Size of the face.
    """
    assert mesh.z is not None
    points = mesh.points - mesh.points.min(axis=0)
    points *= _SIDE / max(float(points.max()), 1.0)
    width, height = (np.ceil(points.max(axis=0)).astype(int) + 1).tolist()
    depth = mesh.z[triangles.corners].mean(axis=1)
    number = _filled(points[triangles.corners], depth, range(len(depth)), (height, width))
    middles = np.round(points[triangles.corners].mean(axis=1)).astype(int)
    front = number[middles[:, 1], middles[:, 0]]
    return np.asarray(depth - depth[front] > _BEHIND * size)


def settled(shown: Booleans, triangles: Triangles) -> Booleans:
    """What most neighbours of each triangle say, so that none stands alone, bool (T,).

    Twice, each point gets the mean of its triangles, and each triangle that of its points.
    """
    share = shown.astype(np.float64)
    count = np.bincount(triangles.corners.ravel(), minlength=triangles.count)
    for _ in range(2):
        sums = np.bincount(triangles.corners.ravel(), np.repeat(share, 3), triangles.count)
        share = (sums / np.maximum(count, 1))[triangles.corners].mean(axis=1)
    return np.asarray(share > _MOST)


def map_face(
    target: Landmarks,
    source: FloatArray,
    shown: Booleans,
    triangles: Triangles,
    shape: tuple[int, ...],
) -> FaceMap | None:
    """The map from a face to the source.

    Triangles are filled from the farthest to the nearest, so that the nose hides the cheek.

    Args:
        target: The mesh of the face, in pixels of the image.
        source: float32 (P, 2): the same points in the source.
        shown: bool (T,): which triangles may be shown.
        triangles: The triangles.
        shape: Height and width of the image.

    Returns:
        The map; None if nothing of the face is in the image.
    """
    assert target.z is not None
    used = target.points[np.unique(triangles.corners[shown])]
    if not len(used):
        return None
    low = np.maximum(np.floor(used.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(used.max(axis=0)).astype(int) + 2, [shape[1], shape[0]])
    if (high <= low).any():
        return None
    width, height = (high - low).tolist()
    points = target.points - low.astype(np.float32)
    depth = target.z[triangles.corners].mean(axis=1)
    number = _filled(points[triangles.corners], depth, np.flatnonzero(shown), (height, width))
    rows = _affine(points[triangles.corners], source[triangles.corners])[number.ravel()]
    rows = rows.reshape(height, width, 6)
    x = np.arange(width, dtype=np.float32)[None]
    y = np.arange(height, dtype=np.float32)[:, None]
    return FaceMap(
        (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))),
        rows[..., 0] * x + rows[..., 1] * y + rows[..., 2],
        rows[..., 3] * x + rows[..., 4] * y + rows[..., 5],
        number,
        number >= triangles.skin,
    )


def _filled(
    corners: FloatArray, depth: FloatArray, chosen: Iterable[int], shape: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """The number of the nearest triangle at each pixel, int32 (H, W); −1 without one."""
    number = np.full(shape, -1, np.int32)
    places = np.round(corners * (1 << _SHIFT)).astype(np.int32)
    for index in sorted(chosen, key=lambda index: -float(depth[index])):
        cv2.fillConvexPoly(number, places[index], (int(index),), cv2.LINE_8, _SHIFT)
    return number


def _affine(target: FloatArray, source: FloatArray) -> FloatArray:
    """The affine map of each triangle, float32 (T, 6), from (T, 3, 2) to (T, 3, 2).

    A triangle without area shows its first corner.
    """
    here, there = target.astype(np.float64), source.astype(np.float64)
    a, b = here[:, 1] - here[:, 0], here[:, 2] - here[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    flat = np.abs(area) < 1e-6
    area = np.where(flat, 1, area)
    inverse = np.stack([b[:, 1], -b[:, 0], -a[:, 1], a[:, 0]], axis=1) / area[:, None]
    inverse[flat] = 0
    sides = np.stack([there[:, 1] - there[:, 0], there[:, 2] - there[:, 0]], axis=2)
    linear = sides @ inverse.reshape(-1, 2, 2)
    shift = there[:, 0] - (linear @ here[:, 0, :, None])[..., 0]
    rows = np.concatenate([linear, shift[..., None]], axis=2)
    return np.asarray(rows.reshape(-1, 6), np.float32)

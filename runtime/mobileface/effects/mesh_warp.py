"""One face warped onto another by the triangles of their meshes: piecewise affine, one remap."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..types import FloatArray
from .mesh_regions import check_mesh_points, doubled_areas, triangles

__all__ = ["inverse_map"]

_SUBPIXEL = 4
"""Fractional bits of the corners of drawn triangles."""

_SMALLEST = 1e-3
"""Triangles of a smaller area in pixels are not drawn."""


def inverse_map(
    target: npt.NDArray[np.floating[Any]],
    source: npt.NDArray[np.floating[Any]],
    shape: tuple[int, int],
    depth: npt.NDArray[np.floating[Any]] | None = None,
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Where each pixel of the target's image lies in the source's, for `cv2.remap`.

    Triangles that look away in the target are not drawn; the others are drawn from far to near.

    Args:
        target: (468, 2): the mesh in pixels of the image that is filled.
        source: (468, 2): the mesh in pixels of the image that is read.
        shape: Height and width of the image that is filled.
        depth: (468,): z of the target's points, growing away from the camera; None draws the
            triangles in the order of their numbers.

    Returns:
        float32 (H, W, 2): x and y in the source, and bool (H, W): where a triangle lies that looks
        into the camera in both images. Elsewhere the map is −1, or that of a hidden triangle.

    Raises:
        InputError: If the points are not those of a mesh.
    """
    onto, from_ = check_mesh_points(target), check_mesh_points(source)
    corners = triangles()
    area = doubled_areas(onto[corners])
    drawn = np.flatnonzero(area > _SMALLEST)
    if depth is not None:
        far = np.asarray(depth)[corners[drawn]].mean(axis=1)
        drawn = drawn[np.argsort(-far, kind="stable")]
    number = np.full(shape, -1, np.int32)
    fixed = np.round(onto * (1 << _SUBPIXEL)).astype(np.int32)
    for triangle in drawn.tolist():
        cv2.fillConvexPoly(number, fixed[corners[triangle]], triangle, cv2.LINE_8, _SUBPIXEL)
    found = np.full((*shape, 2), -1, np.float32)
    rows, columns = np.nonzero(number >= 0)
    which = number[rows, columns]
    place = np.zeros(len(corners), np.intp)
    place[drawn] = np.arange(len(drawn))
    square = np.concatenate([onto[corners[drawn]], np.ones((len(drawn), 3, 1))], axis=2)
    affine = np.linalg.solve(square, from_[corners[drawn]].astype(np.float64))
    matrix = affine.astype(np.float32)[place[which]]
    found[rows, columns] = (
        columns[:, None] * matrix[:, 0] + rows[:, None] * matrix[:, 1] + matrix[:, 2]
    )
    seen = np.zeros(shape, np.bool_)
    seen[rows, columns] = (doubled_areas(from_[corners]) > 0)[which]
    return found, seen

"""Shape predictor in plain numpy: the reference implementation if dlib is not installed.

It repeats dlib's arithmetic operation by operation, in the precision that dlib uses, and returns
the same landmarks. The code follows dlib/image_processing/shape_predictor.h and is not optimised
for speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import ImageError, InputError

from .shape_predictor import ShapePredictor

__all__ = ["evaluate"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_LARGEST_COORDINATE = 2**31 - 1
_BOXES_TOGETHER = 256
"""Number of boxes that are computed together; limits the memory."""


def evaluate(
    model: ShapePredictor, gray: npt.NDArray[np.uint8], boxes: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Finds the landmarks of faces.

    Args:
        model: The shape predictor.
        gray: (H, W) uint8 greyscale image. dlib converts a colour image by (R + G + B) // 3.
        boxes: (N, 4) integers: left, top, right and bottom of each face in pixels, as in a dlib
            rectangle. Boxes may extend beyond the image; pixels outside it count as black.

    Returns:
        (N, P, 2) int64, x and y of each landmark in pixels of the image.

    Raises:
        ImageError: If ``gray`` is not a non-empty (H, W) uint8 image.
        InputError: If ``boxes`` is not (N, 4) integers of up to 32 bits.
    """
    if gray.dtype != np.uint8 or gray.ndim != 2 or not gray.size:
        raise ImageError("a grey image must be a non-empty (H, W) array of uint8")
    corners = np.asarray(boxes)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.issubdtype(corners.dtype, np.integer):
        raise InputError("boxes must be an (N, 4) array of integers: left, top, right, bottom")
    if corners.size and max(-int(corners.min()), int(corners.max())) > _LARGEST_COORDINATE:
        raise InputError("boxes must be 32-bit integers")
    parts = [np.empty((0, model.points, 2), np.int64)]
    for start in range(0, len(corners), _BOXES_TOGETHER):
        parts.append(_evaluate(model, gray, corners[start : start + _BOXES_TOGETHER]))
    return np.concatenate(parts)


def _evaluate(
    model: ShapePredictor, gray: npt.NDArray[np.uint8], corners: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.int64]:
    """`evaluate` for a chunk of checked boxes: (n, P, 2) int64."""
    origin = corners[:, None, :2].astype(np.float64)
    size = corners[:, None, 2:].astype(np.float64) - origin
    shape = np.repeat(model.initial_shape[None], len(corners), axis=0)
    for cascade in range(model.cascades):
        positions = _pixel_positions(model, cascade, shape)
        intensities = _read_pixels(gray, _round(_to_image(positions, origin, size)))
        leaves = _find_leaves(model, cascade, intensities)
        # Add one tree after the other: float32 sums depend on their order.
        for tree in range(model.trees):
            shape += model.leaves[cascade, tree, leaves[:, tree]]
    return _round(_to_image(shape, origin, size)).astype(np.int64)


def _pixel_positions(model: ShapePredictor, cascade: int, shape: Floats) -> Floats:
    """Positions of a cascade's pixels on the current shape, (n, F, 2), in units of the box size."""
    cosine, sine = _similarity(model, shape)
    x, y = model.deltas[cascade, :, 0], model.deltas[cascade, :, 1]
    rotated: Floats = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
    rotated += shape[:, model.anchors[cascade]]
    return rotated


def _similarity(model: ShapePredictor, shape: Floats) -> tuple[Floats, Floats]:
    """Scaled cosine and sine of the map from the mean face to the shape, (n, 1) float32 each.

    Computed in float64 and rounded once, as dlib does.
    """
    weights = model.similarity_weights()
    if weights is None:
        return np.ones((len(shape), 1), np.float32), np.zeros((len(shape), 1), np.float32)
    both = shape.reshape(len(shape), -1).astype(np.float64) @ weights
    return both[:, :1].astype(np.float32), both[:, 1:].astype(np.float32)


def _to_image(positions: Floats, origin: Doubles, size: Doubles) -> Doubles:
    """Converts units of the box size to pixels of the image; dlib's width is right - left."""
    pixels = positions.astype(np.float64)
    pixels *= size
    pixels += origin
    return pixels


def _round(positions: Doubles) -> Doubles:
    """Rounds to integers, halves up, also below zero."""
    rounded: Doubles = np.floor(positions + 0.5)
    return rounded


def _read_pixels(gray: npt.NDArray[np.uint8], positions: Doubles) -> npt.NDArray[np.int16]:
    """Grey levels at integer positions (n, F, 2), 0 outside the image: (n, F) int16."""
    limits = np.array([gray.shape[1] - 1, gray.shape[0] - 1], np.float64)
    inside = ((positions >= 0) & (positions <= limits)).all(axis=-1)
    # Clip before the cast, which is undefined for numbers of more than 64 bits.
    columns, rows = np.moveaxis(np.clip(positions, 0, limits).astype(np.intp), -1, 0)
    return np.where(inside, gray[rows, columns], 0).astype(np.int16)


def _find_leaves(
    model: ShapePredictor, cascade: int, intensities: npt.NDArray[np.int16]
) -> npt.NDArray[np.intp]:
    """Index of the leaf that each tree reaches, (n, T)."""
    faces, trees = np.arange(len(intensities))[:, None], np.arange(model.trees)[None]
    node = np.zeros((len(intensities), model.trees), np.intp)
    for _ in range(model.depth):
        first = intensities[faces, model.first_pixels[cascade][trees, node]]
        second = intensities[faces, model.second_pixels[cascade][trees, node]]
        left = first - second > model.thresholds[cascade][trees, node]
        node = np.where(left, 2 * node + 1, 2 * node + 2)
    return node - model.splits

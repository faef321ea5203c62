"""Runs a shape predictor in plain numpy: the reference where dlib is not installed.

It repeats dlib's arithmetic operation by operation, each in the precision dlib uses, and gives the
same points. It is written to be read beside dlib/image_processing/shape_predictor.h, not for speed.
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
"""Boxes computed at once; bounds the memory."""


def evaluate(
    model: ShapePredictor, gray: npt.NDArray[np.uint8], boxes: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Finds the landmarks of faces.

    Args:
        model: The shape predictor.
        gray: (H, W) uint8 grey image. For a colour image dlib takes (R + G + B) // 3.
        boxes: (N, 4) whole numbers: left, top, right and bottom of each face in pixels, as in a
            dlib rectangle. They may lie outside the image; what lies there counts as black.

    Returns:
        (N, P, 2) int64, x and y of each landmark in pixels of the image.

    Raises:
        ImageError: `gray` is not an (H, W) uint8 image.
        InputError: `boxes` is not (N, 4) integers within 32 bits.
    """
    if gray.dtype != np.uint8 or gray.ndim != 2 or not gray.size:
        raise ImageError("a grey image must be a non-empty (H, W) array of uint8")
    corners = np.asarray(boxes)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.issubdtype(corners.dtype, np.integer):
        raise InputError("boxes must be an (N, 4) array of integers: left, top, right, bottom")
    if corners.size and max(-int(corners.min()), int(corners.max())) > _LARGEST_COORDINATE:
        raise InputError("boxes must lie within 32 bits")
    parts = [np.empty((0, model.points, 2), np.int64)]
    for start in range(0, len(corners), _BOXES_TOGETHER):
        parts.append(_evaluate(model, gray, corners[start : start + _BOXES_TOGETHER]))
    return np.concatenate(parts)


def _evaluate(
    model: ShapePredictor, gray: npt.NDArray[np.uint8], corners: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.int64]:
    """`evaluate` for a few boxes, all checked: (n, P, 2) int64."""
    origin = corners[:, None, :2].astype(np.float64)
    size = corners[:, None, 2:].astype(np.float64) - origin
    shape = np.repeat(model.initial_shape[None], len(corners), axis=0)
    for cascade in range(model.cascades):
        places = _pixel_places(model, cascade, shape)
        intensities = _read_pixels(gray, _round(_to_image(places, origin, size)))
        leaves = _find_leaves(model, cascade, intensities)
        # One tree after the other: float32 sums depend on their order.
        for tree in range(model.trees):
            shape += model.leaves[cascade, tree, leaves[:, tree]]
    return _round(_to_image(shape, origin, size)).astype(np.int64)


def _pixel_places(model: ShapePredictor, cascade: int, shape: Floats) -> Floats:
    """Where the pixels of a cascade lie on the current shape, (n, F, 2) in sides of the box."""
    cosine, sine = _similarity(model, shape)
    x, y = model.deltas[cascade, :, 0], model.deltas[cascade, :, 1]
    rotated: Floats = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
    rotated += shape[:, model.anchors[cascade]]
    return rotated


def _similarity(model: ShapePredictor, shape: Floats) -> tuple[Floats, Floats]:
    """Scaled cosine and sine that carry the mean face to the shape, each (n, 1) float32.

    Computed in double and rounded once, as dlib does.
    """
    weights = model.similarity_weights()
    if weights is None:
        return np.ones((len(shape), 1), np.float32), np.zeros((len(shape), 1), np.float32)
    both = shape.reshape(len(shape), -1).astype(np.float64) @ weights
    return both[:, :1].astype(np.float32), both[:, 1:].astype(np.float32)


def _to_image(places: Floats, origin: Doubles, size: Doubles) -> Doubles:
    """From sides of the box to pixels of the image. dlib takes right - left for the width."""
    pixels = places.astype(np.float64)
    pixels *= size
    pixels += origin
    return pixels


def _round(places: Doubles) -> Doubles:
    """To whole numbers; a half goes up, also below zero."""
    rounded: Doubles = np.floor(places + 0.5)
    return rounded


def _read_pixels(gray: npt.NDArray[np.uint8], places: Doubles) -> npt.NDArray[np.int16]:
    """Grey levels at whole places (n, F, 2), 0 outside the image: (n, F) int16."""
    limits = np.array([gray.shape[1] - 1, gray.shape[0] - 1], np.float64)
    inside = ((places >= 0) & (places <= limits)).all(axis=-1)
    # Clipped before the cast, which is undefined for numbers beyond 64 bits.
    columns, rows = np.moveaxis(np.clip(places, 0, limits).astype(np.intp), -1, 0)
    return np.where(inside, gray[rows, columns], 0).astype(np.int16)


def _find_leaves(
    model: ShapePredictor, cascade: int, intensities: npt.NDArray[np.int16]
) -> npt.NDArray[np.intp]:
    """The leaf that each tree arrives at, (n, T)."""
    faces, trees = np.arange(len(intensities))[:, None], np.arange(model.trees)[None]
    node = np.zeros((len(intensities), model.trees), np.intp)
    for _ in range(model.depth):
        first = intensities[faces, model.first_pixels[cascade][trees, node]]
        second = intensities[faces, model.second_pixels[cascade][trees, node]]
        left = first - second > model.thresholds[cascade][trees, node]
        node = np.where(left, 2 * node + 1, 2 * node + 2)
    return node - model.splits

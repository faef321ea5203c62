"""Face detection with gradient histograms, equal to dlib's ``get_frontal_face_detector``.

The model scores all window positions of one image. This module builds an image pyramid, runs the
model on each level, converts scores to boxes and suppresses overlapping boxes, by the rules of
dlib's ``object_detector`` and ``scan_fhog_pyramid`` (King, "Max-Margin Object Detection",
arXiv:1502.00046).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..models.kinds import HogSpec
from ..types import Detections
from ..vision.pyramid import double_planes, shrink_planes

__all__ = ["HogSearch"]

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
ScoreFunction = Callable[[UInt8Array], npt.NDArray[np.float32]]

_FEATURE_BORDER = 2
"""Cells without features, in each dimension: the outermost lack neighbours for normalization."""

_PYRAMID_OFFSET = 0.3
"""Pixel p of a level is pixel p * N / (N - 1) + 0.3 of the previous level, in dlib's pyramids."""

_DOUBLING_OFFSET = np.array([1.25, 0.75, 1.25, 0.75])
"""Pixel (x, y) of a doubled image is (x / 2 - 1.25, y / 2 - 0.75), in dlib's pyramid_up."""

_TILE_SIDE = 2048
"""Maximum side in pixels of the model's input, which limits its memory (about 60 bytes per pixel).

Larger levels are scored in overlapping tiles, with the same result.
"""


class HogSearch:
    """Searches an image pyramid for faces, with any function that scores windows.

    Args:
        run: The model: uint8 (1 or 3, H, W) → float32 (K, rows, columns) scores.
        spec: The "hog" section of the model's spec.
        upsample: Number of times that the image is doubled first, 0 to 4; each halves the size of
            the smallest face that can be found.
        min_face_size: Minimum face size: side of the smallest search window, in pixels. Pyramid
            levels with smaller windows are built but not scored: 160 instead of 80 saves more than
            half of the time. The results of the other levels stay the same, except that a large
            box may appear that a better, smaller one had suppressed. None scores all levels; the
            minimum is then the side of the window (80 for dlib's detector), halved by each
            doubling.
        score_threshold: Minimum score of a box; dlib's adjust_threshold.

    Raises:
        InputError: If an option is out of range.
    """

    def __init__(
        self,
        run: ScoreFunction,
        spec: HogSpec,
        *,
        upsample: int = 0,
        min_face_size: float | None = None,
        score_threshold: float = 0.0,
    ) -> None:
        if not 0 <= upsample <= 4:
            raise InputError(f"upsample must be from 0 to 4, not {upsample}")
        if min_face_size is not None and not 0 <= min_face_size < float("inf"):
            raise InputError(f"min_face_size must be a size in pixels, not {min_face_size}")
        if not np.isfinite(score_threshold):
            raise InputError(f"score_threshold must be finite, not {score_threshold}")
        self._run = run
        self.spec = spec
        self.upsample = upsample
        self.min_face_size = min_face_size
        self.score_threshold = score_threshold

    def detect(self, image: UInt8Array, *, color: Literal["bgr", "rgb"] = "bgr") -> Detections:
        """Detects the faces of one image.

        Args:
            image: uint8 (H, W) greyscale or (H, W, 3). As with dlib, a colour image takes longer
                and gives slightly different boxes than its greyscale version.
            color: Channel order of a colour image.

        Returns:
            Boxes and scores, sorted by score, highest first.

        Raises:
            ImageError: If ``image`` is not such an array.
            InputError: If ``color`` is unknown.
        """
        planes = _to_planes(image, color)
        for _ in range(self.upsample):
            planes = double_planes(planes)
        edges, scores, _ = self._search(planes)
        order = np.argsort(-scores, kind="stable")
        kept = order[
            _keep_best(edges[order], self.spec.overlap_threshold, self.spec.covered_threshold)
        ]
        boxes = edges[kept].astype(np.float64)
        for _ in range(self.upsample):
            boxes = boxes / 2 - _DOUBLING_OFFSET
        return Detections(_round(boxes).astype(np.float32), scores[kept])

    def _search(
        self, planes: UInt8Array
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Boxes, scores and filter indices of all windows that reach the threshold."""
        boxes = [np.empty((0, 4), np.int64)]
        scores = [np.empty(0, np.float32)]
        filters = [np.empty(0, np.int64)]
        for level, layer in self._levels(planes):
            responses = _score_tiles(layer, self._run, self.spec)
            which, row, column = np.nonzero(responses >= self.score_threshold)
            if not which.size:
                continue
            boxes.append(_window_boxes(row, column, level, self.spec))
            scores.append(responses[which, row, column])
            filters.append(which.astype(np.int64))
        return np.concatenate(boxes), np.concatenate(scores), np.concatenate(filters)

    def _levels(self, planes: UInt8Array) -> Iterator[tuple[int, UInt8Array]]:
        """The pyramid levels to search, with their indices; none for an empty image.

        As in dlib, the number of levels depends on the size of a rectangle that is scaled and
        rounded repeatedly, not on the sizes of the levels.
        """
        spec = self.spec
        shrink = (spec.pyramid_step - 1) / spec.pyramid_step
        _, height, width = planes.shape
        window = spec.cell_size * min(spec.filter_rows, spec.filter_columns) / 2**self.upsample
        for level in range(spec.max_pyramid_levels):
            if not planes.size:
                return
            # Tolerance of 1/1000 pixel, for sizes like 115.2 = 80 * 1.2 * 1.2.
            if window >= (self.min_face_size or 0) - 1e-3:
                yield level, planes
            width, height = (
                int(np.floor((side - 1 - _PYRAMID_OFFSET) * shrink + 0.5)) + 1
                for side in (width, height)
            )
            if width < spec.min_layer_width or height < spec.min_layer_height:
                return
            window /= shrink
            planes = shrink_planes(planes, spec.pyramid_step)


def _to_planes(image: UInt8Array, color: str) -> UInt8Array:
    """The image as planes: (1, H, W), or (3, H, W) in RGB order."""
    if color not in ("bgr", "rgb"):
        raise InputError(f"color must be 'bgr' or 'rgb', not {color!r}")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise ImageError(f"expected a uint8 array, got {kind}")
    if image.ndim == 2:
        return np.ascontiguousarray(image)[None]
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"expected shape (H, W) or (H, W, 3), got {image.shape}")
    planes = image.transpose(2, 0, 1)
    return np.ascontiguousarray(planes[::-1] if color == "bgr" else planes)


def _score_tiles(layer: UInt8Array, run: ScoreFunction, spec: HogSpec) -> npt.NDArray[np.float32]:
    """Scores of one level, float32 (K, rows, columns); large levels are computed in tiles."""
    rows, columns = ((side + spec.cell_size // 2) // spec.cell_size for side in layer.shape[1:])
    if min(rows, columns) <= _FEATURE_BORDER:
        return np.empty((spec.filters, 0, 0), np.float32)
    if max(layer.shape) <= _TILE_SIDE:
        return run(layer)
    size = (spec.filters, rows - _FEATURE_BORDER, columns - _FEATURE_BORDER)
    scores = np.empty(size, np.float32)
    for down in _spans(layer.shape[1], spec.filter_rows, spec.cell_size):
        for across in _spans(layer.shape[2], spec.filter_columns, spec.cell_size):
            tile = np.ascontiguousarray(layer[:, down.pixels, across.pixels])
            scores[:, down.target, across.target] = run(tile)[:, down.source, across.source]
    return scores


@dataclass(frozen=True)
class _Span:
    """A tile along one axis: its pixels, the part of its scores to use, and their destination."""

    pixels: slice
    source: slice
    target: slice


def _spans(side: int, filter_cells: int, cell_size: int) -> Iterator[_Span]:
    """Splits an axis into tiles of _TILE_SIDE pixels whose scores join without gaps.

    Where a tile ends inside the image, its outermost cell lacks pixels, so its outermost feature is
    wrong; windows that include it are scored in the next tile.
    """
    before = (filter_cells - 1) // 2
    after = filter_cells - 1 - before
    cells = (side + cell_size // 2) // cell_size
    first, done = 0, 0
    while True:
        end = first + _TILE_SIDE // cell_size
        last = end >= cells
        stop = cells - _FEATURE_BORDER if last else end - _FEATURE_BORDER - 1 - after
        pixels = slice(first * cell_size, side if last else end * cell_size)
        yield _Span(pixels, slice(done - first, stop - first), slice(done, stop))
        if last:
            return
        done, first = stop, stop - before - 1


def _window_boxes(
    row: npt.NDArray[np.intp], column: npt.NDArray[np.intp], level: int, spec: HogSpec
) -> npt.NDArray[np.int64]:
    """The windows at score positions, in pixels of level 0, int64 (N, 4).

    As in dlib, a window extends from its first cell to its last and is one cell smaller than the
    trained window.
    """
    edges = []
    for last in (False, True):
        for position, cells in ((column, spec.filter_columns), (row, spec.filter_rows)):
            cell = position - (cells - 1) // 2 + 1 + (cells - 1 if last else 0)
            corner = cell * spec.cell_size + 1
            half = spec.cell_size // 2
            edges.append(corner + np.where(corner >= 0, half, -half))
    boxes = np.stack(edges, axis=1).astype(np.float64)
    for _ in range(level):
        boxes = boxes * (spec.pyramid_step / (spec.pyramid_step - 1)) + _PYRAMID_OFFSET
    return _round(boxes)


def _round(values: FloatArray) -> npt.NDArray[np.int64]:
    """Rounds to the nearest integer, halves away from zero."""
    rounded: npt.NDArray[np.int64] = np.trunc(values + np.copysign(0.5, values)).astype(np.int64)
    return rounded


def _keep_best(
    boxes: npt.NDArray[np.int64], overlap_threshold: float, covered_threshold: float
) -> npt.NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes that overlap no better box that is kept.

    Args:
        boxes: int64 (N, 4), sorted by score, highest first.
        overlap_threshold: Maximum of intersection / area of the rectangle around both boxes.
        covered_threshold: Maximum of intersection / area of the smaller box.
    """
    corners = boxes.astype(np.float64)
    low, high = corners[:, :2], corners[:, 2:]
    areas = np.prod(high - low + 1, axis=1)
    left = np.arange(len(boxes))
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        inner = np.minimum(high[left], high[best]) - np.maximum(low[left], low[best]) + 1
        outer = np.maximum(high[left], high[best]) - np.minimum(low[left], low[best]) + 1
        shared = np.prod(np.maximum(inner, 0), axis=1)
        smaller = np.minimum(areas[left], areas[best])
        overlap = (shared > overlap_threshold * np.prod(outer, axis=1)) | (
            shared > covered_threshold * smaller
        )
        left = left[~overlap]
    return np.array(kept, dtype=np.intp)

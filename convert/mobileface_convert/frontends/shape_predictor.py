"""Reader of dlib's ``shape_predictor`` files (.dat): landmarks by a cascade of regression trees.

The method is Kazemi & Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression
Trees", CVPR 2014. The fields in file order (dlib/image_processing/shape_predictor.h)::

    version                1
    initial shape          matrix (2P, 1): x and y of each landmark, interleaved
    forests                C x { T x { S x (first pixel, second pixel, threshold), L x (2P, 1) } }
    anchors                C x { F x point }
    offsets                C x { F x (x, y) }

with P landmarks (dlib's points), C cascades of T trees, S = 2**depth - 1 splits and L = 2**depth
leaves per tree, and F pixels that each cascade reads. Coordinates are in units of the size of the
face box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobileface.errors import SourceFormatError

from .dlib_stream import DlibStream, floats_from_pairs

__all__ = ["ShapePredictor", "read_shape_predictor"]

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Cut = Callable[[Integers], Integers]

_VERSION = 1
_TOKENS_PER_SPLIT = 4  # two pixels, and mantissa and exponent of the threshold
_TOKENS_PER_POINT = 4  # x and y, each mantissa and exponent
_TOKENS_PER_HEADER = 2  # rows and columns of a matrix
_FARTHEST_PIXEL = 1e6
"""Maximum distance of a pixel, in units of the box size. A file that exceeds it is corrupt. The
limit also keeps all float32 computations finite, so that pixel indices are always valid."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapePredictor:
    """The parameters of a dlib shape predictor.

    Attributes:
        initial_shape: (P, 2) float32, the mean face: x and y in units of the box size.
        anchors: (C, F) int64, index of the landmark that each pixel is relative to.
        deltas: (C, F, 2) float32, offset of each pixel from its anchor, in units of the box size.
        first_pixels: (C, T, S) int64, index of the first pixel that each split compares.
        second_pixels: (C, T, S) int64, index of the second pixel that each split compares.
        thresholds: (C, T, S) float32: a split goes left if first - second > threshold, in grey
            levels. Splits are in heap order: the children of split i are 2i + 1 (left) and 2i + 2
            (right).
        leaves: (C, T, L, P, 2) float32, offsets that each leaf adds to the shape, left to right.
    """

    initial_shape: npt.NDArray[np.float32]
    anchors: Integers
    deltas: npt.NDArray[np.float32]
    first_pixels: Integers
    second_pixels: Integers
    thresholds: npt.NDArray[np.float32]
    leaves: npt.NDArray[np.float32]

    @property
    def points(self) -> int:
        """P, number of landmarks."""
        return len(self.initial_shape)

    @property
    def cascades(self) -> int:
        """C, number of cascades (rounds of refinement)."""
        return self.thresholds.shape[0]

    @property
    def trees(self) -> int:
        """T, number of trees per cascade."""
        return self.thresholds.shape[1]

    @property
    def splits(self) -> int:
        """S, number of splits per tree: 2**depth - 1."""
        return self.thresholds.shape[2]

    @property
    def depth(self) -> int:
        """Depth of a tree: number of splits from the root to a leaf."""
        return self.splits.bit_length()

    @property
    def pixels(self) -> int:
        """F, number of pixels that each cascade reads."""
        return self.anchors.shape[1]

    def similarity_weights(self) -> npt.NDArray[np.float64] | None:
        """Linear map from a shape to the least-squares similarity from the mean face to that shape.

        For the mean face f and the shape t, both centred, the least-squares solution is
        a = sum(f . t) / sum(|f|**2) and b = sum(fx * ty - fy * tx) / sum(|f|**2), and the
        similarity maps (x, y) to (a * x - b * y, b * x + a * y). Because f is centred, t does not
        need to be. dlib computes the same by a singular value decomposition (Umeyama,
        "Least-squares estimation of transformation parameters between two point patterns", 1991).
        For exactly two landmarks, rounding occasionally makes that decomposition mirror the pixels;
        this solution does not.

        Returns:
            (2P, 2) float64; a flattened shape times this matrix is (a, b). None for a single
            landmark, where dlib uses the identity.
        """
        if self.points == 1:
            return None
        centred = self.initial_shape.astype(np.float64)
        centred -= centred.mean(axis=0)
        x, y = (centred / np.square(centred).sum()).T
        weights = np.empty((2 * self.points, 2), np.float64)
        weights[0::2, 0], weights[1::2, 0] = x, y
        weights[0::2, 1], weights[1::2, 1] = -y, x
        return weights


def read_shape_predictor(data: bytes, where: str) -> ShapePredictor:
    """Reads a shape predictor with any number of landmarks, cascades, trees, splits and pixels.

    Args:
        data: Content of the .dat file.
        where: Name of the file in error messages.

    Raises:
        SourceFormatError: If the content is not a shape predictor, is corrupt or truncated, or does
            not have the structure that dlib's trainer writes: complete trees of the same depth and
            cascades of the same size. The message names the byte.
    """
    stream = DlibStream.from_bytes(data, where)
    version = stream.peek("the version")
    if version != _VERSION:
        raise stream.error(f"the version of a shape predictor must be {_VERSION}, not {version}")
    stream.integer("the version")
    initial_shape = _read_initial_shape(stream)
    forests, layout = _read_forests(stream, len(initial_shape))
    cascades = len(forests.grid)
    anchors = _read_anchors(stream, cascades, len(initial_shape))
    pixels = anchors.shape[1]
    deltas = _read_deltas(stream, cascades, pixels)
    stream.end()

    compared = layout.compared_pixels(forests.grid)
    valid = (compared >= 0) & (compared < pixels)
    what = f"is not the index of a pixel, from 0 to {pixels - 1}"
    forests.require(layout.compared_pixels, valid, what)
    model = ShapePredictor(
        initial_shape=initial_shape,
        anchors=anchors,
        deltas=deltas,
        first_pixels=np.ascontiguousarray(compared[..., 0]),
        second_pixels=np.ascontiguousarray(compared[..., 1]),
        thresholds=forests.floats(layout.thresholds),
        leaves=forests.floats(layout.leaf_values),
    )
    if not _farthest_pixel(model) <= _FARTHEST_PIXEL:
        raise SourceFormatError("its pixels can be a million face boxes away", where=where)
    return model


@dataclass(frozen=True, slots=True)
class _Block:
    """Integers of the file as a grid, with their position, so that an error can name one."""

    stream: DlibStream
    start: int
    grid: Integers

    def require(self, cut: Cut, valid: Mask, what: str) -> None:
        """Checks a part of the integers.

        Args:
            cut: Selects the integers from a grid.
            valid: True for each selected integer that is valid.
            what: What is wrong with an invalid integer; follows its value in the message.

        Raises:
            SourceFormatError: If an integer is invalid; the message names the first one.
        """
        if valid.all():
            return
        # Apply the same cut to a grid of positions: costs memory, but only if there is an error.
        index = int(cut(np.arange(self.grid.size).reshape(self.grid.shape))[~valid].min())
        raise self.stream.error(f"{int(self.grid.flat[index])} {what}", self.start + index)

    def require_equal(self, cut: Cut, expected: int, what: str) -> None:
        """Checks that all integers of a part have the expected value."""
        self.require(cut, cut(self.grid) == expected, f"{what}, expected {expected}")

    def floats(self, cut: Cut) -> npt.NDArray[np.float32]:
        """A part of (..., 2) mantissas and exponents as (...) finite float32."""
        values = floats_from_pairs(cut(self.grid), np.float32)
        what = "is the mantissa of a float that is not finite"
        self.require(lambda grid: cut(grid)[..., 0], np.isfinite(values), what)
        return values


@dataclass(frozen=True, slots=True)
class _TreeLayout:
    """Selects parts of the trees from the grid of all cascades, (C, 1 + T * integers per tree)."""

    trees: int
    splits: int
    points: int

    @property
    def leaves(self) -> int:
        return self.splits + 1

    @property
    def leaf_tokens(self) -> int:
        return _TOKENS_PER_HEADER + _TOKENS_PER_POINT * self.points

    @property
    def tree_tokens(self) -> int:
        return 2 + _TOKENS_PER_SPLIT * self.splits + self.leaf_tokens * self.leaves

    def tree_counts(self, grid: Integers) -> Integers:
        """(C,), number of trees, stored before each cascade."""
        return grid[:, 0]

    def split_counts(self, grid: Integers) -> Integers:
        """(C, T), number of splits, stored before the splits of each tree."""
        return self._trees(grid)[..., 0]

    def leaf_counts(self, grid: Integers) -> Integers:
        """(C, T), number of leaves, stored before the leaves of each tree."""
        return self._trees(grid)[..., 1 + _TOKENS_PER_SPLIT * self.splits]

    def compared_pixels(self, grid: Integers) -> Integers:
        """(C, T, S, 2), first and second pixel of each split."""
        return self._splits(grid)[..., :2]

    def thresholds(self, grid: Integers) -> Integers:
        """(C, T, S, 2), mantissa and exponent of each threshold."""
        return self._splits(grid)[..., 2:]

    def leaf_headers(self, grid: Integers) -> Integers:
        """(C, T, L, 2), rows and columns of each leaf."""
        return self._leaves(grid)[..., :_TOKENS_PER_HEADER]

    def leaf_values(self, grid: Integers) -> Integers:
        """(C, T, L, P, 2, 2): mantissa and exponent of x and y of each landmark."""
        values = self._leaves(grid)[..., _TOKENS_PER_HEADER:]
        return values.reshape(*values.shape[:-1], self.points, 2, 2)

    def _trees(self, grid: Integers) -> Integers:
        return grid[:, 1:].reshape(len(grid), self.trees, self.tree_tokens)

    def _splits(self, grid: Integers) -> Integers:
        fields = self._trees(grid)[..., 1 : 1 + _TOKENS_PER_SPLIT * self.splits]
        return fields.reshape(*fields.shape[:-1], self.splits, _TOKENS_PER_SPLIT)

    def _leaves(self, grid: Integers) -> Integers:
        fields = self._trees(grid)[..., 2 + _TOKENS_PER_SPLIT * self.splits :]
        return fields.reshape(*fields.shape[:-1], self.leaves, self.leaf_tokens)


def _read_initial_shape(stream: DlibStream) -> npt.NDArray[np.float32]:
    """The mean face, (P, 2) float32."""
    start = stream.position
    column = stream.matrix("the initial shape", np.float32)
    rows, columns = column.shape
    if columns != 1 or rows < 2 or rows % 2:
        raise stream.error(f"an initial shape of {rows} x {columns} is not a list of points", start)
    shape = column.reshape(-1, 2)
    if not np.isfinite(shape).all():
        raise stream.error("the initial shape is not finite", start)
    if len(shape) > 1 and not np.ptp(shape.astype(np.float64), axis=0).any():
        raise stream.error("the points of the initial shape are all identical", start)
    return shape


def _read_forests(stream: DlibStream, points: int) -> tuple[_Block, _TreeLayout]:
    """All trees as integers, with checked counts and headers."""
    cascades = stream.count("cascades")
    trees = stream.peek("the count of trees")
    splits = stream.peek("the count of splits", ahead=1)
    if cascades < 1 or trees < 1:
        raise stream.error(f"expected at least 1 cascade and 1 tree, got {cascades} and {trees}")
    if splits < 1 or splits & (splits + 1):
        raise stream.error(f"{splits} splits are not a complete tree", stream.position + 1)
    layout = _TreeLayout(trees, splits, points)
    start = stream.position
    cascade_tokens = 1 + trees * layout.tree_tokens
    what = f"{cascades} x {trees} trees with {layout.leaves} leaves of {points} points"
    tokens = stream.integers(cascades * cascade_tokens, what)
    block = _Block(stream, start, tokens.reshape(cascades, cascade_tokens))
    # Check in file order, so that a shift is reported where it starts.
    block.require_equal(layout.tree_counts, trees, "trees in a cascade")
    block.require_equal(layout.split_counts, splits, "splits in a tree")
    block.require_equal(layout.leaf_counts, layout.leaves, "leaves in a tree")
    headers = layout.leaf_headers(block.grid)
    column = np.array([2 * points, 1])
    valid = (headers == -column).all(axis=-1) | (headers == column).all(axis=-1)
    what = f"is the first size of a leaf that is not {2 * points} x 1"
    block.require(lambda grid: layout.leaf_headers(grid)[..., 0], valid, what)
    return block, layout


def _read_anchors(stream: DlibStream, cascades: int, points: int) -> Integers:
    """Index of the landmark that each pixel is relative to, (C, F) int64."""
    block = _read_pixel_table(stream, cascades, "anchors", item_tokens=1)
    anchors = block.grid[:, 1:]
    valid = (anchors >= 0) & (anchors < points)
    what = f"is not the index of a point, from 0 to {points - 1}"
    block.require(lambda grid: grid[:, 1:], valid, what)
    return np.ascontiguousarray(anchors)


def _read_deltas(stream: DlibStream, cascades: int, pixels: int) -> npt.NDArray[np.float32]:
    """Offset of each pixel from its anchor, (C, F, 2) float32."""
    block = _read_pixel_table(stream, cascades, "offsets", item_tokens=_TOKENS_PER_POINT)
    block.require_equal(lambda grid: grid[:, 0], pixels, "offsets in a cascade")
    return block.floats(lambda grid: grid[:, 1:].reshape(cascades, pixels, 2, 2))


def _read_pixel_table(stream: DlibStream, cascades: int, items: str, *, item_tokens: int) -> _Block:
    """A table with one row per cascade: the number of its items, then the items."""
    start = stream.position
    rows = stream.count(f"cascades of {items}")
    if rows != cascades:
        raise stream.error(f"expected {items} of {cascades} cascades, got {rows}", start)
    start = stream.position
    pixels = stream.peek(f"the count of {items}")
    if pixels < 1:
        raise stream.error(f"{pixels} {items} in a cascade, expected at least 1")
    tokens = stream.integers(rows * (1 + pixels * item_tokens), f"{rows} x {pixels} {items}")
    block = _Block(stream, start, tokens.reshape(rows, -1))
    block.require_equal(lambda grid: grid[:, 0], pixels, f"{items} in a cascade")
    return block


def _farthest_pixel(model: ShapePredictor) -> float:
    """Upper bound of the distance of pixels and landmarks from the box's corner, in box sizes."""
    steps = np.abs(model.leaves).max(axis=(2, 3, 4)).astype(np.float64)
    farthest_point = float(np.abs(model.initial_shape).max()) + float(steps.sum())
    magnification = 1.0
    weights = model.similarity_weights()
    if weights is not None:
        # Bounds |a| + |b| of any shape with coordinates up to farthest_point.
        magnification = float(np.abs(weights).sum()) * farthest_point
    return farthest_point + magnification * float(np.abs(model.deltas).max())

"""One pyramid level of a gradient histogram detector as an ONNX graph.

::

    image (1 or 3, H, W)
      │  central differences                             _gradient_codes
      │  squared magnitude and orientation as one key    _gradient_keys
      │  strongest channel of each pixel                 _strongest
    key (H', W')
      │  bilinear sums over cells of 8 x 8 pixels        _cell_histograms
    histogram (18, rows, columns)
      │  four normalizations, clipped at 0.2             _features
    features (31, rows - 2, columns - 2)
      │  correlation with the filters                    _filter_scores
    scores (K, rows - 2, columns - 2)

The features are those of Felzenszwalb, Girshick, McAllester and Ramanan, "Object Detection with
Discriminatively Trained Part-Based Models", TPAMI 2010, section 6, in the form dlib gives them
(``dlib/image_transforms/fhog.h``); the detector is King, "Max-Margin Object Detection",
arXiv:1502.00046.

Histograms are what an inference engine has no operator for. Of the ways there are (one plane per
orientation and strided convolutions, one-hot rows and matrix products, scattered sums) scattered
sums are the fastest by a factor of two, but each costs about as much as thirty additions, and
bilinear sums need four per pixel. Two suffice here because the sums are integers: magnitudes are
rounded to 1/512, and the parts of two vertically adjacent cells share one int64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..onnx_builder import GraphBuilder
from .hog_detector import HogDetector

__all__ = ["MINIMUM_CELLS", "build_hog_graph", "orientation_table"]

MINIMUM_CELLS = 3
"""Cells a side below which a level has no features at all, and the graph must not be run."""

_UNSIGNED = 9
_SIGNED = 2 * _UNSIGNED
_GRADIENTS = 511
"""Values of a difference of two bytes."""

_ORIENTATION_BITS, _CHANNEL_BITS = 5, 2
_KEY_BITS = _ORIENTATION_BITS + _CHANNEL_BITS
_HALF_BITS = 32

_LARGEST_SQUARE = 2 * 255**2
_MAGNITUDE_SCALE = 512
"""Steps of a magnitude per grey level. A half of an int64 sum stays below 2**31: at most
361 * 512 * 64 (weights down the 8 rows of a block) * 128 (across the 16 columns of two)."""

_ENERGY_EPSILON, _CLIP, _TEXTURE_WEIGHT = 1e-4, 0.2, 0.2357


def build_hog_graph(detector: HogDetector) -> ir.Model:
    """Builds the graph that scores every window position of one pyramid level.

    Input ``image``: uint8 (1, H, W) grey or (3, H, W) colour planes, red first. Of colour planes
    each pixel takes the gradient of the plane where it is strongest; of equal ones the first, as
    dlib does. Both sides must round to at least ``MINIMUM_CELLS`` cells: 20 pixels for cells of 8.

    Output ``scores``: float32 (K, rows, columns) with rows = round(H / cell) - 2, likewise columns;
    the filter responses minus the filters' thresholds, so that 0 decides, as in dlib. Position
    (r, c) is the window whose first cell is (r, c) - (filter side - 1) // 2.

    Args:
        detector: Geometry and weights.
    """
    builder = GraphBuilder("hog_detector")
    image = builder.input("image", np.uint8, ("channels", "height", "width"))
    grid = _cell_grid(builder, image, detector.cell_size)
    keys = _strongest(builder, _gradient_keys(builder, _gradient_codes(builder, image, grid)))
    histogram = _cell_histograms(builder, keys, grid)
    scores = _filter_scores(builder, _features(builder, histogram), detector)
    count = detector.filters.shape[0]
    return builder.build(
        {"scores": scores}, shapes={"scores": (count, "score_rows", "score_columns")}
    )


def orientation_table() -> npt.NDArray[np.uint8]:
    """The orientation (0 to 17) of every gradient, uint8 (511, 511) over dx + 255, dy + 255.

    A gradient belongs to the one of nine directions, 20 degrees apart, on which its projection is
    longest, or to the opposite direction (+ 9) if the projection is negative. Projections are
    compared in float32 in the order of the directions, as dlib does, so that ties fall alike.
    """
    steps = np.arange(_GRADIENTS, dtype=np.float32) - np.float32(255)
    dx, dy = steps[:, None], steps[None, :]
    best = np.zeros((_GRADIENTS, _GRADIENTS), dtype=np.float32)
    table = np.zeros((_GRADIENTS, _GRADIENTS), dtype=np.uint8)
    for index in range(_UNSIGNED):
        angle = np.pi * index / _UNSIGNED
        cosine, sine = np.round([np.cos(angle), np.sin(angle)], 4).astype(np.float32)
        projection = dx * cosine + dy * sine
        for orientation, length in ((index, projection), (index + _UNSIGNED, -projection)):
            longer = length > best
            best[longer] = length[longer]
            table[longer] = orientation
    return table


@dataclass(frozen=True)
class _Grid:
    """Sizes of one level as int64 (2,) values, rows first.

    Attributes:
        cell_size: Side of a cell in pixels.
        used: Part of the image that the cells cover, in pixels.
        blocks: Number of blocks. A block is what shares its four nearest cell centres; the grid
            of blocks lies half a cell before that of the cells and is one larger.
    """

    cell_size: int
    used: ir.Value
    blocks: ir.Value


def _cell_grid(builder: GraphBuilder, image: ir.Value, cell_size: int) -> _Grid:
    """The sizes that follow from the image's; the number of cells is rounded half up."""
    size = builder.op("Shape", image, start=1, end=3, name="size")
    cell = builder.constant(cell_size, np.int64)
    half = builder.constant(cell_size // 2, np.int64)
    cells = builder.op("Div", builder.op("Add", size, half), cell, name="cells")
    used = builder.op("Min", builder.op("Mul", cells, cell), size, name="used")
    blocks = builder.op("Add", cells, builder.constant(1, np.int64), name="blocks")
    return _Grid(cell_size, used, blocks)


def _gradient_codes(builder: GraphBuilder, image: ir.Value, grid: _Grid) -> ir.Value:
    """(dx + 255) * 511 + dy + 255, int32 (channels, rows, columns) over the pixels of all blocks.

    The image's outermost pixels and those outside it have no gradient.
    """

    def shifted(row: int, column: int) -> ir.Value:
        # The inner pixels moved by (row - 1, column - 1): 2 fewer than the used part on each axis.
        start = builder.constant([row, column], np.int64)
        end = builder.op("Add", grid.used, builder.constant([row - 2, column - 2], np.int64))
        part = builder.op("Slice", image, start, end, builder.constant([1, 2], np.int64))
        return builder.op("Cast", part, to=ir.DataType.INT32)

    dx = builder.op("Sub", shifted(1, 2), shifted(1, 0), name="dx")
    dy = builder.op("Sub", shifted(2, 1), shifted(0, 1), name="dy")
    zero = builder.constant(255 * _GRADIENTS + 255, np.int32)
    scaled = builder.op("Mul", dx, builder.constant(_GRADIENTS, np.int32))
    codes = builder.op("Add", builder.op("Add", scaled, dy), zero, name="codes")
    # The first block begins half a cell before the image, and the first pixel has no gradient.
    before = builder.constant(2 * [grid.cell_size // 2 + 1], np.int64)
    total = builder.op("Mul", grid.blocks, builder.constant(grid.cell_size, np.int64))
    inner = builder.op("Sub", grid.used, builder.constant([2, 2], np.int64))
    after = builder.op("Sub", builder.op("Sub", total, before), inner)
    none = _int64(builder, 0)
    pads = builder.op("Concat", none, before, none, after, axis=0)
    return builder.op("Pad", codes, pads, zero, name="padded_codes")


def _gradient_keys(builder: GraphBuilder, codes: ir.Value) -> ir.Value:
    """Squared magnitude * 128 + orientation of gradient codes, int32 like the codes.

    The table is made from constants, which engines fold when they load the model: that takes a
    quarter of the space of the table itself.
    """
    squares = ((np.arange(_GRADIENTS) - 255) ** 2).astype(np.int32)
    square = builder.op("Add", builder.constant(squares[:, None]), builder.constant(squares))
    high = builder.op("Mul", square, builder.constant(1 << _KEY_BITS, np.int32))
    low = builder.op("Cast", builder.constant(orientation_table()), to=ir.DataType.INT32)
    flat = _int64(builder, -1)
    table = builder.op("Reshape", builder.op("Add", high, low), flat, name="key_table")
    keys = builder.op("GatherElements", table, builder.op("Reshape", codes, flat), axis=0)
    return builder.op("Reshape", keys, builder.op("Shape", codes), name="keys")


def _strongest(builder: GraphBuilder, keys: ir.Value) -> ir.Value:
    """The key of each pixel's strongest channel, uint32 (rows, columns).

    The rank of a channel, added above the orientation, lets the first of equal magnitudes win. The
    first, middle and last channel are three of a colour image and thrice the one of a grey image:
    three copies and a Max take a third of the time of ReduceMax.
    """
    channels = builder.op("Shape", keys, end=1)
    middle = builder.op("Div", channels, _int64(builder, 2))
    ranked = []
    for rank, channel in enumerate((_int64(builder, -1), middle, _int64(builder, 0))):
        plane = builder.op("Gather", keys, builder.op("Squeeze", channel), axis=0)
        if rank:
            bias = builder.constant(rank << _ORIENTATION_BITS, np.int32)
            plane = builder.op("Add", plane, bias)
        ranked.append(plane)
    return builder.op(
        "Cast", builder.op("Max", *ranked), to=ir.DataType.UINT32, name="strongest_keys"
    )


def _cell_histograms(builder: GraphBuilder, keys: ir.Value, grid: _Grid) -> ir.Value:
    """Magnitudes summed by cell and orientation, float32 (18, rows, columns).

    Pixel i of a block of s (on each axis) counts with weight (2i + 1) / 2s for the cell after the
    block and with the rest for the cell before it. Each scatter sums for one of the cells left and
    right; the low half of its int64 sums belongs to the cell above, the high half to that below.
    """
    side = grid.cell_size
    scale = _magnitude_scale(side)
    block_rows = _item(builder, grid.blocks, 0)
    block_columns = _item(builder, grid.blocks, 1)
    # (block rows, pixels of a row of blocks): the same memory as the image, so reshaping is free.
    flat = builder.op("Concat", block_rows, builder.constant([-1], np.int64), axis=0)
    bins = builder.op("Reshape", _bin_indices(builder, keys, block_columns, side), flat)
    magnitudes = builder.op("Reshape", _magnitudes(builder, keys, scale), flat, name="magnitudes")

    row_bins = builder.op("Mul", block_columns, builder.constant([_SIGNED], np.int64))
    empty = builder.op(
        "ConstantOfShape",
        builder.op("Concat", block_rows, row_bins, axis=0),
        value=ir.tensor(np.zeros(1, np.int64)),
    )
    cube = builder.constant([0, -1, _SIGNED], np.int64)
    halves = []
    for after in (False, True):
        weights = _pixel_weights(builder, block_columns, side, after=after)
        weighted = builder.op("Mul", magnitudes, weights)
        sums = builder.op("ScatterElements", empty, bins, weighted, axis=1, reduction="add")
        halves.append(_drop_edge(builder, builder.op("Reshape", sums, cube), 1, first=not after))
    both = builder.op("Cast", builder.op("Add", *halves), to=ir.DataType.UINT64, name="packed")

    low = _shift(builder, _shift(builder, both, _HALF_BITS), -_HALF_BITS)
    high = _shift(builder, both, -_HALF_BITS)
    above = _drop_edge(builder, builder.op("Cast", low, to=ir.DataType.FLOAT), 0, first=True)
    below = _drop_edge(builder, builder.op("Cast", high, to=ir.DataType.FLOAT), 0, first=False)
    unit = builder.constant(1.0 / (scale * (2 * side) ** 2), np.float32)
    histogram = builder.op("Mul", builder.op("Add", above, below), unit)
    return builder.op("Transpose", histogram, perm=[2, 0, 1], name="histogram")


def _magnitude_scale(cell_size: int) -> int:
    """Steps of a magnitude per grey level.

    The largest power of two with which the sum over two blocks, at weights of s**2 down their rows
    and 2 * s**2 across their columns, stays in 31 bits.
    """
    largest_sum = _LARGEST_SQUARE**0.5 * 2 * cell_size**4
    return 1 << int(np.log2((1 << _HALF_BITS - 1) / largest_sum))


def _magnitudes(builder: GraphBuilder, keys: ir.Value, scale: int) -> ir.Value:
    """Magnitudes as int64 multiples of 1 / scale, in the order of the keys, flat."""
    squares = builder.op(
        "Range",
        builder.constant(0.0, np.float32),
        builder.constant(_LARGEST_SQUARE + 1.0, np.float32),
        builder.constant(1.0, np.float32),
    )
    scaled = builder.op("Mul", builder.op("Sqrt", squares), builder.constant(scale, np.float32))
    rounded = builder.op("Round", scaled)
    table = builder.op("Cast", rounded, to=ir.DataType.INT64)
    square = builder.op("Cast", _shift(builder, keys, -_KEY_BITS), to=ir.DataType.INT32)
    flat = builder.op("Reshape", square, builder.constant([-1], np.int64))
    return builder.op("GatherElements", table, flat, axis=0)


def _bin_indices(
    builder: GraphBuilder, keys: ir.Value, block_columns: ir.Value, side: int
) -> ir.Value:
    """Where a pixel's magnitude goes in its row of blocks: block column * 18 + orientation."""
    spare = 32 - _ORIENTATION_BITS
    orientation = _shift(builder, _shift(builder, keys, spare), -spare)
    first_bins = builder.op(
        "Range",
        builder.constant(0, np.int64),
        builder.op("Squeeze", builder.op("Mul", block_columns, _int64(builder, _SIGNED))),
        builder.constant(_SIGNED, np.int64),
    )
    column = builder.op("Unsqueeze", first_bins, _int64(builder, 1))
    repeated = builder.op("Expand", column, builder.constant([1, side], np.int64))
    first_bin = builder.op("Reshape", repeated, _int64(builder, -1), name="first_bin")
    return builder.op(
        "Add", builder.op("Cast", orientation, to=ir.DataType.INT64), first_bin, name="bins"
    )


def _pixel_weights(
    builder: GraphBuilder, block_columns: ir.Value, side: int, *, after: bool
) -> ir.Value:
    """Weights of the pixels of a row of blocks, int64 (pixels,), for the cells right or left."""
    rising = 2 * np.arange(side, dtype=np.int64) + 1
    falling = 2 * side - rising
    rows = falling + (rising << _HALF_BITS)
    block = rows[:, None] * (rising if after else falling)
    shape = builder.op(
        "Concat", _int64(builder, side), block_columns, _int64(builder, side), axis=0
    )
    weights = builder.op("Expand", builder.constant(block[:, None, :]), shape)
    return builder.op("Reshape", weights, _int64(builder, -1), name="pixel_weights")


def _features(builder: GraphBuilder, histogram: ir.Value) -> ir.Value:
    """Features of the inner cells, float32 (31, rows - 2, columns - 2), up to constant factors.

    Each cell is normalized by the energy (of the unsigned orientations) of the four squares of
    2 x 2 cells it lies in and clipped. Orientations add the four results, textures the
    orientations. The factors of 1/2 and 0.2357 are left to the filters.
    """
    signed = [
        builder.op("Slice", histogram, _int64(builder, start), _int64(builder, start + _UNSIGNED))
        for start in (0, _UNSIGNED)
    ]
    unsigned = builder.op("Add", *signed, name="unsigned")
    squared = builder.op("ReduceSumSquare", unsigned, axes=[0], keepdims=1)
    energy = builder.op("Unsqueeze", squared, _int64(builder, 0), name="energy")
    mean = builder.op("AveragePool", energy, kernel_shape=[2, 2])
    total = builder.op("Mul", mean, builder.constant(4.0, np.float32))
    norm = builder.op(
        "Sqrt", builder.op("Add", total, builder.constant(_ENERGY_EPSILON, np.float32))
    )
    inverse = builder.op("Reciprocal", norm, name="inverse_norm")
    squares = []
    for first_column in (True, False):
        part = _drop_edge(builder, inverse, 3, first=first_column)
        squares += [_drop_edge(builder, part, 2, first=first) for first in (True, False)]
    orientations = builder.op("Concat", histogram, unsigned, axis=0)
    inner = builder.op(
        "Slice",
        orientations,
        builder.constant([1, 1], np.int64),
        builder.constant([-1, -1], np.int64),
        builder.constant([1, 2], np.int64),
    )
    normalized = builder.op("Mul", inner, builder.op("Concat", *squares, axis=0))
    clipped = builder.op("Min", normalized, builder.constant(_CLIP, np.float32), name="clipped")
    # Four parts and a Sum take a third of the time of ReduceSum over the first axis.
    parts = builder.op_multi("Split", clipped, outputs=4, axis=0)
    sums = builder.op("Squeeze", builder.op("Sum", *parts), _int64(builder, 0))
    signed_only = builder.op(
        "Slice", clipped, _int64(builder, 0), _int64(builder, _SIGNED), _int64(builder, 1)
    )
    textures = builder.op("ReduceSum", signed_only, _int64(builder, 1), keepdims=0)
    return builder.op("Concat", sums, textures, axis=0, name="features")


def _filter_scores(builder: GraphBuilder, features: ir.Value, detector: HogDetector) -> ir.Value:
    """Responses minus thresholds, float32 (K, rows, columns), zeros around the features.

    A rows x columns filter is its columns, each a rows x 1 filter, on shifted outputs: one
    convolution with `columns` times as many outputs, which keeps its matrix product efficient
    where a handful of outputs would not, then one addition a column.
    """
    factors = np.full(detector.filters.shape[1], 0.5)
    factors[_SIGNED + _UNSIGNED :] = _TEXTURE_WEIGHT
    weights = detector.filters * factors[:, None, None]
    count, planes, rows, columns = weights.shape
    by_column = weights.transpose(3, 0, 1, 2).reshape(columns * count, planes, rows, 1)
    top, left = (rows - 1) // 2, (columns - 1) // 2
    responses = builder.op(
        "Conv",
        builder.op("Unsqueeze", features, _int64(builder, 0)),
        builder.constant(by_column, np.float32, name="filters"),
        pads=[top, left, rows - 1 - top, columns - 1 - left],
        name="column_responses",
    )
    planar = builder.op("Squeeze", responses, _int64(builder, 0))
    shifted = []
    for column in range(columns):
        end = column - (columns - 1) or np.iinfo(np.int64).max
        shifted.append(
            builder.op(
                "Slice",
                planar,
                builder.constant([column * count, column], np.int64),
                builder.constant([(column + 1) * count, end], np.int64),
                builder.constant([0, 2], np.int64),
            )
        )
    thresholds = builder.constant(-detector.thresholds[:, None, None], np.float32)
    return builder.op("Sum", *shifted, thresholds)


def _int64(builder: GraphBuilder, value: int) -> ir.Value:
    """One int64 as a vector, the form that shapes and axes need."""
    return builder.constant([value], np.int64)


def _item(builder: GraphBuilder, vector: ir.Value, index: int) -> ir.Value:
    """One entry of a vector, as a vector."""
    return builder.op("Slice", vector, _int64(builder, index), _int64(builder, index + 1))


def _drop_edge(builder: GraphBuilder, value: ir.Value, axis: int, *, first: bool) -> ir.Value:
    """A value without its first entry on an axis, or without its last."""
    start, end = (1, np.iinfo(np.int64).max) if first else (0, -1)
    return builder.op(
        "Slice", value, _int64(builder, start), _int64(builder, end), _int64(builder, axis)
    )


def _shift(builder: GraphBuilder, value: ir.Value, bits: int) -> ir.Value:
    """An unsigned value shifted left, or right if `bits` is negative; 32 bits mean uint64."""
    unsigned = np.uint64 if abs(bits) == _HALF_BITS else np.uint32
    direction = "LEFT" if bits > 0 else "RIGHT"
    return builder.op("BitShift", value, builder.constant(abs(bits), unsigned), direction=direction)

"""Gradient histograms as ONNX operators: gradient magnitudes per cell, by orientation.

::

    image (1 or 3, H, W)
      │  central differences                             _gradient_codes
      │  squared magnitude and orientation as one key    _gradient_keys
      │  strongest channel of each pixel                 _strongest
    key (H', W')
      │  bilinear sums over cells of 8 x 8 pixels        _sum_by_cell
    histogram (18, rows, columns)

Inference engines have no operator for histograms. Among the alternatives (one plane per orientation
and strided convolutions, one-hot rows and matrix products, scattered sums), scattered sums are
fastest by a factor of two, but each costs as much as thirty additions, and bilinear sums need four
per pixel. Here two suffice because the sums are integers: magnitudes are rounded to 1/512, and the
contributions to two vertically adjacent cells share one int64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..graph.onnx_builder import GraphBuilder

__all__ = ["SIGNED", "UNSIGNED", "add_histograms", "drop_edge", "one_int64", "orientation_table"]

UNSIGNED = 9
"""Number of unsigned orientations: 0 to 160 degrees in steps of 20."""

SIGNED = 2 * UNSIGNED
"""Number of signed orientations: 0 to 340 degrees in steps of 20."""

_GRADIENTS = 511
"""Number of possible differences of two bytes."""

_LARGEST_SQUARE = 2 * 255**2
_ORIENTATION_BITS, _CHANNEL_BITS = 5, 2
_KEY_BITS = _ORIENTATION_BITS + _CHANNEL_BITS
_HALF_BITS = 32


def add_histograms(builder: GraphBuilder, image: ir.Value, cell_size: int) -> ir.Value:
    """Adds the nodes that compute the histograms of an image's cells.

    Args:
        builder: Builder of the ONNX graph.
        image: uint8 (1 or 3, H, W).
        cell_size: Side of a cell in pixels.

    Returns:
        float32 (18, rows, columns) with rows = round(H / cell_size), halves rounded up, and the
        same for columns. The magnitude of each pixel is shared among the four nearest cell centres.
    """
    grid = _block_grid(builder, image, cell_size)
    keys = _strongest(builder, _gradient_keys(builder, _gradient_codes(builder, image, grid)))
    return _sum_by_cell(builder, keys, grid)


def orientation_table() -> npt.NDArray[np.uint8]:
    """The orientation (0 to 17) of each gradient, uint8 (511, 511) indexed by dx + 255, dy + 255.

    The orientation is the one of nine directions, 20 degrees apart, onto which the gradient's
    projection is longest, or the opposite direction (+ 9) if the projection is negative.
    Projections are compared in float32 in the order of the directions, as dlib does, so that ties
    are resolved in the same way.
    """
    steps = np.arange(_GRADIENTS, dtype=np.float32) - np.float32(255)
    dx, dy = steps[:, None], steps[None, :]
    best = np.zeros((_GRADIENTS, _GRADIENTS), dtype=np.float32)
    table = np.zeros((_GRADIENTS, _GRADIENTS), dtype=np.uint8)
    for index in range(UNSIGNED):
        angle = np.pi * index / UNSIGNED
        cosine, sine = np.round([np.cos(angle), np.sin(angle)], 4).astype(np.float32)
        projection = dx * cosine + dy * sine
        for orientation, length in ((index, projection), (index + UNSIGNED, -projection)):
            longer = length > best
            best[longer] = length[longer]
            table[longer] = orientation
    return table


@dataclass(frozen=True)
class _Grid:
    """Sizes of one level as int64 (2,) values, rows first.

    Attributes:
        cell_size: Side of a cell in pixels.
        used: Size of the image area that the cells cover, in pixels.
        blocks: Number of blocks. The pixels of a block have the same four nearest cell centres; the
            grid of blocks starts half a cell before the grid of cells and is one block larger.
    """

    cell_size: int
    used: ir.Value
    blocks: ir.Value


def _block_grid(builder: GraphBuilder, image: ir.Value, cell_size: int) -> _Grid:
    """The sizes for an image; the number of cells is rounded, halves up."""
    size = builder.op("Shape", image, start=1, end=3, name="size")
    cell = builder.constant(cell_size, np.int64)
    half = builder.constant(cell_size // 2, np.int64)
    cells = builder.op("Div", builder.op("Add", size, half), cell, name="cells")
    used = builder.op("Min", builder.op("Mul", cells, cell), size, name="used")
    blocks = builder.op("Add", cells, builder.constant(1, np.int64), name="blocks")
    return _Grid(cell_size, used, blocks)


def _gradient_codes(builder: GraphBuilder, image: ir.Value, grid: _Grid) -> ir.Value:
    """511 * dx + dy as int32 (channels, rows, columns), for the pixels of all blocks.

    The gradient is 0 for the outermost pixels of the image and for pixels outside it.
    """

    def shifted(row: int, column: int) -> ir.Value:
        # The inner pixels shifted by (row - 1, column - 1): 2 fewer than used on each axis.
        start = builder.constant([row, column], np.int64)
        end = builder.op("Add", grid.used, builder.constant([row - 2, column - 2], np.int64))
        part = builder.op("Slice", image, start, end, builder.constant([1, 2], np.int64))
        return builder.op("Cast", part, to=ir.DataType.INT32)

    dx = builder.op("Sub", shifted(1, 2), shifted(1, 0), name="dx")
    dy = builder.op("Sub", shifted(2, 1), shifted(0, 1), name="dy")
    scaled = builder.op("Mul", dx, builder.constant(_GRADIENTS, np.int32))
    codes = builder.op("Add", scaled, dy, name="codes")
    # The first block starts half a cell before the image, and the first pixel has no gradient.
    before = builder.constant(2 * [grid.cell_size // 2 + 1], np.int64)
    total = builder.op("Mul", grid.blocks, builder.constant(grid.cell_size, np.int64))
    inner = builder.op("Sub", grid.used, builder.constant([2, 2], np.int64))
    after = builder.op("Sub", builder.op("Sub", total, before), inner)
    zero = one_int64(builder, 0)
    pads = builder.op("Concat", zero, before, zero, after, axis=0)
    return builder.op("Pad", codes, pads, name="padded_codes")


def _gradient_keys(builder: GraphBuilder, codes: ir.Value) -> ir.Value:
    """Squared magnitude * 128 + orientation of gradient codes, float32 of the codes' shape.

    Float32 represents keys exactly (they are below 2**24) and compares twice as fast as integers.
    Negative codes count from the end of the table, like indices. The table is computed from
    constants, which engines fold when they load the model; they need a quarter of its space.
    """
    squares = ((np.arange(_GRADIENTS) - 255) ** 2).astype(np.int32)
    square = builder.op("Add", builder.constant(squares[:, None]), builder.constant(squares))
    high = builder.op("Mul", square, builder.constant(1 << _KEY_BITS, np.int32))
    low = builder.op("Cast", builder.constant(orientation_table()), to=ir.DataType.INT32)
    flat = one_int64(builder, -1)
    ascending = builder.op("Reshape", builder.op("Add", high, low), flat)
    middle = one_int64(builder, _GRADIENTS**2 // 2)
    positive = builder.op("Slice", ascending, middle, one_int64(builder, _GRADIENTS**2))
    negative = builder.op("Slice", ascending, one_int64(builder, 0), middle)
    rolled = builder.op("Concat", positive, negative, axis=0)
    table = builder.op("Cast", rolled, to=ir.DataType.FLOAT, name="key_table")
    keys = builder.op("GatherElements", table, builder.op("Reshape", codes, flat), axis=0)
    return builder.op("Reshape", keys, builder.op("Shape", codes), name="keys")


def _strongest(builder: GraphBuilder, keys: ir.Value) -> ir.Value:
    """The key of each pixel's strongest channel, float32 (rows, columns).

    The rank of the channel is added in bits above the orientation, so that the last channel wins if
    magnitudes are equal. The first, middle and last channel are the three channels of a colour
    image, and three times the only channel of a greyscale image. Three copies and a Max take a
    third of the time of ReduceMax.
    """
    channels = builder.op("Shape", keys, end=1)
    middle = builder.op("Div", channels, one_int64(builder, 2))
    ranked = []
    for rank, channel in enumerate((one_int64(builder, 0), middle, one_int64(builder, -1))):
        plane = builder.op("Gather", keys, builder.op("Squeeze", channel), axis=0)
        if rank:
            bias = builder.constant(float(rank << _ORIENTATION_BITS), np.float32)
            plane = builder.op("Add", plane, bias)
        ranked.append(plane)
    return builder.op("Max", *ranked, name="strongest_keys")


def _sum_by_cell(builder: GraphBuilder, keys: ir.Value, grid: _Grid) -> ir.Value:
    """Magnitudes summed by cell and orientation, float32 (18, rows, columns).

    On each axis, pixel i of a block of s pixels has weight (2i + 1) / 2s for the cell after the
    block and the remaining weight for the cell before it. One scatter sums for the cells on the
    left, one for the cells on the right; the low half of its int64 sums belongs to the cell above,
    the high half to the cell below.
    """
    side = grid.cell_size
    scale = _magnitude_scale(side)
    block_rows = _item(builder, grid.blocks, 0)
    block_columns = _item(builder, grid.blocks, 1)
    # (block rows, pixels of a row of blocks): the same memory as the image, so reshaping is free.
    flat = builder.op("Concat", block_rows, builder.constant([-1], np.int64), axis=0)
    square, orientation = _split_keys(builder, keys)
    first_bin = _first_bins(builder, block_columns, side)
    bins = builder.op("Reshape", builder.op("Add", orientation, first_bin), flat, name="bins")
    magnitudes = builder.op("Reshape", _magnitudes(builder, square, scale), flat, name="magnitudes")

    row_bins = builder.op("Mul", block_columns, builder.constant([SIGNED], np.int64))
    size = builder.op("Concat", block_rows, row_bins, axis=0)
    empty = builder.op("Expand", builder.constant(0, np.int64), size)
    cube = builder.constant([0, -1, SIGNED], np.int64)
    halves = []
    for after in (False, True):
        weights = _pixel_weights(builder, block_columns, side, after=after)
        weighted = builder.op("Mul", magnitudes, weights)
        sums = builder.op("ScatterElements", empty, bins, weighted, axis=1, reduction="add")
        halves.append(drop_edge(builder, builder.op("Reshape", sums, cube), 1, first=not after))
    both = builder.op("Cast", builder.op("Add", *halves), to=ir.DataType.UINT64, name="packed")

    low = _shift(builder, _shift(builder, both, "LEFT"), "RIGHT")
    high = _shift(builder, both, "RIGHT")
    above = drop_edge(builder, builder.op("Cast", low, to=ir.DataType.FLOAT), 0, first=True)
    below = drop_edge(builder, builder.op("Cast", high, to=ir.DataType.FLOAT), 0, first=False)
    unit = builder.constant(1.0 / (scale * (2 * side) ** 2), np.float32)
    histogram = builder.op("Mul", builder.op("Add", above, below), unit)
    return builder.op("Transpose", histogram, perm=[2, 0, 1], name="histogram")


def _magnitude_scale(cell_size: int) -> int:
    """Number of steps of a magnitude per grey level, the largest that fits half an int64.

    This is the largest power of two for which a sum over the pixels of two adjacent blocks, with
    weights that add up to s**2 vertically and 2 * s**2 horizontally, stays below 2**31.
    """
    largest_sum = _LARGEST_SQUARE**0.5 * 2 * cell_size**4
    return 1 << int(np.log2((1 << _HALF_BITS - 1) / largest_sum))


def _split_keys(builder: GraphBuilder, keys: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Squared magnitudes and orientations of keys, both int32 (rows, columns)."""
    unit = float(1 << _KEY_BITS)
    quotient = builder.op("Mul", keys, builder.constant(1 / unit, np.float32))
    square = builder.op("Cast", quotient, to=ir.DataType.INT32, name="square")
    whole = builder.op("Cast", square, to=ir.DataType.FLOAT)
    whole = builder.op("Mul", whole, builder.constant(unit, np.float32))
    rest = builder.op("Cast", builder.op("Sub", keys, whole), to=ir.DataType.INT32)
    # The remainder is channel rank * 32 + orientation.
    orientations = np.arange(1 << _KEY_BITS, dtype=np.int32) % (1 << _ORIENTATION_BITS)
    flat = builder.op("Reshape", rest, one_int64(builder, -1))
    orientation = builder.op("GatherElements", builder.constant(orientations), flat, axis=0)
    shape = builder.op("Shape", keys)
    return square, builder.op("Reshape", orientation, shape, name="orientation")


def _magnitudes(builder: GraphBuilder, square: ir.Value, scale: int) -> ir.Value:
    """Magnitudes as int64 multiples of 1 / scale, flat."""
    squares = builder.op(
        "Range",
        builder.constant(0.0, np.float32),
        builder.constant(_LARGEST_SQUARE + 1.0, np.float32),
        builder.constant(1.0, np.float32),
    )
    scaled = builder.op("Mul", builder.op("Sqrt", squares), builder.constant(scale, np.float32))
    table = builder.op("Cast", builder.op("Round", scaled), to=ir.DataType.INT64)
    flat = builder.op("Reshape", square, one_int64(builder, -1))
    return builder.op("GatherElements", table, flat, axis=0)


def _first_bins(builder: GraphBuilder, block_columns: ir.Value, side: int) -> ir.Value:
    """The first bin of each pixel column, int32 (columns,): 18 * index of its block."""
    first_bins = builder.op(
        "Range",
        builder.constant(0, np.int64),
        builder.op("Squeeze", builder.op("Mul", block_columns, one_int64(builder, SIGNED))),
        builder.constant(SIGNED, np.int64),
    )
    column = builder.op("Unsqueeze", first_bins, one_int64(builder, 1))
    repeated = builder.op("Expand", column, builder.constant([1, side], np.int64))
    flat = builder.op("Reshape", repeated, one_int64(builder, -1))
    return builder.op("Cast", flat, to=ir.DataType.INT32, name="first_bin")


def _pixel_weights(
    builder: GraphBuilder, block_columns: ir.Value, side: int, *, after: bool
) -> ir.Value:
    """Weights of the pixels in a row of blocks, int64 (pixels,), for the right or left cells."""
    rising = 2 * np.arange(side, dtype=np.int64) + 1
    falling = 2 * side - rising
    rows = falling + (rising << _HALF_BITS)
    block = rows[:, None] * (rising if after else falling)
    shape = builder.op(
        "Concat", one_int64(builder, side), block_columns, one_int64(builder, side), axis=0
    )
    weights = builder.op("Expand", builder.constant(block[:, None, :]), shape)
    return builder.op("Reshape", weights, one_int64(builder, -1), name="pixel_weights")


def one_int64(builder: GraphBuilder, value: int) -> ir.Value:
    """An int64 vector with one element, as ONNX requires for shapes and axes."""
    return builder.constant([value], np.int64)


def _item(builder: GraphBuilder, vector: ir.Value, index: int) -> ir.Value:
    """One element of a vector, as a vector of length 1."""
    return builder.op("Slice", vector, one_int64(builder, index), one_int64(builder, index + 1))


def drop_edge(builder: GraphBuilder, value: ir.Value, axis: int, *, first: bool) -> ir.Value:
    """A value without its first or its last entry along an axis."""
    start, end = (1, np.iinfo(np.int64).max) if first else (0, -1)
    return builder.op(
        "Slice", value, one_int64(builder, start), one_int64(builder, end), one_int64(builder, axis)
    )


def _shift(builder: GraphBuilder, value: ir.Value, direction: str) -> ir.Value:
    """A uint64 value shifted by half of its bits."""
    return builder.op(
        "BitShift", value, builder.constant(_HALF_BITS, np.uint64), direction=direction
    )

"""Builds the ONNX graph of one pyramid level of a HOG (gradient histogram) detector.

::

    image (1 or 3, H, W)
      │  gradients by cell and orientation               hog_histogram
    histogram (18, rows, columns)
      │  four normalizations, clipped at 0.2             _features
    features (31, rows - 2, columns - 2)
      │  correlation with the filters                    _filter_scores
    scores (K, rows - 2, columns - 2)

The features are those of Felzenszwalb, Girshick, McAllester and Ramanan, "Object Detection with
Discriminatively Trained Part-Based Models", TPAMI 2010, section 6, in dlib's variant
(``dlib/image_transforms/fhog.h``); the detector is that of King, "Max-Margin Object Detection",
arXiv:1502.00046.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.onnx_builder import GraphBuilder
from .hog_detector import HogDetector
from .hog_histogram import SIGNED, UNSIGNED, add_histograms, drop_edge, one_int64

__all__ = ["MINIMUM_CELLS", "build_hog_graph"]

MINIMUM_CELLS = 3
"""Minimum number of cells per side; smaller levels have no features and must not be run."""

_ENERGY_EPSILON, _CLIP, _TEXTURE_WEIGHT = 1e-4, 0.2, 0.2357


def build_hog_graph(detector: HogDetector) -> ir.Model:
    """Builds the graph that scores every window position of one pyramid level.

    Input ``image``: uint8 (1, H, W) greyscale or (3, H, W) RGB planes. For RGB, each pixel uses the
    gradient of the plane with the largest magnitude; if magnitudes are equal, the last plane, as
    dlib's vector code does. Both sides must round to at least ``MINIMUM_CELLS`` cells: 20 pixels
    for cells of 8 pixels.

    Output ``scores``: float32 (K, rows, columns) with rows = round(H / cell) - 2, and the same for
    columns: the filter responses minus the filters' thresholds, so that a score above 0 is a
    detection, as in dlib. Position (r, c) is the window whose first cell is
    (r, c) - (filter side - 1) // 2.

    Args:
        detector: Geometry and weights of the detector.
    """
    builder = GraphBuilder("hog_detector")
    image = builder.input("image", np.uint8, ("channels", "height", "width"))
    histogram = add_histograms(builder, image, detector.cell_size)
    scores = _filter_scores(builder, _features(builder, histogram), detector)
    count = detector.filters.shape[0]
    return builder.build(
        {"scores": scores}, shapes={"scores": (count, "score_rows", "score_columns")}
    )


def _features(builder: GraphBuilder, histogram: ir.Value) -> ir.Value:
    """Features of the inner cells, float32 (31, rows - 2, columns - 2), up to constant factors.

    Each cell is normalized by the energy (of the unsigned orientations) of each of the four squares
    of 2 x 2 cells that contain it, and clipped. Orientation features are sums over the four
    results, texture features sums over the orientations. The factors 1/2 and 0.2357 are folded into
    the filters.
    """
    signed = [
        builder.op(
            "Slice", histogram, one_int64(builder, start), one_int64(builder, start + UNSIGNED)
        )
        for start in (0, UNSIGNED)
    ]
    unsigned = builder.op("Add", *signed, name="unsigned")
    squared = builder.op("ReduceSumSquare", unsigned, axes=[0], keepdims=1)
    energy = builder.op("Unsqueeze", squared, one_int64(builder, 0), name="energy")
    mean = builder.op("AveragePool", energy, kernel_shape=[2, 2])
    total = builder.op("Mul", mean, builder.constant(4.0, np.float32))
    norm = builder.op(
        "Sqrt", builder.op("Add", total, builder.constant(_ENERGY_EPSILON, np.float32))
    )
    inverse = builder.op("Reciprocal", norm, name="inverse_norm")
    squares = []
    for first_column in (True, False):
        part = drop_edge(builder, inverse, 3, first=first_column)
        squares += [drop_edge(builder, part, 2, first=first) for first in (True, False)]
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
    # A Split and a Sum take a third of the time of ReduceSum over the first axis.
    parts = builder.op_multi("Split", clipped, outputs=4, axis=0)
    sums = builder.op("Squeeze", builder.op("Sum", *parts), one_int64(builder, 0))
    signed_only = builder.op(
        "Slice", clipped, one_int64(builder, 0), one_int64(builder, SIGNED), one_int64(builder, 1)
    )
    textures = builder.op("ReduceSum", signed_only, one_int64(builder, 1), keepdims=0)
    return builder.op("Concat", sums, textures, axis=0, name="features")


def _filter_scores(builder: GraphBuilder, features: ir.Value, detector: HogDetector) -> ir.Value:
    """Responses minus thresholds, float32 (K, rows, columns), with zero padding of the features.

    A rows x columns filter is computed as a sum of its columns, rows x 1 filters with shifted
    outputs: one convolution with `columns` times as many outputs, whose matrix product is efficient
    where a handful of outputs would not be, followed by one addition per column.
    """
    factors = np.full(detector.filters.shape[1], 0.5)
    factors[SIGNED + UNSIGNED :] = _TEXTURE_WEIGHT
    weights = detector.filters * factors[:, None, None]
    count, planes, rows, columns = weights.shape
    by_column = weights.transpose(3, 0, 1, 2).reshape(columns * count, planes, rows, 1)
    top, left = (rows - 1) // 2, (columns - 1) // 2
    responses = builder.op(
        "Conv",
        builder.op("Unsqueeze", features, one_int64(builder, 0)),
        builder.constant(by_column, np.float32, name="filters"),
        pads=[top, left, rows - 1 - top, columns - 1 - left],
        name="column_responses",
    )
    planar = builder.op("Squeeze", responses, one_int64(builder, 0))
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

"""Builds the ONNX graph of a shape predictor, whose landmarks are identical to those of dlib.

One cascade for N faces, P landmarks, F pixels and T trees of S splits and L leaves::

    shape (1, N, 2P)
      ├─ float64, MatMul (2P, 2) ── float32 ─── a, b                       similarity
      ├─ ArrayFeatureExtractor ─── anchor ─┐
      │   a * (dx, dy) + b * (-dy, dx) ────┴─ Sum ── (1, N, 2F)            pixels on the face
      │                  float64, * (width, height) + (left, top) + 0.5    pixels in the image
      │                  clip; y * W + x; GatherElements; 0 where clipped  (N, F) grey levels
      │   ArrayFeatureExtractor twice, subtract ── (N, T * S)              comparisons
      │                  minus thresholds, one tree walked by N * T rows   (T, N) leaf numbers
      │                  Gather ── (T, N, 2P)                              offsets of the leaves
      └─ Concat, ReduceSum over axis 0 ── shape of the next cascade        sum, tree by tree

Reasons for this structure:

- Identical results require dlib's precision and order at each step: float64 for the similarity and
  the mapping to the image, float32 in between, and the offsets of the leaves added to the current
  shape tree by tree. ReduceSum over the first axis adds row by row in ONNX Runtime's CPU kernels.
- All trees have the same structure once their thresholds are subtracted, so a single small
  TreeEnsembleRegressor whose leaves return their own index serves all trees of all faces.
- Grey levels are integers, so comparisons do not change if a threshold is rounded down and clipped
  to -256..255. All values up to the leaf index are then small integers, exact in float32.
- ArrayFeatureExtractor reads single elements about ten times faster than Gather, and does not need
  a copy of its indices per face, as GatherElements does.
- A coordinate x is inside the image if 0 <= x + 0.5 < W. After clipping to [0, W), the cast to
  integers rounds down without a Floor, and the coordinates that the clip changed were outside.

The method is Kazemi & Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression
Trees", CVPR 2014; the arithmetic is that of dlib/image_processing/shape_predictor.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..graph.onnx_builder import GraphBuilder
from .shape_predictor import ShapePredictor

__all__ = ["build_landmark_graph"]

_ML: dict[str, Any] = {"domain": "ai.onnx.ml", "version": 3}
_LARGEST_BELOW_ONE = 1 - 2.0**-53
_GREY_LEVELS = 256


def build_landmark_graph(
    model: ShapePredictor, *, metadata: Mapping[str, str] | None = None
) -> ir.Model:
    """Builds the graph of a shape predictor.

    Inputs and output; H, W and N are dynamic, and N may be 0:

    - ``image``: (H, W) uint8, grey levels, with 1 to 2**31 - 1 pixels. dlib converts a colour image
      to greyscale by (R + G + B) // 3.
    - ``boxes``: (N, 4) int64: left, top, right and bottom of each face in pixels. dlib's
      rectangles are integers, so callers choose how to round fractions. Boxes may extend beyond the
      image, where pixels count as black, and may be empty or have swapped corners.
    - ``landmarks``: (N, P, 2) float32: x and y in pixels, integers as returned by dlib, exact up to
      2**24.

    Args:
        model: The shape predictor, as returned by `read_shape_predictor`.
        metadata: Entries of the model's metadata_props.

    Returns:
        A model for opset 17 and ai.onnx.ml 3.
    """
    return _LandmarkGraph(model).build(metadata)


class _LandmarkGraph:
    """The builder, and the values that all cascades share.

    Coordinates (x, y) of all pixels are stored as two blocks, all x and then all y: (1, N, 2F).
    """

    def __init__(self, model: ShapePredictor) -> None:
        self.model = model
        self.builder = GraphBuilder("landmarks")
        self.op = self.builder.op
        self.image = self.builder.input("image", np.uint8, ["H", "W"])
        self.boxes = self.builder.input("boxes", np.int64, ["N", 4])
        self._prepare_image()
        self._prepare_boxes()

    def build(self, metadata: Mapping[str, str] | None) -> ir.Model:
        """Builds the model."""
        shape = self._initial_shape()
        for cascade in range(self.model.cascades):
            positions = self._pixel_positions(cascade, shape)
            levels = self._read_pixels(self._to_image(positions, self.sizes, self.origins))
            leaves = self._find_leaves(cascade, levels)
            shape = self._add_leaves(cascade, shape, leaves)
        return self.builder.build(
            {"landmarks": self._landmarks(shape)},
            shapes={"landmarks": ["N", self.model.points, 2]},
            metadata=metadata,
        )

    def _prepare_image(self) -> None:
        """Adds the flattened image, its width, and the limits of pixel coordinates."""
        self.flat_image = self._row(self.image)
        height_width = self.op("Shape", self.image)
        width = self.op("Gather", height_width, self._int64s(1))
        self.width = self.op("Cast", width, to=ir.DataType.INT32, name="width")
        # The largest float64 below W and H. One factor for each, because ONNX Runtime treats a
        # single factor this close to 1 as 1 and removes the multiplication.
        limits = self.op(
            "Mul",
            self.op("Cast", height_width, to=ir.DataType.DOUBLE),
            self.builder.constant(np.full(2, _LARGEST_BELOW_ONE)),
        )
        self.limits = self.op("Gather", limits, self._blocks([1, 0]), name="limits")

    def _prepare_boxes(self) -> None:
        """Adds origin and size of each box as (1, N, 2), and repeated per pixel as (1, N, 2F)."""
        corners = self.op(
            "Cast", self.op("Unsqueeze", self.boxes, self._int64s(0)), to=ir.DataType.DOUBLE
        )
        self.origin, far_corner = self._halves(corners, 2)
        self.size = self.op("Sub", far_corner, self.origin, name="size")
        blocks = self._blocks([0, 1])
        self.origins = self.op("Gather", self.origin, blocks, axis=2, name="origins")
        self.sizes = self.op("Gather", self.size, blocks, axis=2, name="sizes")

    def _initial_shape(self) -> ir.Value:
        """The mean face for each box, (1, N, 2P)."""
        faces = self.op("Shape", self.boxes, start=0, end=1)
        target = self.op("Concat", self._int64s(1), faces, self._int64s(1), axis=0)
        mean_face = self.builder.constant(self.model.initial_shape.reshape(1, 1, -1))
        return self.op("Expand", mean_face, target, name="initial_shape")

    def _pixel_positions(self, cascade: int, shape: ir.Value) -> ir.Value:
        """Positions of the pixels on the current shape, (1, N, 2F) float32 in box sizes."""
        x, y = self.model.deltas[cascade, :, 0], self.model.deltas[cascade, :, 1]
        along = self.builder.constant(np.concatenate([x, y])[None, None])
        across = self.builder.constant(np.concatenate([-y, x])[None, None])
        anchors = self.model.anchors[cascade]
        anchor_positions = self.op(
            "ArrayFeatureExtractor",
            shape,
            self._stored_small(np.concatenate([2 * anchors, 2 * anchors + 1])),
            **_ML,
        )
        weights = self.model.similarity_weights()
        if weights is None:
            return self.op("Add", along, anchor_positions, name="places")
        similarity = self.op(
            "MatMul",
            self.op("Cast", shape, to=ir.DataType.DOUBLE),
            self.builder.constant(weights, name="similarity_weights"),
        )
        cosine, sine = self._halves(self.op("Cast", similarity, to=ir.DataType.FLOAT), 1)
        return self.op(
            "Sum",
            self.op("Mul", cosine, along),
            self.op("Mul", sine, across),
            anchor_positions,
            name="places",
        )

    def _to_image(self, positions: ir.Value, sizes: ir.Value, origins: ir.Value) -> ir.Value:
        """Converts box sizes to pixels of the image, plus 0.5 for rounding; float64."""
        return self.op(
            "Sum",
            self.op("Mul", self.op("Cast", positions, to=ir.DataType.DOUBLE), sizes),
            origins,
            self.builder.constant(np.float64(0.5)),
            name="coordinates",
        )

    def _read_pixels(self, coordinates: ir.Value) -> ir.Value:
        """Grey levels as (N, F) float32, 0 outside the image."""
        pixels = self.model.pixels
        zero = self.builder.constant(np.float64(0))
        clipped = self.op("Min", self.op("Max", coordinates, zero), self.limits)
        inside = self.op("And", *self._halves(self.op("Equal", coordinates, clipped), pixels))
        x, y = self._halves(self.op("Cast", clipped, to=ir.DataType.INT32), pixels)
        offsets = self.op("Add", self.op("Mul", y, self.width), x)
        levels = self.op("GatherElements", self.flat_image, self._row(offsets), axis=0)
        black = self.builder.constant(np.uint8(0))
        levels = self.op("Where", self._row(inside), levels, black)
        return self._rows(self.op("Cast", levels, to=ir.DataType.FLOAT), pixels)

    def _find_leaves(self, cascade: int, levels: ir.Value) -> ir.Value:
        """The leaf that each tree reaches, as a row of the cascade's leaf table: (T, N) int64."""
        model = self.model
        first = self._stored_small(model.first_pixels[cascade].reshape(-1))
        second = self._stored_small(model.second_pixels[cascade].reshape(-1))
        differences = self.op(
            "Sub",
            self.op("ArrayFeatureExtractor", levels, first, **_ML),
            self.op("ArrayFeatureExtractor", levels, second, **_ML),
        )
        thresholds = np.floor(model.thresholds[cascade]).clip(-_GREY_LEVELS, _GREY_LEVELS - 1)
        stored = self._stored_small(thresholds.reshape(1, -1), ir.DataType.FLOAT)
        margins = self._rows(self.op("Sub", differences, stored), model.splits)
        indices = self.op("TreeEnsembleRegressor", margins, **_ML, **_leaf_numbering(model.splits))
        by_tree = self.op("Transpose", self._rows(indices, model.trees), perm=[1, 0])
        first_rows = np.arange(model.trees, dtype=np.int64)[:, None] * (model.splits + 1)
        return self.op(
            "Add",
            self.op("Cast", by_tree, to=ir.DataType.INT64),
            self.builder.constant(first_rows, name="first_rows"),
            name="leaf_rows",
        )

    def _add_leaves(self, cascade: int, shape: ir.Value, leaf_rows: ir.Value) -> ir.Value:
        """The shape after all trees of a cascade, (1, N, 2P)."""
        table = self.model.leaves[cascade].reshape(-1, 2 * self.model.points)
        steps = self.op("Gather", self.builder.constant(table, name="leaves"), leaf_rows, axis=0)
        terms = self.op("Concat", shape, steps, axis=0)
        return self.op("ReduceSum", terms, self._int64s(0), keepdims=1, name="shape")

    def _landmarks(self, shape: ir.Value) -> ir.Value:
        """Converts a shape in box sizes to integer pixels, (N, P, 2) float32."""
        positions = self.op("Reshape", shape, self._int64s(-1, self.model.points, 2))
        pair = self._int64s(-1, 1, 2)
        size, origin = self.op("Reshape", self.size, pair), self.op("Reshape", self.origin, pair)
        rounded = self.op("Floor", self._to_image(positions, size, origin))
        return self.op("Cast", rounded, to=ir.DataType.FLOAT)

    def _int64s(self, *values: int) -> ir.Value:
        return self.builder.constant(np.array(values, np.int64))

    def _blocks(self, values: list[int]) -> ir.Value:
        """Each value repeated for every pixel: (2F,) int64."""
        return self.builder.constant(np.repeat(values, self.model.pixels).astype(np.int64))

    def _row(self, value: ir.Value) -> ir.Value:
        return self.op("Reshape", value, self._int64s(-1))

    def _rows(self, value: ir.Value, columns: int) -> ir.Value:
        return self.op("Reshape", value, self._int64s(-1, columns))

    def _halves(self, value: ir.Value, length: int) -> tuple[ir.Value, ir.Value]:
        """Splits the last of three axes into two blocks of the given length."""
        first, second = self.builder.op_multi(
            "Split", value, self._int64s(length, length), outputs=2, axis=2
        )
        return first, second

    def _stored_small(
        self, values: npt.NDArray[Any], dtype: ir.DataType = ir.DataType.INT64
    ) -> ir.Value:
        """Integers in the smallest type, with a Cast that runtimes fold when they load the model.

        Otherwise pixel indices and thresholds would take a third of the file.
        """
        small = next(
            candidate
            for candidate in (np.uint8, np.int8, np.int16, np.int32, np.int64)
            if np.iinfo(candidate).min <= values.min() and values.max() <= np.iinfo(candidate).max
        )
        return self.op("Cast", self.builder.constant(values, small), to=dtype)


def _leaf_numbering(splits: int) -> dict[str, Any]:
    """Attributes of a complete tree: the sign of feature i decides split i, leaf l returns l."""
    leaves = splits + 1
    split_nodes, leaf_nodes = list(range(splits)), list(range(splits, splits + leaves))
    zeros = [0] * leaves
    return {
        "n_targets": 1,
        "nodes_treeids": [0] * (splits + leaves),
        "nodes_nodeids": split_nodes + leaf_nodes,
        "nodes_featureids": split_nodes + zeros,
        "nodes_modes": ["BRANCH_GT"] * splits + ["LEAF"] * leaves,
        "nodes_values": [0.0] * (splits + leaves),
        "nodes_truenodeids": [2 * split + 1 for split in split_nodes] + zeros,
        "nodes_falsenodeids": [2 * split + 2 for split in split_nodes] + zeros,
        "target_treeids": zeros,
        "target_nodeids": leaf_nodes,
        "target_ids": zeros,
        "target_weights": [float(leaf) for leaf in range(leaves)],
    }

"""The face detectors V1 and V2, whose Gluon files only contain arrays.

A YOLOv3-type network (Redmon and Farhadi 2018, https://arxiv.org/abs/1804.02767) with one class. A
cell is convolution, batch normalisation, leaky ReLU::

    stages    0 ─ 128 channels, stride 8 ─ 1 ─ 256, stride 16 ─ 2 ─ 256, stride 32
    head 0    stage 2 ─ block 0 ─ tip ─ prediction;   block 0 ─ transition 0 ─ ×2 ┐
    head 1    stage 1 ──────────────────────────────────────────────────── concat ┴ block 1 …
    head 2    stage 0, in the same way with block 1

A prediction has 6 values for each of 3 anchors: x, y, width, height, objectness, face score. Both
versions have the same layers; they differ in the anchors, which are stored in the file.
"""

from __future__ import annotations

import numpy as np

from ..graph.source_graph import Array, Edge, Node
from .blueprint import Blueprint, Scope

__all__ = ["ANCHORS", "detector_blueprint"]

ANCHORS = tuple(f"yolo_outputs.{head}.anchors" for head in range(3))
"""Names of the anchor arrays, (1, 1, 3, 2): width and height in input pixels."""

_STAGES = (
    (3, ((16, 1, 0), (32, 2, 1), (64, 2, 2), (128, 2, 2))),
    (128, ((256, 2, 2),)),
    (256, ((256, 2, 2),)),
)
"""Input channels of each stage, and (channels, stride, residual blocks) of its groups."""

_HEADS = ((256, 256, 0), (128, 384, 256), (64, 192, 128))
"""Per head: base width, input channels, channels of the route from the previous head."""

_STRIDES = (32, 16, 8)
_VALUES = 6
_ANCHORS = 3
_GRID = 128
"""Rows and columns of the stored table of offsets: for images of up to 1024 pixels."""

_EPS = 1e-5
_SLOPE = 0.1
_PREPROCESSING = tuple(f"_defaultpreprocess0_init_{name}" for name in ("mean", "scale"))


class _Builder:
    """Builds the parts of the network."""

    def __init__(self) -> None:
        offsets = [f"yolo_outputs.{head}.offsets" for head in range(3)]
        old = [f"yolov30_yolooutputv3{head}_offset_{head}" for head in range(3)]
        self.blueprint = Blueprint(
            ("yolov3", "mfdetv1", "yolodetectionblockv3", "yolooutputv3", "_defaultpreprocess"),
            (*_PREPROCESSING, *offsets, *old),
        )
        self.backbone, self.neck = Scope("mfdetv10_"), Scope("yolov30_")

    def cell(
        self,
        data: Edge,
        path: str,
        scope: Scope,
        channels: int,
        filters: int,
        kernel: int,
        stride: int = 1,
    ) -> Edge:
        """A cell: convolution, batch normalisation, leaky ReLU."""
        plan = self.blueprint
        layer = scope.next("conv")
        data = plan.convolution(data, f"{path}.0", layer, channels, filters, kernel, stride)
        data = plan.batch_norm(data, f"{path}.1", scope.next("batchnorm"), filters, eps=_EPS)
        name = f"{scope.next('leakyrelu')}_fwd"
        return plan.op("LeakyReLU", name, data, act_type="leaky", slope=_SLOPE)

    def stages(self, data: Edge) -> list[Edge]:
        """The backbone; returns the feature map of each stage."""
        maps = []
        for stage, (channels, groups) in enumerate(_STAGES):
            number = 0
            for filters, stride, residuals in groups:
                path = f"stages.{stage}.{number}"
                data = self.cell(data, path, self.backbone, channels, filters, 3, stride)
                channels, number = filters, number + 1
                for _ in range(residuals):
                    data = self.residual(data, f"stages.{stage}.{number}", channels)
                    number += 1
            maps.append(data)
        return maps

    def residual(self, data: Edge, path: str, channels: int) -> Edge:
        """A residual block: 1×1 to half the channels, 3×3 back, plus the input."""
        inner = self.cell(data, f"{path}.body.0", self.backbone, channels, channels // 2, 1)
        inner = self.cell(inner, f"{path}.body.1", self.backbone, channels // 2, channels, 3)
        return self.blueprint.op("elemwise_add", self.backbone.next("plus"), inner, data)

    def block(self, data: Edge, head: int, width: int, channels: int) -> tuple[Edge, Edge]:
        """A detection block; returns the route to the next head (five cells) and the tip."""
        scope = Scope(f"yolov30_yolodetectionblockv3{head}_")
        path = f"yolo_blocks.{head}"
        for number, (filters, kernel) in enumerate([(width, 1), (2 * width, 3)] * 2 + [(width, 1)]):
            data = self.cell(data, f"{path}.body.{number}", scope, channels, filters, kernel)
            channels = filters
        return data, self.cell(data, f"{path}.tip", scope, width, 2 * width, 3)

    def upsampled(self, route: Edge, stage: Edge, transition: int, channels: int) -> Edge:
        """The route after a transition, upsampled by 2 and concatenated with the stage's map."""
        plan, name = self.blueprint, f"yolov30_route{transition}"
        path = f"transitions.{transition}"
        route = self.cell(route, path, self.neck, channels, channels // 2, 1)
        large = plan.op("repeat", f"{name}_columns", route, repeats=2, axis=-1)
        large = plan.op("repeat", f"{name}_rows", large, repeats=2, axis=-2)
        fitted = plan.op("slice_like", f"{name}_fit", large, stage, axes=(2, 3))
        return plan.op("Concat", f"{name}_concat", fitted, stage, dim=1, num_args=2)

    def rows(self, tip: Edge, head: int, channels: int) -> Edge:
        """Class id, score and box for every anchor of a head, (N, cells · anchors, 6)."""
        plan, scope = self.blueprint, Scope(f"yolov30_yolooutputv3{head}_")
        path = f"yolo_outputs.{head}"
        layer = scope.next("conv")
        filters = _ANCHORS * _VALUES
        raw = plan.convolution(tip, f"{path}.prediction", layer, channels, filters, 1, bias=True)

        def op(kind: str, *inputs: Edge, **attrs: object) -> Edge:
            return plan.op(kind, scope.next(f"decode_{kind.lower()}"), *inputs, **attrs)

        def part(begin: int, end: int) -> Edge:
            return op("slice_axis", values, axis=-1, begin=begin, end=end)

        flat = op("transpose", op("Reshape", raw, shape=(0, filters, -1)), axes=(0, 2, 1))
        values = op("Reshape", flat, shape=(0, -1, _ANCHORS, _VALUES))
        node = f"{scope.prefix}decode"
        anchors = plan.array(
            ANCHORS[head], (1, 1, _ANCHORS, 2), f"{scope.prefix}anchor_{head}", node
        )
        table = plan.constant(f"{scope.prefix}offsets", _offsets())
        cells = op("Reshape", op("slice_like", table, raw, axes=(2, 3)), shape=(1, -1, 1, 2))
        center = op("broadcast_add", op("sigmoid", part(0, 2)), cells)
        center = op("_mul_scalar", center, scalar=_STRIDES[head])
        half = op("broadcast_mul", op("exp", part(2, 4)), anchors)
        half = op("_div_scalar", half, scalar=2)
        score = op("broadcast_mul", op("sigmoid", part(5, 6)), op("sigmoid", part(4, 5)))
        class_id = op("_mul_scalar", score, scalar=0)
        corners = (op("elemwise_sub", center, half), op("elemwise_add", center, half))
        row = op("Concat", class_id, score, *corners, dim=-1, num_args=4)
        return op("Reshape", row, shape=(0, -1, _VALUES))


def detector_blueprint() -> tuple[Blueprint, tuple[Edge, ...]]:
    """Builds the network; its outputs are ids, scores and boxes of the 100 highest-scoring faces.

    The input "data" is float32 (N, 3, H, W), normalised.
    """
    builder = _Builder()
    plan = builder.blueprint
    maps = builder.stages(Edge(Node("null", "data")))
    data, rows = maps[-1], []
    for head, (width, channels, route_channels) in enumerate(_HEADS):
        if head:
            data = builder.upsampled(data, maps[-1 - head], head - 1, route_channels)
        data, tip = builder.block(data, head, width, channels)
        rows.append(builder.rows(tip, head, 2 * width))
    candidates = plan.op("Concat", "yolov30_rows", *rows, dim=1, num_args=3)
    best = plan.op(
        "_contrib_box_nms",
        "yolov30_nms",
        candidates,
        overlap_thresh=0.45,
        valid_thresh=0.01,
        topk=400,
        id_index=0,
        score_index=1,
        coord_start=2,
    )
    kept = plan.op("slice_axis", "yolov30_best", best, axis=1, begin=0, end=100)
    columns = {"ids": (0, 1), "scores": (1, 2), "boxes": (2, 6)}
    outputs = tuple(
        plan.op("slice_axis", name, kept, axis=-1, begin=begin, end=end)
        for name, (begin, end) in columns.items()
    )
    return plan, outputs


def _offsets() -> Array:
    """Column and row of each cell, (1, 1, 128, 128, 2)."""
    column, row = np.meshgrid(np.arange(_GRID), np.arange(_GRID))
    table: Array = np.stack([column, row], axis=-1)[None, None].astype(np.float32)
    return table

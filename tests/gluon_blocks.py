"""MobileFace's detector and attribute network as MXNet gluon blocks.

The published detector v2 and the attribute network exist only as parameter files, whose arrays are
named after the structure of the Python object that they were saved from. These classes reproduce
that structure: every array has its published name, in structural naming (``stages.0.0.0.weight``),
in the older naming by prefixes, and in the symbol (``mfdetv10_conv0_weight``). Gluon itself runs
the networks, so they serve as the reference. Without MXNet, this module can be imported, but its
classes cannot be instantiated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface_convert.oracles.mxnet_oracle import import_mxnet, mxnet_is_installed

FloatArray = npt.NDArray[np.float32]
Block = Any

mxnet: Any = import_mxnet() if mxnet_is_installed() else None
HybridBlock: Any = mxnet.gluon.HybridBlock if mxnet else object

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of both networks' inputs, for RGB images scaled to 0..1."""

ANCHORS = {
    1: (
        ((118, 157), (186, 248), (285, 379)),
        ((43, 54), (60, 75), (80, 106)),
        ((10, 12), (16, 20), (23, 29)),
    ),
    2: (
        ((118, 147), (186, 232), (285, 316)),
        ((43, 52), (60, 75), (80, 94)),
        ((10, 12), (16, 20), (23, 28)),
    ),
}
"""Anchor width and height in pixels by version, for the strides 32, 16 and 8."""

STRIDES = (32, 16, 8)
GRID = 128
VALUES = 6
"""Number of values per anchor: x, y, width, height, objectness, class."""

PREPROCESS = "_defaultpreprocess0_"


class Names:
    """Generates numbered prefixes as gluon does within one scope: ``scope_conv0_``."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._counts: dict[str, int] = {}

    def __call__(self, kind: str) -> str:
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"{self.scope}{kind}{number}_"


def sequence(*blocks: Block) -> Block:
    """A sequence of blocks in a container that does not change their names."""
    container = mxnet.gluon.nn.HybridSequential(prefix="")
    container.add(*blocks)
    return container


def convolution(names: Names, inputs: int, filters: int, kernel: int, stride: int = 1) -> Block:
    return mxnet.gluon.nn.Conv2D(
        filters,
        kernel,
        stride,
        kernel // 2,
        use_bias=False,
        in_channels=inputs,
        prefix=names("conv"),
    )


def normalisation(names: Names, channels: int, **options: bool) -> Block:
    return mxnet.gluon.nn.BatchNorm(
        epsilon=1e-5, in_channels=channels, prefix=names("batchnorm"), **options
    )


def cell(names: Names, inputs: int, filters: int, kernel: int, stride: int = 1) -> Block:
    """Convolution, batch normalisation and leaky ReLU, the detector's basic block."""
    return sequence(
        convolution(names, inputs, filters, kernel, stride),
        normalisation(names, filters),
        mxnet.gluon.nn.LeakyReLU(0.1, prefix=names("leakyrelu")),
    )


class Residual(HybridBlock):
    """3×3(1×1(x)) + x, with half the channels in between."""

    def __init__(self, names: Names, channels: int) -> None:
        super().__init__(prefix=names("mfdetbasicblockv1"))
        half = channels // 2
        self.body = sequence(cell(names, channels, half, 1), cell(names, half, channels, 3))

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: ARG002, N803
        return self.body(x) + x


class Neck(HybridBlock):
    """Five cells that compute the route, and one more for the tip, the input of a head."""

    def __init__(self, prefix: str, inputs: int, width: int) -> None:
        super().__init__(prefix=prefix)
        names = Names(prefix)
        self.body = sequence(
            cell(names, inputs, width, 1),
            cell(names, width, 2 * width, 3),
            cell(names, 2 * width, width, 1),
            cell(names, width, 2 * width, 3),
            cell(names, 2 * width, width, 1),
        )
        self.tip = cell(names, width, 2 * width, 3)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: ARG002, N803
        route = self.body(x)
        return route, self.tip(route)


class Head(HybridBlock):
    """Predictions for three anchors per cell, decoded to rows of id, score and box in pixels."""

    def __init__(
        self, prefix: str, index: int, inputs: int, anchors: npt.ArrayLike, stride: int
    ) -> None:
        super().__init__(prefix=prefix)
        sizes = np.asarray(anchors, np.float32)
        self.stride, self.count = stride, len(sizes)
        self.prediction = mxnet.gluon.nn.Conv2D(
            VALUES * self.count, 1, in_channels=inputs, prefix=f"{prefix}conv0_"
        )
        self.anchors = self.params.get_constant(f"anchor_{index}", sizes.reshape(1, 1, -1, 2))
        y, x = np.meshgrid(np.arange(GRID), np.arange(GRID), indexing="ij")
        grid = np.stack([x, y], axis=-1).astype(np.float32)
        self.offsets = self.params.get_constant(f"offset_{index}", grid[np.newaxis, np.newaxis])

    def hybrid_forward(self, F: Any, x: Any, anchors: Any, offsets: Any) -> Any:  # noqa: N803
        flat = F.reshape(self.prediction(x), shape=(0, VALUES * self.count, -1))
        cells = F.reshape(F.transpose(flat, axes=(0, 2, 1)), shape=(0, -1, self.count, VALUES))
        place = F.slice_axis(cells, axis=-1, begin=0, end=2)
        size = F.slice_axis(cells, axis=-1, begin=2, end=4)
        objectness = F.slice_axis(cells, axis=-1, begin=4, end=5)
        kind = F.slice_axis(cells, axis=-1, begin=5, end=None)
        corner = F.reshape(F.slice_like(offsets, x * 0, axes=(2, 3)), shape=(1, -1, 1, 2))
        centre = F.broadcast_add(F.sigmoid(place), corner) * self.stride
        half = F.broadcast_mul(F.exp(size), anchors) / 2.0
        confidence = F.sigmoid(objectness)
        score = F.broadcast_mul(F.sigmoid(kind), confidence)
        box = F.concat(centre - half, centre + half, dim=-1)
        # The first axis is the class, of which there is one; the published graph has it too.
        scores = F.expand_dims(F.transpose(score, axes=(3, 0, 1, 2)), axis=-1)
        ids = F.broadcast_add(scores * 0, F.reshape(F.arange(0, 1), shape=(0, 1, 1, 1, 1)))
        rows = F.concat(ids, scores, F.tile(box, reps=(1, 1, 1, 1, 1)), dim=-1)
        return F.reshape(F.transpose(rows, axes=(1, 0, 2, 3, 4)), shape=(0, -1, VALUES))


class FaceDetector(HybridBlock):
    """The detector: normalised (N, 3, H, W) to ids, scores and boxes, each (N, post_nms, …).

    Args:
        version: 1 or 2; the versions differ in their anchors.
    """

    def __init__(self, version: int = 1) -> None:
        super().__init__(prefix="yolov30_")
        self.set_nms(0.45, 400, 100)
        self.stages = sequence(*_backbone())
        names = Names(self.prefix)
        self.transitions = sequence(cell(names, 256, 128, 1), cell(names, 128, 64, 1))
        widths = (256, 128, 64)
        self.yolo_blocks = sequence(
            *(
                Neck(f"{self.prefix}yolodetectionblockv3{i}_", inputs, width)
                for i, (inputs, width) in enumerate(zip((256, 384, 192), widths, strict=True))
            )
        )
        self.yolo_outputs = sequence(
            *(
                Head(
                    f"{self.prefix}yolooutputv3{i}_", i, 2 * width, ANCHORS[version][i], STRIDES[i]
                )
                for i, width in enumerate(widths)
            )
        )

    def set_nms(self, threshold: float, candidates: int, kept: int = 100) -> None:
        """Sets the IoU threshold and the numbers of candidates and of output rows of NMS."""
        self.nms_thresh, self.nms_topk, self.post_nms = threshold, candidates, kept

    def raw(self, x: Any) -> Any:
        """All rows (N, rows, 6) before non-maximum suppression, for an array or a symbol."""
        space = mxnet.sym if isinstance(x, mxnet.sym.Symbol) else mxnet.nd
        with self.name_scope():
            return self._rows(space, x)

    def _rows(self, F: Any, x: Any) -> Any:  # noqa: N803
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        shallower = maps[1::-1]
        rows = []
        for index, (neck, head) in enumerate(zip(self.yolo_blocks, self.yolo_outputs, strict=True)):
            x, tip = neck(x)
            rows.append(head(tip))
            if index < len(shallower):
                x = F.repeat(self.transitions[index](x), axis=-1, repeats=2)
                x = F.repeat(x, axis=-2, repeats=2)
                x = F.slice_like(x, shallower[index] * 0, axes=(2, 3))
                x = F.concat(x, shallower[index], dim=1)
        return F.concat(*rows, dim=1)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
        rows = self._rows(F, x)
        rows = F.contrib.box_nms(
            rows,
            overlap_thresh=self.nms_thresh,
            valid_thresh=0.01,
            topk=self.nms_topk,
            id_index=0,
            score_index=1,
            coord_start=2,
            force_suppress=False,
        )
        rows = F.slice_axis(rows, axis=1, begin=0, end=self.post_nms)
        ends = ((0, 1), (1, 2), (2, None))
        return tuple(F.slice_axis(rows, axis=-1, begin=a, end=b) for a, b in ends)


def _backbone() -> Iterator[Block]:
    """Three stages of cells that halve the resolution, each followed by residual blocks."""
    names = Names("mfdetv10_")
    stages = (
        (
            cell(names, 3, 16, 3),
            *_halving(names, 16, 32, 1),
            *_halving(names, 32, 64, 2),
            *_halving(names, 64, 128, 2),
        ),
        _halving(names, 128, 256, 2),
        _halving(names, 256, 256, 2),
    )
    return (sequence(*blocks) for blocks in stages)


def _halving(names: Names, inputs: int, filters: int, residuals: int) -> tuple[Block, ...]:
    first = cell(names, inputs, filters, 3, 2)
    return (first, *(Residual(names, filters) for _ in range(residuals)))


class Preprocess(HybridBlock):
    """Preprocessing in the detector's published symbol: NHWC in 0..255 to normalised NCHW.

    The two constants have the names of the published symbol.
    """

    def __init__(self) -> None:
        super().__init__(prefix=PREPROCESS)
        self.init_mean = self.params.get_constant("init_mean", per_colour(MEAN))
        self.init_scale = self.params.get_constant("init_scale", per_colour(STD))

    def hybrid_forward(self, F: Any, x: Any, init_mean: Any, init_scale: Any) -> Any:  # noqa: N803
        x = F.broadcast_div(F.broadcast_minus(x, init_mean), init_scale)
        return F.transpose(x, axes=(0, 3, 1, 2))


def per_colour(values: tuple[float, ...]) -> FloatArray:
    return (np.array(values) * 255).astype(np.float32).reshape(1, 1, 1, 3)


class SqueezeResidual(HybridBlock):
    """Pre-activation residual block with squeeze-and-excitation."""

    def __init__(self, names: Names, inputs: int, channels: int, stride: int) -> None:
        super().__init__(prefix=names("block"))
        nn = mxnet.gluon.nn
        self.bn1 = normalisation(names, inputs)
        self.conv1 = convolution(names, inputs, channels, 3, stride)
        self.bn2 = normalisation(names, channels)
        self.conv2 = convolution(names, channels, channels, 3)
        squeezed = channels // 16
        self.se = sequence(
            nn.Dense(squeezed, use_bias=False, in_units=channels, prefix=names("dense")),
            nn.Activation("relu", prefix=names("relu")),
            nn.Dense(channels, use_bias=False, in_units=squeezed, prefix=names("dense")),
            nn.Activation("sigmoid", prefix=names("sigmoid")),
        )
        self.downsample = convolution(names, inputs, channels, 1, stride) if stride > 1 else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
        active = F.Activation(self.bn1(x), act_type="relu")
        residual = x if self.downsample is None else self.downsample(active)
        y = self.conv1(active)
        y = self.conv2(F.Activation(self.bn2(y), act_type="relu"))
        weight = self.se(F.Pooling(y, kernel=(1, 1), global_pool=True, pool_type="avg"))
        weight = F.expand_dims(F.expand_dims(weight, axis=2), axis=2)
        return F.broadcast_mul(y, weight) + residual


class FaceAttribute(HybridBlock):
    """The attribute network: normalised (N, 3, 96, 96) to gender, age and expression logits."""

    def __init__(self) -> None:
        super().__init__(prefix="mobileface_attributev10_")
        nn, names = mxnet.gluon.nn, Names(self.prefix)
        layers = [normalisation(names, 3, scale=False, center=False), convolution(names, 3, 16, 3)]
        inputs = 16
        for stage, channels in enumerate((32, 64, 128, 256), start=1):
            inner = Names(f"{self.prefix}stage{stage}_")
            first = SqueezeResidual(inner, inputs, channels, 2)
            layers.append(sequence(first, SqueezeResidual(inner, channels, channels, 1)))
            inputs = channels
        layers += [normalisation(names, inputs), nn.Activation("relu", prefix=names("relu"))]
        self.features = sequence(*layers)
        for branch, (width, classes) in enumerate(((64, 2), (128, 6), (128, 8)), start=1):
            setattr(self, f"branch{branch}", _branch(names, inputs, width))
            output = nn.Dense(classes, in_units=2 * width, prefix=names("dense"))
            setattr(self, f"output{branch}", output)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: ARG002, N803
        x = self.features(x)
        return (
            self.output1(self.branch1(x)),
            self.output2(self.branch2(x)),
            self.output3(self.branch3(x)),
        )


def _branch(names: Names, inputs: int, width: int) -> Block:
    """Four convolutions with batch normalisation and ReLU, and global average pooling."""
    blocks = []
    for source, filters, kernel in (
        (inputs, width, 1),
        (width, 2 * width, 3),
        (2 * width, width, 1),
        (width, 2 * width, 3),
    ):
        blocks.append(convolution(names, source, filters, kernel))
        blocks.append(normalisation(names, filters))
        blocks.append(mxnet.gluon.nn.Activation("relu", prefix=names("relu")))
    return sequence(*blocks, mxnet.gluon.nn.GlobalAvgPool2D(prefix=names("pool")))

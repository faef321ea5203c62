"""The attribute network V1, whose Gluon file only contains arrays.

A small residual network with pre-activation (He et al. 2016, https://arxiv.org/abs/1603.05027),
squeeze-and-excitation (Hu et al. 2018, https://arxiv.org/abs/1709.01507) and three branches::

    block     a = relu(bn1(x));  y = conv2(relu(bn2(conv1(a))))
              y · sigmoid(dense(relu(dense(mean(y))))) + (1×1 convolution of a, or x)
    branch    four cells (1×1, 3×3, 1×1, 3×3), global average pooling, dense: logits
"""

from __future__ import annotations

from ..graph.source_graph import Edge, Node
from .blueprint import Blueprint, Scope

__all__ = ["attribute_blueprint"]

_STEM = 16
_STAGES = (32, 64, 128, 256)
_BLOCKS = 2
_REDUCTION = 16
_BRANCHES = ((64, 2), (128, 6), (128, 8))
"""Base width and number of classes of each branch: gender, age, expression."""

_OUTPUTS = ("gender", "age", "expression")
_EPS = 1e-5


class _Builder:
    """Builds the parts of the network.

    Layers are numbered by class, separately in each stage and outside the stages.
    """

    def __init__(self) -> None:
        self.blueprint = Blueprint(("mobileface_attributev1",))
        self.outside = Scope("mobileface_attributev10_")
        self.names = Scope("mobileface_attributev10_")

    def relu(self, data: Edge) -> Edge:
        """A ReLU."""
        return self.blueprint.op("Activation", self.names.next("relu"), data, act_type="relu")

    def mean(self, data: Edge) -> Edge:
        """Global average pooling."""
        attrs = {"kernel": (1, 1), "global_pool": True, "pool_type": "avg"}
        return self.blueprint.op("Pooling", self.names.next("pool"), data, **attrs)

    def norm(self, data: Edge, path: str, scope: Scope, channels: int, scale: bool = True) -> Edge:
        """A batch normalisation."""
        layer = scope.next("batchnorm")
        return self.blueprint.batch_norm(data, path, layer, channels, eps=_EPS, scale=scale)

    def block(
        self, data: Edge, path: str, scope: Scope, channels: int, filters: int, stride: int
    ) -> Edge:
        """A residual block; the first block of a stage has a convolution in its shortcut."""
        plan = self.blueprint
        active = self.relu(self.norm(data, f"{path}.bn1", scope, channels))
        layer = scope.next("conv")
        inner = plan.convolution(active, f"{path}.conv1", layer, channels, filters, 3, stride)
        inner = self.relu(self.norm(inner, f"{path}.bn2", scope, filters))
        layer = scope.next("conv")
        inner = plan.convolution(inner, f"{path}.conv2", layer, filters, filters, 3)
        weighted = self.excited(inner, path, scope, filters)
        if stride > 1 or channels != filters:
            layer = scope.next("conv")
            data = plan.convolution(
                active, f"{path}.downsample", layer, channels, filters, 1, stride
            )
        return plan.op("elemwise_add", self.names.next("plus"), weighted, data)

    def excited(self, data: Edge, path: str, scope: Scope, channels: int) -> Edge:
        """Squeeze-and-excitation: scales each channel by a weight from all channel means."""
        plan, inner = self.blueprint, channels // _REDUCTION
        weight = plan.dense(
            self.mean(data), f"{path}.se.0", scope.next("dense"), channels, inner, bias=False
        )
        weight = self.relu(weight)
        weight = plan.dense(
            weight, f"{path}.se.2", scope.next("dense"), inner, channels, bias=False
        )
        weight = plan.op("sigmoid", self.names.next("sigmoid"), weight)
        for _ in range(2):
            weight = plan.op("expand_dims", self.names.next("expand_dims"), weight, axis=-1)
        return plan.op("broadcast_mul", self.names.next("excite"), data, weight)

    def branch(self, data: Edge, number: int, width: int, classes: int) -> Edge:
        """A branch: four cells and a fully connected layer that outputs the logits."""
        plan, path, channels = self.blueprint, f"branch{number}", _STAGES[-1]
        for index, (filters, kernel) in enumerate([(width, 1), (2 * width, 3)] * 2):
            layer = self.outside.next("conv")
            data = plan.convolution(data, f"{path}.{3 * index}", layer, channels, filters, kernel)
            data = self.relu(self.norm(data, f"{path}.{3 * index + 1}", self.outside, filters))
            channels = filters
        layer = self.outside.next("dense")
        data = self.mean(data)
        return plan.dense(data, f"output{number}", layer, channels, classes, bias=True)


def attribute_blueprint() -> tuple[Blueprint, tuple[Edge, ...]]:
    """Builds the network; its outputs are the logits of gender, age and expression.

    The input "data" is float32 (N, 3, 96, 96), normalised.
    """
    builder = _Builder()
    plan, outside = builder.blueprint, builder.outside
    data = builder.norm(Edge(Node("null", "data")), "features.0", outside, 3, scale=False)
    data = plan.convolution(data, "features.1", outside.next("conv"), 3, _STEM, 3)
    channels = _STEM
    for stage, filters in enumerate(_STAGES):
        scope = Scope(f"mobileface_attributev10_stage{stage + 1}_")
        for block in range(_BLOCKS):
            stride = 1 if block else 2
            path = f"features.{stage + 2}.{block}"
            data = builder.block(data, path, scope, channels, filters, stride)
            channels = filters
    data = builder.relu(builder.norm(data, "features.6", outside, channels))
    logits = [
        builder.branch(data, number + 1, width, classes)
        for number, (width, classes) in enumerate(_BRANCHES)
    ]
    outputs = [plan.op("_copy", name, edge) for name, edge in zip(_OUTPUTS, logits, strict=True)]
    return plan, tuple(outputs)

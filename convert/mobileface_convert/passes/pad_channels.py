"""Add channels of zeros, so that depthwise layers have full channel blocks.

ONNX Runtime's blocked layout stores channels in blocks of 8 or 16 (x86-64). It pads the inputs and
outputs of a layer without groups, but a depthwise layer must have full blocks::

    before   Convolution(18) ─ depthwise(18) ─ … ─ Convolution
    after    Convolution(32) ─ depthwise(32) ─ … ─ Convolution      14 channels stay zero

All weights, biases and slopes of the new channels are zero, and the channels are unused.
"""

from __future__ import annotations

import numpy as np

from ..graph.source_graph import Graph
from .base import PassResult, Refusal
from .channels import families, is_depthwise, resize

__all__ = ["pad_channels"]


def pad_channels(graph: Graph, *, multiple: int) -> PassResult:
    """Pads the channels around every depthwise layer to full blocks.

    Args:
        graph: The network.
        multiple: Number of channels in a block.
    """
    choices, changed, refused = [], [], []
    for family in families(graph):
        missing = -family.channels % multiple
        if not missing or not any(is_depthwise(graph, node) for node in family.members):
            continue
        name = family.members[0].name
        if family.pinned:
            refused.append(Refusal(name, family.pinned))
            continue
        numbers = np.concatenate([np.arange(family.channels), np.full(missing, -1)])
        choices.append((family, numbers))
        changed.append(f"{name}: {family.channels} channels to {len(numbers)}")
    padded = resize(graph, choices) if choices else graph
    return PassResult(padded, tuple(changed), tuple(refused))

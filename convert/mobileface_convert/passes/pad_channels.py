"""Add channels of zeros, so that depthwise layers have full channel blocks.

ONNX Runtime's blocked layout stores channels in blocks of 8 or 16 (x86-64). It pads the inputs and
outputs of a layer without groups, but a depthwise layer must have full blocks::

    before   Conv(18) ─ depthwise(18) ─ … ─ Conv
    after    Conv(32) ─ depthwise(32) ─ … ─ Conv      14 channels stay zero

All weights, biases and slopes of the new channels are zero, and the channels are unused.
"""

from __future__ import annotations

import numpy as np

from ..graph.report import Refusal, Report
from .families import families
from .layer_weights import is_depthwise
from .onnx_graph import Network
from .resize import resize

__all__ = ["pad_channels"]


def pad_channels(network: Network, *, multiple: int) -> Report:
    """Pads the channels around every depthwise layer to full blocks.

    Args:
        network: The network.
        multiple: Number of channels in a block.
    """
    changed, refused = [], []
    for family in families(network):
        missing = -family.channels % multiple
        makers = [node for value in family.members if (node := value.producer()) is not None]
        if not missing or not any(is_depthwise(network, node) for node in makers):
            continue
        name = str(family.members[0].name)
        if family.pinned:
            refused.append(Refusal(name, family.pinned))
            continue
        numbers = np.concatenate([np.arange(family.channels), np.full(missing, -1)])
        resize(network, family, numbers)
        changed.append(f"{name}: {family.channels} channels to {len(numbers)}")
    return Report(tuple(changed), tuple(refused))

"""Set to zero the weights that cannot change the result.

Training drives weights to 1e-13 and below, not to zero. Their products with activations are
denormal numbers, which some CPUs compute a hundred times as slowly, although they vanish in sums of
ordinary size: a float32 sum resolves 6e-8 of its largest term::

    before   Conv(W, b) with |W| from 1e-39 to 1
    after    the same, every weight below 1e-12 · max |W| is zero

The fraction leaves a margin of 60,000 for activations that are larger where weights are small.
Other stored numbers, as biases and slopes, become zero only if they are denormal themselves.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.report import Report
from .layer_weights import layer_of
from .onnx_graph import Network

__all__ = ["zero_weights"]

_NEGLIGIBLE = 1e-12


def zero_weights(network: Network) -> Report:
    """Sets the negligible weights of layers, and all denormal numbers, to zero."""
    limits = {value: float(np.finfo(np.float32).tiny) for value in _arrays(network)}
    for node in network.nodes:
        layer = layer_of(network, node)
        value = node.inputs[1] if layer is not None else None
        array = network.stored(value)
        if value is not None and array is not None and value in limits:
            largest = float(np.abs(array.astype(np.float64)).max(initial=0.0))
            limits[value] = max(limits[value], _NEGLIGIBLE * largest)
    changed = []
    for value, limit in limits.items():
        array = network.stored(value)
        assert array is not None
        small = (array != 0) & (np.abs(array) < limit)
        if not small.any():
            continue
        network.overwrite(value, np.where(small, 0, array).astype(array.dtype))
        changed.append(f"{value.name}: {small.sum()} of {array.size} numbers")
    return Report(tuple(changed))


def _arrays(network: Network) -> list[ir.Value]:
    """The stored arrays of float32."""
    values = list(network.graph.initializers.values())
    found = ((value, network.stored(value)) for value in values)
    return [value for value, array in found if array is not None and array.dtype == np.float32]

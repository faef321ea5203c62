"""Multiply-adds of layers, from the shapes of what they read and write.

One multiply-add (MAC) is a multiplication and the addition of its product, as MobileFaceNets
(Chen et al. 2018, arXiv:1804.07573) counts them; He et al. (2015, arXiv:1512.03385) call the same
number FLOPs. Biases, activations, normalisation, sums, pooling and resizing are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["convolution", "product", "transposed_convolution"]

Sizes = Sequence[int | str | None]


def convolution(output: Sizes | None, weight: Sizes | None) -> int | None:
    """Each number of the result sums over one kernel: numbers of the result · C/groups · kernel.

    Args:
        output: Shape of the result.
        weight: Shape of the weights, (channels out, …); the axes after the first in any order.

    Returns:
        The number; None if a size is not known.
    """
    return _times(output, weight and weight[1:])


def transposed_convolution(data: Sizes | None, weight: Sizes | None) -> int | None:
    """Each number of the input is spread over one kernel: numbers of the input · C/groups · kernel.

    Products that padding cuts off the result are counted, because they are computed.

    Args:
        data: Shape of the input.
        weight: Shape of the weights, (channels in, channels out / groups, kernel …).

    Returns:
        The number; None if a size is not known.
    """
    return _times(data, weight and weight[1:])


def product(output: Sizes | None, inner: int | str | None) -> int | None:
    """Each number of a matrix product sums over the axis that disappears.

    Args:
        output: Shape of the result.
        inner: Size of the axis that disappears.

    Returns:
        The number; None if a size is not known.
    """
    return _times(output, (inner,))


def _times(first: Sizes | None, second: Sizes | None) -> int | None:
    if first is None or second is None:
        return None
    sizes = [size for size in (*first, *second) if isinstance(size, int)]
    return math.prod(sizes) if len(sizes) == len(first) + len(second) else None

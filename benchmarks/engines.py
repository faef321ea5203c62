"""MXNet as an engine: the symbol executor, its results copied out; and pictures to run it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mobileface_convert.reference import import_mxnet

__all__ = ["FloatArray", "Pictures", "example_pictures", "symbol_engine"]

FloatArray = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]


def symbol_engine(
    symbol: Path, arrays: Mapping[str, Any], shape: tuple[int, ...]
) -> Callable[[FloatArray], list[Any]]:
    """MXNet's symbol executor, bound once: its fastest documented way.

    Args:
        symbol: The -symbol.json file.
        arrays: MXNet arrays, or numpy's, by the symbol's names.
        shape: Of the input "data".
    """
    mxnet = import_mxnet()
    held = {name: mxnet.nd.array(array) for name, array in arrays.items()}
    executor = mxnet.sym.load(str(symbol)).simple_bind(mxnet.cpu(), grad_req="null", data=shape)
    executor.copy_params_from(held, held, allow_extra_params=True)

    def run(tensor: FloatArray) -> list[Any]:
        outputs = executor.forward(is_train=False, data=mxnet.nd.array(tensor))
        return [output.asnumpy() for output in outputs]

    return run


def example_pictures(source: Path, height: int, width: int) -> list[Pictures]:
    """Upstream's example photos, uint8 (1, height, width, 3) RGB."""
    paths = sorted((source / "example").rglob("*.jpg"))
    found = []
    for path in paths:
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        found.append(np.asarray(cv2.resize(picture, (width, height)), np.uint8)[np.newaxis])
    return found

"""Runs a symbol in MXNet without oneDNN; some operators of MXNet 1.9.1 fail with oneDNN.

python tests/run_plain_mxnet.py SYMBOL.json FEEDS.npz RESULT.npz
"""

from __future__ import annotations

import os
import sys

os.environ["MXNET_MKLDNN_ENABLED"] = "0"
os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"

import mxnet
import numpy as np


def main() -> None:
    symbol_path, feeds_path, result_path = sys.argv[1:]
    symbol = mxnet.sym.load(symbol_path)
    with np.load(feeds_path) as feeds:
        arrays = {name: mxnet.nd.array(feeds[name]) for name in feeds.files}
    shapes = {name: array.shape for name, array in arrays.items()}
    executor = symbol.simple_bind(mxnet.cpu(), grad_req="null", **shapes)
    outputs = executor.forward(is_train=False, **arrays)
    np.savez(result_path, *[output.asnumpy() for output in outputs])


if __name__ == "__main__":
    main()

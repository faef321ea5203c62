"""Deconvolution to a stated size, against MXNet without oneDNN, which fails on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import assert_close, random_arrays, run_onnx, sym

pytestmark = pytest.mark.needs_mxnet

SCRIPT = Path(__file__).parents[2] / "run_plain_mxnet.py"
SIZE = (2, 4, 5, 6)
CASES: tuple[dict[str, Any], ...] = (
    {"kernel": (4, 4), "stride": (2, 2), "target_shape": (10, 12)},
    {"kernel": (4, 4), "stride": (2, 2), "target_shape": (9, 11), "no_bias": False},
    {"kernel": (4, 4), "stride": (2, 2), "target_shape": (11, 13), "num_group": 2},
    {"kernel": (5, 3), "stride": (3, 2), "target_shape": (15, 12)},
    {"kernel": (2, 2), "stride": (2, 2), "target_shape": (10, 12), "pad": (1, 1), "adj": (1, 1)},
    {"kernel": (3, 3), "target_shape": (5, 6)},
)


def deconvolution(**attrs: Any) -> Any:
    return sym().Deconvolution(sym().Variable("data"), num_filter=4, name="n", **attrs)


@pytest.mark.slow
@pytest.mark.parametrize("attrs", CASES, ids=str)
def test_sizes_and_values_are_those_of_mxnet(attrs: dict[str, Any], tmp_path: Path) -> None:
    symbol = deconvolution(**attrs)
    arrays = random_arrays(symbol, 1, data=SIZE)
    data = np.random.RandomState(2).standard_normal(SIZE).astype(np.float32)
    paths = [tmp_path / name for name in ("symbol.json", "feeds.npz", "result.npz")]
    symbol.save(str(paths[0]))
    np.savez(paths[1], data=data, **arrays)
    subprocess.run([sys.executable, SCRIPT, *paths], check=True, capture_output=True)
    with np.load(paths[2]) as result:
        expected = [result[name] for name in result.files]
    model = to_onnx(read_symbol(symbol.tojson(), arrays), {"data": ("N", *SIZE[1:])})
    found = run_onnx(model, {"data": data})
    assert found[0].shape[2:] == attrs["target_shape"]
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize(
    ("target", "shape", "kind", "message"),
    [
        ((10, 12), ("N", 4, "H", "W"), UnsupportedOperatorError, "for data of unknown size"),
        ((30, 12), SIZE, GraphError, r"target_shape \(30, 12\) is not between 1 and"),
        ((7, 9), SIZE, GraphError, r"crops \(.*an odd number at stride 1"),
        ((0, 12), SIZE, GraphError, r"target_shape \(0, 12\) is not between 1 and"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_are_named(
    target: tuple[int, int], shape: tuple[int | str, ...], kind: type[Exception], message: str
) -> None:
    stride = (1, 1) if target == (7, 9) else (2, 2)
    symbol = deconvolution(kernel=(4, 4), stride=stride, target_shape=target)
    arrays = {"n_weight": np.ones((4, 4, 4, 4), np.float32)}
    with pytest.raises(kind, match=rf"node 'n' \(Deconvolution\).*{message}"):
        to_onnx(read_symbol(symbol.tojson(), arrays), {"data": shape})


def test_dilation_has_no_oracle() -> None:
    """MXNet without oneDNN gives other numbers than its own formula for the borders."""
    symbol = deconvolution(kernel=(3, 3), dilate=(2, 1), target_shape=(7, 7))
    arrays = {"n_weight": np.ones((4, 4, 3, 3), np.float32)}
    with pytest.raises(UnsupportedOperatorError, match=r"target_shape with dilate=\(2, 1\)"):
        to_onnx(read_symbol(symbol.tojson(), arrays), {"data": SIZE})

"""Attributes of operators that are too large, negative or of another kind: one error each."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import ConversionError, ParityError
from mobileface_convert.commands.main import main
from mobileface_convert.exports.exported import relative_error
from mobileface_convert.exports.network_export import export_model
from mobileface_convert.frontends.mxnet_params import write_params

HUGE, LONG = "9" * 30, "9" * 5000

CASES: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "adaptive zero": ("_contrib_AdaptiveAvgPooling2D", {"output_size": "(0, 0)"}, ()),
    "adaptive four": ("_contrib_AdaptiveAvgPooling2D", {"output_size": "(1, 2, 3, 4)"}, ()),
    "fc negative": ("FullyConnected", {"num_hidden": "-1"}, ("t_weight", "t_bias")),
    "fc huge": ("FullyConnected", {"num_hidden": HUGE}, ("t_weight", "t_bias")),
    "conv huge": (
        "Convolution",
        {"kernel": "(1, 1)", "num_filter": HUGE},
        ("t_weight", "t_bias"),
    ),
    "slice huge": ("slice_axis", {"axis": "2", "begin": "1", "end": HUGE}, ()),
    "slice long": ("slice_axis", {"axis": "2", "begin": "1", "end": LONG}, ()),
    "resize huge": ("_contrib_BilinearResize2D", {"height": HUGE, "width": "8"}, ()),
    "resize large": ("_contrib_BilinearResize2D", {"height": "999999", "width": "999999"}, ()),
    "repeat huge": ("repeat", {"repeats": "99999999999", "axis": "1"}, ()),
    "repeat large": ("repeat", {"repeats": "100000000", "axis": "1"}, ()),
    "repeat axis": ("repeat", {"repeats": "2", "axis": HUGE}, ()),
    "tile huge": ("tile", {"reps": "(1, 1, 99999999, 99999999)"}, ()),
    "upsampling huge": ("UpSampling", {"scale": "999999", "sample_type": "nearest"}, ()),
    "pad huge": ("Pad", {"mode": "constant", "pad_width": f"(0,0,0,0,{HUGE},0,0,0)"}, ()),
    "reshape huge": ("Reshape", {"shape": f"({HUGE}, -1)"}, ()),
    "transpose huge": ("transpose", {"axes": f"(0, 1, 2, {HUGE})"}, ()),
    "lrn even": ("LRN", {"nsize": "2"}, ()),
    "clip crossed": ("clip", {"a_min": "3", "a_max": "0"}, ()),
    "clip nan": ("clip", {"a_min": "nan", "a_max": "0"}, ()),
    "pooling huge": ("Pooling", {"kernel": f"({HUGE}, 1)", "pool_type": "max"}, ()),
    "pooling zero": ("Pooling", {"kernel": "(0, 0)", "pool_type": "max"}, ()),
    "softmax axis": ("softmax", {"axis": HUGE}, ()),
}


def files(
    folder: Path, op: str, attrs: dict[str, str], extra: tuple[str, ...]
) -> tuple[Path, Path]:
    """A network of one operator, with small weights."""
    names = ["data", *extra]
    nodes: list[dict[str, Any]] = [{"op": "null", "name": n, "inputs": []} for n in names]
    inputs = [[place, 0, 0] for place in range(len(names))]
    nodes.append({"op": op, "name": "t", "attrs": attrs, "inputs": inputs})
    document = {
        "nodes": nodes,
        "arg_nodes": list(range(len(names))),
        "heads": [[len(names), 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }
    symbol, params = folder / "n-symbol.json", folder / "n-0000.params"
    symbol.write_text(json.dumps(document))
    arrays = {f"arg:{name}": np.ones((2, 3, 1, 1), np.float32) for name in extra}
    params.write_bytes(write_params(arrays or {"arg:unused": np.ones(1, np.float32)}))
    return symbol, params


@pytest.mark.parametrize("name", CASES)
def test_one_error(name: str, tmp_path: Path) -> None:
    symbol, params = files(tmp_path, *CASES[name])
    tracemalloc.start()
    try:
        with pytest.raises(ConversionError) as caught:
            export_model(
                symbol, params, tmp_path / "o.onnx", shapes={"": (1, 3, 8, 10)}, allow_extra=True
            )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{peak / 1e6:.1f} MB: {caught.value}")
    assert peak < 100e6
    assert "'t'" in str(caught.value)
    assert not (tmp_path / "o.onnx").exists()


def test_the_command_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    symbol, params = files(tmp_path, *CASES["repeat huge"])
    options = ["--symbol", str(symbol), "--params", str(params), "--allow-extra"]
    shape = ["--input-shape", "1,3,8,10", "--output", str(tmp_path / "o.onnx")]
    assert main(["model", *options, *shape]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "99,999,999,999 numbers" in error


def nan_network(folder: Path) -> tuple[Path, Path]:
    symbol, params = files(folder, "_div_scalar", {"scalar": "0"}, ())
    document = json.loads(symbol.read_text())
    document["nodes"].append(
        {"op": "_mul_scalar", "name": "z", "attrs": {"scalar": "0"}, "inputs": [[1, 0, 0]]}
    )
    document["heads"] = [[2, 0, 0]]
    symbol.write_text(json.dumps(document))
    return symbol, params


def test_nan_verifies_nothing(tmp_path: Path) -> None:
    """x / 0 · 0: equal nans on both sides were certified with error 0."""
    symbol, params = nan_network(tmp_path)
    with pytest.raises(ParityError, match="is nan or infinite"):
        export_model(
            symbol,
            params,
            tmp_path / "o.onnx",
            shapes={"": (1, 3, 8, 10)},
            allow_extra=True,
            verify=True,
        )
    assert not (tmp_path / "o.onnx").exists()


def test_errors_of_outputs_that_are_not_finite() -> None:
    some = np.array([1.0, np.inf, -np.inf, 2.0], np.float32)
    assert relative_error("o", some, some) == 0
    assert relative_error("o", some + np.float32(0.5), some) == pytest.approx(0.25)
    for found, expected in (
        ([1, np.nan], [1, np.nan]),
        ([1, np.nan], [1, 2]),
        ([1, 2], [1, np.nan]),
        ([np.inf, np.inf], [np.inf, np.inf]),
        ([1, np.inf], [1, -np.inf]),
        ([1, np.inf], [1, 2]),
        ([1, 2], [1, np.inf]),
    ):
        with pytest.raises(ParityError, match=r"nan or infinite|inf at different"):
            relative_error("o", np.array(found, np.float32), np.array(expected, np.float32))
    assert relative_error("o", np.empty(0, np.float32), np.empty(0, np.float32)) == 0

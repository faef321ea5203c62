"""Feature maps made larger or smaller, against MXNet, for sizes known and unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import ConversionError, GraphError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import Case, check_case, check_dynamic, sym

IMAGE = (4, 6, 7)
SIZES = ((1, 4, 6, 7), (2, 4, 9, 5), (1, 4, 8, 8))

DECONVOLUTIONS: tuple[dict[str, Any], ...] = (
    {"kernel": (3, 3)},
    {"kernel": (4, 4), "stride": (2, 2), "pad": (1, 1)},
    {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "adj": (1, 1)},
    {"kernel": (2, 3), "stride": (2, 1), "pad": (0, 1), "no_bias": False},
    {"kernel": (3, 3), "num_group": 2, "no_bias": False},
    {"kernel": (4, 4), "stride": (2, 2), "pad": (1, 1), "num_group": 4},
    {"kernel": (3, 3), "dilate": (2, 1)},
)


def cases() -> list[Case]:
    found = [
        Case("Deconvolution", IMAGE, {"num_filter": 8, **attrs}, 1, 1e-6)
        for attrs in DECONVOLUTIONS
    ]
    line = {"kernel": (3,), "stride": (2,), "num_filter": 2}
    found.append(Case("Deconvolution", (4, 9), line, 1, 1e-6))
    found += [
        Case("UpSampling", IMAGE, {"scale": scale, "sample_type": "nearest"}) for scale in (1, 2, 3)
    ]
    found += [
        Case("Crop", IMAGE, {"h_w": (3, 4), "num_args": 1}),
        Case("Crop", IMAGE, {"h_w": (3, 4), "offset": (2, 3), "num_args": 1}),
        Case("Crop", IMAGE, {"h_w": (3, 4), "center_crop": True, "num_args": 1}),
    ]
    border = (0, 0, 0, 0, 1, 2, 3, 1)
    found += [
        Case("Pad", IMAGE, {"mode": mode, "pad_width": border}) for mode in ("edge", "reflect")
    ]
    found.append(
        Case("Pad", IMAGE, {"mode": "constant", "pad_width": border, "constant_value": -1.5})
    )
    return found


CASES = cases()


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_conversion_computes_what_mxnet_computes(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("attrs", DECONVOLUTIONS, ids=str)
def test_deconvolution_of_maps_of_any_size(attrs: dict[str, Any]) -> None:
    data = sym().Variable("data")
    check_dynamic(sym().Deconvolution(data, num_filter=8, name="n", **attrs), *SIZES)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("mode", ["concat", "sum"])
def test_maps_of_several_sizes_are_brought_to_one(mode: str) -> None:
    data = sym().Variable("data")
    small = sym().Pooling(data, kernel=(2, 2), stride=(2, 2))
    up = sym().UpSampling(
        data, small, scale=2, sample_type="nearest", num_args=2, multi_input_mode=mode
    )
    check_dynamic(up, (1, 4, 6, 8), (2, 4, 10, 4), tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bilinear_upsampling_is_a_stored_kernel(scale: int) -> None:
    data = sym().Variable("data")
    up = sym().UpSampling(
        data, scale=scale, sample_type="bilinear", num_filter=4, num_args=2, name="n"
    )
    check_dynamic(up, *SIZES)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("attrs", [{}, {"offset": (1, 2)}, {"center_crop": True}], ids=str)
def test_a_crop_to_the_size_of_another_map(attrs: dict[str, Any]) -> None:
    data = sym().Variable("data")
    small = sym().Pooling(data, kernel=(3, 3), stride=(2, 2))
    check_dynamic(sym().Crop(data, small, num_args=2, **attrs), *SIZES, tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("Crop", {"h_w": (7, 4), "num_args": 1}, r"a crop of \(7, 4\)"),
        ("Pad", {"mode": "edge", "pad_width": (0, 0, 1, 1, 0, 0, 0, 0)}, r"pad_width \(0, 0, 1"),
    ],
)
def test_what_does_not_fit_is_named(op: str, attrs: dict[str, Any], message: str) -> None:
    symbol = getattr(sym(), op)(sym().Variable("data"), name="n", **attrs)
    graph = read_symbol(symbol.tojson(), {})
    with pytest.raises(GraphError, match=rf"node 'n' \({op}\).*{message}"):
        to_onnx(graph, {"data": ("N", *IMAGE)})


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"num_filter": 8, "num_group": 3}, "4 channels to 8 filters in 3 groups"),
        ({"num_filter": 8, "stride": (2, 2), "adj": (2, 0)}, r"adj \(2, 0\) must be at least 0"),
        ({"num_filter": 6}, r"array 'n_weight' has shape \(4, 8, 3, 3\)"),
    ],
    ids=str,
)
def test_a_deconvolution_without_conversion_is_named(attrs: dict[str, Any], message: str) -> None:
    symbol = sym().Deconvolution(sym().Variable("data"), kernel=(3, 3), name="n", **attrs)
    graph = read_symbol(symbol.tojson(), {"n_weight": np.ones((4, 8, 3, 3), np.float32)})
    with pytest.raises(ConversionError, match=rf"node 'n' \(Deconvolution\).*{message}"):
        to_onnx(graph, {"data": ("N", *IMAGE)})

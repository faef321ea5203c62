"""Suppression of boxes as an operator, and maps of a stated size, against MXNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import (
    Case,
    assert_close,
    assert_refused,
    check_case,
    check_dynamic,
    operator,
    run_mxnet,
    run_onnx,
    sym,
)

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"overlap_thresh": 0.3, "valid_thresh": 0.2, "topk": 5},
    {"id_index": 0, "background_id": 1},
    {"id_index": 0, "force_suppress": True},
    {"coord_start": 1, "score_index": 0, "out_format": "center"},
)
SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))
CASES = [
    *[Case("_contrib_box_nms", (12, 6), attrs) for attrs in SETTINGS],
    *[
        Case("_contrib_BilinearResize2D", (3, 4, 5), {"height": h, "width": w, **more}, 1, 1e-6)
        for h, w in ((8, 10), (3, 2), (4, 5), (7, 9))
        for more in ({}, {"align_corners": False})
    ],
    *[
        Case("_contrib_AdaptiveAvgPooling2D", (3, 4, 6), {"output_size": size}, 1, 1e-6)
        for size in ((1,), (2,), (4, 3), ())
    ],
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_values_are_those_of_mxnet(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("attrs", SETTINGS, ids=str)
def test_rows_of_boxes(attrs: dict[str, Any]) -> None:
    """Boxes that overlap, of three classes, for any number of rows and pictures."""
    symbol = operator("_contrib_box_nms")(sym().Variable("data"), **attrs)
    model = to_onnx(read_symbol(symbol.tojson(), {}), {"data": ("N", "R", 6)})
    generator = np.random.RandomState(6)
    start, score = attrs.get("coord_start", 2), attrs.get("score_index", 1)
    for count, rows in ((1, 40), (3, 9), (2, 1)):
        data = generator.randint(0, 3, (count, rows, 6)).astype(np.float32)
        data[..., score] = generator.rand(count, rows)
        low, size = generator.rand(2, count, rows, 2) * 10
        data[..., start : start + 4] = np.concatenate([low, low + size], axis=-1)
        feeds = {"data": data}
        assert_close(run_onnx(model, feeds), run_mxnet(symbol, {}, feeds), 0)


@pytest.mark.needs_mxnet
def test_maps_of_any_size() -> None:
    data = sym().Variable("data")
    resized = operator("_contrib_BilinearResize2D")(data, height=9, width=4)
    check_dynamic(resized, *SIZES, tolerance=1e-6)
    check_dynamic(operator("_contrib_AdaptiveAvgPooling2D")(data), *SIZES, tolerance=1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "shape", "attrs", "kind", "message"),
    [
        ("_contrib_box_nms", ("N", 9, 5), {}, GraphError, "5 columns, at least 6 are needed"),
        ("_contrib_box_nms", (9, 6), {}, UnsupportedOperatorError, r"\(9,6\)|\[9,6\]"),
        (
            "_contrib_box_nms",
            ("N", 9, 6),
            {"in_format": "center"},
            UnsupportedOperatorError,
            "center",
        ),
        (
            "_contrib_BilinearResize2D",
            ("N", 3, 4, 4),
            {"scale_height": 2.0, "scale_width": 2.0},
            UnsupportedOperatorError,
            "scale_height",
        ),
        (
            "_contrib_AdaptiveAvgPooling2D",
            ("N", 3, 4, 4),
            {"output_size": 3},
            UnsupportedOperatorError,
            "4x4 to 3x3",
        ),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str,
    shape: tuple[int | str, ...],
    attrs: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    assert_refused(op, attrs, kind, message, shape)

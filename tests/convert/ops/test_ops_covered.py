"""Every operator that can be converted has a case that is compared with MXNet."""

from __future__ import annotations

import importlib

from mobileface_convert.ops import registered

CASE_MODULES = (
    "test_ops",
    "test_ops_boxes",
    "test_ops_broadcast",
    "test_ops_elementwise",
    "test_ops_normalisation",
    "test_ops_pooling",
    "test_ops_reduce",
    "test_ops_resample",
    "test_ops_shape",
    "test_ops_slice",
    "test_ops_softmax",
)
"""Where the cases of all operators are: each module has a list ``CASES``."""


def test_every_registered_operator_has_a_case() -> None:
    modules = [importlib.import_module(f"tests.convert.ops.{name}") for name in CASE_MODULES]
    assert {case.op for module in modules for case in module.CASES} == set(registered())

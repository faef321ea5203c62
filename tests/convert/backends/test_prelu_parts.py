"""PRelu written as convolutions beside ONNX Runtime's own PRelu."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mobileface_convert.backends.prelu_parts import split_prelus
from mobileface_convert.graph.onnx_builder import GraphBuilder
from mobileface_convert.oracles.verify import open_model

SLOPES = {
    "usual": np.linspace(-0.5, 0.9, 16),
    "above one": np.linspace(-2, 3, 16),
    "exact": np.array([0, 1, -1, 2, 0.5, 1.5, 0, 1]),
}


def network(shape: tuple[int | str, ...], slopes: np.ndarray) -> ir.Model:  # type: ignore[type-arg]
    """A PRelu between two that are no part of it, so that names and readers are kept."""
    builder = GraphBuilder("net")
    x = builder.input("x", np.float32, shape)
    stored = builder.constant(slopes.astype(np.float32), name="slopes")
    bent = builder.op("PRelu", builder.op("Abs", builder.op("Neg", x)), stored, name="bent")
    more = builder.op("PRelu", builder.op("Sub", bent, x), stored, name="bent_linear")
    return builder.build({"y": builder.op("Add", bent, more)})


@pytest.mark.parametrize("name", SLOPES)
def test_values_stay(name: str) -> None:
    slopes = SLOPES[name].reshape(-1, 1, 1)
    x = 10 * np.random.RandomState(2).standard_normal((3, len(slopes), 7, 5)).astype(np.float32)
    model = network(("N", len(slopes), 7, 5), slopes)
    (expected,) = open_model(ir.to_proto(model)).run(None, {"x": x})
    assert split_prelus(model) == 2
    kinds = [node.op_type for node in model.graph]
    assert "PRelu" not in kinds
    assert kinds.count("Conv") == (6 if (slopes > 1).any() else 4)
    assert "slopes" not in model.graph.initializers
    (found,) = open_model(ir.to_proto(model)).run(None, {"x": x})
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    print(f"{name}: largest error {error:.1e} of the largest value")
    assert error < 5e-7


@pytest.mark.parametrize(
    ("shape", "slopes"),
    [(("N", 8, 4, 4), (1, 1, 1)), (("N", 8, 4, 4), (8, 4, 4)), (("N", 8), (8,))],
)
def test_other_forms_stay(shape: tuple[int | str, ...], slopes: tuple[int, ...]) -> None:
    """One slope for all, one for each element, and rows."""
    model = network(shape, np.full(slopes, 0.25))
    assert split_prelus(model) == 0
    assert [node.op_type for node in model.graph].count("PRelu") == 2

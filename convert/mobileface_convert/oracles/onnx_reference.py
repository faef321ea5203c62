"""Runs a source graph with the ONNX project's reference evaluator, in plain numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from ..backends.onnx import add_graph
from ..graph.onnx_builder import GraphBuilder
from ..graph.source_graph import Graph

__all__ = ["ReferenceNetwork"]

FloatArray = npt.NDArray[np.float32]


class ReferenceNetwork:
    """Runs a network before any pass, slowly and independently of ONNX Runtime.

    This verifies the passes and the engine. It does not verify the operators' conversions; only a
    run in the original framework does.

    Args:
        graph: The network.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.name = f"ONNX {onnx.__version__}'s reference evaluator on the unrewritten graph"

    def run(self, inputs: Mapping[str, FloatArray]) -> list[FloatArray]:
        """Returns the network's outputs for inputs by name, all float32."""
        builder = GraphBuilder("reference")
        fed = {name: builder.input(name, np.float32, a.shape) for name, a in inputs.items()}
        found = add_graph(builder, self._graph, fed)
        outputs = {f"output{index}": value for index, value in enumerate(found)}
        evaluator = ReferenceEvaluator(ir.to_proto(builder.build(outputs)))
        results: list[FloatArray] = evaluator.run(None, dict(inputs))
        return results

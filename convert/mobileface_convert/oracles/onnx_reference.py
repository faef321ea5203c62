"""A source graph run by the ONNX project's reference evaluator, in plain numpy."""

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
    """A network before any rewriting, slow and independent of ONNX Runtime.

    It shows whether rewriting and the engine are right; whether the operators are, only a run in
    their own framework shows.

    Args:
        graph: The network.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.name = f"ONNX {onnx.__version__}'s reference evaluator on the unrewritten graph"

    def run(self, inputs: Mapping[str, FloatArray]) -> list[FloatArray]:
        """The network's outputs for inputs by name."""
        builder = GraphBuilder("reference")
        fed = {name: builder.input(name, np.float32, a.shape) for name, a in inputs.items()}
        found = add_graph(builder, self._graph, fed)
        outputs = {f"output{index}": value for index, value in enumerate(found)}
        evaluator = ReferenceEvaluator(ir.to_proto(builder.build(outputs)))
        results: list[FloatArray] = evaluator.run(None, dict(inputs))
        return results

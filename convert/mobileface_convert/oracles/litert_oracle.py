"""Runs TensorFlow Lite files with LiteRT (``ai-edge-litert``), on a processor, one thread."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError

__all__ = ["LiteRTReference", "litert_is_installed", "with_real_weights"]

FloatArray = npt.NDArray[np.float32]

_PACKAGE = "ai_edge_litert"
_QUANTIZED = (3, 9)
"""uint8 and int8 in the schema."""
_DEQUANTIZE = 6


def litert_is_installed() -> bool:
    """Whether LiteRT can be imported."""
    return importlib.util.find_spec(_PACKAGE) is not None


class LiteRTReference:
    """The network of a file that was read and checked before; LiteRT does not check much.

    Args:
        content: The bytes of the file.
        where: Name of the file in error messages.
        reference_kernels: Use TensorFlow Lite's plain C++ loops instead of XNNPACK.

    Attributes:
        name: What certificates call it.

    Raises:
        ConversionError: LiteRT is not installed, or cannot run the file.
    """

    def __init__(self, content: bytes, where: str, *, reference_kernels: bool = False) -> None:
        if not litert_is_installed():
            raise ConversionError(
                "LiteRT is needed to compare",
                where=where,
                hint="pip install 'mobileface[reference]' on x86-64 Linux",
            )
        library = importlib.import_module(f"{_PACKAGE}.interpreter")
        kinds = library.OpResolverType
        content, changed = with_real_weights(content)
        self.name = f"LiteRT {importlib.metadata.version('ai-edge-litert')}"
        if changed:
            self.name += f", {changed} arrays of 8 bits dequantized first"
        self._where = where
        try:
            self._interpreter = library.Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=(
                    kinds.BUILTIN_REF if reference_kernels else kinds.AUTO
                ),
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._refusal(error) from error

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """The outputs by name, in the published order of axes, for inputs in it.

        Args:
            inputs: By name, float32 (N, …); the file's own batch is 1, so rows run one by one.

        Raises:
            ConversionError: LiteRT refuses the inputs.
        """
        rows = [
            self.run_whole({name: value[row : row + 1] for name, value in inputs.items()})
            for row in range(len(next(iter(inputs.values()))))
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def run_whole(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """The outputs for inputs that have the file's own shapes; see `run`.

        Raises:
            ConversionError: LiteRT refuses the inputs.
        """
        engine = self._interpreter
        places = {item["name"]: item["index"] for item in engine.get_input_details()}
        try:
            for name, value in inputs.items():
                engine.set_tensor(places[name], np.ascontiguousarray(value))
            engine.invoke()
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._refusal(error) from error
        return {
            item["name"]: engine.get_tensor(item["index"]) for item in engine.get_output_details()
        }

    def _refusal(self, error: Exception) -> ConversionError:
        text = " ".join(str(error).split())[:300]
        return ConversionError(f"LiteRT cannot run it ({text})", where=self._where)


def with_real_weights(content: bytes) -> tuple[bytes, int]:
    """A file whose stored 8-bit weights LiteRT dequantizes before they are used.

    Otherwise LiteRT rounds what is computed to 8 bits as well wherever weights have 8 bits
    ("hybrid" layers), by up to several percent of an output's range.

    Returns:
        The bytes, and how many arrays are dequantized; the given bytes if that is none.
    """
    schema: Any = importlib.import_module(f"{_PACKAGE}.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph, moved = model.subgraphs[0], dict[int, int]()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) == _DEQUANTIZE:
            continue
        numbers = [int(number) for number in operator.inputs]
        for position, number in enumerate(numbers):
            tensor = graph.tensors[number] if number >= 0 else None
            if tensor is None or tensor.type not in _QUANTIZED or tensor.quantization is None:
                continue
            if model.buffers[tensor.buffer].data is None:
                continue
            if number not in moved:
                moved[number] = len(graph.tensors)
                real = schema.TensorT()
                real.shape, real.type, real.name = tensor.shape, 0, b"real"
                graph.tensors.append(real)
            numbers[position] = moved[number]
        operator.inputs = np.array(numbers, np.int32)
    if not moved:
        return content, 0
    empty = schema.BufferT()
    model.buffers.append(empty)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _DEQUANTIZE
    code.version = 5
    model.operatorCodes.append(code)
    for old, new in moved.items():
        graph.tensors[new].buffer = len(model.buffers) - 1
        first = schema.OperatorT()
        first.opcodeIndex = len(model.operatorCodes) - 1
        first.inputs, first.outputs = np.array([old], np.int32), np.array([new], np.int32)
        graph.operators.insert(0, first)
    builder = importlib.import_module("flatbuffers").Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), len(moved)

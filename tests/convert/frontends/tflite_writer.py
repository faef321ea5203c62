"""Small TensorFlow Lite files, written with the flatbuffers classes that come with LiteRT.

The reader uses other classes (the package ``tflite``), so both come from the schema independently.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
CUSTOM = 32


def schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class Writer:
    """Collects tensors and operators of one graph, then packs them."""

    def __init__(self) -> None:
        self.model = schema().ModelT()
        self.graph = schema().SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.operatorCodes, self.model.buffers = [], [schema().BufferT()]
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        made = schema().TensorT()
        made.name, made.type, made.buffer = name.encode(), TYPES[dtype], 0
        made.shape = np.array(shape, np.int32)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def input(self, name: str, shape: Sequence[int]) -> int:
        number = self.tensor(name, shape)
        self.graph.inputs.append(number)
        return number

    def stored(
        self,
        array: Any,
        scales: Sequence[float] = (),
        zeros: Sequence[int] = (),
        axis: int = 0,
    ) -> int:
        array = np.ascontiguousarray(array)
        number = self.tensor(f"stored_{len(self.graph.tensors)}", array.shape, str(array.dtype))
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = self.graph.tensors[number]
        tensor.buffer = len(self.model.buffers) - 1
        if len(scales):
            found = schema().QuantizationParametersT()
            found.scale, found.quantizedDimension = np.array(scales, np.float32), axis
            found.zeroPoint = np.array(zeros if len(zeros) else [0] * len(scales), np.int64)
            tensor.quantization = found
        return number

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        table: str = "",
        *,
        version: int = 1,
        custom: bytes | None = None,
        shape: Sequence[int] = (1,),
        dtype: str = "float32",
        **options: Any,
    ) -> int:
        """Adds an operator; returns the tensor that it writes, whose shape LiteRT finds out."""
        code = schema().OperatorCodeT()
        number = CUSTOM if custom is not None else getattr(schema().BuiltinOperator, kind)
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.version, code.customCode = version, kind.encode() if custom is not None else None
        self.model.operatorCodes.append(code)
        made = schema().OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array([self.tensor(f"made_{made.opcodeIndex}", shape, dtype)], np.int32)
        if custom is not None:
            made.customOptions = np.frombuffer(custom, np.uint8)
        if table:
            made.builtinOptionsType = getattr(schema().BuiltinOptions, table)
            made.builtinOptions = getattr(schema(), f"{table}T")()
            for name, value in options.items():
                assert hasattr(made.builtinOptions, name), name
                setattr(made.builtinOptions, name, value)
        self.graph.operators.append(made)
        return int(made.outputs[0])

    def conv(self, given: int, weight: Any, bias: Any = None, **options: Any) -> int:
        """A CONV_2D with stored weights (out, height, width, in)."""
        usual = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        inputs = [given, weight if isinstance(weight, int) else self.stored(weight)]
        inputs += [] if bias is None else [self.stored(bias)]
        return self.op("CONV_2D", inputs, "Conv2DOptions", **{**usual, **options})

    def content(self, *outputs: int) -> bytes:
        """The bytes of the file, without a word about shapes."""
        import flatbuffers

        self.graph.outputs = list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def file(self, *outputs: int) -> bytes:
        """The bytes of the file, with the shape that LiteRT gives to each tensor."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        custom = any(code.customCode for code in self.model.operatorCodes)  # XNNPACK alone has one
        kinds = OpResolverType.AUTO if custom else OpResolverType.BUILTIN_REF
        engine = Interpreter(
            model_content=self.content(*outputs), experimental_op_resolver_type=kinds
        )
        engine.allocate_tensors()
        for item in engine.get_tensor_details():
            if item["index"] < len(self.graph.tensors):
                self.graph.tensors[item["index"]].shape = np.array(item["shape"], np.int32)
        return self.content(*outputs)


def transpose_options(padding: int, across: int, down: int) -> bytes:
    return struct.pack("<3i", padding, across, down)


def small_network(seed: int = 3) -> bytes:
    """Float16, int8 and float32 weights, windows, sums, a head and a fully connected layer."""
    random = np.random.RandomState(seed)

    def noise(*shape: int) -> Any:
        return random.uniform(-0.5, 0.5, shape).astype(np.float32)

    net = Writer()
    image = net.input("image", (1, 12, 10, 3))
    half = net.op("DEQUANTIZE", [net.stored(noise(4, 3, 3, 3).astype(np.float16))], version=2)
    first = net.conv(image, half, noise(4), padding=0, strideH=2, strideW=2)
    eight = random.randint(-127, 128, (1, 3, 3, 4)).astype(np.int8)
    weight = net.stored(eight, random.uniform(0.001, 0.01, 4), axis=3)
    second = net.op(
        "DEPTHWISE_CONV_2D", [first, weight, net.stored(noise(4))], "DepthwiseConv2DOptions",
        version=6, padding=0, strideH=1, strideW=1, depthMultiplier=1, dilationHFactor=1,
        dilationWFactor=1, fusedActivationFunction=1,
    )  # fmt: skip
    both = net.op("ADD", [first, second], "AddOptions")
    padded = net.op("PAD", [both, net.stored(np.array([[0, 0], [1, 0], [0, 1], [0, 2]], np.int32))])
    head = net.op("RESHAPE", [padded], "ReshapeOptions", newShape=np.array([1, -1, 2], np.int32))
    pooled = net.op(
        "MEAN", [padded, net.stored(np.array([1, 2], np.int32))], "ReducerOptions", keepDims=False
    )
    scores = net.op(
        "FULLY_CONNECTED", [pooled, net.stored(noise(5, 6)), net.stored(noise(5))],
        "FullyConnectedOptions",
    )  # fmt: skip
    chances = net.op("SOFTMAX", [scores], "SoftmaxOptions", beta=1.0)
    return net.file(head, chances)

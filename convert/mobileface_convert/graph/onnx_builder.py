"""A thin builder over onnx-ir: names values, shares equal constants, infers shapes, builds models.

It is used by the operator conversions and by front-ends without a source graph (tree ensembles,
gradient histograms), so that all models get the same opset, IR version and naming scheme. Shapes
are inferred node by node while building: a conversion can query the rank of its inputs, and a shape
error is reported at the node that causes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.shape_inference import InferenceError, infer_node_outputs

from mobileface.errors import GraphError

__all__ = ["DEFAULT_OPSET", "GraphBuilder", "free_name", "without_defaults"]

DEFAULT_OPSET = 17
"""The oldest ai.onnx opset with all required operators; supported by other engines as well."""

_IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}

Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | ir.TensorProtocol
Dimension = int | str

_MAX_SHAPE_DATA = 64
"""Constants of up to this many elements are passed to shape inference (shapes, axes, slices)."""


class GraphBuilder:
    """Collects nodes and constants and builds an ``onnx_ir.Model``.

    Args:
        name: Name of the graph.
        opset: Version of the default ONNX operator set, 17 to 23.

    Raises:
        GraphError: If the opset is not supported.
    """

    def __init__(self, name: str, opset: int = DEFAULT_OPSET) -> None:
        if opset not in _IR_VERSIONS:
            raise GraphError(
                f"opset {opset} is not supported: must be one of {sorted(_IR_VERSIONS)}"
            )
        self.name = name
        self.opset = opset
        self._tape = ir.tape.Tape()
        self._inputs: list[ir.Value] = []
        self._options: dict[ir.Value, ir.TensorProtocol] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._names: set[str] = set()
        self._domains: dict[str, int] = {}

    def input(self, name: str, dtype: npt.DTypeLike, shape: Sequence[Dimension]) -> ir.Value:
        """Declares a graph input; a string in the shape is the name of a dynamic dimension."""
        value = ir.val(
            self._unique(name), dtype=ir.DataType.from_numpy(np.dtype(dtype)), shape=ir.Shape(shape)
        )
        self._inputs.append(value)
        return value

    def option(self, name: str, default: npt.ArrayLike, dtype: npt.DTypeLike) -> ir.Value:
        """Declares an optional scalar graph input with a default value."""
        value = self.input(name, dtype, ())
        self._options[value] = ir.tensor(np.asarray(default, dtype), name=value.name)
        return value

    def constant(
        self, value: npt.ArrayLike, dtype: npt.DTypeLike | None = None, *, name: str = "const"
    ) -> ir.Value:
        """An initializer; constants with equal values, dtype and shape are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype=dtype))
        array = array.reshape(np.shape(value))  # ascontiguousarray turns a scalar into (1,)
        digest = hashlib.sha256(array.tobytes()).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self._constants:
            unique = self._unique(name)
            self._constants[key] = self._tape.initializer(ir.tensor(array, name=unique))
        return self._constants[key]

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        name: str | None = None,
        domain: str = "",
        version: int = 0,
        **attributes: Attribute,
    ) -> ir.Value:
        """Adds a node with one output and returns that output.

        Args:
            op_type: Name of the ONNX operator.
            inputs: Inputs of the operator; None omits an optional input.
            name: Name of the node and of its output (made unique); by default the operator's name
                in lower case.
            domain: Operator domain; "" is ai.onnx.
            version: Opset version of a domain other than ai.onnx.
            attributes: Attributes of the operator.

        Raises:
            GraphError: If the shapes of the inputs do not fit together.
        """
        return self.op_multi(
            op_type, *inputs, outputs=1, name=name, domain=domain, version=version, **attributes
        )[0]

    def op_multi(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int,
        name: str | None = None,
        domain: str = "",
        version: int = 0,
        **attributes: Attribute,
    ) -> Sequence[ir.Value]:
        """Adds a node with several outputs; see `op`."""
        if domain:
            self._domains[domain] = version
        unique = self._unique(name or op_type.lower())
        values = self._tape.op_multi_out(
            op_type,
            inputs,
            attributes=attributes,
            num_outputs=outputs,
            domain=domain,
            name=unique,
        )
        for index, value in enumerate(values):
            value.name = unique if outputs == 1 else self._unique(f"{unique}_{index}")
        self._infer(values)
        return values

    def build(
        self,
        outputs: Mapping[str, ir.Value],
        *,
        dtypes: Mapping[str, npt.DTypeLike] | None = None,
        shapes: Mapping[str, Sequence[Dimension]] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ir.Model:
        """Builds the model.

        Args:
            outputs: Values by output name, in output order. An Identity is added for a value that
                is an input, a constant or already an output, because ONNX requires unique output
                names.
            dtypes: Element type by output name; float32 by default.
            shapes: Shape by output name; a string is the name of a dynamic dimension. Unknown by
                default.
            metadata: Entries of the model's metadata_props.
        """
        graph_outputs: list[ir.Value] = []
        for name, value in outputs.items():
            if value.producer() is None or value in graph_outputs:
                value = self.op("Identity", value)
            self._rename(value, name)
            dtype = np.dtype((dtypes or {}).get(name, np.float32))
            value.dtype = ir.DataType.from_numpy(dtype)
            if shapes and name in shapes:
                value.shape = ir.Shape(shapes[name])
            graph_outputs.append(value)
        # Set defaults only after shape inference, which must not treat them as constants.
        for value, default in self._options.items():
            value.const_value = default
        graph = ir.Graph(
            inputs=self._inputs,
            outputs=graph_outputs,
            nodes=self._tape.nodes,
            initializers=[*self._tape.initializers, *self._options],
            opset_imports={"": self.opset, **self._domains},
            name=self.name,
        )
        return ir.Model(
            graph,
            ir_version=_IR_VERSIONS[self.opset],
            producer_name="mobileface",
            metadata_props=dict(metadata or {}),
        )

    def _infer(self, outputs: Sequence[ir.Value]) -> None:
        """Infers the dtype and, where possible, the shape of the outputs of a new node.

        Raises:
            GraphError: If the shapes of the node's inputs do not fit together.
        """
        node = outputs[0].producer()
        assert node is not None
        version = self._domains.get(node.domain, self.opset)
        inputs = [value for value in node.inputs if value is not None]
        if any(value.type is None for value in inputs):
            return
        try:
            found = infer_node_outputs(
                onnx.defs.get_schema(node.op_type, version, node.domain),
                ir.to_proto(node),
                {str(v.name): _type_proto(v) for v in inputs},
                {str(v.name): _tensor_proto(v) for v in inputs if _is_shape_data(v)},
                opset_imports=[onnx.helper.make_opsetid(node.domain, version)],
                ir_version=_IR_VERSIONS[self.opset],
            )
        except (InferenceError, onnx.checker.ValidationError) as error:
            shapes = ", ".join(str(value.shape) for value in inputs)
            raise GraphError(
                f"input shapes {shapes} do not fit together ({error})",
                where=f"ONNX node '{node.name}' ({node.op_type})",
            ) from error
        for value in outputs:
            proto = found.get(str(value.name))
            if proto is not None:
                value.type = ir.serde.deserialize_type_proto_for_type(proto)
                value.shape = ir.serde.deserialize_type_proto_for_shape(proto)

    def _rename(self, value: ir.Value, name: str) -> None:
        """Gives a value its final name; another value with that name is renamed."""
        if value.name == name:
            return
        others = [*self._inputs, *self._constants.values()]
        others += [output for node in self._tape.nodes for output in node.outputs]
        for other in others:
            if other.name == name:
                other.name = self._unique(name)
        self._names.add(name)
        value.name = name

    def _unique(self, name: str) -> str:
        """Reserves the name, with a number appended if it is already taken; see `free_name`."""
        found = free_name(name, self._names)
        self._names.add(found)
        return found


def without_defaults(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.TensorProto]]:
    """Splits a model into the model without default values of inputs, and these values."""
    inputs = {value.name for value in model.graph.input}
    defaults = [tensor for tensor in model.graph.initializer if tensor.name in inputs]
    if not defaults:
        return model, []
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in defaults:
        bare.graph.initializer.remove(tensor)
    return bare, defaults


def free_name(name: str, taken: Collection[str]) -> str:
    """The name itself, or with the first number appended that makes it different from ``taken``."""
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    """Type and shape of a value as an ONNX protobuf message."""
    return ir.to_proto(value).type


def _is_shape_data(value: ir.Value) -> bool:
    """True for a small constant, which may be a shape, axes, slice bounds or scales."""
    tensor = value.const_value
    if tensor is None or tensor.size > _MAX_SHAPE_DATA:
        return False
    return bool(tensor.dtype.is_integer() or tensor.dtype == ir.DataType.FLOAT)


def _tensor_proto(value: ir.Value) -> onnx.TensorProto:
    """The value of a constant as an ONNX protobuf message."""
    assert value.const_value is not None
    return ir.to_proto(value.const_value)

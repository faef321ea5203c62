"""A thin builder over onnx-ir: name values, share equal constants, infer shapes, finish a model.

Front-ends that have no graph of their own (tree ensembles, gradient histograms) and the operator
conversions both build with it, so that every artefact gets the same opset, IR version and names.
Shapes are inferred node by node while building: a conversion can ask for the rank of what it gets,
and a shape that cannot be is reported at the node that caused it.
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

__all__ = ["DEFAULT_OPSET", "GraphBuilder", "free_name"]

DEFAULT_OPSET = 17
"""The oldest ai.onnx opset with every operator we need; other engines read it too."""

_IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}

Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | ir.TensorProtocol
Dimension = int | str

_MAX_SHAPE_DATA = 64
"""Constants up to this many elements are shown to shape inference (shapes, axes, slices)."""


class GraphBuilder:
    """Collects nodes and constants and finishes an ``onnx_ir.Model``.

    Args:
        name: Name of the graph.
        opset: Version of the default ONNX operator set, 17 to 23.
    """

    def __init__(self, name: str, opset: int = DEFAULT_OPSET) -> None:
        if opset not in _IR_VERSIONS:
            raise ValueError(f"opset {opset} is not one of {sorted(_IR_VERSIONS)}")
        self.name = name
        self.opset = opset
        self._tape = ir.tape.Tape()
        self._inputs: list[ir.Value] = []
        self._options: dict[ir.Value, ir.TensorProtocol] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._names: set[str] = set()
        self._domains: dict[str, int] = {}

    def input(self, name: str, dtype: npt.DTypeLike, shape: Sequence[Dimension]) -> ir.Value:
        """Declares a graph input; a string dimension is dynamic and named so."""
        value = ir.val(
            self._unique(name), dtype=ir.DataType.from_numpy(np.dtype(dtype)), shape=ir.Shape(shape)
        )
        self._inputs.append(value)
        return value

    def option(self, name: str, default: npt.ArrayLike, dtype: npt.DTypeLike) -> ir.Value:
        """Declares a scalar graph input that has a default: who runs the model may leave it out."""
        value = self.input(name, dtype, ())
        self._options[value] = ir.tensor(np.asarray(default, dtype), name=value.name)
        return value

    def constant(
        self, value: npt.ArrayLike, dtype: npt.DTypeLike | None = None, *, name: str = "const"
    ) -> ir.Value:
        """An initializer; equal content, dtype and shape are stored once."""
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
            op_type: ONNX operator.
            inputs: Its inputs; None leaves an optional one out.
            name: Name of the node and of its output (made unique); by default the op's name.
            domain: Operator domain; "" is ai.onnx.
            version: Opset version of a domain other than ai.onnx.
            attributes: The operator's attributes.
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
        """Finishes the model.

        Args:
            outputs: Name to value, in output order. A value that is an input, a constant or an
                output already gets an Identity, because ONNX wants each output's name once.
            dtypes: Element type of each output (default float32).
            shapes: Shape of each output; a string dimension is dynamic. Absent: unknown.
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
        for value, default in self._options.items():  # only now: inference must not rely on them
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
        """Gives the outputs of a new node their dtype and, where it follows, their shape."""
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
                f"inputs of shape {shapes} do not fit together ({error})",
                where=f"ONNX node '{node.name}' ({node.op_type})",
            ) from error
        for value in outputs:
            proto = found.get(str(value.name))
            if proto is not None:
                value.type = ir.serde.deserialize_type_proto_for_type(proto)
                value.shape = ir.serde.deserialize_type_proto_for_shape(proto)

    def _rename(self, value: ir.Value, name: str) -> None:
        """Gives a value its final name; another value that has it moves to a free one."""
        if value.name == name:
            return
        holders = [*self._inputs, *self._constants.values()]
        holders += [output for node in self._tape.nodes for output in node.outputs]
        for holder in holders:
            if holder.name == name:
                holder.name = self._unique(name)
        self._names.add(name)
        value.name = name

    def _unique(self, name: str) -> str:
        """The name itself, or the name with the first free number; it is taken then."""
        found = free_name(name, self._names)
        self._names.add(found)
        return found


def free_name(name: str, taken: Collection[str]) -> str:
    """The name itself, or the name with the first number that makes it another than those taken."""
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    """Type and shape of a value as ONNX writes them."""
    return ir.to_proto(value).type


def _is_shape_data(value: ir.Value) -> bool:
    """True for a small constant, which may be a shape, axes, a slice, or scales of a size."""
    tensor = value.const_value
    if tensor is None or tensor.size > _MAX_SHAPE_DATA:
        return False
    return bool(tensor.dtype.is_integer() or tensor.dtype == ir.DataType.FLOAT)


def _tensor_proto(value: ir.Value) -> onnx.TensorProto:
    """The content of a constant as ONNX writes it."""
    assert value.const_value is not None
    return ir.to_proto(value.const_value)

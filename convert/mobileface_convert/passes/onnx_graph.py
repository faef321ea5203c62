"""An ONNX network that passes change: values, stored arrays, readers and new nodes.

A thin layer over onnx-ir. A pass changes the graph in place; a pass that may take its changes back
works on a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from mobileface.errors import GraphError

from ..graph.onnx_builder import free_name, without_defaults
from ..graph.report import Report

__all__ = ["Array", "Doubles", "Network", "Pass", "Sizes", "sizes_of"]

Array = npt.NDArray[np.generic]
Doubles = npt.NDArray[np.float64]

_ROLES = {1: "weight", 2: "bias"}
_EXACT = "exact"
"""What a value's numbers were before they were rounded, among what is noted of it."""

Sizes = tuple[int | None, ...]
"""Sizes of the axes of a value; None is any size."""


class Network:
    """An ONNX model whose constants are initializers and whose values have inferred shapes.

    Args:
        model: The model, which is not changed itself. Its weights must be in it.
        where: Its name in error messages.

    Attributes:
        model: The model as onnx-ir holds it.
        where: The ``where`` argument.

    Raises:
        GraphError: If the shapes in it contradict each other.
    """

    def __init__(self, model: onnx.ModelProto, where: str = "") -> None:
        self.where = where
        self._load(model)

    def _load(self, model: onnx.ModelProto) -> None:
        bare, defaults = without_defaults(model)
        try:
            inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
        except onnx.shape_inference.InferenceError as error:
            text = f"shapes do not fit together ({' '.join(str(error).split())[:200]})"
            raise GraphError(text, where=self.where) from error
        self.model = ir.from_proto(inferred)
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(self.model)
        inputs = {str(value.name): value for value in self.graph.inputs}
        for tensor in defaults:
            inputs[tensor.name].const_value = ir.from_proto(tensor)
            self.graph.register_initializer(inputs[tensor.name])
        self._names = set(inputs) | set(self.graph.initializers)
        self._numbers: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        for node in self.graph:
            node.name = node.name or self._unique(node.op_type.lower())
            self._names |= {str(value.name) for value in node.outputs}

    @property
    def graph(self) -> ir.Graph:
        """The main graph."""
        graph: ir.Graph = self.model.graph
        return graph

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes as they are now, each after its inputs."""
        return list(self.graph)

    def copy(self) -> Network:
        """A network of its own with the same content."""
        made = Network(self.proto(), self.where)
        for name, value in made.graph.initializers.items():
            value.meta.update(self.graph.initializers[name].meta)
        return made

    def adopt(self, other: Network) -> None:
        """Takes over the content of a copy, which must not be used afterwards."""
        self.model, self._names, self._numbers = other.model, other._names, other._numbers

    def proto(self) -> onnx.ModelProto:
        """The model as a protobuf message, without what is not used."""
        self.tidy()
        self.graph.sort()
        return ir.to_proto(self.model)

    def tidy(self) -> None:
        """Drops nodes and stored arrays that nothing reads."""
        for node in reversed(self.nodes):
            if not any(value.uses() or value.is_graph_output() for value in node.outputs):
                self.graph.remove(node, safe=True)
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                del self.graph.initializers[name]

    def stored(self, value: ir.Value | None) -> Array | None:
        """The array of a value that is stored in the file; None if it is computed or fed."""
        if value is None or value.const_value is None or value.is_graph_input():
            return None
        return value.const_value.numpy() if value.producer() is None else None

    def exact(self, value: ir.Value | None) -> Doubles | None:
        """The numbers of a stored value before they were rounded to float32; None for others."""
        array = self.stored(value)
        if value is None or array is None or array.dtype.kind != "f":
            return None
        found: Doubles = value.meta.get(_EXACT, array)
        return found.astype(np.float64)

    def store(self, node: ir.Node, position: int, numbers: Doubles) -> None:
        """Stores numbers for an input of a node, as float32; passes go on with what they were.

        They get the name of what the input was, unless another node reads that too.
        """
        old = node.inputs[position]
        name = f"{node.name}_{_ROLES.get(position, position)}" if old is None else str(old.name)
        node.replace_input_with(position, None)
        kept = old is None or self.stored(old) is None or old.uses() or old.is_graph_output()
        if not kept:
            del self.graph.initializers[name]
            self._names.discard(name)
        value = self._new(numbers.astype(np.float32), name)
        value.meta[_EXACT] = numbers
        node.replace_input_with(position, value)

    def overwrite(self, value: ir.Value, array: Array) -> None:
        """Stores another array of the same shape for all that read a value."""
        value.const_value = ir.tensor(array, name=value.name)
        value.meta.pop(_EXACT, None)

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """The only node that reads a value, once; None if it is also an output of the network."""
        uses = list(value.uses())
        return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None

    def constant(self, array: npt.ArrayLike, name: str) -> ir.Value:
        """Stores an array under a name that is not in use; single numbers are stored once."""
        numbers = np.asarray(array)
        key = (numbers.dtype.str, numbers.shape, numbers.tobytes())
        known = self._numbers.get(key) if numbers.size == 1 else None
        if known is not None and self.graph.initializers.get(str(known.name)) is known:
            return known
        value = self._new(numbers, name)
        if numbers.size == 1:
            self._numbers[key] = value
        return value

    def _new(self, array: Array, name: str) -> ir.Value:
        unique = self._unique(name)
        # ascontiguousarray makes one axis of none
        numbers = np.ascontiguousarray(array).reshape(np.shape(array))
        tensor = ir.tensor(numbers, name=unique)
        value = ir.val(unique, ir.DataType(tensor.dtype), ir.Shape(np.shape(array)))
        value.const_value = tensor
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        *,
        like: ir.Value | None = None,
        **attributes: object,
    ) -> ir.Node:
        """A node with one output, which is not part of the graph yet.

        Args:
            op: Operator of ai.onnx.
            inputs: Its inputs; None leaves out an optional one.
            name: Name of the node and its output; a number is appended if it is in use.
            like: A value of the type and shape of the output, if there is one.
            attributes: Its attributes.
        """
        made = ir.node(op, list(inputs), attributes=dict(attributes) or None)
        return self._named(made, name, like)

    def twin(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], name: str, like: ir.Value | None
    ) -> ir.Node:
        """A node of the same operator with the same attributes and other inputs; see `node`."""
        made = ir.Node(
            node.domain, node.op_type, list(inputs), attributes=list(node.attributes.values())
        )
        return self._named(made, name, like)

    def replace(self, node: ir.Node, nodes: Sequence[ir.Node], value: ir.Value) -> None:
        """Puts nodes in the place of one with one output, which ``value`` stands for from now on.

        What ``value`` is made by, if it is one of them, takes the names of the node.
        """
        old, names = node.outputs[0], (node.name, node.outputs[0].name)
        is_output = old.is_graph_output()
        self.graph.insert_before(node, list(nodes))
        self.redirect(old, value)
        self.graph.remove(node, safe=True)
        maker = value.producer()
        if maker in nodes and maker is not None:
            maker.name = names[0]
            if not is_output:
                value.name = names[1]

    def redirect(self, old: ir.Value, new: ir.Value) -> None:
        """Lets everything that reads a value, and the network's outputs, read another one."""
        if old.is_graph_output():
            self._hand_over(old, new)
        ir.convenience.replace_all_uses_with(old, new)

    def redirect_output(self, old: ir.Value, new: ir.Value) -> None:
        """Makes a value that depends on an output of the network the output in its place."""
        self._hand_over(old, new)

    def drop(self, node: ir.Node) -> None:
        """Removes a node that gives its first input on unchanged."""
        source = node.inputs[0]
        assert source is not None
        if node.outputs[0].is_graph_output() and not self._movable(source):
            node.op_type, node.domain = "Identity", ""
            node.attributes.clear()
            node.resize_inputs(1)
            return
        self.redirect(node.outputs[0], source)
        self.graph.remove(node, safe=True)

    def absorb(self, node: ir.Node, reader: ir.Node) -> None:
        """Removes the only reader of a node, whose work the node now does itself."""
        self.redirect(reader.outputs[0], node.outputs[0])
        self.graph.remove(reader, safe=True)

    @staticmethod
    def _movable(value: ir.Value) -> bool:
        """Whether a value can take the name of an output."""
        return value.producer() is not None and not value.is_graph_output()

    def _hand_over(self, old: ir.Value, new: ir.Value) -> None:
        """Makes a value an output of the network in the place of another, with its name."""
        name, position = old.name, list(self.graph.outputs).index(old)
        old.name = self._unique(f"{name}_before")
        new.name = name
        if new.shape is None:
            new.shape = old.shape
        new.type = old.type
        self.graph.outputs[position] = new

    def _named(self, node: ir.Node, name: str, like: ir.Value | None) -> ir.Node:
        unique = self._unique(name)
        node.name = node.outputs[0].name = unique
        if like is not None:
            node.outputs[0].type, node.outputs[0].shape = like.type, like.shape
        return node

    def _unique(self, name: str) -> str:
        found = free_name(name, self._names)
        self._names.add(found)
        return found


Pass = Callable[[Network], Report]
"""A rewrite: changes a network in place and says what it changed and left."""


def sizes_of(value: ir.Value | None) -> Sizes | None:
    """The sizes of a value's axes; None if not even their number is known."""
    if value is None or value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else None for size in value.shape)

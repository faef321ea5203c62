"""Reader of ONNX files from other sources: checks and cleans the model.

A file that is not a plain graph of tensors is rejected: external data, operators of other domains,
control flow, functions, sparse arrays, arrays whose bytes do not fit their shape, and extremely
large values are errors. The cleaned model has a single operator set, no metadata, and no shapes
except those of its inputs and outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from mobileface.errors import (
    GraphError,
    SourceFormatError,
    UnsupportedOperatorError,
)

from ..graph.onnx_builder import DEFAULT_OPSET
from .limited_content import limited_content

__all__ = [
    "MAX_BYTES",
    "Shape",
    "inferred",
    "node_place",
    "opset_of",
    "parse_any_onnx",
    "parse_onnx",
    "read_onnx_file",
    "value_shapes",
]

MAX_BYTES = 512 << 20
"""Maximum size of a file in bytes."""

_MAX_ELEMENTS = 1 << 31
_MAX_NODES = 100_000
_MAX_RANK = 16
_OLDEST_OPSET = 7
_DOMAINS = ("", "ai.onnx")
_PLAIN = "export the network as a plain graph of ai.onnx operators"
_CONTROL = ("If", "Loop", "Scan", "SequenceMap")

_Attribute = onnx.AttributeProto
_SUBGRAPHS = (_Attribute.GRAPH, _Attribute.GRAPHS)
_SPARSE = (_Attribute.SPARSE_TENSOR, _Attribute.SPARSE_TENSORS)

Shape = tuple[int | None, ...]
"""Sizes of the axes; None is any size."""


def read_onnx_file(path: Path, *, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """Reads a file; see `parse_onnx`.

    Raises:
        SourceError: If the file cannot be read.
        SourceFormatError: If the file is too large or is not a valid ONNX model.
        UnsupportedOperatorError: If the model is not a plain graph of tensors.
    """
    return parse_onnx(limited_content(path, MAX_BYTES), where=str(path), opset=opset)


def opset_of(path: Path) -> int:
    """The operator set of a file, which is not checked otherwise.

    Raises:
        SourceError: If the file cannot be read.
        SourceFormatError: If it is no ONNX model.
        UnsupportedOperatorError: If the operator set is too old or not known.
    """
    model = _parsed(limited_content(path, MAX_BYTES), str(path))
    _check_names(model, str(path))
    return _opset(model, str(path))


def parse_onnx(content: bytes, *, where: str, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """Checks and cleans a model.

    Inputs with a stored value become constants, because old exporters list all weights as inputs.

    Args:
        content: Content of the file.
        where: Name of the file in error messages.
        opset: Operator set of the result; models with an older one are converted.

    Returns:
        The model with this version of ``ai.onnx``; it only contains inputs, outputs, nodes and
        arrays.

    Raises:
        SourceFormatError: If the content is not an ONNX model or is inconsistent.
        UnsupportedOperatorError: If the model is not a plain graph of tensors.
    """
    model = _parsed(content, where)
    _check_names(model, where)
    version = _opset(model, where)
    _check_supported(model, where)
    for tensor, name in _tensors(model.graph):
        _check_tensor(tensor, f"{where}, array '{name}'")
    _clean(model)
    _check(model, where)
    if version < opset:
        model = _converted(model, opset, where)
    elif version > opset:
        raise UnsupportedOperatorError(
            f"operator set {version} is newer than {opset}",
            where=where,
            hint=f"export the network again with opset_version={opset}",
        )
    _check_sizes(inferred(model, where), where)
    return model


def parse_any_onnx(content: bytes, *, where: str) -> onnx.ModelProto:
    """Checks a model that is looked at but not converted: its operators may be of any domain.

    Args:
        content: Content of the file.
        where: Name of the file in error messages.

    Returns:
        The model as it is.

    Raises:
        SourceFormatError: If the content is not an ONNX model or is inconsistent.
        UnsupportedOperatorError: If it has control flow, or arrays in other files.
    """
    model = _parsed(content, where)
    _check_names(model, where)
    for node in model.graph.node:
        if _is_control(node):
            raise UnsupportedOperatorError(
                "control flow is not supported", where=node_place(node, where), hint=_PLAIN
            )
    for tensor, name in _tensors(model.graph):
        _check_tensor(tensor, f"{where}, array '{name}'")
    _check_sizes(model, where)
    return model


def _is_control(node: onnx.NodeProto) -> bool:
    return node.op_type in _CONTROL or any(item.type in _SUBGRAPHS for item in node.attribute)


def _parsed(content: bytes, where: str) -> onnx.ModelProto:
    """Parses the protobuf message; the graph must not be empty or huge."""
    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, RecursionError, ValueError) as error:
        raise SourceFormatError("not an ONNX model", where=where) from error
    if not model.graph.node or not model.graph.output:
        raise SourceFormatError("not an ONNX model: it has no graph", where=where)
    if len(model.graph.node) > _MAX_NODES:
        raise SourceFormatError(f"more than {_MAX_NODES} nodes", where=where)
    return model


def _check_names(model: onnx.ModelProto, where: str) -> None:
    """Checks that all names are text; protobuf returns invalid text as bytes."""
    graph = model.graph
    names = [graph.name, *(item.domain for item in model.opset_import)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [item.name for item in node.attribute]
    names += [item.name for item in (*graph.initializer, *graph.input, *graph.output)]
    if not all(isinstance(name, str) for name in names):
        raise SourceFormatError("not an ONNX model: a name is not text", where=where)


def _opset(model: onnx.ModelProto, where: str) -> int:
    """The version of ai.onnx; other domains are dropped, because no node may use them."""
    versions = {item.version for item in model.opset_import if item.domain in _DOMAINS}
    if len(versions) != 1:
        found = ", ".join(map(str, sorted(versions))) or "none"
        raise SourceFormatError(f"expected one version of ai.onnx, got {found}", where=where)
    version = int(versions.pop())
    if not _OLDEST_OPSET <= version <= onnx.defs.onnx_opset_version():
        raise UnsupportedOperatorError(
            f"operator set {version} is not supported",
            where=where,
            hint=f"supported: {_OLDEST_OPSET} to {DEFAULT_OPSET}",
        )
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", version))
    return version


def _check_supported(model: onnx.ModelProto, where: str) -> None:
    """Raises an error if the model is not a plain graph of tensors."""
    graph = model.graph
    for what, present in (
        ("local functions", model.functions),
        ("training graphs", model.training_info),
        ("sparse arrays", graph.sparse_initializer),
    ):
        if present:
            raise UnsupportedOperatorError(f"{what} are not supported", where=where)
    for value in [*graph.input, *graph.output]:
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            raise UnsupportedOperatorError(
                "only tensors are supported", where=f"{where}, value '{value.name}'"
            )
    for node in graph.node:
        kinds = {item.type for item in node.attribute}
        what = ""
        if node.domain not in _DOMAINS:
            what = f"operators of the domain '{node.domain}'"
        elif _is_control(node):
            what = "control flow"
        elif kinds.intersection(_SPARSE):
            what = "sparse arrays"
        if what:
            raise UnsupportedOperatorError(
                f"unsupported: {what}",
                where=node_place(node, where),
                hint=_PLAIN,
            )
        node.domain = ""


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    """All stored arrays and their names."""
    for tensor in graph.initializer:
        yield tensor, tensor.name
    for node in graph.node:
        for item in node.attribute:
            for tensor in [item.t] if item.HasField("t") else item.tensors:
                yield tensor, f"{node.name or node.op_type}.{item.name}"


def _check_tensor(tensor: onnx.TensorProto, where: str) -> None:
    """Checks that an array is stored in this file and that its data fits its shape."""
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UnsupportedOperatorError(
            "its values are stored in another file",
            where=where,
            hint="store the model as one file: onnx.save(onnx.load(path), path)",
        )
    if tensor.HasField("segment"):
        raise UnsupportedOperatorError("segmented arrays are not supported", where=where)
    if len(tensor.dims) > _MAX_RANK or min(tensor.dims, default=0) < 0:
        raise SourceFormatError(f"invalid shape {list(tensor.dims)}", where=where)
    count = math.prod(tensor.dims)
    if count > _MAX_ELEMENTS:
        raise SourceFormatError(f"{count} elements are too many", where=where)
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # any exception that numpy raises
        text = " ".join(str(error).split())
        raise SourceFormatError(f"its bytes do not fit its shape ({text})", where=where) from error
    if array.size != count:
        raise SourceFormatError(f"expected {count} elements, got {array.size}", where=where)


def _clean(model: onnx.ModelProto) -> None:
    """Removes everything that does not affect the computation, such as metadata."""
    graph = model.graph
    graph.name = graph.name or "network"
    for field in ("producer_name", "producer_version", "domain", "model_version"):
        model.ClearField(field)
    for field in ("value_info", "quantization_annotation"):
        graph.ClearField(field)
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # since 4, weights do not have to be inputs
    tensors = [tensor for tensor, _ in _tensors(graph)]
    attributes = [item for node in graph.node for item in node.attribute]
    values = [*graph.input, *graph.output]
    for message in [model, graph, *graph.node, *attributes, *tensors, *values]:
        for field in ("doc_string", "metadata_props", "configuration", "device_configurations"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)


def _check(model: onnx.ModelProto, where: str) -> None:
    """Runs ONNX's own checker."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # ValidationError, InferenceError, and what protobuf and C++ raise
        text = " ".join(str(error).split())[:300]
        raise SourceFormatError(f"not a valid ONNX model ({text})", where=where) from error


def _converted(model: onnx.ModelProto, opset: int, where: str) -> onnx.ModelProto:
    """The model, converted to a newer operator set."""
    version = model.opset_import[0].version
    try:
        newer = onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # as above
        text = " ".join(str(error).split())[:300]
        raise UnsupportedOperatorError(
            f"operator set {version} cannot be converted to {opset} ({text})",
            where=where,
            hint=f"export the network again with opset_version={opset}",
        ) from error
    _clean(newer)
    _check(newer, where)
    return newer


def inferred(model: onnx.ModelProto, where: str, *, strict: bool = True) -> onnx.ModelProto:
    """A copy of the model with inferred shapes.

    Args:
        model: The model.
        where: Name of the file in error messages.
        strict: False leaves shapes out that cannot be inferred, as of unknown operators.

    Raises:
        GraphError: If shapes do not fit together.
    """
    try:
        return onnx.shape_inference.infer_shapes(
            model, check_type=strict, strict_mode=strict, data_prop=True
        )
    except Exception as error:  # InferenceError, and what C++ raises
        text = " ".join(str(error).split())[:300]
        raise GraphError(f"shapes do not fit together ({text})", where=where) from error


def value_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The stated and inferred shapes of a model's values, and the shapes of its arrays."""
    graph, found = model.graph, {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            found[value.name] = tuple(
                item.dim_value if item.HasField("dim_value") else None for item in tensor.shape.dim
            )
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _check_sizes(model: onnx.ModelProto, where: str) -> None:
    """Checks that no value is extremely large, because constant folding would allocate it."""
    for name, shape in value_shapes(model).items():
        known = [size for size in shape if size is not None]
        if min(known, default=0) < 0 or math.prod(known) > _MAX_ELEMENTS:
            raise SourceFormatError(
                f"the shape {list(shape)} is invalid or too large",
                where=f"{where}, value '{name}'",
            )


def node_place(node: onnx.NodeProto, where: str) -> str:
    """The location of a node of a file in error messages."""
    place = f"node '{node.name or ', '.join(node.output)}' ({node.op_type})"
    return f"{where}, {place}" if where else place

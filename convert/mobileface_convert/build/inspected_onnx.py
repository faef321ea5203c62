"""Describes an ONNX file, also one with operators that the converter does not know."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from mobileface.errors import ConversionError, GraphError
from mobileface.models.spec import METADATA_KEY

from ..backends.onnx import folded
from ..frontends.limited_content import limited_content
from ..frontends.onnx_file import (
    MAX_BYTES,
    inferred,
    parse_any_onnx,
    parse_onnx,
    value_shapes,
)
from ..frontends.onnx_sizes import free_sizes, set_sizes
from ..graph.multiply_adds import convolution, product, transposed_convolution
from .adopted_sources import adopted_opset
from .description import SIZE_NEEDED, Description, End, Layer, Sizes

__all__ = ["describe_onnx"]

_DOMAINS = ("", "ai.onnx")
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = ("MatMul", "FusedMatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "FusedGemm")
"""Operators that are counted; for convolutions with the position of their weights."""
_NOT_COUNTED = (
    *("LSTM", "GRU", "RNN", "Einsum", "DeformConv", "Attention", "MultiHeadAttention"),
    *("MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm", "QAttention"),
)

_FACTS = {
    "BatchNormalization": (3, 4),
    "Resize": (1, 2),
    "Upsample": (1,),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
}
"""Inputs that are no parameters: statistics, factors of sizes, scales and zero points."""
_INTEGER_WEIGHTS = {
    "DequantizeLinear": (0,),
    "ConvInteger": (1,),
    "MatMulInteger": (1,),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3,),
}
"""Inputs that are parameters although they are integers."""
_STANDARD = ("QuantizeLinear", "DequantizeLinear")
"""Operators that ONNX Runtime has in its own domain as well, for types that were added later."""
_LARGE = 1024
"""Numbers from which an array is weights, and no sizes or axes."""
_FLOATS = ("float16", "bfloat16", "float32", "float64")

Tensors = Mapping[str, onnx.TensorProto]


def describe_onnx(path: Path, size: tuple[int, int] | None) -> Description:
    """Describes a file.

    Args:
        path: The file.
        size: Height and width of images, if the file leaves them open.

    Raises:
        ConversionError: If it cannot be read, is no ONNX model, has control flow or arrays in other
            files, or its size is not open.
    """
    content = limited_content(path, MAX_BYTES)
    model = parse_any_onnx(content, where=str(path))
    made = next((item.value for item in model.metadata_props if item.key == METADATA_KEY), None)
    refused, plain = _read_strictly(path, content)
    tensors = _stored(model.graph)
    _drop_stored_inputs(model.graph, tensors)
    if size is not None:
        _set_size(model, size, str(path))
    batch = _batch(model)
    layers, reason, left_out = _counted(model, tensors, plain is not None)
    shapes, unsupported = _shapes(model), _unsupported(model.graph)
    weights = Counter[str]()
    for tensor in tensors.values():
        weights[_dtype(tensor.data_type)] += _bytes(tensor)
    return Description(
        "onnx",
        (path,),
        layers,
        inputs=_ends(model.graph.input, shapes),
        outputs=_ends(model.graph.output, shapes),
        parameters=_parameters(model.graph, tensors),
        weights=weights,
        size=size,
        macs_reason=reason,
        not_counted=left_out,
        batch=batch,
        freeable=None if batch is None else plain is not None and _can_be_freed(plain),
        unsupported=unsupported,
        refused="" if unsupported else refused,
        made=path.stem if made is not None else "",
    )


def _read_strictly(path: Path, content: bytes) -> tuple[str, onnx.ModelProto | None]:
    """Why the converter refuses the file, and what it reads if it does not."""
    try:
        return "", parse_onnx(content, where=str(path), opset=adopted_opset(path))
    except ConversionError as error:
        return str(error), None


def _counted(
    model: onnx.ModelProto, tensors: Tensors, plain: bool
) -> tuple[list[Layer], str, Counter[str]]:
    """The layers, why multiply-adds are not known, and which layers are not counted.

    Where all operators and the image's size are known, the shapes that are not known depend on what
    the image shows, such as the number of faces: those layers are left out, and named.
    """
    one = _for_one(model)
    shapes = _shapes(one)
    left_out = Counter(node.op_type for node in model.graph.node if node.op_type in _NOT_COUNTED)
    layers = _layers(model.graph, tensors, shapes)
    if all(layer.macs is not None for layer in layers):
        return layers, "", left_out
    if _open_images(model):
        return layers, SIZE_NEEDED, left_out
    if plain:
        try:
            shapes |= _shapes(folded(one))
        except ConversionError as error:
            return layers, error.what, left_out
        layers = _layers(model.graph, tensors, shapes)
    unknown = [layer for layer in layers if layer.macs is None]
    if unknown and (not plain or not sum(layer.macs or 0 for layer in layers)):
        what = f"a shape of '{unknown[0].name}' ({unknown[0].op}) cannot be inferred"
        return layers, what, left_out
    left_out.update(layer.op for layer in unknown)
    return layers, "", left_out


def _can_be_freed(model: onnx.ModelProto) -> bool:
    """Whether the fixed batch of the only input can be made open."""
    if len(model.graph.input) != 1:
        return False
    try:
        free_sizes(model, model.graph.input[0].name, {0: "N"})
    except GraphError:
        return False
    return True


def _stored(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The stored arrays by the name of the value, also those of `Constant` nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value" and item.HasField("t"):
                found[node.output[0]] = item.t
    return found


def _drop_stored_inputs(graph: onnx.GraphProto, tensors: Tensors) -> None:
    """Old exporters list weights as inputs as well."""
    fed = [value for value in graph.input if value.name not in tensors]
    del graph.input[:]
    graph.input.extend(fed)


def _dims(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _open_images(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """The axes of height and width of each input of four axes that leaves one of them open."""
    found = {}
    for value in model.graph.input:
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in _dims(value)]
        if len(sizes) != 4:
            continue
        last = sizes[1] not in (1, 3) and sizes[3] in (1, 3)
        axes = (1, 2) if last else (2, 3)
        if any(sizes[axis] is None for axis in axes):
            found[value.name] = axes
    return found


def _set_size(model: onnx.ModelProto, size: tuple[int, int], where: str) -> None:
    """Sets the open height and width of images.

    Raises:
        ConversionError: None is open, or the other one is fixed at another size.
    """
    found = _open_images(model)
    if not found:
        raise ConversionError("--size is for images of open size; none is open", where=where)
    for name, axes in found.items():
        dims = next(_dims(value) for value in model.graph.input if value.name == name)
        for axis, side in zip(axes, size, strict=True):
            if dims[axis].HasField("dim_value") and dims[axis].dim_value != side:
                raise ConversionError(
                    f"axis {axis} of '{name}' is fixed at {dims[axis].dim_value}, not {side}",
                    where=where,
                )
        set_sizes(model, name, dict(zip(axes, size, strict=True)), where)
    _forget_names(model)


def _batch(model: onnx.ModelProto) -> int | None:
    """The first size of all inputs if it is fixed."""
    firsts = [_dims(value)[:1] for value in model.graph.input if len(_dims(value)) > 1]
    sizes = {dim.dim_value if dim.HasField("dim_value") else 0 for dims in firsts for dim in dims}
    return sizes.pop() or None if len(sizes) == 1 else None


def _for_one(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with an open batch set to one image."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    _forget_names(copy)
    return copy


def _forget_names(model: onnx.ModelProto) -> None:
    """Forgets the names of open sizes of what is computed, which may be known now."""
    for value in [*model.graph.value_info, *model.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.Clear()


def _shapes(model: onnx.ModelProto) -> dict[str, Sizes]:
    """The shapes of all values as far as they are known, with names of open sizes."""
    light = _without_weights(model)
    try:
        known = inferred(light, "", strict=False)
    except GraphError:
        known = light
    found: dict[str, Sizes] = dict(value_shapes(known))
    for value in [*known.graph.input[: len(model.graph.input)], *known.graph.output]:
        if value.type.tensor_type.HasField("shape"):
            found[value.name] = tuple(_size(dim) for dim in _dims(value))
    return found


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with large arrays as inputs, whose shapes are enough to infer others."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    large = [tensor for tensor in light.graph.initializer if math.prod(tensor.dims) > _LARGE]
    for tensor in large:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        light.graph.input.append(info)
        light.graph.initializer.remove(tensor)
    for node in light.graph.node:
        if node.op_type in _STANDARD:
            node.domain = ""
    return light


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    name = str(dim.dim_param)
    return name if name and not name.startswith("unk__") else None  # inference names those itself


def _ends(values: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, Sizes]) -> list[End]:
    return [
        End(
            value.name,
            shapes.get(value.name),
            _dtype(value.type.tensor_type.elem_type) if value.type.HasField("tensor_type") else "",
        )
        for value in values
    ]


def _dtype(number: int) -> str:
    """An element type by the name that numpy has for it."""
    if not number or number not in onnx.TensorProto.DataType.values():
        return ""
    name: str = onnx.TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _bytes(tensor: onnx.TensorProto) -> int:
    return len(tensor.raw_data) or int(onnx.numpy_helper.to_array(tensor).nbytes)


def _kind(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"


def _unsupported(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Layers whose operator is of another domain, or not in ONNX."""
    found: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        if node.domain not in _DOMAINS or not onnx.defs.has(node.op_type):
            found[_kind(node)].append(node.name or node.output[0])
    return found


def _layers(graph: onnx.GraphProto, tensors: Tensors, one: Mapping[str, Sizes]) -> list[Layer]:
    """All nodes; those that depend on no input are computed once: they count no multiply-adds."""
    computed, layers = {value.name for value in graph.input}, []
    for node in graph.node:
        runs = bool(computed.intersection(node.input))
        if runs:
            computed.update(node.output)
        layers.append(
            Layer(
                _kind(node),
                node.name or ", ".join(filter(None, node.output)),
                [name for name in node.input if name and name not in tensors],
                {name: tuple(tensors[name].dims) for name in node.input if name in tensors},
                _macs(node, one) if runs else 0,
            )
        )
    return layers


def _macs(node: onnx.NodeProto, one: Mapping[str, Sizes]) -> int | None:
    """Multiply-adds of a node."""
    kind, output = node.op_type, one.get(node.output[0]) if node.output else None
    shapes = [one.get(name) for name in node.input]
    if kind in _CONVOLUTIONS and len(shapes) > _CONVOLUTIONS[kind]:
        return convolution(output, shapes[_CONVOLUTIONS[kind]])
    if kind == "ConvTranspose" and len(shapes) > 1:
        return transposed_convolution(shapes[0], shapes[1])
    if kind in _PRODUCTS:
        turned = any(item.name == "transA" and item.i for item in node.attribute)
        data = shapes[0]
        return product(output, data[-2 if turned else -1]) if data else None
    return 0


def _parameters(graph: onnx.GraphProto, tensors: Tensors) -> int:
    """How many numbers are stored that a network learns."""
    learned = set()
    for node in graph.node:
        facts = _FACTS.get(node.op_type, ())
        integers = _INTEGER_WEIGHTS.get(node.op_type, ())
        for position, name in enumerate(node.input):
            tensor = tensors.get(name)
            if tensor is None or not tensor.dims or position in facts:
                continue
            if position in integers or _dtype(tensor.data_type) in _FLOATS:
                learned.add(name)
    return sum(_count(tensors[name]) for name in learned)


def _count(tensor: onnx.TensorProto) -> int:
    return int(onnx.numpy_helper.to_array(tensor).size)

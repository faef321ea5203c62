"""The part of Caffe's protobuf format that is needed to write networks.

The messages are declared here, field by field, with the names, numbers and types of Caffe's public
format, and built on first use, so there is no generated code and no protobuf compiler. Only fields
that the writer sets are declared. ``Normalize`` comes from Caffe-SSD, which OpenCV supports too;
everything else is in the original Caffe.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["net_parameter"]

_PACKAGE = "caffe"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FIELD.TYPE_BOOL,
    "float": _FIELD.TYPE_FLOAT,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "string": _FIELD.TYPE_STRING,
    "uint32": _FIELD.TYPE_UINT32,
}

_ENUMS: dict[str, tuple[str, ...]] = {
    "EltwiseParameter.EltwiseOp": ("PROD", "SUM", "MAX"),
    "PoolingParameter.PoolMethod": ("MAX", "AVE"),
}
"""Values of each enumeration, starting at 0; each is declared in the message that uses it."""

_MESSAGES: dict[str, str] = {
    "BlobShape": "1 packed int64 dim",
    "BlobProto": "5 packed float data; 7 BlobShape shape",
    "BiasParameter": "1 int32 axis",
    "ConcatParameter": "2 int32 axis",
    "ConvolutionParameter": (
        "1 uint32 num_output; 2 bool bias_term; 3 repeated uint32 pad;"
        "4 repeated uint32 kernel_size; 5 uint32 group; 6 repeated uint32 stride;"
        "18 repeated uint32 dilation"
    ),
    "CropParameter": "1 int32 axis; 2 repeated uint32 offset",
    "ELUParameter": "1 float alpha",
    "EltwiseParameter": "1 EltwiseParameter.EltwiseOp operation; 2 repeated float coeff",
    "FlattenParameter": "1 int32 axis",
    "InnerProductParameter": "1 uint32 num_output; 2 bool bias_term",
    "InputParameter": "1 repeated BlobShape shape",
    "NormalizeBBoxParameter": "1 bool across_spatial; 3 bool channel_shared; 4 float eps",
    "PReLUParameter": "2 bool channel_shared",
    "PoolingParameter": (
        "1 PoolingParameter.PoolMethod pool; 5 uint32 kernel_h; 6 uint32 kernel_w;"
        "7 uint32 stride_h; 8 uint32 stride_w; 9 uint32 pad_h; 10 uint32 pad_w;"
        "12 bool global_pooling"
    ),
    "PowerParameter": "1 float power; 2 float scale; 3 float shift",
    "ReLUParameter": "1 float negative_slope",
    "ReshapeParameter": "1 BlobShape shape",
    "ScaleParameter": "1 int32 axis; 4 bool bias_term",
    "SliceParameter": "2 repeated uint32 slice_point; 3 int32 axis",
    "SoftmaxParameter": "2 int32 axis",
    "LayerParameter": (
        "1 string name; 2 string type; 3 repeated string bottom; 4 repeated string top;"
        "7 repeated BlobProto blobs; 104 ConcatParameter concat_param;"
        "106 ConvolutionParameter convolution_param; 110 EltwiseParameter eltwise_param;"
        "117 InnerProductParameter inner_product_param; 121 PoolingParameter pooling_param;"
        "122 PowerParameter power_param; 123 ReLUParameter relu_param;"
        "125 SoftmaxParameter softmax_param; 126 SliceParameter slice_param;"
        "131 PReLUParameter prelu_param; 133 ReshapeParameter reshape_param;"
        "135 FlattenParameter flatten_param; 140 ELUParameter elu_param;"
        "141 BiasParameter bias_param; 142 ScaleParameter scale_param;"
        "143 InputParameter input_param; 144 CropParameter crop_param;"
        "206 NormalizeBBoxParameter norm_param"
    ),
    "NetParameter": "1 string name; 100 repeated LayerParameter layer",
}
"""Fields of each message: number, ``repeated`` or ``packed`` for lists, type, name."""


@cache
def net_parameter() -> Any:
    """The message class ``NetParameter``, whose instances hold a network's layers."""
    file = descriptor_pb2.FileDescriptorProto(
        name="mobileface/caffe.proto", package=_PACKAGE, syntax="proto2"
    )
    messages = {name: file.message_type.add(name=name) for name in _MESSAGES}
    for name, fields in _MESSAGES.items():
        for text in fields.split(";"):
            _declare(messages[name], text.split())
    for path, words in _ENUMS.items():
        owner, _, name = path.partition(".")
        enum = messages[owner].enum_type.add(name=name)
        for number, word in enumerate(words):
            enum.value.add(name=word, number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.NetParameter")
    return message_factory.GetMessageClass(found)


def _declare(message: descriptor_pb2.DescriptorProto, words: list[str]) -> None:
    """Adds one field to a message, from the words of its declaration."""
    number, *how, kind, name = words
    field = message.field.add(name=name, number=int(number))
    field.label = _FIELD.LABEL_REPEATED if how else _FIELD.LABEL_OPTIONAL
    if how == ["packed"]:
        field.options.packed = True
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_ENUM if kind in _ENUMS else _FIELD.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"

"""Checks that ncnn files are of the dialect that FeatherCNN reads.

FeatherCNN's last version (2019) reads ncnn's two files, but has thirteen layers only, ignores
options that it does not know, and reads some layers differently. A file that breaks a rule is
loaded all the same, and gives wrong numbers or ends the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mobileface.errors import ConversionError

from .ncnn import NcnnModel
from .ncnn_param import ParamLayer, read_param

__all__ = ["NAME_LENGTH", "check_dialect"]

NAME_LENGTH = 256
_VALUE_LENGTH = 15
"""Longest name, and longest value of an option, that the engine reads."""

_FLOAT = 4
_TAG = 4
"""Bytes of a number, and of the zero before the weights of convolutions and InnerProduct."""


@dataclass(frozen=True)
class _Rule:
    """What a layer may have.

    Attributes:
        options: The options that the engine reads or that change nothing; a set of values where
            only those are right.
        needed: Options without which ncnn's and the engine's defaults differ or are useless.
        bottoms: Smallest and largest number of blobs that it reads.
        tops: Smallest and largest number of blobs that it writes.
        more: Returns what else is wrong with a layer, empty if nothing is.
    """

    options: Mapping[int, frozenset[int] | None]
    needed: tuple[int, ...] = ()
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)
    more: Callable[[ParamLayer], str] = lambda _: ""


def _only(*values: int) -> frozenset[int]:
    return frozenset(values)


def _weights_of(layer: ParamLayer) -> tuple[int, int, int]:
    """Outputs, inputs per output and kernel area of a convolution."""
    width = layer.integer(1)
    area = width * layer.integer(11, width)
    outputs = layer.integer(0)
    return outputs, layer.integer(6) // max(1, outputs * area), area


def _convolution(layer: ParamLayer) -> str:
    outputs, inputs, area = _weights_of(layer)
    if outputs * inputs * area != layer.integer(6) or not layer.integer(6):
        return f"6={layer.integer(6)} is not a number of weights of its outputs and kernel"
    if inputs == 1 != outputs:
        return "it reads one channel, which the engine takes for a depthwise convolution"
    return ""


def _depthwise(layer: ParamLayer) -> str:
    outputs, inputs, area = _weights_of(layer)
    if layer.integer(7) != outputs or inputs != 1 or outputs * area != layer.integer(6):
        return "it is grouped, and the engine only has groups of one input and one output"
    if layer.integer(5):
        return "it has a bias, of which the engine reads one value: 5=0 and a Scale behind it"
    return ""


def _pooling(layer: ParamLayer) -> str:
    for begin, end in ((3, 14), (13, 15)):
        before = layer.integer(begin, layer.integer(3))
        after = layer.integer(end, before if end == 15 else layer.integer(3))
        if after:
            return f"{end}={after}, which the engine adds to the padding on the other side"
    return ""


def _scale(layer: ParamLayer) -> str:
    return "" if layer.integer(0) > 0 else "it has no weights of its own"


_FREE = None
_KERNEL = {0: _FREE, 1: _FREE, 11: _FREE, 2: _only(1), 12: _only(1), 3: _FREE, 13: _FREE}
_PADDED = {4: _FREE, 14: _FREE, 5: _only(0, 1), 6: _FREE, 8: _only(0)}
_MANY = 1 << 20
_RULES: dict[str, _Rule] = {
    "Input": _Rule({0: _FREE, 1: _FREE, 2: _FREE}, bottoms=(0, 0)),
    "Convolution": _Rule({**_KERNEL, **_PADDED, 7: _only(1)}, (0, 1, 6), more=_convolution),
    "ConvolutionDepthWise": _Rule({**_KERNEL, **_PADDED, 7: _FREE}, (0, 1, 6, 7), more=_depthwise),
    "ReLU": _Rule({}),
    "Pooling": _Rule(
        {
            **dict.fromkeys((1, 2, 3, 11, 12, 13, 14, 15), _FREE),
            **{0: _only(0, 1), 4: _only(0, 1), 5: _only(0)},
        },
        more=_pooling,
    ),
    "InnerProduct": _Rule({0: _FREE, 1: _only(1), 2: _FREE}, (0, 1, 2)),
    "Dropout": _Rule({0: _FREE}),
    "Softmax": _Rule({0: _only(0), 1: _only(1)}),
    "BatchNorm": _Rule({0: _FREE, 1: _FREE}, (0,)),
    "Scale": _Rule({0: _FREE, 1: _only(0, 1)}, (0,), more=_scale),
    "Split": _Rule({}, tops=(2, _MANY)),
    "Eltwise": _Rule({0: _only(1)}, (0,), bottoms=(2, 2)),
    "Concat": _Rule({0: _only(0)}, bottoms=(2, _MANY)),
}


_DECIMAL = {("BatchNorm", 1), ("Dropout", 0)}
"""Options that may be decimal numbers."""


def check_dialect(model: NcnnModel, where: str) -> None:
    """Checks that FeatherCNN computes of a network what ncnn does.

    Args:
        model: The network.
        where: Name of the network in error messages.

    Raises:
        ConversionError: If a layer, an option, a blob or the size of the weights is not of the
            dialect; names the layer.
    """
    layers = read_param(model.param, where)
    for layer in layers:
        if why := _broken(layer):
            raise ConversionError(
                f"FeatherCNN does not read layer '{layer.name}' ({layer.kind}) as ncnn does: {why}",
                where=where,
                hint="export the network again, or run it with ncnn",
            )
    _check_blobs(layers, model, where)
    expected = sum(_weight_bytes(layer) for layer in layers)
    if expected != len(model.bin):
        raise ConversionError(
            f"the bin file has {len(model.bin)} bytes, the layers read {expected}", where=where
        )


def _broken(layer: ParamLayer) -> str:
    """Which rule a layer breaks; empty if none."""
    rule = _RULES.get(layer.kind)
    if rule is None:
        return f"it has the layers {', '.join(_RULES)}"
    for names, (least, most), what in (
        (layer.bottoms, rule.bottoms, "reads"),
        (layer.tops, rule.tops, "writes"),
    ):
        if not least <= len(names) <= most:
            return f"it {what} {len(names)} blobs"
    if any(len(name) > NAME_LENGTH for name in (layer.name, *layer.bottoms, *layer.tops)):
        return f"a name has more than {NAME_LENGTH} characters"
    for number, text in layer.options.items():
        if number not in rule.options or len(text) > _VALUE_LENGTH:
            return f"it has no option {number}={text}"
        try:
            value = float(text) if (layer.kind, number) in _DECIMAL else int(text)
        except ValueError:
            return f"{number}={text} is not a whole number"
        allowed = rule.options[number]
        if allowed is not None and value not in allowed:
            return f"{number} must be {' or '.join(map(str, sorted(allowed)))}, not {text}"
    missing = [number for number in rule.needed if number not in layer.options]
    return f"option {missing[0]} is missing" if missing else rule.more(layer)


def _check_blobs(layers: tuple[ParamLayer, ...], model: NcnnModel, where: str) -> None:
    """Checks that each blob is written before it is read, once each.

    Raises:
        ConversionError: If one is not; names the blob.
    """
    written: set[str] = set()
    read: set[str] = set()
    names: set[str] = set()
    for layer in layers:
        for blob in layer.bottoms:
            if blob not in written:
                what = f"layer '{layer.name}' reads blob '{blob}', which no layer before it writes"
                raise ConversionError(what, where=where)
            if blob in read:
                what = f"two layers read blob '{blob}', which needs a Split"
                raise ConversionError(what, where=where)
            read.add(blob)
        if layer.name in names or written & set(layer.tops):
            what = f"layer '{layer.name}' or its outputs have the name of another one"
            raise ConversionError(what, where=where)
        names.add(layer.name)
        written.update(layer.tops)
    if set(model.outputs) != written - read:
        raise ConversionError(
            f"the outputs are {', '.join(sorted(written - read))}, "
            f"expected {', '.join(model.outputs)}",
            where=where,
        )


def _weight_bytes(layer: ParamLayer) -> int:
    """Bytes of the bin file that ncnn reads for a layer of the dialect."""
    if layer.kind in ("Convolution", "ConvolutionDepthWise"):
        return _TAG + _FLOAT * (layer.integer(6) + layer.integer(5) * layer.integer(0))
    if layer.kind == "InnerProduct":
        return _TAG + _FLOAT * (layer.integer(2) + layer.integer(0))
    if layer.kind == "BatchNorm":
        return 4 * _FLOAT * layer.integer(0)
    if layer.kind == "Scale":
        return _FLOAT * layer.integer(0) * (1 + layer.integer(1))
    return 0

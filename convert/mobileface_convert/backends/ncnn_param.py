"""Reads the text file ``.param`` of ncnn, which FeatherCNN shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mobileface.errors import ConversionError

__all__ = ["MAGIC", "ParamLayer", "read_param"]

MAGIC = "7767517"

_FIELDS = 4
"""Words at the start of a layer's line: type, name, number of inputs, number of outputs."""


@dataclass(frozen=True)
class ParamLayer:
    """One line of the file.

    Attributes:
        kind: Type of the layer.
        name: Name of the layer.
        bottoms: Names of the blobs that it reads.
        tops: Names of the blobs that it writes.
        options: Text of each option by its number; an array has a number of -23300 or less.
    """

    kind: str
    name: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    options: Mapping[int, str] = field(default_factory=dict)

    def integer(self, number: int, default: int = 0) -> int:
        """The value of an option, or the default if the line does not have it."""
        return int(self.options.get(number, default))

    def number(self, number: int, default: float = 0.0) -> float:
        """The value of an option, or the default if the line does not have it."""
        return float(self.options.get(number, default))

    @property
    def line(self) -> str:
        """The layer as a line of the file, without its end."""
        options = [f"{number}={value}" for number, value in self.options.items()]
        counts = [str(len(self.bottoms)), str(len(self.tops))]
        return " ".join([self.kind, self.name, *counts, *self.bottoms, *self.tops, *options])


def read_param(text: str, where: str) -> tuple[ParamLayer, ...]:
    """Reads the layers of a file.

    Args:
        text: Content of the file.
        where: Name of the network in error messages.

    Raises:
        ConversionError: If the text is not such a file, or its numbers of layers and blobs are
            wrong.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        if lines[0] != [MAGIC]:
            raise ValueError(f"it starts with '{' '.join(lines[0])[:20]}', not {MAGIC}")
        layers, blobs = map(int, lines[1])
        found = tuple(map(_read_line, lines[2:]))
    except (ValueError, IndexError) as error:
        raise ConversionError(f"not a param file ({error})", where=where) from error
    written = sum(len(layer.tops) for layer in found)
    if (layers, blobs) != (len(found), written):
        raise ConversionError(
            f"the param file announces {layers} layers and {blobs} blobs, it has {len(found)} "
            f"and {written}",
            where=where,
        )
    return found


def _read_line(words: list[str]) -> ParamLayer:
    kind, name = words[:2]
    bottoms, tops = map(int, words[2:_FIELDS])
    names, rest = words[_FIELDS:][: bottoms + tops], words[_FIELDS + bottoms + tops :]
    if min(bottoms, tops) < 0 or len(names) < bottoms + tops:
        raise ValueError(f"layer '{name}' has fewer blobs than announced")
    options = {}
    for word in rest:
        number, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"layer '{name}' has the option '{word}'")
        options[int(number)] = value
    return ParamLayer(kind, name, tuple(names[:bottoms]), tuple(names[bottoms:]), options)

"""What an adopted network does: the outputs that it must have, and what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError, ParityError
from mobileface.vision.crops import CROPS

__all__ = ["AttributesTask", "EmbeddingTask", "Head", "Measured", "Task", "parse_head"]

FloatArray = npt.NDArray[np.float32]

_UNIT = 1e-3
"""Deviation of a vector's length, or of a sum of probabilities, from 1 that rounding explains."""


@dataclass(frozen=True)
class Measured:
    """What the outputs of a network are.

    Attributes:
        section: The task's section of the spec.
        title: The end of the model's title.
        note: A sentence for the console.
    """

    section: Mapping[str, Any]
    title: str
    note: str


class Task(Protocol):
    """What a network does."""

    @property
    def name(self) -> str:
        """The spec's task."""

    @property
    def kind(self) -> str:
        """The key of the spec's section."""

    @property
    def purpose(self) -> str:
        """For the card."""

    @property
    def measure(self) -> str:
        """For the card: how to find out how good it is."""

    @property
    def limits(self) -> Sequence[str]:
        """For the card."""

    @property
    def outputs(self) -> Mapping[str, str | None]:
        """The published output of each output of the spec; None if it is the only one."""

    def side(self, crop: str, /) -> int:
        """Side of the crop in pixels if neither the network nor the request says it.

        Raises:
            ConversionError: One of them must.
        """

    def section(self, crop: str, /) -> dict[str, Any]:
        """The section of the spec before anything was measured."""

    def check_shapes(self, shapes: Mapping[str, Sequence[int | None]], /, where: str) -> None:
        """Checks the shapes of outputs against what is said of them.

        Args:
            shapes: Sizes after the batch of each output, as far as they are known.
            where: Name of the model in error messages.

        Raises:
            ConversionError: They contradict each other.
        """

    def measured(self, crop: str, /, rows: FloatArray, where: str) -> Measured:
        """What was measured.

        Args:
            crop: Name of the crop.
            rows: float32 (N, D): all outputs side by side, for several pictures, all finite.
            where: Name of the model in error messages.

        Raises:
            ConversionError: The outputs are not what was said of them.
        """


@dataclass(frozen=True)
class EmbeddingTask:
    """A network that turns a face into a vector.

    Attributes:
        feature: Name of the output to use; None if it is the only one, or can be detected.
    """

    feature: str | None = None

    name = "embedding"
    kind = "embedding"
    purpose = (
        "Tells whether two faces belong to one person: the cosine of two embeddings is higher for "
        "the same person."
    )
    measure = "Not measured: `mobileface-eval roc` does so on your own people."
    limits = ("Without a calibration (`mobileface-eval calibrate`) nothing is decided.",)

    @property
    def outputs(self) -> Mapping[str, str | None]:
        """One vector."""
        return {"embedding": self.feature}

    def side(self, crop: str) -> int:
        """That of the crop."""
        return CROPS[crop].size

    def section(self, crop: str) -> dict[str, Any]:
        """A vector of one number."""
        return {"output": "embedding", "size": 1, "normalized": False, "crop": crop}

    def check_shapes(self, _: Mapping[str, Sequence[int | None]], where: str) -> None:
        """Rows may have any shape."""

    def measured(self, crop: str, rows: FloatArray, where: str) -> Measured:
        """Its size, and whether it has unit length."""
        size = rows.shape[1]
        if size < 2:
            raise ParityError("the network gives one number: no embedding", where=where)
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        unit = bool(np.abs(lengths - 1).max() <= _UNIT)
        ends = "of unit length" if unit else f"of length {lengths.min():.3g} to {lengths.max():.3g}"
        section = {**self.section(crop), "size": size, "normalized": unit}
        return Measured(section, f"{size}-d", f"{size} numbers per face, {ends}")


@dataclass(frozen=True)
class Head:
    """One output of a network for attributes.

    Attributes:
        attribute: "gender", "age" or "expression".
        classes: Names of the classes, or the years of those of an age.
        output: The published output; None if it is the only one.
    """

    attribute: str
    classes: tuple[str | float, ...]
    output: str | None = None


def parse_head(text: str) -> Head:
    """Reads a head as the command line states it: ``[OUTPUT:]ATTRIBUTE=CLASS,CLASS,…``.

    Raises:
        ConversionError: The text is none.
    """
    told, equals, listed = text.rpartition("=")
    output, _, attribute = told.rpartition(":")
    words = [word.strip() for word in listed.split(",")]
    if not equals or attribute not in ("gender", "age", "expression") or "" in words:
        raise ConversionError(
            f"--head '{text}' is not like gender=female,male",
            hint="write [OUTPUT:]gender|age|expression=CLASS,CLASS,…; classes of age are years",
        )
    if attribute != "age":
        return Head(attribute, tuple(words), output or None)
    try:
        return Head(attribute, _years(words), output or None)
    except ValueError:
        raise ConversionError(
            f"--head '{text}': classes of age are years", hint="for example age=0-100 or age=2,6,11"
        ) from None


def _years(words: Sequence[str]) -> tuple[float, ...]:
    """Years, one by one or as a range of whole ones: 0-100."""
    first, dash, last = words[0].partition("-")
    if len(words) == 1 and dash:
        return tuple(float(year) for year in range(int(first), min(int(last), 1000) + 1))
    return tuple(float(word) for word in words)


@dataclass(frozen=True)
class AttributesTask:
    """A network with heads for some of gender, age and expression.

    Attributes:
        heads: Its heads.
    """

    heads: tuple[Head, ...]

    name = "attributes"
    kind = "heads"
    measure = "Not measured."
    limits = ("Not for decisions about single people.",)

    @property
    def purpose(self) -> str:
        """What it estimates."""
        return f"Estimates {', '.join(head.attribute for head in self.heads)} of a face."

    @property
    def outputs(self) -> Mapping[str, str | None]:
        """One for each head."""
        return {head.attribute: head.output for head in self.heads}

    def side(self, crop: str) -> int:
        """That of the crop."""
        return CROPS[crop].size

    def section(self, crop: str) -> dict[str, Any]:
        """Heads whose rows may have any sum."""
        return {"crop": crop, "heads": [self._head(head, chances=False) for head in self.heads]}

    def check_shapes(self, _: Mapping[str, Sequence[int | None]], where: str) -> None:
        """Rows may have any shape."""

    def measured(self, crop: str, rows: FloatArray, where: str) -> Measured:
        """Which heads give probabilities."""
        count = sum(len(head.classes) for head in self.heads)
        if rows.shape[1] != count:
            raise ConversionError(
                f"the network gives {rows.shape[1]} numbers for the {count} classes of "
                f"{', '.join(self.outputs)}",
                where=where,
            )
        heads, start, notes = [], 0, []
        for head in self.heads:
            part = rows[:, start : start + len(head.classes)].astype(np.float64)
            start += len(head.classes)
            near = np.abs(part.sum(axis=1) - 1).max() <= _UNIT
            chances = bool(near and part.min() >= 0)
            heads.append(self._head(head, chances=chances))
            notes.append(f"{head.attribute} as {'probabilities' if chances else 'logits'}")
        section = {"crop": crop, "heads": heads}
        return Measured(section, ", ".join(self.outputs), ", ".join(notes))

    def _head(self, head: Head, *, chances: bool) -> dict[str, Any]:
        """A head as the spec states it."""
        classes = "years" if head.attribute == "age" else "classes"
        return {
            "output": head.attribute,
            "attribute": head.attribute,
            "probabilities": chances,
            classes: list(head.classes),
        }

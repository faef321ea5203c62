"""Kind "embedding": a network that turns a face crop into a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ...errors import SpecError
from ...fields import OMIT_AT_DEFAULT, Boolean, Count, Text, one_of
from ...vision.crops import CROPS
from .base import Kind, Tensors

__all__ = ["EMBEDDER", "EmbeddingSpec"]


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """The output of an identification network.

    Attributes:
        output: Name of the ONNX output, float32 (N, size).
        size: Number of elements.
        normalized: True if the network itself scales it to unit length.
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
        normalization_added: True if the converter added that scaling on request; the published
            network does not have it.
    """

    output: Text
    size: Count
    normalized: Boolean
    crop: Annotated[str, one_of(tuple(CROPS))]
    normalization_added: Boolean = field(default=False, metadata=OMIT_AT_DEFAULT)


class Embedder(Kind[EmbeddingSpec]):
    """A network on one crop whose output is an embedding."""

    name = "embedding"
    task = "embedding"
    section = EmbeddingSpec
    runner = "mobileface.tasks.embedding:Embedder"
    needs_input = True
    one_size = True
    calibration = "crops"
    cuts_classifier = True

    def check(self, section: EmbeddingSpec, where: str) -> None:
        """An added normalization normalizes."""
        if section.normalization_added and not section.normalized:
            raise SpecError("must be true where it was added", where=f"{where}, normalized")

    def tensors(self, section: EmbeddingSpec) -> Tensors:
        """One row for each crop."""
        return Tensors(outputs={section.output: (None, section.size)})

    def describe_output(self, section: EmbeddingSpec) -> str:
        """Name, shape and length."""
        length = "of unit length" if section.normalized else "of any length"
        return f"`{section.output}`, float32 (N, {section.size}), {length}"

    def crop(self, section: EmbeddingSpec) -> str:
        """The crop it was trained on."""
        return section.crop

    def normalizes(self, section: EmbeddingSpec) -> bool:
        """Whether the scaling was added."""
        return section.normalization_added

    def normalizing(self, section: EmbeddingSpec) -> EmbeddingSpec:
        """The section with the scaling; unchanged if the network has it already."""
        if section.normalized:
            return section
        return replace(section, normalized=True, normalization_added=True)

    def fingerprint(self, section: Mapping[str, Any]) -> Mapping[str, Any]:
        """All facts except who scales to unit length: the embeddings are the same."""
        facts = dict(section)
        if facts.pop("normalization_added", False):
            facts["normalized"] = False
        return facts


EMBEDDER = Embedder()

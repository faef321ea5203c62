"""What enrolment finds and does: examined images, enrolled ones, lookalikes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from .entries import NewFace

__all__ = ["EnrolledImage", "Enrolment", "Examined", "Lookalike"]


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A new face that is similar to another person who is already enrolled.

    Attributes:
        file: The image file of the new face.
        name: Name of the other person.
        similarity: Cosine similarity to that person's most similar face.
    """

    file: str
    name: str
    similarity: float

    def __str__(self) -> str:
        return f"{self.file}: looks like '{self.name}' (similarity {self.similarity:.3f})"


@dataclass(frozen=True, slots=True)
class EnrolledImage:
    """The image of an enrolled face, and which of its faces it was.

    Attributes:
        file: The image file.
        faces: Number of faces that were found in it; 1 for an aligned crop.
        bbox: x1, y1, x2, y2 of the enrolled face in pixels of the image; None for an aligned crop.
    """

    file: str
    faces: int
    bbox: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The result of enrolling images of one person.

    Attributes:
        name: Name of the person.
        faces: IDs of the faces that were added.
        known: Files that were already enrolled.
        refused: One error for each rejected file.
        lookalikes: Added faces that are similar to another person.
        images: The image of each added face.
    """

    name: str
    faces: tuple[int, ...]
    known: tuple[str, ...]
    refused: tuple[InputError, ...]
    lookalikes: tuple[Lookalike, ...]
    images: tuple[EnrolledImage, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types, without escapes of names."""
        return {
            "name": self.name,
            "faces": list(self.faces),
            "known": list(self.known),
            "refused": [str(error) for error in self.refused],
            "images": [asdict(image) for image in self.images],
            "lookalikes": [asdict(other) for other in self.lookalikes],
        }


@dataclass(frozen=True, slots=True)
class Examined:
    """The images of one person, with the faces that meet the quality limits.

    Attributes:
        faces: The faces to enrol.
        images: The image of each of them.
        known: Files that were already enrolled.
        refused: One error for each rejected file.
    """

    faces: tuple[NewFace, ...]
    images: tuple[EnrolledImage, ...]
    known: tuple[str, ...]
    refused: tuple[InputError, ...]

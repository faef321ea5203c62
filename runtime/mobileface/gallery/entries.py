"""What a gallery holds and gives: people, faces, and the results of a search."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..matching.error_rates import Rate
from ..types import FloatArray

__all__ = [
    "FaceRecord",
    "Identification",
    "Match",
    "NewFace",
    "Person",
    "Removal",
    "check_embedding",
    "check_name",
]

_UNIT = 1e-6
"""Lengths that differ by less from 1 are rounding errors."""

_LONGEST_NAME = 255
"""Bytes of UTF-8: as many as a folder's name may have."""


@dataclass(frozen=True, slots=True, eq=False)
class NewFace:
    """A face to be enrolled.

    Attributes:
        embedding: float32 (D,); it is scaled to unit length.
        source: The file it is from.
        source_sha256: SHA-256 of that file.
        bbox: x1, y1, x2, y2 in pixels of the source.
        det_score: Of the detector.
        kps: Points by name, x and y in pixels of the source.
        quality: What was measured of the picture.
        crop: JPEG of the face with what is around it, upright.
        crop_bbox: The box in pixels of the crop; None: the crop is what the network sees.
        crop_kps: The points in pixels of the crop.
        uid: A number that no other face has, in hexadecimal; "": a new one.
        created: When it was enrolled; "": now.
    """

    embedding: FloatArray
    source: str | None = None
    source_sha256: str | None = None
    bbox: tuple[float, ...] | None = None
    det_score: float | None = None
    kps: Mapping[str, tuple[float, float]] | None = None
    quality: Mapping[str, float] | None = None
    crop: bytes | None = None
    crop_bbox: tuple[float, ...] | None = None
    crop_kps: Mapping[str, tuple[float, float]] | None = None
    uid: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FaceRecord:
    """A face that is enrolled.

    Attributes:
        face_id: Its number.
        face: What is stored of it.
    """

    face_id: int
    face: NewFace


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is enrolled.

    Attributes:
        person_id: A number, never given twice.
        name: The name.
        faces: How many faces are stored.
        created: When, ISO 8601 in UTC.
    """

    person_id: int
    name: str
    faces: int
    created: str


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed.

    Attributes:
        faces: How many.
        erased: Nothing of them is left in any file of the gallery; False: a process that still
            reads an older state keeps it in the log until it is done.
    """

    faces: int
    erased: bool


@dataclass(frozen=True, slots=True)
class Match:
    """A person that a face was compared with.

    Attributes:
        name: Who.
        person_id: The person's number.
        face_id: Number of the most similar face; None with mean templates.
        similarity: Cosine, −1 to 1.
        false_match_rate: How often two different people are at least so similar; None without a
            calibration.
        false_identification_rate: How often somebody who is not enrolled is at least so similar to
            anybody in a gallery of this size; None without a calibration.
    """

    name: str
    person_id: int
    face_id: int | None
    similarity: float
    false_match_rate: Rate | None = None
    false_identification_rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Identification:
    """Who a face is.

    Attributes:
        matches: The most similar people, the best first; different people.
        runner_up: The second best person, whatever was asked for; None if there is none.
        threshold: Least similarity that is accepted; None: none was asked for.
        comparisons: How many faces (or templates) it was compared with.
    """

    matches: tuple[Match, ...]
    runner_up: Match | None
    threshold: float | None
    comparisons: int

    @property
    def best(self) -> Match | None:
        """The most similar person; None in an empty gallery."""
        return self.matches[0] if self.matches else None

    @property
    def accepted(self) -> bool:
        """True if there is a best match and it is similar enough."""
        best = self.best
        return best is not None and (self.threshold is None or best.similarity >= self.threshold)

    @property
    def name(self) -> str | None:
        """The best match's name if it is accepted; None: unknown."""
        return self.best.name if self.best is not None and self.accepted else None

    @property
    def margin(self) -> float | None:
        """How much more similar the best is than the runner-up."""
        if self.best is None or self.runner_up is None:
            return None
        return self.best.similarity - self.runner_up.similarity

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types; ``name`` is null for somebody unknown."""
        return {
            "name": self.name,
            "threshold": self.threshold,
            "comparisons": self.comparisons,
            "margin": self.margin,
            "matches": [dataclasses.asdict(match) for match in self.matches],
            "runner_up": None if self.runner_up is None else dataclasses.asdict(self.runner_up),
        }


def check_name(name: object) -> str:
    """A person's name, in Unicode's normal form and without blanks around it.

    Raises:
        InputError: Empty, too long, with characters that cannot be printed, or a path.
    """
    if not isinstance(name, str):
        raise InputError(f"a name is text, not {type(name).__name__}")
    text = unicodedata.normalize("NFC", name).strip()
    shown = ascii(text if len(text) <= 40 else text[:37] + "...")
    if not text:
        raise InputError("a name is empty")
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"the name {shown} is no Unicode text") from error
    if length > _LONGEST_NAME:
        raise InputError(f"the name {shown} has {length} bytes", hint=f"{_LONGEST_NAME} at most")
    if not text.isprintable():
        raise InputError(f"the name {shown} has characters that cannot be printed")
    if text in (".", "..") or {"/", "\\"} & set(text):
        raise InputError(f"the name {shown} is a path", hint="a name has no / and no \\")
    return text


def check_embedding(embedding: npt.ArrayLike, size: int, where: str = "") -> FloatArray:
    """An embedding at unit length.

    Returns:
        float32 (D,).

    Raises:
        InputError: It has another length, or is not finite, or zero.
    """
    try:
        vector = np.asarray(embedding, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"an embedding is no array of numbers ({error})", where=where) from error
    if vector.shape != (size,):
        raise InputError(
            f"an embedding of shape {vector.shape} instead of ({size},)",
            where=where,
            hint="it is another model's",
        )
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length):
        raise InputError("an embedding is not finite (NaN or infinite)", where=where)
    if length < np.finfo(np.float32).tiny:
        raise InputError("an embedding is zero", where=where)
    if abs(length - 1) < _UNIT:
        return vector  # as the network gave it, bit by bit
    return np.asarray(vector / np.float32(length), np.float32)

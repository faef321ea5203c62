"""Records of a gallery: people, faces and search results; checks of names and embeddings."""

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
from ..matching.decisions import DecisionRule
from ..matching.error_rates import Rate
from ..types import FloatArray

__all__ = [
    "FaceRecord",
    "Identification",
    "Match",
    "Merger",
    "NewFace",
    "Person",
    "Removal",
    "check_embedding",
    "check_name",
]

_UNIT_TOLERANCE = 1e-6
"""Norms that differ by less from 1 are rounding errors."""

_MAX_NAME_BYTES = 255
"""Maximum length of a name in UTF-8, as for folder names on common file systems."""


@dataclass(frozen=True, slots=True, eq=False)
class NewFace:
    """A face to be enrolled.

    Attributes:
        embedding: float32 (D,); it is L2-normalized when it is added.
        source: The image file of the face.
        source_sha256: SHA-256 of that file.
        bbox: x1, y1, x2, y2 in pixels of the source.
        det_score: Detection score.
        kps: Landmarks by name, x and y in pixels of the source.
        quality: Measured quality values, by name; see `mobileface.gallery.quality.measure`.
        crop: JPEG of the face with some surroundings, upright.
        crop_bbox: The face box in pixels of the crop; None if the crop is the network's input.
        crop_kps: The landmarks in pixels of the crop.
        uid: Unique ID of the face, in hexadecimal; "" creates a new one.
        created: Time of the enrolment, ISO 8601 in UTC; "" means now.
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
    """An enrolled face.

    Attributes:
        face_id: ID of the face in this gallery.
        face: The stored data.
    """

    face_id: int
    face: NewFace

    def to_dict(self) -> dict[str, Any]:
        """What is known of the face as JSON types, without embedding, landmarks and crop."""
        face = self.face
        return {
            "face_id": self.face_id,
            "uid": face.uid,
            "source": face.source,
            "bbox": face.bbox,
            "det_score": face.det_score,
            "quality": dict(face.quality or {}),
            "created": face.created,
            "crop": face.crop is not None,
        }


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled person.

    Attributes:
        person_id: ID of the person; never reused.
        name: Name of the person.
        faces: Number of stored faces.
        created: Time of the first enrolment, ISO 8601 in UTC.
    """

    person_id: int
    name: str
    faces: int
    created: str


@dataclass(frozen=True, slots=True)
class Removal:
    """The result of a removal.

    Attributes:
        faces: Number of removed faces.
        erased: True if no file of the gallery contains their data any more; False if they stay in
            the log: another process still reads an older state, until it has finished, or the disk
            is full, until the gallery is closed when it no longer is.
    """

    faces: int
    erased: bool


@dataclass(frozen=True, slots=True)
class MergedPerson:
    """A person who was merged into another one.

    Attributes:
        person_id: ID that the person had.
        into: ID of the person who has the faces now.
        created: Time of the person's first enrolment, ISO 8601 in UTC.
    """

    person_id: int
    into: int
    created: str


@dataclass(frozen=True, slots=True)
class Merger:
    """The result of merging two people.

    Attributes:
        moved: Number of faces that changed from one to the other.
        dropped: Number of faces that were removed, because their files were enrolled for both.
        erased: True if no file of the gallery contains the removed data any more; see `Removal`.
    """

    moved: int
    dropped: int
    erased: bool


@dataclass(frozen=True, slots=True)
class Match:
    """An enrolled person who is similar to a probe.

    Attributes:
        name: Name of the person.
        person_id: ID of the person.
        face_id: ID of the person's most similar face; None with averaged templates.
        similarity: Cosine similarity, −1 to 1.
        false_match_rate: False match rate (FMR) at this similarity: the share of impostor pairs at
            or above it; None without a calibration.
        false_identification_rate: False positive identification rate (FPIR) at this similarity:
            the share of searches for people who are not enrolled that find anyone at or above it
            in a gallery of this size; None without a calibration.
    """

    name: str
    person_id: int
    face_id: int | None
    similarity: float
    false_match_rate: Rate | None = None
    false_identification_rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Identification:
    """The result of a search for one face.

    Attributes:
        matches: The most similar people, sorted by similarity, highest first; one entry per person.
        runner_up: The second-best person, even if only one match was requested; None if fewer than
            two people are enrolled.
        rule: The rule that accepts matches, with its threshold and error rates; None if there is no
            calibration and no threshold was given: then no match is accepted.
        comparisons: Number of faces (or templates) that the probe was compared with.
    """

    matches: tuple[Match, ...]
    runner_up: Match | None
    rule: DecisionRule | None
    comparisons: int

    @property
    def threshold(self) -> float | None:
        """Similarity at or above which a match is accepted; None without a rule."""
        return None if self.rule is None else self.rule.threshold

    @property
    def best(self) -> Match | None:
        """The most similar person; None in an empty gallery."""
        return self.matches[0] if self.matches else None

    @property
    def accepted(self) -> bool:
        """True if the best match reaches the threshold; False without a match or without a rule."""
        best, rule = self.best, self.rule
        return best is not None and rule is not None and rule.accepts(best.similarity)

    @property
    def name(self) -> str | None:
        """Name of the best match if it is accepted, otherwise None."""
        return self.best.name if self.best is not None and self.accepted else None

    @property
    def margin(self) -> float | None:
        """Similarity of the best match minus that of the runner-up; None without a runner-up."""
        if self.best is None or self.runner_up is None:
            return None
        return self.best.similarity - self.runner_up.similarity

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types.

        ``name`` is null (unknown) if the best match does not reach ``threshold``, or if there is no
        rule. ``rule`` says what determined the threshold and which error rates to expect, see
        `DecisionRule`; it is null, as ``threshold``, without a calibration and a given threshold.
        ``matches`` are the most similar people, accepted or not.
        """
        return {
            "name": self.name,
            "threshold": self.threshold,
            "rule": None if self.rule is None else self.rule.to_dict(basis=False),
            "comparisons": self.comparisons,
            "margin": self.margin,
            "matches": [dataclasses.asdict(match) for match in self.matches],
            "runner_up": None if self.runner_up is None else dataclasses.asdict(self.runner_up),
        }


def check_name(name: object) -> str:
    """Checks a person's name; returns it in Unicode NFC, without leading or trailing white space.

    Raises:
        InputError: If the name is empty, too long or a path, or if it contains unprintable
            characters.
    """
    if not isinstance(name, str):
        raise InputError(f"a name must be text, not {type(name).__name__}")
    text = unicodedata.normalize("NFC", name).strip()
    shown = ascii(text if len(text) <= 40 else text[:37] + "...")
    if not text:
        raise InputError("a name must not be empty")
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"the name {shown} is not valid Unicode") from error
    if length > _MAX_NAME_BYTES:
        raise InputError(
            f"the name {shown} has {length} bytes", hint=f"use {_MAX_NAME_BYTES} bytes or fewer"
        )
    if not text.isprintable():
        raise InputError(f"the name {shown} contains unprintable characters")
    if text in (".", "..") or {"/", "\\"} & set(text):
        raise InputError(f"the name {shown} is a path", hint="a name must not contain '/' or '\\'")
    return text


def check_embedding(embedding: npt.ArrayLike, size: int, where: str = "") -> FloatArray:
    """Checks and L2-normalizes an embedding.

    Args:
        embedding: Numbers, (D,).
        size: The expected D.
        where: Location for error messages.

    Returns:
        float32 (D,), with norm 1.

    Raises:
        InputError: If the embedding is not a numeric array of shape (D,), is not finite, or is
            zero.
    """
    try:
        vector = np.asarray(embedding, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the embedding is not an array of numbers ({error})", where=where
        ) from error
    if vector.shape != (size,):
        raise InputError(
            f"the embedding must have shape ({size},), not {vector.shape}",
            where=where,
            hint="use an embedding of the gallery's model",
        )
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(norm):
        raise InputError("the embedding is not finite (NaN or infinity)", where=where)
    if norm < np.finfo(np.float32).tiny:
        raise InputError("the embedding is zero", where=where)
    if abs(norm - 1) < _UNIT_TOLERANCE:
        return vector  # unchanged, bit for bit
    return np.asarray(vector / np.float32(norm), np.float32)

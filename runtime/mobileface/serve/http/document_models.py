"""What the documents of the commands look like, for the API's description.

Answers are not checked against these when they are sent; the tests do that. Every object may have
fields besides these.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Analysis", "Comparison", "Embeddings", "SearchResult"]

Box = Annotated[list[float], Field(min_length=4, max_length=4, description="x1, y1, x2, y2")]
Score = Annotated[float, Field(ge=0, le=1)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="allow")


class Rate(_Document):
    """A measured rate with its 95 % interval."""

    value: Score
    low: Score
    high: Score


class Pose(_Document):
    """Angles in degrees."""

    pitch: float
    roll: float
    yaw: float


class DescribedFace(_Document):
    """A face, with the results of the tasks that ran."""

    bbox: Box
    det_score: Score
    kps: list[list[float]] | None = None
    kps_names: list[str] | None = None
    pose: Pose | None = None
    embedding: list[float] | None = None


class Analysis(_Document):
    """``mobileface analyze --json``, ``detect --json``."""

    file: str
    width: int
    height: int
    faces: list[DescribedFace]


class Embeddings(_Document):
    """``mobileface embed --json``: a row of each of the three lists for each face."""

    model: str
    files: list[str]
    embeddings: list[list[float]]
    bboxes: list[Box]
    without_face: list[str]


class Decision(_Document):
    """Whether two faces are of one person, and how sure that is."""

    answer: str
    same: bool | None
    similarity: float
    threshold: float | None
    different_below: float | None
    false_match_rate: Rate | None


class ComparedFace(_Document):
    """The face of a photo that was compared."""

    file: str
    found: int
    bbox: Box


class Comparison(_Document):
    """``mobileface compare --json``."""

    model: str
    files: list[str]
    similarity: float
    decision: Decision
    faces: list[ComparedFace]


class Match(_Document):
    """A person who is similar."""

    name: str
    person_id: int
    face_id: int
    similarity: float


class Identity(_Document):
    """Who a face is; ``name`` is null if it is nobody known."""

    name: str | None
    threshold: float
    matches: list[Match]


class FoundFace(DescribedFace):
    """A face, and who it is."""

    identity: Identity | None


class SearchResult(_Document):
    """``mobileface gallery search --json``."""

    file: str
    width: int
    height: int
    faces: list[FoundFace]

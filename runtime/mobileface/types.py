"""What the tasks return: frozen, with documented units.

Pixel coordinates have their origin in the centre of the upper left pixel; x grows to the right, y
down. "left" is left as the viewer sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = [
    "Attributes",
    "Detections",
    "Face",
    "FloatArray",
    "Landmarks",
    "Pose",
    "Track",
    "require_same_model",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces found in an image, sorted by score, highest first.

    Attributes:
        boxes: float32 (N, 4): x1, y1, x2, y2 in pixels of the image; may reach beyond it.
        scores: float32 (N,): det_score of each; its scale is the detector's own.
        keypoints: float32 (N, P, 2): x and y of each point in pixels, if the detector gives any.
        keypoint_names: Name of each of the P points.
    """

    boxes: FloatArray
    scores: FloatArray
    keypoints: FloatArray | None = None
    keypoint_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Named points of one face.

    Attributes:
        names: What each point is, e.g. "left_eye".
        points: float32 (P, 2): x and y in pixels of the picture.
    """

    names: tuple[str, ...]
    points: FloatArray

    def select(self, names: tuple[str, ...]) -> FloatArray | None:
        """The points of these names, (P, 2), or None if one is absent.

        A "mouth" that is not there itself is the mean of "left_mouth" and "right_mouth".
        """
        found = [self._find(name) for name in names]
        rows = [row for row in found if row is not None]
        return np.stack(rows) if rows and len(rows) == len(names) else None

    def _find(self, name: str) -> FloatArray | None:
        if name in self.names:
            return np.asarray(self.points[self.names.index(name)], np.float32)
        corners = ("left_mouth", "right_mouth")
        if name == "mouth" and all(corner in self.names for corner in corners):
            left, right = (self.points[self.names.index(corner)] for corner in corners)
            return np.asarray((left + right) / 2, np.float32)
        return None


@dataclass(frozen=True, slots=True)
class Pose:
    """Which way a head turns, on MobileFace's scale: about −100 to 100, not degrees.

    Attributes:
        pitch: Nodding.
        roll: Tilting to a shoulder.
        yaw: Turning to a side.
    """

    pitch: float
    roll: float
    yaw: float


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """What a face looks like to one attribute network or several.

    What no model told is None. Classes and their order are those of the spec of the model that
    told, see ``mobileface models`` and the models' cards. MobileFace's attribute_v1 knows the
    expressions laugh, smile, calm, anger, despised and complicated; the starter set's own model
    angry, disgust, fear, happy, sad, surprise and neutral.

    Attributes:
        gender: The more probable one.
        gender_probs: float32 (G,): probability of each.
        age: Years: expectation over the classes of age.
        age_published: Years as upstream prints them: each class's share is cut to whole years
            before they are summed, which gives up to one year less for each class. Only
            MobileFace's own model has it.
        age_probs: float32 (A,).
        expressions: Words for the two most probable classes, surest first (they may be the same
            word). One word alone if MobileFace's model finds no class probable enough, or if
            another model finds one more probable than all others together.
        expression_probs: float32 (E,).
    """

    gender: str | None = None
    gender_probs: FloatArray | None = None
    age: float | None = None
    age_published: int | None = None
    age_probs: FloatArray | None = None
    expressions: tuple[str, ...] | None = None
    expression_probs: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of a picture.

    Attributes:
        bbox: float32 (4,): x1, y1, x2, y2 in pixels of the picture; may reach beyond it.
        det_score: How sure the detector is, on its own scale.
        landmarks: Its points, or None if that task did not run.
        pose: Which way it turns, or None if that task did not run.
        embedding: float32 (D,) of unit length, or None if that task did not run.
        embedding_model: `Embedder.identity` of the model that made the embedding.
        attributes: Gender, age and expression, or None if that task did not run.
        roll: Degrees by which the head is turned clockwise in the image, −180 to 180, measured
            from points that turn with it; None if the detector gives no points.
    """

    bbox: FloatArray
    det_score: float
    landmarks: Landmarks | None = None
    pose: Pose | None = None
    embedding: FloatArray | None = None
    attributes: Attributes | None = None
    embedding_model: str | None = None
    roll: float | None = None

    def similarity(self, other: Face) -> float:
        """Cosine of two faces' embeddings, −1 to 1; higher is more alike.

        Raises:
            InputError: A face has no embedding, or they are of different models; names both.
        """
        if self.embedding is None or other.embedding is None:
            raise InputError("a face without an embedding cannot be compared")
        require_same_model(self.embedding_model, other.embedding_model)
        return float(np.clip(self.embedding @ other.embedding, -1, 1))

    @property
    def kps(self) -> FloatArray | None:
        """The points alone, float32 (P, 2)."""
        return None if self.landmarks is None else self.landmarks.points


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A face that is followed through a video, in one frame.

    Attributes:
        track_id: Its number, from 1 on; the same in all frames.
        bbox: float32 (4,): x1, y1, x2, y2 in pixels; smoothed, or predicted if `detection` is None.
        det_score: How sure the detector is; None in a frame without a detection.
        detection: Index of its detection in this frame; None: its box is a prediction.
        age: Frames since it was first seen.
    """

    track_id: int
    bbox: FloatArray
    det_score: float | None
    detection: int | None
    age: int


def require_same_model(one: str | None, other: str | None) -> None:
    """Refuses to compare what different models made: their numbers have nothing in common.

    Args:
        one: `Embedder.identity` of a model.
        other: Likewise.

    Raises:
        InputError: They differ; names both.
    """
    if one != other:
        raise InputError(
            f"embeddings of {one or 'an unknown model'} and {other or 'an unknown model'} "
            "cannot be compared",
            hint="embed both with the same model",
        )

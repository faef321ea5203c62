"""The results of the tasks, as frozen dataclasses with documented units.

The origin of pixel coordinates is the centre of the upper left pixel; x increases to the right, y
downwards. "left" means left as seen by the viewer.
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
    "PublishedPose",
    "Track",
    "require_same_model",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Detected faces of an image, sorted by score, highest first.

    Attributes:
        boxes: float32 (N, 4): x1, y1, x2, y2 in pixels of the image; may extend beyond it.
        scores: float32 (N,): detection scores; their scale depends on the detector.
        keypoints: float32 (N, P, 2): x and y of keypoints in pixels; None if the detector has none.
        keypoint_names: Names of the P keypoints.
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
        names: Name of each point, e.g. "left_eye"; the points of a mesh are "mesh_0", "mesh_1", …
        points: float32 (P, 2): x and y in pixels of the image.
        z: float32 (P,): depth of each point in pixels of the image; None for points of the image
            alone. For a mesh it grows away from the camera, from the middle of the head on; an
            adopted network has its own sign and origin. nan for points of models without depth
            that are merged with others.
        score: How surely there is a face, 0 to 1; None if the model does not tell.
    """

    names: tuple[str, ...]
    points: FloatArray
    z: FloatArray | None = None
    score: float | None = None

    def select(self, names: tuple[str, ...]) -> FloatArray | None:
        """The points with the given names, (P, 2); None if one is missing.

        A missing "mouth" is replaced by the mean of "left_mouth" and "right_mouth".
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
class PublishedPose:
    """What MobileFace's own pose model gives, under upstream's names and with its signs.

    Attributes:
        pitch: Nodding, positive for a face that looks up.
        roll: Turning to the left or right, which the field calls yaw.
        yaw: Tilting towards a shoulder, which the field calls roll.
    """

    pitch: float
    roll: float
    yaw: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Head pose: degrees from a mesh, or MobileFace's scale from its own pose model.

    Degrees apply in the order roll, yaw, pitch: roll turns the picture of the head, yaw its turned
    face, pitch the nod. Left and right are the viewer's. MobileFace's scale is about −100 to 100;
    its yaw and roll are about twice the degrees of a mesh.

    Attributes:
        pitch: Nodding up or down; in degrees −180 to 180, positive for a face that looks down.
        roll: Tilting towards a shoulder; in degrees −180 to 180, positive for a head turned
            clockwise in the image, as `Face.roll`.
        yaw: Turning to the left or right; in degrees −90 to 90, positive for a face that looks to
            the left.
        degrees: True for degrees, False for MobileFace's scale.
        published: The numbers under upstream's names; None for degrees.
    """

    pitch: float
    roll: float
    yaw: float
    degrees: bool = False
    published: PublishedPose | None = None


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
    """One face of an image.

    Attributes:
        bbox: float32 (4,): x1, y1, x2, y2 in pixels of the image; may extend beyond it.
        det_score: Detection score; its scale depends on the detector.
        landmarks: Landmarks; None if the task did not run.
        pose: Head pose; None if the task did not run, or the face's points allow none.
        embedding: float32 (D,), L2-normalized; None if the task did not run.
        embedding_model: `Embedder.identity` of the model that computed the embedding.
        attributes: Gender, age and expression; None if the task did not run.
        roll: Degrees by which the head is turned clockwise in the image, −180 to 180, measured
            from points that turn with it; None if the detector gives no points.
        mesh: The points of a face mesh, with z and score; None if no mesh model ran, or if it is
            not sure enough that there is a face.
    """

    bbox: FloatArray
    det_score: float
    landmarks: Landmarks | None = None
    pose: Pose | None = None
    embedding: FloatArray | None = None
    attributes: Attributes | None = None
    embedding_model: str | None = None
    roll: float | None = None
    mesh: Landmarks | None = None

    def __repr__(self) -> str:
        """One line: what is known, points and embedding in short.

        ``Face(bbox=(118.5, 64.4, 210.2, 173.0), det_score=0.932, landmarks=5 points,
        embedding=[-0.0407 0.0419 0.0197 … 128 numbers] of NAME@FINGERPRINT, roll=5.1)``. The
        arrays themselves are `bbox`, `kps` and `embedding`.
        """
        box = ", ".join(f"{value:.1f}" for value in self.bbox)
        parts = [f"bbox=({box})", f"det_score={self.det_score:.3f}"]
        if self.landmarks is not None:
            parts.append(f"landmarks={len(self.landmarks.points)} points")
        if self.mesh is not None:
            parts.append(f"mesh={len(self.mesh.points)} points")
        if self.pose is not None:
            parts.append(f"pose={self.pose}")
        if self.embedding is not None:
            first = " ".join(f"{value:.4f}" for value in self.embedding[:3])
            size = len(self.embedding)
            parts.append(f"embedding=[{first} … {size} numbers] of {self.embedding_model}")
        if self.attributes is not None:
            known = self.attributes
            age = None if known.age is None else f"{known.age:.1f} years"
            words = [known.gender, age, *(known.expressions or ())]
            parts.append(f"attributes=({', '.join(word for word in words if word)})")
        if self.roll is not None:
            parts.append(f"roll={self.roll:.1f}")
        return f"Face({', '.join(parts)})"

    def similarity(self, other: Face) -> float:
        """Cosine of the embeddings of two faces, −1 to 1; higher means more similar.

        Raises:
            InputError: If a face has no embedding, or the embeddings are from different models.
        """
        if self.embedding is None or other.embedding is None:
            raise InputError("a face without an embedding cannot be compared")
        require_same_model(self.embedding_model, other.embedding_model)
        return float(np.clip(self.embedding @ other.embedding, -1, 1))

    @property
    def kps(self) -> FloatArray | None:
        """The landmark points, float32 (P, 2); None without landmarks."""
        return None if self.landmarks is None else self.landmarks.points


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A face that is tracked through a video, in one frame.

    Attributes:
        track_id: ID of the track, 1 or greater; the same in all frames.
        bbox: float32 (4,): x1, y1, x2, y2 in pixels; smoothed, or predicted if `detection` is None.
        det_score: Detection score; None in a frame without a detection.
        detection: Index of the detection in this frame; None if the box is a prediction.
        age: Number of frames since the first detection.
    """

    track_id: int
    bbox: FloatArray
    det_score: float | None
    detection: int | None
    age: int


def require_same_model(one: str | None, other: str | None) -> None:
    """Checks that two embeddings are from the same model, because only those can be compared.

    Args:
        one: `Embedder.identity` of the first model; None if unknown.
        other: `Embedder.identity` of the second model; None if unknown.

    Raises:
        InputError: If the models differ.
    """
    if one != other:
        raise InputError(
            f"embeddings of {one or 'an unknown model'} and {other or 'an unknown model'} "
            "cannot be compared",
            hint="embed both with the same model",
        )

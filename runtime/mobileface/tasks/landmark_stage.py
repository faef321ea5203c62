"""Landmarks as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..errors import ModelNotFoundError
from ..types import Face, FloatArray, Landmarks
from ..vision.crops import CROPS
from ..vision.image import ChannelOrder, Image
from .align import allows_crop
from .base import Request, Stage, Task
from .detection import Detector
from .landmark_output import draw, problem, to_json, to_text
from .landmarks import LandmarkModel, LandmarkSet, instead, merge_landmarks, merged_names
from .loading import load, load_landmarks
from .mesh_predictor import MeshPredictor
from .point_predictor import PointPredictor
from .upright import (
    EYE_CORNERS,
    EYES,
    SURE_SCORE,
    TurnedFace,
    eye_line,
    eye_roll,
    found_turned,
    points_at,
    points_back,
    turned_patch,
    unturned,
    upright_face,
    upright_near,
)

__all__ = ["TASK", "LandmarkStage"]

_UPRIGHT = 10.0
"""Degrees: landmark models tolerate heads that are turned by less."""

_SMALLEST_PATCH, _LARGEST_PATCH = 32, 512
"""Pixels of the side of an upright patch."""


class LandmarkStage(Stage):
    """Adds landmarks to faces that lack them, and meshes if there is a model of one.

    Args:
        models: The landmark models; empty if the keypoints of the detector suffice.
        detector: The detector of the boxes; None uses the boxes unchanged.
        request: Arguments for loading more models if a crop needs more landmarks.
    """

    def __init__(
        self,
        models: Sequence[LandmarkModel | MeshPredictor],
        detector: Detector | None = None,
        request: Request | None = None,
    ) -> None:
        self.models: list[LandmarkModel | MeshPredictor] = list(models)
        self.detector = detector
        self._request = request or Request()
        self._exact = False

    @classmethod
    def load(cls, request: Request, detector: Detector | None = None) -> LandmarkStage:
        """Creates the stage with the models that a request selects."""
        choice = request.choice
        if choice is not None and not isinstance(choice, str):
            ready = choice if isinstance(choice, LandmarkSet | Sequence) else [choice]
            return cls(list(ready), detector, request)
        if choice is None and detector is not None and detector.point_names:
            return cls([], detector, request)
        if choice is not None:
            return cls([load(choice, task="landmarks", **request.loading)], detector, request)
        return cls(list(load_landmarks(**request.loading)), detector, request)

    @property
    def point_names(self) -> tuple[str, ...]:
        """The landmarks that faces have after this stage."""
        own = [] if self.detector is None else [self.detector.point_names]
        models: list[LandmarkModel] = [*self._predictors, *self._networks]
        return merged_names([*own, *(model.point_names for model in models)])

    @property
    def _predictors(self) -> list[LandmarkModel]:
        """The models of landmarks that complete each other."""
        return [
            model for model in self.models if not isinstance(model, PointPredictor | MeshPredictor)
        ]

    @property
    def _networks(self) -> list[PointPredictor]:
        """The models of landmarks whose points stand instead of others of the same name."""
        return [model for model in self.models if isinstance(model, PointPredictor)]

    @property
    def _mesh(self) -> MeshPredictor | None:
        """The model of meshes."""
        return next((model for model in self.models if isinstance(model, MeshPredictor)), None)

    @property
    def has_mesh(self) -> bool:
        """Whether faces have a mesh after this stage."""
        return self._mesh is not None

    def require_mesh(self, name: str) -> None:
        """Loads a model of meshes, unless it is there.

        Raises:
            ModelNotFoundError: If it is not found, or another model of meshes was chosen.
        """
        if self._mesh is None:
            self.models.append(load(name, task="landmarks", **self._request.loading))
        if self._mesh is None or self._mesh.name != name:
            there = "none" if self._mesh is None else self._mesh.name
            raise ModelNotFoundError(f"the mesh of {name} is needed, available: {there}")

    def require_crop(self, crop: str) -> None:
        """Loads more landmark models if the landmarks do not suffice for a crop.

        Raises:
            ModelNotFoundError: If no model outputs the missing landmarks.
        """
        if self.detector is not None and allows_crop(self.detector.point_names, crop):
            self._exact = self._exact or CROPS[crop].transform != "box"
        if not allows_crop(self.point_names, crop):
            more = load_landmarks(crop=crop, **self._request.loading)
            have = {model.name for model in self.models}
            self.models += [model for model in more if model.name not in have]

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds landmarks to faces that lack some of `point_names`.

        Faces whose points come from the detector alone are measured first: how far they are turned
        in the image. Landmark models see them upright. A roll that such a face has already is
        where it is looked for: that of the frame before. Most faces are turned so little that the
        models find the corners of their eyes as they are: then the roll need only be checked, and
        not even that if the detector is sure of the face or the roll is that of the frame before.
        """
        predicted = self._predict_first(image, faces)
        turned = [
            self._measure(image, face, color, predicted.get(number))
            for number, face in enumerate(faces)
        ]
        marked = [
            face if found is None else self._with_points(face, found)
            for face, found in zip(faces, turned, strict=True)
        ]
        wanted = {name for model in self._predictors for name in model.point_names}
        lacking = [
            number
            for number, face in enumerate(marked)
            if face.landmarks is None or not wanted <= set(face.landmarks.names)
        ]
        if self._predictors and lacking:
            upright = [
                number
                for number in lacking
                if number not in predicted and not _is_turned(turned[number])
            ]
            parts = self._predict_upright(image, [faces[number] for number in upright])
            predicted.update(zip(upright, parts, strict=True))
            for number in lacking:
                found = turned[number]
                if found is not None and _is_turned(found):
                    predicted[number] = self._predict_turned(image, found)
                marked[number] = _joined(marked[number], predicted[number], found)
        for number, found in enumerate(turned):
            if found is not None:
                followed = faces[number].roll is not None
                own = predicted.get(number, [])
                face = marked[number]
                marked[number] = self._settled(image, face, own, found, followed, color)
        for network in self._networks:
            marked = self._pointed(network, image, marked, turned, color)
        return self._meshed(image, marked, turned, color)

    def _is_measured(self, face: Face) -> bool:
        """Whether the face's points come from the detector alone and begin with the eyes."""
        detector, marks = self.detector, face.landmarks
        if detector is None or marks is None:
            return False
        return marks.names == detector.point_names and marks.names[:2] == EYES

    def _predict_first(self, image: Image, faces: Sequence[Face]) -> dict[int, list[Landmarks]]:
        """What the models find on faces that are to be measured, as they are.

        Returns:
            The landmarks of each model by the index of the face; nothing if no model finds the
            corners of the eyes.
        """
        if not any(set(EYE_CORNERS) <= set(model.point_names) for model in self._predictors):
            return {}
        chosen = [number for number, face in enumerate(faces) if self._is_measured(face)]
        parts = self._predict_upright(image, [faces[number] for number in chosen])
        return dict(zip(chosen, parts, strict=True))

    def _measure(
        self, image: Image, face: Face, color: ChannelOrder, parts: Sequence[Landmarks] | None
    ) -> TurnedFace | None:
        """How far a face is turned; None if it is not to be measured.

        Args:
            image: The image.
            face: The face.
            color: Channel order.
            parts: What the models find on the face as it is; None without models that find the
                corners of the eyes.
        """
        detector, marks = self.detector, face.landmarks
        if detector is None or marks is None or not self._is_measured(face):
            return None
        points, near = marks.points, face.roll
        roll = None if parts is None else eye_roll(merge_landmarks(parts), None)
        if roll is not None and not found_turned(points):
            followed = near is not None and abs(roll - near) < _UPRIGHT
            if face.det_score < SURE_SCORE and not followed:
                found = upright_near(detector, image, face.bbox, points, color, roll)
                if found is not None:
                    return found
            elif abs(roll) < _UPRIGHT:
                return unturned(roll, face.bbox, points)
            else:
                near = roll
        return upright_face(detector, image, face.bbox, points, color, near)

    @staticmethod
    def _with_points(face: Face, found: TurnedFace) -> Face:
        assert face.landmarks is not None
        marks = Landmarks(face.landmarks.names, found.points)
        return dataclasses.replace(face, landmarks=marks, roll=found.roll)

    def _settled(
        self,
        image: Image,
        face: Face,
        parts: Sequence[Landmarks],
        found: TurnedFace,
        followed: bool,
        color: ChannelOrder,
    ) -> Face:
        """A measured face with more exact points, in videos only where a crop needs them.

        Args:
            image: The image.
            face: The face, with roll and landmarks.
            parts: What the models find on it.
            found: How far it is turned, and its box when it is upright.
            followed: Whether its roll was that of the frame before.
            color: Channel order.
        """
        detector, roll = self.detector, face.roll
        if detector is None or roll is None:
            return face
        if followed and not self._exact:
            return face
        points = points_at(detector, image, found.box, roll, color)
        if points is None:
            return face
        own = Landmarks(detector.point_names, points)
        return dataclasses.replace(face, landmarks=merge_landmarks([own, *parts]))

    def _predict_upright(self, image: Image, faces: Sequence[Face]) -> list[list[Landmarks]]:
        """The points that each landmark model finds in upright faces."""
        if not faces:
            return []
        boxes = np.stack([face.bbox for face in faces])
        squares = boxes if self.detector is None else self.detector.landmark_boxes(boxes)
        found = [model.predict(image, squares) for model in self._predictors]
        return [list(parts) for parts in zip(*found, strict=True)]

    def _predict_turned(self, image: Image, turned: TurnedFace) -> list[Landmarks]:
        """The points that each landmark model finds in a turned face, which it sees upright."""
        assert self.detector is not None
        longer = float(turned.size.max())
        scale = min(1.0, _LARGEST_PATCH / max(2.5 * longer, 1))
        side = max(_SMALLEST_PATCH, round(2.5 * longer * scale))
        patch, matrix = turned_patch(image, turned.center, turned.roll, scale, side)
        half = turned.size * scale / 2
        box = np.concatenate([side / 2 - half, side / 2 + half])[None]
        squares = self.detector.landmark_boxes(box)
        parts = []
        for model in self._predictors:
            (marks,) = model.predict(patch, squares)
            parts.append(Landmarks(marks.names, points_back(marks.points, matrix)))
        return parts

    def _pointed(
        self,
        network: PointPredictor,
        image: Image,
        faces: Sequence[Face],
        turned: Sequence[TurnedFace | None],
        color: ChannelOrder,
    ) -> list[Face]:
        """The faces with a network's points; those that have them from elsewhere keep them."""
        own = () if self.detector is None else self.detector.point_names
        wanted, described = set(network.point_names), list(faces)
        lacking = [
            number
            for number, face in enumerate(faces)
            if face.landmarks is None
            or face.landmarks.names == own
            or not wanted <= set(face.landmarks.names)
        ]
        if not lacking:
            return described
        boxes, rolls = _places(faces, turned, lacking)
        found = network.predict(image, boxes, rolls, color=color)
        for number, marks in zip(lacking, found, strict=True):
            joined = instead(faces[number].landmarks, marks)
            described[number] = dataclasses.replace(faces[number], landmarks=joined)
        return described

    def _meshed(
        self,
        image: Image,
        faces: Sequence[Face],
        turned: Sequence[TurnedFace | None],
        color: ChannelOrder,
    ) -> list[Face]:
        """The faces with their meshes; those that have one keep it."""
        described = list(faces)
        lacking = [number for number, face in enumerate(faces) if face.mesh is None]
        if self._mesh is None or not lacking:
            return described
        boxes, rolls = _places(faces, turned, lacking)
        meshes = self._mesh.predict(image, boxes, rolls, color=color)
        for number, mesh in zip(lacking, meshes, strict=True):
            described[number] = dataclasses.replace(faces[number], mesh=mesh)
        return described


def _places(
    faces: Sequence[Face], turned: Sequence[TurnedFace | None], chosen: Sequence[int]
) -> tuple[FloatArray, list[float | None]]:
    """The boxes (N, 4) of some faces when they are upright, and their rolls as far as known."""
    boxes: list[FloatArray] = []
    rolls: list[float | None] = []
    for number in chosen:
        found, face = turned[number], faces[number]
        roll = face.roll
        if roll is None and face.landmarks is not None:
            roll = eye_line(face.landmarks)
        boxes.append(face.bbox if found is None else found.box)
        rolls.append(roll)
    return np.stack(boxes), rolls


def _joined(face: Face, parts: Sequence[Landmarks], found: TurnedFace | None) -> Face:
    """A face with what the models find on it, and the roll of the corners of its eyes."""
    own = merge_landmarks(parts)
    roll = face.roll if found is None else eye_roll(own, face.roll)
    merged = own if face.landmarks is None else merge_landmarks([face.landmarks, *parts])
    return dataclasses.replace(face, landmarks=merged, roll=roll)


def _is_turned(found: TurnedFace | None) -> bool:
    return found is not None and abs(found.roll) >= _UPRIGHT


TASK = Task(
    name="landmarks",
    command="landmarks",
    help="detect faces and locate their eyes, nose and mouth",
    needs=("detection",),
    argument="landmarks",
    input="boxes",
    load=LandmarkStage.load,
    to_json=to_json,
    to_text=to_text,
    draw=draw,
    problem=problem,
)

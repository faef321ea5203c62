"""All tasks on one picture, in the order in which they need each other."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .crops import CROPS
from .errors import InputError, ModelNotFoundError
from .image import ChannelOrder, Image, check_image
from .loading import (
    load_attributes,
    load_detector,
    load_embedder,
    load_landmarks,
    load_pose,
)
from .tasks.align import align
from .tasks.attribute import AttributePredictor
from .tasks.detect import Detector
from .tasks.embed import Embedder
from .tasks.landmark import LandmarkPredictor, merge_landmarks
from .tasks.pose import PoseEstimator
from .types import Face, Landmarks

__all__ = ["TASKS", "FaceAnalyzer"]

_Cropped = TypeVar("_Cropped", AttributePredictor, Embedder)

TASKS = ("detection", "landmarks", "pose", "attributes", "embedding")
"""What can be asked for; all need the detection, and the last three the landmarks."""


class FaceAnalyzer:
    """Finds faces and runs every task on them.

    Args:
        models: Folder with converted models; by default those of `mobileface.store`.
        tasks: Which of `TASKS` to run. A task whose model is absent is then an error. By default
            every task that can run does; `missing` says which cannot, and why.
        detector: Name of the detector to use; by default the preferred one.
        embedder: Name of the identification model to use; by default the preferred one.
        score_threshold: As `Detector.detect` takes it.
        iou_threshold: As `Detector.detect` takes it.
        topk: As `Detector.detect` takes it.
        short_side: As `Detector.detect` takes it.
        min_face_size: As `Detector.detect` takes it.
        upsample: As `Detector.detect` takes it.
        session_options: As `mobileface.Session` takes them.

    Attributes:
        tasks: The tasks that run.
        missing: The others, with the reason.
        embedder: The identification model, if that task runs.

    Raises:
        InputError: An unknown task.
        ModelNotFoundError: No detector, or no model for a task that was asked for.
        ModelError: A model cannot be loaded.

    Example:
        >>> analyzer = FaceAnalyzer()                    # doctest: +SKIP
        >>> faces = analyzer(mobileface.read_image("photo.jpg"))  # doctest: +SKIP
    """

    def __init__(
        self,
        models: str | Path | None = None,
        tasks: Sequence[str] | None = None,
        *,
        detector: str | None = None,
        embedder: str | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        short_side: int | None = None,
        min_face_size: float | None = None,
        upsample: int = 0,
        **session_options: Any,
    ) -> None:
        for task in tasks or ():
            if task not in TASKS:
                raise InputError(f"no task '{task}'", hint=f"there are: {', '.join(TASKS)}")
        self._search: dict[str, Any] = {
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "topk": topk,
            "short_side": short_side,
            "min_face_size": min_face_size,
            "upsample": upsample,
        }
        self._wanted = tuple(TASKS if tasks is None else tasks)
        self._strict = tasks is not None
        self.missing: dict[str, str] = {}
        options = {"models": models, **session_options}
        self._detector: Detector = load_detector(detector, **options)
        self._landmarks: list[LandmarkPredictor] = []
        self._pose: PoseEstimator | None = None
        self._attributes: AttributePredictor | None = None
        self.embedder: Embedder | None = None
        needs_points = set(self._wanted) - {"detection"}
        if needs_points:
            self._landmarks = self._try("landmarks", lambda: load_landmarks(**options)) or []
        if "pose" in self._wanted:
            self._pose = self._try("pose", lambda: self._with_points(load_pose(models)))
        if "attributes" in self._wanted:
            self._attributes = self._try(
                "attributes", lambda: self._with_crop(load_attributes(**options))
            )
        if "embedding" in self._wanted:
            self.embedder = self._try(
                "embedding",
                lambda: self._with_crop(load_embedder(embedder, **options)),
                named=embedder is not None,
            )
        self.tasks = tuple(task for task in self._wanted if task not in self.missing)

    def __call__(self, image: Image, *, color: ChannelOrder = "bgr") -> list[Face]:
        """Analyses one picture.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            color: Channel order of a colour picture.

        Returns:
            The faces, the surest first.

        Raises:
            ImageError: Not a picture.
        """
        image = check_image(image)
        found = self._detector.detect(image, color=color, **self._search)
        points = self._find_points(image, self._detector.landmark_boxes(found.boxes))
        faces = [
            Face(bbox=box, det_score=float(score))
            for box, score in zip(found.boxes, found.scores, strict=True)
        ]
        if points is None:
            return faces
        faces = [
            dataclasses.replace(face, landmarks=marks, pose=self._find_pose(marks))
            for face, marks in zip(faces, points, strict=True)
        ]
        faces = self._find_attributes(image, faces, color)
        return self._embed(image, faces, color)

    @property
    def point_names(self) -> tuple[str, ...]:
        """The landmarks that the loaded models give."""
        parts = [
            Landmarks(model.spec.points, np.zeros((len(model.spec.points), 2), np.float32))
            for model in self._landmarks
        ]
        return merge_landmarks(parts).names

    def _try(self, task: str, make: Any, *, named: bool = False) -> Any:
        """The task's object; None, with the reason noted, if it is not asked for by name."""
        try:
            return make()
        except ModelNotFoundError as error:
            if self._strict or named:
                raise
            self.missing[task] = error.what
            return None

    def _with_points(self, pose: PoseEstimator) -> PoseEstimator:
        """The pose model, if the landmarks suffice for it."""
        self._require(pose.points, "pose")
        return pose

    def _with_crop(self, model: _Cropped) -> _Cropped:
        """A model for crops, if the landmarks suffice for its crop."""
        crop = CROPS[model.crop]
        without_corners = [name for name in crop.points if not name.endswith("_mouth")]
        needed = without_corners if "mouth" in self.point_names else crop.points
        self._require(tuple(needed), model.spec.name)
        return model

    def _require(self, points: tuple[str, ...], purpose: str) -> None:
        names = self.point_names
        blank = Landmarks(names, np.zeros((len(names), 2), np.float32))
        if blank.select(points) is None:
            there = ", ".join(names) or "none"
            raise ModelNotFoundError(
                f"{purpose} needs the landmarks {', '.join(points)}; there are: {there}",
                hint="convert a landmark model that gives them",
            )

    def _find_points(self, image: Image, boxes: Any) -> list[Landmarks] | None:
        if not self._landmarks:
            return None
        parts = [model.predict(image, boxes) for model in self._landmarks]
        return [merge_landmarks(face) for face in zip(*parts, strict=True)]

    def _find_pose(self, marks: Landmarks) -> Any:
        """The pose, or None where the points do not allow one (all on one height)."""
        if self._pose is None:
            return None
        try:
            return self._pose.estimate(marks)
        except InputError:
            return None

    def _find_attributes(self, image: Image, faces: list[Face], color: ChannelOrder) -> list[Face]:
        """Adds attributes; a face whose points allow no crop (all on a line) gets none."""
        if self._attributes is None:
            return faces
        crops = self._crops(image, faces, self._attributes.crop)
        found = self._attributes.predict(list(crops.values()), color=color)
        attributes = dict(zip(crops, found, strict=True))
        return [
            dataclasses.replace(face, attributes=attributes.get(number))
            for number, face in enumerate(faces)
        ]

    def _embed(self, image: Image, faces: list[Face], color: ChannelOrder) -> list[Face]:
        """Adds embeddings; a face whose points allow no crop (all on a line) gets none."""
        if self.embedder is None:
            return faces
        spec = self.embedder.image
        crops = self._crops(image, faces, self.embedder.crop, (spec.height, spec.width))
        vectors = self.embedder.embed(list(crops.values()), color=color)
        embeddings = dict(zip(crops, vectors, strict=True))
        return [
            dataclasses.replace(face, embedding=embeddings.get(number))
            for number, face in enumerate(faces)
        ]

    @staticmethod
    def _crops(
        image: Image, faces: Sequence[Face], crop: str, size: tuple[int, int] | None = None
    ) -> dict[int, Image]:
        """Crops of the faces that allow one, by number."""
        found = {}
        for number, face in enumerate(faces):
            assert face.landmarks is not None
            with contextlib.suppress(InputError):
                found[number] = align(image, face.landmarks, crop=crop, size=size)
        return found

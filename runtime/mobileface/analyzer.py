"""All tasks on one picture, in the order in which they need each other."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import InputError, ModelError, ModelNotFoundError
from .models.loading import (
    load_attributes,
    load_detector,
    load_embedder,
    load_landmarks,
    load_pose,
    require_precision,
)
from .models.lookup import Precision, Prefer, list_models
from .models.session import Session
from .tasks.align import align, allows_crop
from .tasks.attributes import AttributePredictor
from .tasks.detection import Detector
from .tasks.embedding import Embedder
from .tasks.landmarks import LandmarkPredictor, merge_landmarks, merged_names
from .tasks.pose import PoseEstimator
from .types import Face, Landmarks, Pose
from .vision.image import ChannelOrder, Image, check_image

__all__ = ["TASKS", "FaceAnalyzer"]

_Made = TypeVar("_Made")
_Cropped = TypeVar("_Cropped", AttributePredictor, Embedder)

TASKS = ("detection", "landmarks", "pose", "attributes", "embedding")
"""What can be asked for; all need the detection, and the last three the landmarks."""


class FaceAnalyzer:
    """Finds faces and runs every task on them.

    Args:
        models: Folder with converted models; by default those of `mobileface.models.lookup`.
        tasks: Which of `TASKS` to run. A task whose model is absent is then an error. By default
            every task that can run does; `missing` says which cannot, and why.
        crops: Crops that the landmarks must allow, names in `mobileface.vision.crops`.
        detector: Name of the detector to use; by default the preferred one.
        embedder: Name of the identification model to use; by default the preferred one of those
            whose crop the landmarks allow.
        score_threshold: As `Detector.detect` takes it.
        iou_threshold: As `Detector.detect` takes it.
        topk: As `Detector.detect` takes it.
        short_side: As `Detector.detect` takes it.
        min_face_size: As `Detector.detect` takes it.
        upsample: As `Detector.detect` takes it.
        precision: "fp32", "fp16" or "int8": what every model that has it runs in; the others stay
            as they are, `variants` says which. A mapping asks for it task by task, strictly.
        session_options: As `mobileface.Session` takes them.

    Attributes:
        tasks: The tasks that run.
        missing: The others, with the reason.
        damaged: Those of the missing whose model is there and was refused.
        embedder: The identification model, if that task runs.

    Raises:
        InputError: An unknown task.
        ModelNotFoundError: No detector, or no model for a task that was asked for; or none in the
            precision that was asked for.
        ModelError: The detector, or a model for a task that was asked for, cannot be loaded; as
            `ModelIntegrityError` if it is not what its index promises.

    Example:
        >>> analyzer = FaceAnalyzer()                    # doctest: +SKIP
        >>> faces = analyzer(mobileface.read_image("photo.jpg"))  # doctest: +SKIP
    """

    def __init__(
        self,
        models: str | Path | None = None,
        tasks: Sequence[str] | None = None,
        *,
        crops: Sequence[str] = (),
        detector: str | None = None,
        embedder: str | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        short_side: int | None = None,
        min_face_size: float | None = None,
        upsample: int = 0,
        precision: str | Mapping[str, str] | None = None,
        **session_options: Any,
    ) -> None:
        _require_tasks(tasks or ())
        _require_tasks(tuple(precision) if isinstance(precision, Mapping) else ())
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
        self.damaged: list[str] = []
        self._folder, self._options, self._precision = models, session_options, precision
        self._detector: Detector = load_detector(detector, **self._choice("detection"))
        self._landmarks: list[LandmarkPredictor] = []
        self._pose: PoseEstimator | None = None
        self._attributes: AttributePredictor | None = None
        self.embedder: Embedder | None = None
        if set(self._wanted) - {"detection"}:
            load = partial(load_landmarks, **self._choice("landmarks"))
            self._landmarks = self._try("landmarks", load) or []
        for crop in crops:
            self._need_crop(crop)
        if "pose" in self._wanted:
            self._pose = self._try("pose", lambda: self._with_points(load_pose(models)))
        if "attributes" in self._wanted:
            self._attributes = self._try(
                "attributes",
                lambda: self._with_crop(load_attributes(**self._choice("attributes"))),
            )
        if "embedding" in self._wanted:
            self.embedder = self._try(
                "embedding", lambda: self._choose_embedder(embedder), named=embedder is not None
            )
        self.tasks = tuple(task for task in self._wanted if task not in self.missing)
        if isinstance(precision, str):
            sessions = [session for found in self._sessions.values() for session in found]
            require_precision(precision, sessions)

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
        return self.describe(image, self.detect(image, color=color), color=color)

    def detect(self, image: Image, *, color: ChannelOrder = "bgr") -> list[Face]:
        """Finds the faces of a picture and nothing else.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            color: Channel order of a colour picture.

        Returns:
            The faces, with box and score alone, the surest first.

        Raises:
            ImageError: Not a picture.
        """
        found = self._detector.detect(check_image(image), color=color, **self._search)
        return [
            Face(bbox=box, det_score=float(score))
            for box, score in zip(found.boxes, found.scores, strict=True)
        ]

    def describe(
        self,
        image: Image,
        faces: Sequence[Face],
        tasks: Sequence[str] | None = None,
        *,
        color: ChannelOrder = "bgr",
    ) -> list[Face]:
        """Runs the other tasks on faces that are known.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            faces: Faces of this picture. Landmarks that one has already are kept.
            tasks: Some of `tasks`; None: all of them. Landmarks are found whatever is asked for.
            color: Channel order of a colour picture.

        Returns:
            The faces in the order given, with what was found.

        Raises:
            ImageError: Not a picture.
            InputError: An unknown task.
        """
        image = check_image(image)
        _require_tasks(tasks or ())
        wanted = set(self.tasks if tasks is None else tasks)
        described = self._mark(image, faces)
        if "pose" in wanted:
            described = [
                dataclasses.replace(face, pose=self._find_pose(face.landmarks))
                for face in described
            ]
        if "attributes" in wanted:
            described = self._find_attributes(image, described, color)
        if "embedding" in wanted:
            described = self._embed(image, described, color)
        return described

    @property
    def point_names(self) -> tuple[str, ...]:
        """The landmarks that the loaded models give."""
        return merged_names(self._landmarks)

    @property
    def models(self) -> dict[str, tuple[str, ...]]:
        """The names of the models that run, by task."""
        return {
            task: tuple(model.name for model in models) for task, models in self._loaded.items()
        }

    @property
    def variants(self) -> dict[str, tuple[str, ...]]:
        """The variants of the models that run, by task, in the order of `models`."""
        return {
            task: tuple(s.variant.name if s.variant else s.path.name for s in sessions)
            for task, sessions in self._sessions.items()
        }

    @property
    def _sessions(self) -> dict[str, list[Session]]:
        """The networks that run, by task."""
        loaded = self._loaded.items()
        return {task: [m.session for m in models] for task, models in loaded if task != "pose"}

    @property
    def _loaded(self) -> dict[str, list[Any]]:
        """The models that run, by task."""
        loaded: dict[str, Sequence[Any]] = {
            "detection": [self._detector],
            "landmarks": self._landmarks,
            "pose": [self._pose],
            "attributes": [self._attributes],
            "embedding": [self.embedder],
        }
        present = {
            task: [model for model in models if model is not None]
            for task, models in loaded.items()
        }
        return {task: models for task, models in present.items() if models}

    def _choice(self, task: str) -> dict[str, Any]:
        """What the loader of a task's model is told."""
        wish: Precision = None
        if isinstance(self._precision, str):
            wish = Prefer(self._precision)
        elif self._precision is not None:
            wish = self._precision.get(task)
        return {"models": self._folder, "precision": wish, **self._options}

    def _try(self, task: str, make: Callable[[], _Made], *, named: bool = False) -> _Made | None:
        """The task's object; None, with the reason noted, if it is not asked for by name."""
        try:
            return make()
        except ModelError as error:
            if self._strict or named:
                raise
            self.missing[task] = str(error)
            if isinstance(error, ModelNotFoundError):
                self.missing[task] = error.what
            else:
                self.damaged.append(task)
            return None

    def _choose_embedder(self, name: str | None) -> Embedder:
        """The embedder of that name, or the first by preference whose crop is possible.

        If the caller's own folder has embedders, it is one of these or none.
        """
        if name is not None:
            return self._with_crop(load_embedder(name, **self._choice("embedding")))
        own = [] if self._folder is None else list_models(self._folder, "embedding")
        stored = own or list_models(None, "embedding")
        refusal: ModelNotFoundError | None = None
        for candidate in stored:
            try:
                return self._with_crop(load_embedder(candidate.name, **self._choice("embedding")))
            except ModelNotFoundError as error:
                refusal = refusal or error
        raise refusal or ModelNotFoundError("no model for task 'embedding'")

    def _with_points(self, pose: PoseEstimator) -> PoseEstimator:
        """The pose model, if the landmarks suffice for it."""
        names = self.point_names
        blank = Landmarks(names, np.zeros((len(names), 2), np.float32))
        if blank.select(pose.points) is None:
            raise ModelNotFoundError(
                f"pose needs the landmarks {', '.join(pose.points)}; "
                f"there are: {', '.join(names) or 'none'}",
                hint="convert a landmark model that gives them",
            )
        return pose

    def _with_crop(self, model: _Cropped) -> _Cropped:
        """A model for crops, once the landmarks suffice for its crop."""
        try:
            self._need_crop(model.crop)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{model.spec.name}: {error.what}", hint=error.hint) from error
        return model

    def _need_crop(self, crop: str) -> None:
        """Adds landmark models until their points suffice for a crop."""
        if not allows_crop(self.point_names, crop):
            more = load_landmarks(crop=crop, **self._choice("landmarks"))
            have = {model.name for model in self._landmarks}
            self._landmarks += [model for model in more if model.name not in have]

    def _mark(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        """Adds landmarks to the faces that have none."""
        bare = [number for number, face in enumerate(faces) if face.landmarks is None]
        marked = list(faces)
        if not self._landmarks or not bare:
            return marked
        boxes = np.stack([faces[number].bbox for number in bare])
        squares = self._detector.landmark_boxes(boxes)
        parts = [model.predict(image, squares) for model in self._landmarks]
        for number, found in zip(bare, zip(*parts, strict=True), strict=True):
            marked[number] = dataclasses.replace(faces[number], landmarks=merge_landmarks(found))
        return marked

    def _find_pose(self, marks: Landmarks | None) -> Pose | None:
        """The pose, or None where the points do not allow one (all on one height)."""
        if self._pose is None or marks is None:
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
            dataclasses.replace(
                face, embedding=embeddings[number], embedding_model=self.embedder.identity
            )
            if number in embeddings
            else face
            for number, face in enumerate(faces)
        ]

    @staticmethod
    def _crops(
        image: Image, faces: Sequence[Face], crop: str, size: tuple[int, int] | None = None
    ) -> dict[int, Image]:
        """Crops of the faces that allow one, by number."""
        found = {}
        for number, face in enumerate(faces):
            if face.landmarks is not None:
                with contextlib.suppress(InputError):
                    found[number] = align(image, face.landmarks, crop=crop, size=size)
        return found


def _require_tasks(names: Sequence[str]) -> None:
    """Refuses a task that there is none of.

    Raises:
        InputError: Names it and those that there are.
    """
    for name in names:
        if name not in TASKS:
            raise InputError(f"no task '{name}'", hint=f"there are: {', '.join(TASKS)}")

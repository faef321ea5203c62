"""`FaceAnalyzer`: detects the faces of an image and runs all tasks on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ModelError, ModelNotFoundError
from .models.lookup import Precision, Prefer
from .models.session import Session
from .tasks.base import Request, Stage, Task
from .tasks.detection_stage import DetectionStage
from .tasks.embedding import Embedder
from .tasks.embedding_stage import EmbeddingStage
from .tasks.landmark_stage import LandmarkStage
from .tasks.loading import SESSION_OPTIONS, require_precision
from .tasks.table import TASK_NAMES, TASKS, require_tasks
from .types import Face
from .vision.image import ChannelOrder, Image, check_image

__all__ = ["FaceAnalyzer"]


class FaceAnalyzer:
    """Detects faces and runs all tasks on them.

    Args:
        models: Folder to search for models first; by default only those of
            `mobileface.models.lookup`.
        tasks: Names of the tasks to run (`mobileface.tasks.table`); each of them needs a model. By
            default, all tasks that can run; `missing` lists the others, with the reason.
        crops: Crops that the landmarks must suffice for, names in `mobileface.vision.crops`.
        precision: "fp32", "fp16" or "int8": precision for all models that offer it; the others run
            in their own precision (see `variants`). A mapping from tasks to precisions is strict:
            those models must offer the precision.
        options: The model of each task, as ``detector``, ``landmarks``, ``pose``, ``attributes``
            and ``embedder``: a name, a path or a loaded model, by default the preferred one. Also
            options of the detector, e.g. ``score_threshold``, and those of `mobileface.Session`.

    Attributes:
        tasks: The tasks that run.
        missing: The tasks that do not run, with the reason.
        damaged: The missing tasks that have a model, but whose model was rejected.

    Raises:
        InputError: If a task or an option is unknown.
        ModelNotFoundError: If there is no detector, no model for a requested task, or none in the
            requested precision.
        ModelError: If the detector or the model of a requested task cannot be loaded;
            `ModelIntegrityError` if it does not match its index.

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
        precision: str | Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        require_tasks(tasks or ())
        require_tasks(tuple(precision) if isinstance(precision, Mapping) else ())
        self.missing: dict[str, str] = {}
        self.damaged: list[str] = []
        self._strict = tasks is not None
        self._models, self._precision = models, precision
        self._choices = {task.argument: options.pop(task.argument, None) for task in TASKS}
        self._session_options = {
            name: value for name, value in options.items() if name in SESSION_OPTIONS
        }
        self._stages: dict[str, Stage] = {}
        wanted = TASK_NAMES if tasks is None else tuple(tasks)
        search = {
            name: value
            for name, value in options.items()
            if name not in SESSION_OPTIONS and value is not None
        }
        self._detection = DetectionStage.load(self._request(TASKS[0], options=search))
        self._stages["detection"] = self._detection
        landmarks = next(task for task in TASKS if task.name == "landmarks")
        self._points = LandmarkStage([], self._detection.detector, self._request(landmarks))
        if set(wanted) - {"detection"}:
            self._load_points(landmarks)
        for crop in crops:
            self._points.require_crop(crop)
        for task in TASKS:
            if task.name in wanted and task.name not in ("detection", "landmarks"):
                self._try(task, task.load)
        if self._points.models:
            self._stages["landmarks"] = self._points
        self.tasks = tuple(name for name in wanted if name not in self.missing)
        if isinstance(precision, str):
            sessions = [s for found in self.sessions.values() for s in found]
            require_precision(precision, sessions)

    def __call__(self, image: Image, *, color: ChannelOrder = "bgr") -> list[Face]:
        """Analyses one image.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            color: Channel order of a colour image.

        Returns:
            The faces, sorted by score, highest first.

        Raises:
            ImageError: If ``image`` is not an image.
        """
        return self.describe(image, self.detect(image, color=color), color=color)

    def detect(self, image: Image, *, color: ChannelOrder = "bgr") -> list[Face]:
        """Detects the faces of an image and runs no other task.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            color: Channel order of a colour image.

        Returns:
            The faces with box and score, and with landmarks if the detector returns keypoints,
            sorted by score, highest first.

        Raises:
            ImageError: If ``image`` is not an image.
        """
        return self._detection.run(check_image(image), (), color)

    def describe(
        self,
        image: Image,
        faces: Sequence[Face],
        tasks: Sequence[str] | None = None,
        *,
        color: ChannelOrder = "bgr",
    ) -> list[Face]:
        """Runs the other tasks on detected faces.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            faces: Faces of this image. Their landmarks are kept.
            tasks: Subset of `tasks` to run; None for all. Landmarks are always added.
            color: Channel order of a colour image.

        Returns:
            The faces with the results, in the given order.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If a task is unknown.
        """
        image = check_image(image)
        require_tasks(tasks or ())
        wanted = {*(self.tasks if tasks is None else tasks), "landmarks"} - {"detection"}
        described = list(faces)
        for name in TASK_NAMES:
            if name in wanted and name in self._stages:
                described = self._stages[name].run(image, described, color)
        return described

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the landmarks of the returned faces."""
        return self._points.point_names

    @property
    def embedder(self) -> Embedder | None:
        """The identification model; None if the task does not run."""
        stage = self._stages.get("embedding")
        return stage.embedder if isinstance(stage, EmbeddingStage) else None

    @property
    def models(self) -> dict[str, tuple[str, ...]]:
        """The names of the loaded models, by task."""
        return {
            name: tuple(model.name for model in stage.models)
            for name, stage in self._ordered()
            if stage.models
        }

    @property
    def refused(self) -> dict[str, str]:
        """Rejected models of tasks that run with other models, by name, with the reason."""
        return {
            name: reason for _, stage in self._ordered() for name, reason in stage.refused.items()
        }

    @property
    def sessions(self) -> dict[str, list[Session]]:
        """The sessions of the loaded networks, by task."""
        return {name: stage.sessions for name, stage in self._ordered() if stage.sessions}

    @property
    def variants(self) -> dict[str, tuple[str, ...]]:
        """The variants of the loaded networks, by task."""
        return {
            name: tuple(s.variant.name if s.variant else s.path.name for s in sessions)
            for name, sessions in self.sessions.items()
        }

    def _ordered(self) -> list[tuple[str, Stage]]:
        """The stages in the order of the table."""
        return [(name, self._stages[name]) for name in TASK_NAMES if name in self._stages]

    def _request(
        self,
        task: Task,
        points: LandmarkStage | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Request:
        """The arguments for the loader of a task's stage."""
        wish: Precision = None
        if isinstance(self._precision, str):
            wish = Prefer(self._precision)
        elif self._precision is not None:
            wish = self._precision.get(task.name)
        choice = self._choices[task.argument]
        asked = self._strict or choice is not None
        return Request(
            choice, self._models, wish, self._session_options, options or {}, points, asked
        )

    def _load_points(self, task: Task) -> None:
        """Loads the landmark models, which later tasks need."""
        self._try(task, lambda request: LandmarkStage.load(request, self._detection.detector))
        stage = self._stages.get("landmarks")
        if isinstance(stage, LandmarkStage):
            self._points = stage

    def _try(self, task: Task, load: Callable[[Request], Stage]) -> None:
        """Loads a stage; records the reason if that fails and the task was not requested."""
        try:
            self._stages[task.name] = load(self._request(task, self._points))
        except ModelError as error:
            if self._strict or self._choices[task.argument] is not None:
                raise
            self.missing[task.name] = str(error)
            if isinstance(error, ModelNotFoundError):
                self.missing[task.name] = error.what
            else:
                self.damaged.append(task.name)

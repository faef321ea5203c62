"""The models of effects, each loaded when it is first needed and then shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..analyzer import FaceAnalyzer
from ..effects.mesh_faces import MESH_MODELS, MESH_TASKS
from ..errors import ModelError
from ..tasks.detection import Detector
from ..tasks.loading import load, load_detector, load_thorough_detector
from ..tasks.person_segmenter import PersonSegmenter

__all__ = ["EffectModels"]

_T = TypeVar("_T")


class EffectModels:
    """The models of effects; what cannot be loaded is tried again the next time.

    Args:
        models: Folder to search for models first.
        threads: Threads of each network.
    """

    def __init__(self, models: Path | None, threads: int) -> None:
        self._models, self._threads = models, threads
        self._lock = threading.RLock()
        self._loaded: dict[str, object] = {}

    def covering(self) -> FaceAnalyzer:
        """Finds faces for `anonymize`: with the detector that misses the fewest."""

        def make() -> FaceAnalyzer:
            detector = load_thorough_detector(
                models=self._models, intra_op_num_threads=self._threads
            )
            return FaceAnalyzer(tasks=("detection",), detector=detector)

        return self._once("covering", make)

    def detector(self) -> Detector:
        """The detector of `change_behind`."""
        return self._once(
            "detector",
            lambda: load_detector(models=self._models, intra_op_num_threads=self._threads),
        )

    def segmenter(self) -> PersonSegmenter:
        """The model that finds people."""

        def make() -> PersonSegmenter:
            found: PersonSegmenter = load(
                task="segmentation", models=self._models, intra_op_num_threads=self._threads
            )
            return found

        return self._once("segmenter", make)

    def meshes(self) -> FaceAnalyzer:
        """An analyzer that finds meshes, for makeup by example and swap."""
        return self._once("meshes", lambda: self._analyzer(MESH_TASKS, **MESH_MODELS))

    def drawn(self) -> FaceAnalyzer:
        """An analyzer that finds meshes and, with the preferred model, poses, for portraits."""
        return self._once(
            "drawn", lambda: self._analyzer(MESH_TASKS, landmarks=MESH_MODELS["landmarks"])
        )

    def skin(self) -> FaceAnalyzer:
        """An analyzer for makeup: with meshes if there is a model of them."""

        def make() -> FaceAnalyzer:
            try:
                return self.meshes()
            except ModelError:
                return self._analyzer(("detection", "landmarks"))

        return self._once("skin", make)

    def _analyzer(self, tasks: tuple[str, ...], **models: str) -> FaceAnalyzer:
        return FaceAnalyzer(self._models, tasks, intra_op_num_threads=self._threads, **models)

    def _once(self, name: str, make: Callable[[], _T]) -> _T:
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = make()
            found: _T = self._loaded[name]  # type: ignore[assignment]
            return found

"""`Service`: what all requests share: settings, keys, models, the gallery and the work queue."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from ..analyzer import FaceAnalyzer
from ..errors import GalleryError, InputError, ModelNotFoundError
from ..gallery import Gallery, Stamp
from ..gallery.passphrase import read_passphrase
from ..live.camera_state import Observers
from ..live.hub import Hub
from ..matching.calibration import Calibration, find_calibration
from ..models.lookup import list_models
from .api_keys import ApiKeys, Sessions
from .effect_models import EffectModels
from .metrics import Metrics
from .settings import ServeSettings
from .shared_work import SharedWork
from .streams import Streams
from .work_queue import WorkQueue

__all__ = ["NoGalleryError", "Service"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LOCK_SECONDS = 2.0
"""Time to wait for another process that writes to the gallery; then the answer is 503."""


class NoGalleryError(GalleryError):
    """The service runs without a gallery."""


class Service:
    """What all requests share.

    Args:
        settings: The settings.

    Attributes:
        settings: The settings.
        keys: The API keys.
        sessions: The browsers' sessions.
        analyzer: The tasks that run unless others are asked for. Threads may share it.
        effect_models: The models of effects, loaded when they are needed.
        posed: The same with pose, which needs a mesh of each face and so takes longer.
        queue: Where all work on pictures is done.
        examination: The doctor's examination that is under way.
        measurement: The measurement of speeds that is under way.
        metrics: Counters for Prometheus.
        live: The live cameras; `Hub.start` starts them.
        streams: The places for long answers.
        started: Time of the start, by `time.monotonic`.

    Raises:
        InputError: If a file of the settings cannot be read.
        ModelNotFoundError: If the gallery's model is not there.
        GalleryError: If the gallery cannot be opened.
        OutputError: If the gallery or the folder of events cannot be created.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.started = monotonic()
        self.keys, self.sessions = ApiKeys.read(settings.api_key_file), Sessions()
        self.examination: SharedWork[dict[str, Any]] = SharedWork()
        self.measurement: SharedWork[dict[str, Any]] = SharedWork()
        self._lock = threading.RLock()
        self._gallery: Gallery | None = None
        key = read_passphrase(settings.gallery_key_file)
        if settings.gallery is not None and settings.gallery.exists():
            self._gallery = Gallery.open(settings.gallery, key=key, timeout=_LOCK_SECONDS)
        self.analyzer = self._load()
        self.posed = self._load_posed()
        if settings.gallery is not None and self._gallery is None:
            self._gallery = self._create(settings.gallery, key)
        self._file = None if self._gallery is None else _file_of(self._gallery.path)
        self.effect_models = EffectModels(settings.models, settings.thread_count)
        self.queue = WorkQueue(settings.worker_count, settings.limits.waiting)
        self.streams = Streams(settings.limits.streams)
        metrics = self.metrics = Metrics(lambda: float(self.queue.depth))
        self.live = Hub(
            settings.cameras,
            settings.events,
            settings.mqtt,
            self.analyzer,
            None if self._gallery is None else self.gallery,
            Observers(
                frame=lambda camera, fate: metrics.frames.labels(camera, fate).inc(),
                event=lambda camera, kind: metrics.events.labels(camera, kind).inc(),
                reconnect=lambda camera: metrics.reconnects.labels(camera).inc(),
            ),
        )

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs a function on a worker's thread; see `WorkQueue.run`."""
        return await self.queue.run(function, *args, **kwargs)

    @property
    def has_gallery(self) -> bool:
        """True if there is a gallery."""
        return self._gallery is not None

    @contextlib.contextmanager
    def gallery(self) -> Iterator[Gallery]:
        """The gallery, for one thread at a time; errors of what clients asked for do not name it.

        Raises:
            NoGalleryError: If the service runs without one.
            GalleryError: If its file was removed or replaced: SQLite would write on to the old one,
                and what is written would be lost.
        """
        if self._gallery is None:
            raise NoGalleryError(
                "the service runs without a gallery", hint="start it with --gallery FILE"
            )
        with self._lock:
            if _file_of(self._gallery.path) != self._file:
                raise GalleryError(
                    "was removed or replaced while it is in use",
                    where=str(self._gallery.path),
                    hint="put it back, or restart the service as docs/deploy.md says",
                )
            try:
                yield self._gallery
            except InputError as error:
                if str(self._gallery.path) not in error.where:
                    raise
                raise InputError(error.what, where="gallery", hint=error.hint) from error

    def close(self) -> None:
        """Ends the cameras and the work, and closes the gallery."""
        self.streams.close()
        self.live.close()
        self.queue.close()
        with self._lock:
            if self._gallery is not None:
                self._gallery.close()

    def _load(self) -> FaceAnalyzer:
        """The analyzer, with the gallery's model if there is one."""
        models = self.settings.models
        embedder = None
        if self._gallery is not None:
            embedder = self._gallery.stamp.model.partition("@")[0]
            there = [model.name for model in list_models(models, "embedding")]
            if embedder not in there:
                raise ModelNotFoundError(
                    f"the gallery's model {self._gallery.stamp.model} is not there",
                    where=str(self._gallery.path),
                    hint=f"available: {', '.join(there) or 'none'}",
                )
        analyzer = FaceAnalyzer(
            models, embedder=embedder, intra_op_num_threads=self.settings.thread_count
        )
        if self._gallery is not None:
            where = str(self._gallery.path)
            self._gallery.stamp.require_model(analyzer.embedder, where)
        return analyzer

    def _load_posed(self) -> FaceAnalyzer:
        """An analyzer that finds poses too; the same one if there is no model for that."""
        poses = [model.name for model in list_models(self.settings.models, "pose")]
        if not poses or "pose" in self.analyzer.tasks:
            return self.analyzer
        return FaceAnalyzer(
            self.settings.models,
            pose=poses[0],
            embedder=self.analyzer.embedder,
            intra_op_num_threads=self.settings.thread_count,
        )

    def _create(self, path: Path, key: str | None) -> Gallery:
        """A new gallery for the analyzer's model."""
        embedder = self.analyzer.embedder
        if embedder is None:
            raise ModelNotFoundError("a gallery needs an identification model")
        stamp = Stamp.of(embedder, calibration=self.calibration)
        Gallery.create(path, stamp, key=key).close()
        return Gallery.open(path, key=key, timeout=_LOCK_SECONDS)

    @functools.cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of the identification model; None if there is none."""
        embedder = self.analyzer.embedder
        if embedder is None:
            return None
        try:
            return find_calibration(embedder.identity, self.settings.models)
        except ModelNotFoundError:
            return None


def _file_of(path: Path) -> tuple[int, int] | None:
    """Which file has a path: its device and number; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

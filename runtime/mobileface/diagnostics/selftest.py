"""Self-test: checks that the available models load and that each task returns valid results.

Part of `mobileface.diagnostics.health`. It uses synthetic face images, so it needs no files.
``mobileface certify`` checks how closely models agree with their certificates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..analyzer import FaceAnalyzer
from ..effects.enhance import enhance
from ..effects.makeup import makeup
from ..errors import MobileFaceError, ModelError
from ..host.files import check_sha256, scratch_folder
from ..models.lookup import StoredModel, candidate_models, list_models, search_folders
from ..tasks.base import Task
from ..tasks.table import TASKS, with_needs
from ..tracking.tracker import Tracker
from ..types import Face
from ..vision.image import Image
from ..vision.synthetic_faces import draw_frames
from ..vision.video import VideoReader, VideoWriter
from .findings import FAILED, MISSING, NOTE, OK, Finding
from .workloads import Scene

__all__ = ["examine_models", "examine_tasks"]

_RUNS = 5
_HEIGHT, _WIDTH = 480, 640


def examine_models(folder: Path | None) -> Iterator[Finding]:
    """Checks that the file of each model is intact and that its certificate exists.

    Args:
        folder: The only folder to search; None searches all default folders.
    """
    places = (folder,) if folder is not None else search_folders()
    folders = [str(place) for place in places if place is not None and Path(place).is_dir()]
    data: dict[str, object] = {"folders": folders}
    yield Finding("models", "folders", OK, ", ".join(folders) or "none", data=data)
    found = list_models(folder)
    if not found:
        yield Finding("models", "models", FAILED, "no models found", _HOW_TO_GET)
    for model in found:
        yield _examine_model(model)


def _examine_model(model: StoredModel) -> Finding:
    """Checks one model with all its variants."""
    chosen = model.choose().variant.name
    data: dict[str, object] = {
        "task": model.entry.task,
        "path": str(model.path),
        "variants": [item.variant.name for item in model.variants],
        "runs": chosen,
    }
    for item in model.variants:
        try:
            check_sha256(item.path, item.variant.sha256)
        except ModelError as error:
            return Finding("models", model.name, FAILED, error.what, error.hint, data)
    absent = [item.certificate.name for item in model.variants if not item.certificate.is_file()]
    text = f"{model.entry.task}, intact; runs as {chosen}"
    if absent:
        text += f"; no certificate {', '.join(absent)}"
        return Finding("models", model.name, NOTE, text, "convert the model again", data)
    return Finding("models", model.name, OK, text, data=data)


_HOW_TO_GET = (
    "on a workstation: mobileface-convert all --output DIR and mobileface-convert bundle "
    "--models DIR --output DIST; here: pip install DIST/mobileface_models-*.whl"
)


def examine_tasks(folder: Path | None) -> Iterator[Finding]:
    """Runs each task on a synthetic face image.

    Args:
        folder: See `examine_models`.
    """
    frame = draw_frames(1, _HEIGHT, _WIDTH)[0]
    try:
        analyzer = FaceAnalyzer(folder)
    except MobileFaceError as error:
        yield Finding("tasks", "detection", FAILED, str(error), _HOW_TO_GET)
        return
    found = analyzer.detect(frame)
    yield _timed("detection", lambda: analyzer.detect(frame), analyzer, f"{len(found)} found")
    box = np.array([_WIDTH, _HEIGHT, _WIDTH, _HEIGHT]) * (0.3, 0.2, 0.7, 0.8)
    face = found[0] if found else Face(bbox=box.astype(np.float32), det_score=0.0)
    marked = analyzer.describe(frame, [face], ("landmarks",))[0]
    for task in TASKS[1:]:
        if task.name not in analyzer.tasks:
            yield _on_request(task, analyzer, folder, frame, face)
            continue
        known = marked if "landmarks" in task.needs else face
        yield _run_task(task, analyzer, frame, known)
    yield from _without_models(frame, marked)


def _on_request(
    task: Task, analyzer: FaceAnalyzer, folder: Path | None, frame: Image, face: Face
) -> Finding:
    """The finding for a task that does not run with all others: perhaps it does if asked for."""
    if task.name not in analyzer.damaged:
        try:
            asked = FaceAnalyzer(folder, with_needs(task.name))
        except MobileFaceError:
            return _absent(task.name, analyzer, folder)
        known = asked.describe(frame, [face], ("landmarks",))[0]
        return _run_task(task, asked, frame, known)
    return _absent(task.name, analyzer, folder)


def _absent(task: str, analyzer: FaceAnalyzer, folder: Path | None) -> Finding:
    """The finding for a task that cannot run: its model is missing or corrupt."""
    reason = analyzer.missing.get(task, "not one of the analyzer's tasks")
    if task in analyzer.damaged:
        return Finding("tasks", task, FAILED, reason)
    candidates = [model.name for model in candidate_models(folder, task)]
    hint = "convert or install the landmark models too; " if candidates else ""
    return Finding("tasks", task, MISSING, reason, hint + _HOW_TO_GET)


def _run_task(task: Task, analyzer: FaceAnalyzer, frame: Image, face: Face) -> Finding:
    """Runs a task twice on one face and checks the results."""

    def work() -> Face:
        return analyzer.describe(frame, [face], (task.name,))[0]

    problem = task.problem(work(), work())
    if problem:
        return Finding("tasks", task.name, FAILED, problem)
    return _timed(task.name, work, analyzer)


def _timed(
    name: str, work: Callable[[], object], analyzer: FaceAnalyzer | None = None, text: str = ""
) -> Finding:
    """The finding for a task that works, with its median run time."""
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    median = 1e3 * statistics.median(times)
    models = () if analyzer is None else analyzer.models.get(name, ())
    words = [f"{median:.1f} ms", ", ".join(models), text]
    data: dict[str, object] = {"median_ms": round(median, 3), "models": list(models)}
    return Finding("tasks", name, OK, "; ".join(filter(None, words)), data=data)


def _without_models(frame: Image, face: Face) -> Iterator[Finding]:
    """Runs the tasks that do not need a model."""
    scene, tracker = Scene(frame, face.bbox, None), Tracker()
    works: dict[str, Callable[[], object]] = {
        "align": lambda: scene.crop("arcface"),
        "tracking": lambda: tracker.update(face.bbox[None], np.ones(1)),
        "enhance": lambda: enhance(frame),
        "makeup": lambda: makeup(frame, [face]),
    }
    for name, work in works.items():
        yield _timed(name, work)
    yield _examine_video(frame)


def _examine_video(frame: Image) -> Finding:
    """Checks that videos can be written and read."""
    with scratch_folder() as folder:
        path = Path(folder) / "test.mp4"
        start = time.perf_counter()
        try:
            with VideoWriter(path, 25, _WIDTH, _HEIGHT) as writer:
                for _ in range(_RUNS):
                    writer.write(frame)
            with VideoReader(path) as video:
                count = sum(1 for _ in video)
        except MobileFaceError as error:
            hint = "images and cameras may still work"
            return Finding("tasks", "video", NOTE, str(error), hint)
    median = 1e3 * (time.perf_counter() - start) / _RUNS
    text = f"{median:.1f} ms to write and read a frame (.mp4)"
    state = OK if count == _RUNS else NOTE
    return Finding("tasks", "video", state, text, data={"median_ms": round(median, 3)})

"""How fast a loaded analyzer is on this machine, measured on a drawn face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..analyzer import FaceAnalyzer
from ..host.measure import measure_within
from ..types import Face
from ..vision.synthetic_faces import draw_frames
from .workloads import make_scenes

__all__ = ["measure_tasks"]

_HEIGHT, _WIDTH = 480, 640
_WHOLE = "all"


def measure_tasks(analyzer: FaceAnalyzer, seconds: float = 2.0) -> dict[str, Any]:
    """Median run times of the tasks of an analyzer, from pixels to results, as JSON types.

    Args:
        analyzer: The analyzer; other threads may use it meanwhile, which makes it slower.
        seconds: Time to spend; a quarter more for warming up.

    Returns:
        ``tasks``: milliseconds for one face, for detection for one image of 640×480;
        ``frames_per_second``: images with one face that go through all tasks in a second.
    """
    (frame,) = draw_frames(1, _HEIGHT, _WIDTH)
    faces = analyzer.detect(frame)
    if not faces:
        (scene,) = make_scenes(None, [frame])
        faces = [Face(bbox=scene.box, det_score=0.0)]
    points = "landmarks" in analyzer.tasks
    marked = analyzer.describe(frame, faces[:1], ("landmarks",) if points else ())

    def describing(task: str) -> Callable[[int], object]:
        given = faces[:1] if task == "landmarks" else marked
        return lambda _: analyzer.describe(frame, given, (task,))

    works = {task: describing(task) for task in analyzer.tasks if task != "detection"}
    works["detection"] = lambda _: analyzer.detect(frame)
    works[_WHOLE] = lambda _: analyzer(frame)
    timings = measure_within(works, seconds)
    whole = timings.pop(_WHOLE)
    milliseconds = {task: round(1e3 * timings[task].median, 3) for task in analyzer.tasks}
    return {"tasks": milliseconds, "frames_per_second": round(1 / whole.median, 1)}

"""``mobileface bench``: measures every model and the whole pipeline on this machine.

``--json`` prints one object::

    {"schema": 1,
     "environment": {"machine": "aarch64", "cpu": "…", "features": […], "cpus": 4,
                     "cpus_usable": 4, "system": "…", "python": "3.11.7", "mobileface": "…",
                     "numpy": "…", "onnxruntime": "…", "opencv-python-headless": "…"},
     "settings": {"seconds": 40, "threads": null, "batches": [1], "pictures": "drawn",
                  "count": 8, "width": 640, "height": 480},
     "rows": [{"stage": "embedding", "model": "identification_v2", "variant": "fp32",
               "precision": "fp32", "bytes": 3519365, "batch": 1, "threads": 4, "tuned": false,
               "median_ms": 1.02, "p90_ms": 1.10, "fps": 980.4, "runs": 2100,
               "start_up_ms": 210.5, "peak_bytes": 72310784, "published_ms": "9"}, …],
     "pipeline": {"detection": ["detection_hog"], "landmarks": ["landmark_dlib5"], …},
     "skipped": [{"model": "…", "variant": "int8", "reason": "needs a CPU with avx2"}]}

A row is the time of one call, from uint8 pixels to the result, for ``batch`` faces. ``fps`` is
faces per second; for detection and the pipeline, images per second. ``stage`` is "detection",
"landmarks", "pose", "attributes", "embedding", "align", "tracking", "enhance", "makeup" or
"pipeline". Rows of stages without a network have no model; ``variant`` of "align" is the crop
template. ``threads`` is null where no network runs; ``tuned`` is true if the settings are those
that ``mobileface tune`` stored. ``start_up_ms`` and ``peak_bytes`` are measured in a new process,
from its imports to the first result; they are null if the time was up or the system does not report
them. ``published_ms`` is the time that upstream published, on its own hardware.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..diagnostics.published_times import PUBLISHED_MS
from ..diagnostics.workloads import Scene, Work, takes_batches, work_of
from ..effects.enhance import enhance
from ..effects.makeup import makeup
from ..errors import InputError, MobileFaceError, ModelNotFoundError, shown
from ..host.environment import describe_environment
from ..host.files import scratch_folder
from ..host.measure import Timing, measure_fresh, measure_within
from ..models.lookup import StoredModel
from ..models.session import runtime_version
from ..models.tuning import setting_for
from ..tasks.loading import load
from ..tasks.table import input_of
from ..tracking.tracker import Tracker
from ..types import Face
from ..vision.crops import CROPS
from ..vision.image import Image
from .measuring import add_common, check_seconds, pipeline_of, scenes_from, wanted_models
from .output import print_json, print_text
from .progress import Progress

__all__ = ["add_bench", "run_bench"]

_SECONDS = 40.0
_FRESH_SHARE = 0.4
"""Maximum share of the time that is spent on new processes; the rest is for the medians."""

_PIPELINE = "pipeline"
_TRACKED = 10

_START = """
import sys
import numpy, mobileface
name, models, variant, threads, image, *box = sys.argv[1:]
options = {"models": models or None}
options |= {"intra_op_num_threads": int(threads)} if threads else {}
model = mobileface.load(name, variant=variant, **options) if name else None
call = model or mobileface.FaceAnalyzer(**options)
boxes = [[[float(value) for value in box]]] if box else []
call(numpy.load(image), *boxes)
"""


@dataclass(slots=True)
class _Row:
    """One measurement: the call to time, and its fields in the output."""

    stage: str
    work: Work
    facts: dict[str, Any]
    fresh: list[str] | None = None
    image: Image | None = None

    @property
    def key(self) -> str:
        names = (self.facts["model"], self.facts["variant"], self.facts["batch"])
        return " ".join(map(str, (self.stage, *names)))


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface bench``."""
    add_common(parser, _SECONDS, "measure only these models, without the pipeline")
    add = parser.add_argument
    add("--batch", nargs="+", type=int, default=[1], metavar="N", help="batch sizes; default: 1")
    add("--threads", type=int, metavar="N", help="number of threads; default: automatic")
    parser.set_defaults(run=run_bench)


def run_bench(options: argparse.Namespace) -> int:
    """Measures the models and the pipeline, and prints a table."""
    begin = time.monotonic()
    check_seconds(options.seconds)
    if min(options.batch) < 1:
        raise InputError(f"--batch must be at least 1, not {min(options.batch)}")
    session = {} if options.threads is None else {"intra_op_num_threads": options.threads}
    stored = wanted_models(options.models, options.model)
    analyzer = pipeline_of(options.models, session)
    scenes = scenes_from(options.images, analyzer)
    rows, skipped = _model_rows(options, stored, scenes, session)
    if options.model is None:
        rows += _stage_rows(scenes, analyzer, options)
    if not rows:
        raise ModelNotFoundError("no models to measure", hint="see 'mobileface models'")
    _measure_starts(rows, begin + _FRESH_SHARE * options.seconds)
    left = max(options.seconds - (time.monotonic() - begin), 0.1 * options.seconds)
    progress = Progress(None, "measurements")
    timings = measure_within({row.key: row.work for row in rows}, left, progress.step)
    progress.end()
    document = _document(options, scenes, rows, timings, skipped)
    document["pipeline"] = {} if analyzer is None else analyzer.models
    if options.json:
        print_json(document)
    else:
        print_text(*_text(document).splitlines())
    return 0


def _model_rows(
    options: argparse.Namespace,
    stored: Sequence[StoredModel],
    scenes: Sequence[Scene],
    session: dict[str, Any],
) -> tuple[list[_Row], list[dict[str, str]]]:
    """A row for every variant and batch size, and the variants that cannot run here."""
    rows, skipped = [], []
    for model in stored:
        setting = None if session else setting_for(model, runtime_version())
        for item in model.variants:
            tuned = setting is not None and setting.variant == item.variant.name
            chosen = setting.session_options if setting is not None and tuned else session
            try:
                task = load(
                    model.name, models=item.path.parent, variant=item.variant.name, **chosen
                )
            except MobileFaceError as error:
                skipped.append(
                    {"model": model.name, "variant": item.variant.name, "reason": error.what}
                )
                continue
            batches = sorted(set(options.batch)) if takes_batches(task) else [1]
            for batch in batches:
                work = work_of(task, scenes, batch)
                runtime = getattr(task, "session", None)
                facts = {
                    "model": model.name,
                    "variant": item.variant.name,
                    "precision": item.variant.precision,
                    "bytes": item.variant.bytes,
                    "batch": batch,
                    "threads": None if runtime is None else runtime.threads,
                    "tuned": tuned,
                }
                row = _Row(model.entry.task, work, facts)
                if runtime is not None and batch == batches[0]:
                    threads = str(options.threads or "")
                    folder = str(item.path.parent)
                    row.fresh = [model.name, folder, item.variant.name, threads]
                    row.image, box = _first_input(task, scenes[0])
                    row.fresh += box
                rows.append(row)
    return rows, skipped


def _first_input(task: Any, scene: Scene) -> tuple[Image, list[str]]:
    """The input of a new process: an image, and for landmark models a box."""
    if takes_batches(task):
        return scene.crop(task.crop, (task.image.height, task.image.width)), []
    boxes = scene.box.tolist() if input_of(task.spec.task) == "boxes" else []
    return scene.frame, [str(value) for value in boxes]


def _stage_rows(
    scenes: Sequence[Scene], analyzer: FaceAnalyzer | None, options: argparse.Namespace
) -> list[_Row]:
    """The rows of the stages without a network, and of the whole pipeline."""
    blank = dict.fromkeys(("model", "variant", "precision", "bytes", "threads"))
    facts = {**blank, "tuned": False, "batch": 1}
    frames = [scene.frame for scene in scenes]
    boxes = np.arange(_TRACKED)[:, None] * np.array([90, 0, 90, 0]) + np.array([0, 0, 80, 80])
    tracker, count = Tracker(), len(scenes)

    def retouch(number: int) -> object:
        scene = scenes[number % count]
        return makeup(scene.frame, [Face(bbox=scene.box, det_score=1.0, landmarks=scene.marks)])

    rows = [
        _Row(
            "align",
            lambda number, crop=crop: scenes[number % count].crop(crop),  # type: ignore[misc]
            {**facts, "model": None, "variant": crop},
        )
        for crop in CROPS
        if scenes[0].marks is not None
    ]
    rows.append(_Row("tracking", lambda number: tracker.update(boxes + number % 7), dict(facts)))
    rows.append(_Row("enhance", lambda number: enhance(frames[number % count]), dict(facts)))
    rows.append(_Row("makeup", retouch, dict(facts)))
    if analyzer is not None:
        folder = "" if options.models is None else str(options.models)
        whole = _Row(_PIPELINE, lambda number: analyzer(frames[number % count]), dict(facts))
        whole.fresh = ["", folder, "", str(options.threads or "")]
        whole.image = frames[0]
        rows.append(whole)
    return rows


def _measure_starts(rows: Sequence[_Row], deadline: float) -> None:
    """Measures start-up time and peak memory of rows with a network, until the deadline.

    The pipeline is measured first and always, because it is what most programs run.
    """
    with scratch_folder() as folder:
        for number, row in enumerate(sorted(rows, key=lambda row: row.stage != _PIPELINE)):
            row.facts |= {"start_up_ms": None, "peak_bytes": None}
            if row.fresh is None or row.image is None:
                continue
            if row.stage != _PIPELINE and time.monotonic() > deadline:
                continue
            path = Path(folder) / f"{number}.npy"
            np.save(path, row.image)
            arguments = [*row.fresh[:4], str(path), *row.fresh[4:]]
            try:
                fresh = measure_fresh(_START, arguments)
            except InputError as error:
                print(f"mobileface: {shown(row.key)}: {error}", file=sys.stderr)
                continue
            row.facts["start_up_ms"] = round(1e3 * fresh.seconds, 1)
            row.facts["peak_bytes"] = fresh.peak_bytes


def _document(
    options: argparse.Namespace,
    scenes: Sequence[Scene],
    rows: Sequence[_Row],
    timings: Mapping[str, Timing],
    skipped: list[dict[str, str]],
) -> dict[str, Any]:
    height, width = scenes[0].frame.shape[:2]
    settings = {
        "seconds": options.seconds,
        "threads": options.threads,
        "batches": sorted(set(options.batch)),
        "pictures": "drawn" if options.images is None else "photos",
        "count": len(scenes),
        "width": width,
        "height": height,
    }
    return {
        "schema": 1,
        "environment": describe_environment(),
        "settings": settings,
        "rows": [_record(row, timings[row.key]) for row in rows],
        "skipped": skipped,
    }


def _record(row: _Row, timing: Timing) -> dict[str, Any]:
    published = PUBLISHED_MS.get(str(row.facts["model"]), PUBLISHED_MS.get(row.stage))
    return {
        "stage": row.stage,
        **row.facts,
        "median_ms": round(1e3 * timing.median, 4),
        "p90_ms": round(1e3 * timing.p90, 4),
        "fps": round(row.facts["batch"] / timing.median, 1),
        "runs": timing.runs,
        "published_ms": published,
    }


def _text(document: dict[str, Any]) -> str:
    """A human-readable table."""
    about, settings = document["environment"], document["settings"]
    kind = "synthetic face images" if settings["pictures"] == "drawn" else settings["pictures"]
    images = f"{settings['count']} {kind}"
    lines = [
        f"mobileface {about['mobileface']} on {about['cpu'] or about['machine']}, "
        f"{about['cpus_usable']} of {about['cpus']} CPUs, onnxruntime {about['onnxruntime']}",
        f"{images}, {settings['width']}×{settings['height']}; "
        "median and 90th percentile of the time per call",
        "",
        f"{'stage':<11} {'model':<18} {'variant':<10} {'batch':>5} {'threads':>8} {'median':>10} "
        f"{'p90':>10} {'fps':>8} {'start-up':>9} {'peak':>7} {'published':>9}",
    ]
    lines += [_line(row) for row in document["rows"]]
    lines += [f"not run: {s['model']} {s['variant']}: {s['reason']}" for s in document["skipped"]]
    lines += ["", "published: upstream's times, in ms, on its own hardware"]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    start, peak = row["start_up_ms"], row["peak_bytes"]
    return (
        f"{row['stage']:<11} {row['model'] or '':<18} {row['variant'] or '':<10} "
        f"{row['batch']:>5} {_threads(row):>8} {row['median_ms']:>7.3f} ms "
        f"{row['p90_ms']:>7.3f} ms {row['fps']:>8.1f} "
        f"{'' if start is None else f'{start:.0f} ms':>9} "
        f"{'' if peak is None else f'{peak / 2**20:.0f} MiB':>7} {row['published_ms'] or '':>9}"
    )


def _threads(row: dict[str, Any]) -> str:
    return "" if row["threads"] is None else f"{row['threads']}{' tuned' if row['tuned'] else ''}"

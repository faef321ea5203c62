"""How many of the labelled faces of the example videos are covered, in the labelled frames.

Labels: tests/data/video_faces_all.json, judged by eye. The table in docs/anonymize.md is printed by

    python -m tests.convert.parity.test_anonymized_videos
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface import Face, FaceAnalyzer, VideoReader
from mobileface.effects.anonymize import region_weight
from mobileface.tracking.covering import FaceCover
from mobileface.vision.image import Image
from tests.conftest import ROOT, SOURCE

pytestmark = [pytest.mark.slow, pytest.mark.needs_source]

LABELS = ROOT / "tests" / "data" / "video_faces_all.json"
PLAIN = {"lookback": 0, "max_age": 0}
"""The detections of each frame and nothing else."""


@dataclass
class Covered:
    """What is covered in the labelled frames.

    Attributes:
        faces: Labelled faces that are not difficult.
        centers: Those whose centre is covered.
        whole: Those of which at least 90 % of the box is covered.
        difficult: Labelled faces that are difficult (eyes hidden, from behind).
        hidden: Those of them whose centre is covered.
        area: Mean share of a frame that is covered.
    """

    faces: int = 0
    centers: int = 0
    whole: int = 0
    difficult: int = 0
    hidden: int = 0
    area: float = 0.0


def measure(video: Path, threshold: float, **options: int) -> Covered:
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["videos"][video.name]
    detect = FaceAnalyzer(tasks=("detection",), score_threshold=threshold).detect
    counts, areas = Covered(), []
    with VideoReader(video) as reader:
        frames: Iterator[tuple[Image, float]] = ((f.image, f.time) for f in reader.frames())
        for frame in FaceCover(detect, **options).frames(frames):
            if str(frame.number) not in labels:
                continue
            weight = np.zeros(frame.image.shape[:2], np.float32)
            for box, margin in zip(frame.boxes, frame.margins, strict=True):
                found = region_weight(weight.shape, Face(box, 1.0), margin=margin)
                np.maximum(weight, found, out=weight)
            areas.append(float((weight == 1).mean()))
            for label in labels[str(frame.number)]:
                _count(counts, label, weight == 1)
    counts.area = float(np.mean(areas))
    return counts


def _count(counts: Covered, label: dict[str, Any], covered: Any) -> None:
    x1, y1, x2, y2 = label["bbox"]
    height, width = covered.shape
    center = bool(covered[min((y1 + y2) // 2, height - 1), min((x1 + x2) // 2, width - 1)])
    if label["difficult"]:
        counts.difficult += 1
        counts.hidden += center
        return
    counts.faces += 1
    counts.centers += center
    counts.whole += bool(covered[y1:y2, x1:x2].mean() >= 0.9)


def test_every_labelled_face_of_friends1_is_covered(source: Path) -> None:
    found = measure(source / "example" / "friends1.mp4", 0.4)
    print(found)
    assert (found.faces, found.centers, found.whole) == (89, 89, 89)


def test_tracks_cover_what_detections_leave_open_in_friends2(source: Path) -> None:
    """Dark, small faces: with tracks and the lower threshold all, by detections alone not."""
    video = source / "example" / "friends2.mp4"
    found, plain = measure(video, 0.4), measure(video, 0.6, **PLAIN)
    print(f"{found}\n{plain}")
    assert (found.faces, found.centers, found.whole) == (117, 117, 115)
    assert (plain.faces, plain.centers) == (117, 108)


def print_table() -> None:
    """The table of docs/anonymize.md."""
    print("| | faces, friends1 | difficult | area | faces, friends2 | difficult | area |")
    print("|---|---|---|---|---|---|---|")
    settings: tuple[tuple[str, float, dict[str, int]], ...] = (
        ("detections alone, threshold 0.6", 0.6, PLAIN),
        ("detections alone, threshold 0.4", 0.4, PLAIN),
        ("threshold 0.6", 0.6, {}),
        ("defaults", 0.4, {}),
        ("`--detect-every 3`", 0.4, {"detect_every": 3}),
        ("`--max-age 25 --lookback 10`", 0.4, {"max_age": 25, "lookback": 10}),
    )
    for name, threshold, options in settings:
        cells = [name]
        for video in ("friends1.mp4", "friends2.mp4"):
            found = measure(SOURCE / "example" / video, threshold, **options)
            cells.append(f"{found.centers} of {found.faces}")
            cells += [f"{found.hidden} of {found.difficult}", f"{found.area:.0%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    print_table()

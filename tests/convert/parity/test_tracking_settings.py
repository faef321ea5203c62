"""The tracker's settings: the table in docs/video.md, and that the default is the best of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobileface import Tracker
from tests.conftest import ROOT
from tests.convert.parity.tracking_scores import (
    Remembering,
    Row,
    crossings,
    follow,
    hota,
    joined,
    score,
)

ROUNDING = 0.0005 + 1e-9
VIDEO_TOLERANCE = 0.005
"""Decoders and ONNX Runtime round differently on other machines."""


def table() -> dict[tuple[str, int, int], dict[str, float]]:
    """The table by confirmation, max_age and min_hits; the first row is the default."""
    lines = (ROOT / "docs" / "video.md").read_text(encoding="utf-8").splitlines()
    (start,) = (n for n, line in enumerate(lines) if line.startswith("| `--confirmation`"))
    columns = [cell.strip() for cell in lines[start].strip("|").split("|")][3:]
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        kind, age, hits, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        figures = dict(zip(columns, map(float, cells), strict=True))
        rows[kind, int(age), int(hits)] = figures
    return rows


TABLE = table()


def options(row: tuple[str, int, int]) -> dict[str, Any]:
    return dict(zip(("confirmation", "max_age", "min_hits"), row, strict=True))


@pytest.fixture(scope="module")
def on_crossings() -> list[list[Row]]:
    """Each setting on five crossings of four people and five of ten."""
    return [
        joined([rows for people in (4, 10) for rows in crossings(people, **options(row))])
        for row in TABLE
    ]


@pytest.fixture(scope="module")
def on_videos(source: Path) -> list[list[Row]]:
    """Each setting on the labelled frames of both example videos."""
    analyzer = Remembering("detection_yunet", ("detection",))
    paths = [source / "example" / f"friends{number}.mp4" for number in (1, 2)]
    return [joined([follow(path, analyzer, **options(row))[1] for path in paths]) for row in TABLE]


def idf1(frames: list[Row]) -> float:
    return score(frames)["idf1"]


def check(
    column: str, measure: Callable[[list[Row]], float], rows: list[list[Row]], tolerance: float
) -> None:
    found = [measure(frames) for frames in rows]
    errors = []
    for (row, figures), value in zip(TABLE.items(), found, strict=True):
        errors.append(abs(value - figures[column]))
        print(f"{column}, {row}: {value:.4f}, in the table {figures[column]}")
    assert max(errors) <= tolerance
    assert found[0] >= max(found), "another setting is better than the default"


def test_the_first_row_is_the_default() -> None:
    parameters = inspect.signature(Tracker).parameters
    (first, published, *_) = TABLE
    assert options(first) == {name: parameters[name].default for name in options(first)}
    assert published == ("streak", 1, 3)


@pytest.mark.slow
def test_identities_of_crossings(on_crossings: list[list[Row]]) -> None:
    check("IDF1, crossings", idf1, on_crossings, ROUNDING)


@pytest.mark.slow
@pytest.mark.needs_source
def test_identities_of_videos(on_videos: list[list[Row]]) -> None:
    check("IDF1, videos", idf1, on_videos, VIDEO_TOLERANCE)


@pytest.mark.slow
@pytest.mark.needs_trackeval
def test_hota_of_crossings(on_crossings: list[list[Row]]) -> None:
    check("HOTA, crossings", hota, on_crossings, ROUNDING)


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.needs_trackeval
def test_hota_of_videos(on_videos: list[list[Row]]) -> None:
    check("HOTA, videos", hota, on_videos, VIDEO_TOLERANCE)

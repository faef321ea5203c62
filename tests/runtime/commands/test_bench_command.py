"""``mobileface bench``: its table, its JSON, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from mobileface import FaceAnalyzer
from mobileface.commands.main import main
from mobileface.commands.measuring import scenes_from
from mobileface.models.index import read_index, write_index
from mobileface.vision.synthetic_faces import draw_frames

FIELDS = {
    "stage",
    "model",
    "variant",
    "precision",
    "bytes",
    "batch",
    "threads",
    "tuned",
    "median_ms",
    "p90_ms",
    "fps",
    "runs",
    "start_up_ms",
    "peak_bytes",
    "published_ms",
}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["bench", "--json", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.mark.slow
def test_every_model_and_stage(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The starter set, and a pose model beside it."""
    entry = read_index(models / "analyzer")["tiny_pose"]
    for file in (entry.file, entry.certificate):
        shutil.copyfile(models / "analyzer" / file, tmp_path / file)
    write_index(tmp_path, {"tiny_pose": entry})
    document = run(capsys, "--models", str(tmp_path), "--seconds", "3", "--threads", "1")
    assert document["schema"] == 1
    assert document["environment"]["cpus_usable"] >= 1
    assert document["settings"]["pictures"] == "drawn"
    rows = document["rows"]
    assert all(set(row) == FIELDS for row in rows)
    stages = {row["stage"] for row in rows}
    assert stages >= {"detection", "landmarks", "pose", "embedding", "align", "tracking"}
    assert stages >= {"enhance", "makeup", "pipeline"}
    for row in rows:
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert row["fps"] == pytest.approx(1e3 * row["batch"] / row["median_ms"], rel=0.01, abs=0.1)
        assert row["runs"] >= 1
    networks = [row for row in rows if row["threads"] is not None]
    assert {row["threads"] for row in networks} == {1}
    whole = next(row for row in rows if row["stage"] == "pipeline")
    assert whole["start_up_ms"] > 0  # of all fresh processes this one is always run
    assert document["pipeline"]["detection"] == ["detection_yunet"]
    assert {row["published_ms"] for row in rows if row["stage"] == "tracking"} == {"< 2"}


def test_one_model_in_batches_on_own_photos(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, frame in enumerate(draw_frames(2, 200, 240)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    words = ["--models", str(models), "--model", "tiny_gray", "--batch", "4", "1", "--seconds", "1"]
    document = run(capsys, *words, "--images", str(tmp_path))
    assert [row["batch"] for row in document["rows"]] == [1, 4]
    assert {row["model"] for row in document["rows"]} == {"tiny_gray"}
    assert document["settings"]["pictures"] == "photos"
    assert (document["settings"]["width"], document["settings"]["height"]) == (240, 200)


def test_table_for_people(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--models", str(models), "--model", "tiny_color", "--seconds", "1"]) == 0
    output = capsys.readouterr().out
    assert "tiny_color" in output
    assert "median" in output
    assert "ms" in output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--seconds", "0"], "--seconds must be above 0 and below 1e6, not 0"),
        (["--seconds", "nan"], "--seconds must be above 0 and below 1e6, not nan"),
        (["--batch", "0"], "--batch must be at least 1, not 0"),
        (["--threads", "0"], "intra_op_num_threads must be at least 1, not 0"),
        (["--model", "nobody"], "no model 'nobody'; available: "),
        (["--images", "nowhere.png"], "none of the images can be read"),
    ],
)
def test_bad_options(
    models: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--models", str(models), *words]) == 2
    captured = capsys.readouterr()
    assert text in captured.err.splitlines()[-1]
    assert captured.out == ""


def test_drawn_faces_are_found_by_the_starter_set() -> None:
    """So that the pipeline is measured with all its stages where nobody names a photo."""
    analyzer = FaceAnalyzer(intra_op_num_threads=1)
    scenes = scenes_from(None, analyzer)
    assert all(scene.marks is not None for scene in scenes)

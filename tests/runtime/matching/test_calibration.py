"""Calibrations: rates between stored points, thresholds, galleries, files and bad files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.commands.main import main
from mobileface.errors import CalibrationError, InputError, ModelNotFoundError, OutputError
from mobileface.matching.calibration import Basis, Calibration, Rate, RateCurve, find_calibration
from mobileface.models import lookup as store
from mobileface.tasks.loading import load_embedder
from mobileface.vision.image import Image

BASIS = Basis("invented", 100, 200, 100, 19800, "2026-11-26")


def made(**changes: Any) -> Calibration:
    fields: dict[str, Any] = {
        "model": "net@0123456789ab",
        "basis": BASIS,
        "similarity": (-1.0, 0.0, 0.5, 0.75, 1.0),
        "false_match_curve": RateCurve(
            (1.0, 0.5, 0.01, 0.01, 0.0), (1.0, 0.4, 0.005, 0.005, 0.0), (1.0, 0.6, 0.02, 0.02, 0.01)
        ),
        "false_non_match_curve": RateCurve(
            (0.0, 0.0, 0.1, 0.4, 1.0), (0.0, 0.0, 0.05, 0.3, 1.0), (0.0, 0.04, 0.2, 0.5, 1.0)
        ),
        "lowest_false_match_rate": 0.005,
    }
    return Calibration(**{**fields, **changes})


def document(**changes: Any) -> dict[str, Any]:
    return {**made().to_dict(), **changes}


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_rates_at_and_between_the_points() -> None:
    calibration = made()
    assert calibration.false_match_rate(0.5) == Rate(0.01, 0.005, 0.02)
    middle = calibration.false_match_rate(0.25)
    assert middle.value == pytest.approx(0.255, abs=1e-12)
    assert middle.low == pytest.approx(0.2025, abs=1e-12)
    assert calibration.false_non_match_rate(0.75) == Rate(0.4, 0.3, 0.5)
    assert calibration.false_match_rate(-1) == Rate(1, 1, 1)
    assert calibration.false_match_rate(np.float32(1.0000002)).value == 0


@pytest.mark.parametrize("similarity", [float("nan"), 1.1, -2, float("inf")])
def test_what_is_no_cosine(similarity: float) -> None:
    with pytest.raises(InputError, match="is not a cosine"):
        made().false_match_rate(similarity)
    with pytest.raises(InputError, match="is not a cosine"):
        made().false_non_match_rate(similarity)


def test_threshold_is_the_lowest_similarity_with_the_rate() -> None:
    calibration = made()
    assert calibration.threshold(0.5) == 0
    assert calibration.threshold(0.01) == 0.5  # of the two points with this rate the lower
    assert calibration.threshold(0.005) == pytest.approx(0.875, abs=1e-12)
    for rate in np.geomspace(0.005, 0.99, 50):
        found = calibration.threshold(rate)
        assert calibration.false_match_rate(found).value == pytest.approx(rate, abs=1e-12)


def test_a_rate_that_the_data_cannot_support() -> None:
    with pytest.raises(
        InputError, match=r"19,800 pairs of 100 people.*lowest it supports is 0.005"
    ):
        made().threshold(0.004)
    clones = RateCurve((1.0, 0.5, 0.02, 0.02, 0.02), (0.0,) * 5, (1.0,) * 5)
    with pytest.raises(InputError, match=r"lowest it supports is 0.02"):
        made(false_match_curve=clones).threshold(0.01)  # identical faces of "different" people


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, float("nan")])
def test_what_is_no_rate(rate: float) -> None:
    with pytest.raises(InputError, match="is not between 0 and 1"):
        made().threshold(rate)


@pytest.mark.parametrize("size", [0, 1, 2, 10, 10**3, 10**9])
def test_false_identification_rate_against_decimals(size: int) -> None:
    from decimal import Decimal, getcontext

    getcontext().prec = 60
    found = made().false_identification_rate(0.5, size)
    for rate, single in zip(dataclasses.astuple(found), (0.01, 0.005, 0.02), strict=True):
        expected = 1 - (1 - Decimal(single)) ** size
        assert rate == pytest.approx(float(expected), rel=1e-14)
    assert made().false_identification_rate(-1, size).value == (1 if size else 0)


def test_a_tiny_rate_is_not_lost_in_a_gallery() -> None:
    tiny = RateCurve((1.0, 1e-12, 1e-12, 1e-13, 0.0), (0.0,) * 5, (1.0,) * 5)
    found = made(false_match_curve=tiny).false_identification_rate(0.5, 10)
    assert found.value == pytest.approx(1e-11, rel=1e-9)


@pytest.mark.parametrize("size", [-1, 10**13])
def test_impossible_galleries(size: int) -> None:
    with pytest.raises(InputError, match="gallery_size must be from 0"):
        made().false_identification_rate(0.5, size)


# files


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "net.calibration.json"
    made().save(path)
    assert Calibration.load(path) == made()
    Calibration.load(path).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert json.loads(path.read_text())["schema"] == 1


def test_saving_nonsense_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "net.calibration.json"
    with pytest.raises(CalibrationError, match="increase strictly"):
        made(similarity=(-1.0, 0.5, 0.0, 0.75, 1.0)).save(path)
    with pytest.raises(CalibrationError, match="not a number"):
        made(lowest_false_match_rate=float("nan")).save(path)
    assert not path.exists()
    with pytest.raises(OutputError):
        made().save(tmp_path)


CURVE = document()["false_match_rate"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "table of fields"),
        (document(schema=2), "schema 2 is newer than 1.*upgrade"),
        (document(schema=True), "integer"),
        ({}, "integer"),
        (document(extra=1), "unknown field 'extra'"),
        (document(model=""), "model: must be text"),
        (document(basis={"data": "x"}), "basis: field 'identities' is missing"),
        (document(lowest_false_match_rate=2), "not between 0 and 1"),
        (document(similarity=[-1, 1]), "5 values for 2 similarities"),
        (document(similarity=[-1, 0, 0, 0.5, 1]), "increase strictly"),
        (document(similarity=[-0.9, 0, 0.1, 0.5, 1]), "increase strictly from -1 to 1"),
        (
            document(false_match_rate={**CURVE, "value": [1, 0.5, 0.01, 0.011, 0]}),
            "must not increase",
        ),
        (document(false_match_rate={**CURVE, "low": [1]}), "differ in length"),
        (
            document(false_match_rate={**CURVE, "low": [1, 0.4, 0.4, 0, 0]}),
            "must satisfy low ≤ value ≤ high",
        ),
        (document(false_match_rate={**CURVE, "value": [1, 0.5, 0.01, "x", 0]}), "not a number"),
        (json.dumps(document()).replace("0.4,", "NaN,"), "nan is not a number"),
        (json.dumps(document()).replace("0.4,", "1e999,"), "inf is not a number"),
    ],
)
def test_files_that_are_no_calibration(tmp_path: Path, content: object, message: str) -> None:
    path = written(tmp_path / "net.calibration.json", content)
    with pytest.raises(CalibrationError, match=message) as caught:
        Calibration.load(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path, Path("a\0b")):
        with pytest.raises(CalibrationError, match="cannot be read"):
            Calibration.load(path)
    large = tmp_path / "large"
    large.write_bytes(b" " * (5 << 20))
    with pytest.raises(CalibrationError, match="too large for a calibration"):
        Calibration.load(large)


def test_where_calibrations_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, common = tmp_path / "own", tmp_path / "common"
    monkeypatch.setattr(store, "_common_folders", lambda: (common,))
    with pytest.raises(ModelNotFoundError, match="no calibration of net@0123456789ab; create one"):
        find_calibration("net@0123456789ab", own)
    made().save(common / "net.calibration.json")
    assert find_calibration("net@0123456789ab", own) == made()
    mine = made(lowest_false_match_rate=0.1)
    mine.save(own / "net.calibration.json")
    assert find_calibration("net@0123456789ab", own) == mine
    with pytest.raises(ModelNotFoundError, match="only of net@0123456789ab"):
        find_calibration("net@ffffffffffff")
    made(model="net@ffffffffffff").save(own / "net.calibration.json")  # an older model's is passed
    assert find_calibration("net@0123456789ab", own) == made()
    written(own / "net.calibration.json", "{")
    with pytest.raises(CalibrationError, match="not JSON"):
        find_calibration("net@0123456789ab", own)


# decisions


def strict(model: str) -> Calibration:
    """A calibration whose threshold at 0.5 is the similarity 0, and at 0.01 it is 0.5."""
    return made(model=model)


def test_verify(copied_models: Path, no_other_models: None) -> None:
    embedder = load_embedder("tiny_color", models=copied_models)
    random = np.random.default_rng(2)
    a, b = random.integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    with pytest.raises(ModelNotFoundError, match="no calibration of tiny_color@"):
        embedder.verify(a, b, fmr=0.01)
    assert embedder.verify(a, a).answer == "cannot tell"
    assert embedder.verify(a, a, threshold=0.9).answer == "same"
    strict(embedder.identity).save(copied_models / "tiny_color.calibration.json")
    assert embedder.verify(a, a, fmr=0.01).same
    found = embedder.verify(a, b, fmr=0.01)
    assert found.similarity == embedder.compare(a, b)
    assert found.same == (found.similarity >= 0.5)
    rgb = embedder.verify(a[..., ::-1], b[..., ::-1], fmr=0.01, color="rgb")
    assert rgb == found
    with pytest.raises(InputError, match="cannot be estimated"):
        embedder.verify(a, b, fmr=1e-6)
    default = embedder.verify(a, b)
    assert default.rule is not None
    assert (default.rule.origin, default.rule.requested) == ("default", 0.005)
    assert embedder.verify(a, b, threshold=0.3).same == (found.similarity >= 0.3)


def test_compare_with_a_false_match_rate(
    copied_models: Path,
    crops: list[tuple[Path, Image]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def call(*arguments: object) -> int:
        models = ("--models", copied_models, "--embedder", "tiny_color", "--crops")
        return main([str(argument) for argument in (*arguments, *models)])

    embedder = load_embedder("tiny_color", models=copied_models)
    (a, image_a), (b, image_b) = crops[:2]
    assert call("compare", a, b, "--fmr", 0.01) == 2
    assert "no calibration of tiny_color@" in capsys.readouterr().err
    strict(embedder.identity).save(copied_models / "tiny_color.calibration.json")
    expected = embedder.verify(image_a, image_b, fmr=0.01)
    assert call("compare", a, b, "--fmr", 0.01) == 0
    assert capsys.readouterr().out == f"{expected}\n"
    assert call("compare", a, b) == 0
    assert capsys.readouterr().out == f"{embedder.verify(image_a, image_b)}\n"
    assert call("compare", a, b, "--threshold", -0.5) == 0
    assert capsys.readouterr().out.startswith("same person: ")
    assert call("compare", a, b, "--threshold", -0.5, "--fmr", 0.1) == 2
    assert "only one of" in capsys.readouterr().err
    assert call("compare", a, b, "--face", "largest") == 2
    assert "--face is for photos" in capsys.readouterr().err
    assert call("compare", a, b, "--fmr", 0.01, "--json") == 0
    decision = json.loads(capsys.readouterr().out)["decision"]
    assert decision["same"] == expected.same
    assert decision["threshold"] == 0.5
    assert decision["false_match_rate"] == dataclasses.asdict(expected.false_match_rate)
    assert decision["as_similar"] == dataclasses.asdict(expected.as_similar)
    assert decision["basis"]["identities"] == 100
    assert call("compare", a, b, "--fmr", 1e-5) == 2
    assert "the lowest it supports is 0.005" in capsys.readouterr().err
    many = tmp_path / "many.npz"
    assert call("embed", *(path for path, _ in crops), "--output", many) == 0
    capsys.readouterr()
    assert call("compare", a, many, "--fmr", 0.5, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["decision"]["same"] == [[value >= 0 for value in document["similarity"][0]]]
    assert "as_similar" not in document["decision"]
    assert call("compare", a, many, "--fmr", 0.5) == 0
    rule, *lines = capsys.readouterr().out.splitlines()
    assert rule.startswith("threshold 0.0000 (for a false match rate of 0.5): expected false match")
    assert lines[0].split()[1] == "same"
    assert len(lines) == 4

"""Six networks of public layouts, adopted by one command each into one folder, and used together.

That each gives what its original gives is tested network by network (``test_adopt_*.py``).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mobileface.commands.main import main as run
from mobileface_eval.commands.main import main as evaluate
from tests.convert.commands.adoptable_detectors import write_retinaface, write_scrfd, write_yolo
from tests.convert.commands.adoptable_networks import write_network
from tests.convert.commands.adopting import FACTS, SCALING, adopt
from tests.convert.commands.point_networks import write_tflite
from tests.convert.commands.test_adopt_command import crops
from tests.convert.commands.test_adopt_detectors import drawn
from tests.networks import identification, save

pytestmark = pytest.mark.needs_mxnet

DETECTORS = ("scrfd", "retinaface", "yolo")
POINTS = ("--points-names", "68", "--points-range", "unit", "--margin", "0.25")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all six."""
    made, sources = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("sources")
    place = ("--output", made)
    checkpoint = save(identification(3, seed=9), sources, "arcface")
    scaled = [*FACTS, "--mean", 0, "--std", 1]
    assert adopt(*checkpoint, *scaled, "--name", "arcface_mxnet", *place, ratio=None) == 0
    network = write_network(sources / "arcface.onnx")
    assert adopt(network, *FACTS, *SCALING, "--name", "arcface_onnx", *place, ratio=None) == 0
    writers = {"scrfd": write_scrfd, "retinaface": write_retinaface, "yolo": write_yolo}
    for layout in DETECTORS:
        path = writers[layout](sources / f"{layout}.onnx")
        facts = ("--task", "detection", "--layout", layout, "--name", f"my_{layout}")
        assert adopt(path, *facts, *place) == 0
    path = write_tflite(sources / "points.tflite", 136)
    facts = ("--task", "landmarks", "--crop", "box", "--color", "rgb", "--mean", 0, "--std", 255)
    assert adopt(path, *facts, *POINTS, "--name", "points_tflite", *place) == 0
    return made


def answered(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    """What a command prints; it must succeed."""
    capsys.readouterr()
    assert run([*map(str, command)]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_all_are_members(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = json.loads((models / "index.json").read_text())["models"]
    tasks = {name: entry["task"] for name, entry in index.items()}
    assert tasks == {
        "arcface_mxnet": "embedding",
        "arcface_onnx": "embedding",
        "my_scrfd": "detection",
        "my_retinaface": "detection",
        "my_yolo": "detection",
        "points_tflite": "landmarks",
    }
    for name in tasks:
        assert {f"{name}{end}" for end in (".onnx", ".certificate.json", ".md")} <= {
            path.name for path in models.iterdir()
        }
    verdicts = json.loads(answered(capsys, "certify", "--models", models, "--json"))["variants"]
    mine = {(v["model"], v["variant"]): v["state"] for v in verdicts if v["model"] in tasks}
    print(mine)
    assert {name for name, _ in mine} == set(tasks)
    assert set(mine.values()) == {"held"}


@pytest.mark.parametrize("layout", DETECTORS)
def test_a_detector(
    layout: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, place = drawn(tmp_path / "drawn.png"), ("--models", models)
    options = ("--detector", f"my_{layout}", "--score-threshold", 0.05, "--json")
    faces = json.loads(answered(capsys, "detect", picture, *place, *options))["faces"]
    print(layout, len(faces), "faces")
    assert faces
    assert all(len(face["kps"]) == 5 for face in faces)


def test_landmarks(models: Path, portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--detector", "detection_yunet", "--landmarks", "points_tflite", "--json")
    (face,) = json.loads(answered(capsys, "landmarks", portrait, "--models", models, *chosen))[
        "faces"
    ]
    assert len(face["kps"]) == 70  # the 68, and the eyes, which the detector finds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arcface_mxnet", "arcface_onnx"])
def test_an_embedder(
    name: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, _ = crops(tmp_path / "crops", 4)
    place = ("--models", models, "--embedder", name)
    said = answered(capsys, "embed", "--crops", *paths, *place, "--output", tmp_path / "e.npz")
    assert f"from {name}@" in said
    gallery = ("--gallery", tmp_path / "g.db")
    answered(capsys, "gallery", "create", *gallery, *place)
    answered(capsys, "gallery", "add", "Ada", paths[0], "--crops", *gallery, *place)
    found = answered(capsys, "gallery", "search", paths[0], "--crops", *gallery, *place, "--json")
    assert "Ada" in found
    for index, path in enumerate(paths):
        person = tmp_path / "people" / f"p{index // 2}"
        person.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, person / path.name)
    command = ["roc", tmp_path / "people", *place, "--crops", "--output", tmp_path / "out"]
    assert evaluate([*map(str, command)]) == 0
    (row,) = json.loads((tmp_path / "out" / "roc.json").read_text())["models"]
    assert row["model"].startswith(name)
    bench = ("bench", "--models", models, "--model", name, "--seconds", 1, "--json")
    rows = json.loads(answered(capsys, *bench))["rows"]
    print([(r["variant"], round(r["median_ms"], 3)) for r in rows])
    assert {r["model"] for r in rows} == {name}

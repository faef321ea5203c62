"""The house is kept: rooms, kinds, circles, names and lengths; and what an addition touches.

The worked examples of CONTRIBUTING are applied to a copy of the sources and run there, in
processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface.models.probes import make_probes
from tests import house
from tests.conftest import ROOT
from tests.worked import networks

WORKED = ROOT / "tests" / "worked"
MODELS = ROOT / "tests" / "models" / "analyzer"


@pytest.fixture(scope="module")
def counted() -> house.House:
    return house.count(ROOT)


def test_rooms(counted: house.House) -> None:
    for package, modules in counted.at_root.items():
        print(f"{package}: {len(modules)}")
        assert len(modules) <= 12, modules


def test_only_kinds_name_kinds(counted: house.House) -> None:
    assert counted.naming_kinds == []


def test_no_circles_and_no_name_twice(counted: house.House) -> None:
    assert counted.circles == []
    assert counted.same_names == {}


def test_nothing_is_too_long(counted: house.House) -> None:
    assert counted.long_functions == []
    assert counted.long_files == []


def apply(example: str, root: Path) -> list[str]:
    """Applies a worked example to a copy of the sources; returns the files that it touches."""
    for folder in ("runtime", "convert"):
        shutil.copytree(ROOT / folder, root / folder, dirs_exist_ok=True)
    touched = set()
    for path in sorted((WORKED / example).rglob("*")):
        if path.is_file() and path.name != "edits.json" and "__pycache__" not in path.parts:
            name = path.relative_to(WORKED / example)
            assert not (root / name).exists()
            shutil.copyfile(path, root / name)
            touched.add(name.as_posix())
    for edit in json.loads((WORKED / example / "edits.json").read_text())["edits"]:
        target = root / edit["file"]
        lines = target.read_text().splitlines()
        assert lines.count(edit["after"]) == 1, edit
        place = lines.index(edit["after"]) + 1
        target.write_text("\n".join([*lines[:place], *edit["insert"], *lines[place:]]) + "\n")
        touched.add(edit["file"])
    return sorted(touched)


def run(root: Path, *arguments: str) -> str:
    """What a command of the copy prints."""
    places = (root / "runtime", root / "convert")
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, "-W", "error", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def image() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return make_probes(2, 96, 128, 3, 3)[1]


@pytest.fixture
def photo(image: np.ndarray[Any, np.dtype[np.uint8]], tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def test_a_new_detector(
    tmp_path: Path, photo: Path, image: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    """A detector of another output layout: at most five files, and every command knows it."""
    touched = apply("detector", tmp_path)
    print(f"{len(touched)} files: {', '.join(touched)}")
    assert len(touched) <= 5
    spec = run(tmp_path, "-c", networks.SPEC_OF.format(recipe="detection_centers"))
    model, expected = networks.centers(spec, image, tmp_path / "centers.onnx")
    text = run(
        tmp_path, "-m", "mobileface", "detect", str(photo), "--detector", str(model), "--json"
    )
    faces = json.loads(text)["faces"]
    found = np.array([[*face["bbox"], face["det_score"]] for face in faces])
    assert len(found) == len(expected) > 3
    error = np.abs(found - expected).max(axis=0)
    print(f"{len(found)} boxes, largest error {error[:4].max():.2g} px, score {error[4]:.2g}")
    assert error[:4].max() <= 0.011  # printed with two digits
    assert error[4] <= 1e-4  # printed with four
    less = ("--score-threshold", f"{expected[2, 4]:.3f}")
    text = run(
        tmp_path,
        "-m",
        "mobileface",
        "detect",
        str(photo),
        "--detector",
        str(model),
        "--json",
        *less,
    )
    assert len(json.loads(text)["faces"]) == (expected[:, 4] >= round(expected[2, 4], 3)).sum()
    printed = run(tmp_path, "-c", networks.CERTIFY, str(model))
    print(printed)
    assert printed.splitlines()[0] == "0.0 1.0"
    assert "one cell per 8 pixels" in printed


def test_a_new_task(
    tmp_path: Path, photo: Path, image: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    """A task of its own: at most eight files; analyzer, command, JSON and drawing follow."""
    touched = apply("task", tmp_path)
    print(f"{len(touched)} files: {', '.join(touched)}")
    assert len(touched) <= 8
    spec = run(tmp_path, "-c", networks.SPEC_OF.format(recipe="sharpness_v1"))
    networks.sharpness(spec, tmp_path / "models", MODELS)
    options = ("--models", str(tmp_path / "models"), "--score-threshold", "0.7", "--json")
    drawn = tmp_path / "drawn.png"
    text = run(
        tmp_path, "-m", "mobileface", "sharpness", str(photo), *options, "--draw", str(drawn)
    )
    values = [face["sharpness"] for face in json.loads(text)["faces"] if "sharpness" in face]
    print(f"sharpness of {len(values)} faces: {values}")
    assert values
    assert all(0 <= value <= 1 for value in values)
    assert cv2.imread(str(drawn)).shape == image.shape
    printed = run(tmp_path, "-c", networks.DIRECT, str(photo), str(tmp_path / "models"))
    assert json.loads(printed) == pytest.approx(values, abs=1e-4)
    assert '"sharpness"' in run(tmp_path, "-m", "mobileface", "analyze", str(photo), *options)

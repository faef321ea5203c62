"""Wheels of models: the same every time, complete, installable, found by the runtime."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from mobileface.errors import ModelError, ModelIntegrityError
from mobileface.models.index import read_index, write_index
from mobileface_convert.build.bundle import make_bundle
from mobileface_convert.commands.main import main

MODELS = Path(__file__).resolve().parents[2] / "models"
ROOT = Path(__file__).resolve().parents[3]
STARTER = ROOT / "models_onnx"

Output = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models of this project; nothing else of the folder is to be packed."""
    copy = Path(shutil.copytree(STARTER, tmp_path / "set"))
    (copy / "notes.txt").write_text("private")
    return copy


def test_the_same_models_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = make_bundle(folder, tmp_path / "a", "1.2").path
    for file in folder.iterdir():
        os.utime(file, (10**9, 10**9))
    second = make_bundle(folder, tmp_path / "b", "1.2").path
    assert first.name == "mobileface_models-1.2-py3-none-any.whl"
    assert first.read_bytes() == second.read_bytes()


def test_what_is_in_it(folder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(folder, tmp_path / "dist")
    index = read_index(folder)
    assert bundle.models == tuple(sorted(index))
    assert bundle.licenses == ("Apache-2.0", "BSL-1.0", "CC0-1.0", "MIT")
    with zipfile.ZipFile(bundle.path) as wheel:
        names = set(wheel.namelist())
        info = next(name.split("/")[0] for name in names if name.endswith("/RECORD"))
        for entry in index.values():
            data = wheel.read(f"mobileface_models/{entry.file}")
            assert hashlib.sha256(data).hexdigest() == entry.sha256
            assert f"mobileface_models/{entry.certificate}" in names
        for name in bundle.licenses:
            text = (folder / "licenses" / f"{name}.txt").read_bytes()
            assert wheel.read(f"mobileface_models/licenses/{name}.txt") == text
        metadata = wheel.read(f"{info}/METADATA").decode()
        assert "License-Expression: Apache-2.0 AND BSL-1.0 AND CC0-1.0 AND MIT\n" in metadata
        assert "Requires-Dist: mobileface>=" in metadata
        assert "Root-Is-Purelib: true" in wheel.read(f"{info}/WHEEL").decode()
        rows = [row.split(",") for row in wheel.read(f"{info}/RECORD").decode().split()]
        for name, digest, size in rows:
            if name != f"{info}/RECORD":
                data = wheel.read(name)
                encoded = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={encoded}", str(len(data)))
    assert {row[0] for row in rows} == names
    assert not [name for name in names if "notes" in name]


def test_variants_come_along(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(STARTER, tmp_path / "set"))
    index = read_index(folder)
    entry = index["landmark_dlib5"]
    own = entry.all_variants[-1]
    (folder / "other.onnx").write_bytes((folder / own.file).read_bytes())
    (folder / "other.certificate.json").write_text("{}")
    other = dataclasses.replace(
        own, name="other", file="other.onnx", certificate="other.certificate.json"
    )
    index["landmark_dlib5"] = dataclasses.replace(entry, variants=(other,))
    write_index(folder, index)
    with zipfile.ZipFile(make_bundle(folder, tmp_path / "dist").path) as wheel:
        names = wheel.namelist()
    assert "mobileface_models/other.onnx" in names
    assert "mobileface_models/other.certificate.json" in names


def test_installed_it_is_found_with_no_configuration_and_uninstalls_without_trace(
    folder: Path, tmp_path: Path
) -> None:
    """pip puts it into a folder of its own; a process that has it on its path prefers it."""
    index = {
        name: dataclasses.replace(entry, preference=99)
        for name, entry in read_index(folder).items()
    }
    write_index(folder, index)
    wheel = make_bundle(folder, tmp_path / "dist").path
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    before = set(environment.rglob("*"))
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "-q"]
    offline = ["--no-index", "--no-deps", "--find-links", wheel.parent]
    subprocess.run([*pip, "install", *offline, "mobileface-models"], check=True)
    code = (
        "import sys, mobileface; m = mobileface.find_model(task='landmarks');"
        "print(m.path); print('mobileface_models' in sys.modules, m.entry.preference)"
    )
    variables = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "runtime")}
    variables.pop("MOBILEFACE_HOME", None)
    result = subprocess.run(
        [python, "-c", code], env=variables, check=True, capture_output=True, text=True
    )
    path, state = result.stdout.splitlines()
    assert Path(path).parent.name == "mobileface_models"
    assert environment in Path(path).parents
    assert state == "False 99"
    subprocess.run([*pip, "uninstall", "-y", "mobileface-models"], check=True)
    assert set(environment.rglob("*")) == before


def test_a_folder_without_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no index\.json with models in it"):
        make_bundle(tmp_path, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("suffix", [".onnx", ".certificate.json"])
def test_a_damaged_or_absent_file_is_refused(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = folder / f"landmark_dlib5{suffix}"
    if suffix == ".onnx":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(ModelIntegrityError) as caught:
        make_bundle(folder, tmp_path / "dist")
    assert caught.value.where == str(path)
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("version", ["", "x", "1.", "1..2", "1 2", "../1", "1-2", "1+local"])
def test_versions_that_are_none(folder: Path, tmp_path: Path, version: str, capsys: Output) -> None:
    options = ["--models", str(folder), "--output", str(tmp_path / "dist"), f"--version={version}"]
    assert main(["bundle", *options]) == 2
    assert "is not a version" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_command(folder: Path, tmp_path: Path, capsys: Output) -> None:
    target = tmp_path / "dist"
    assert main(["bundle", "--models", str(folder), "--output", str(target)]) == 0
    printed = capsys.readouterr().out
    assert str(next(target.iterdir())) in printed
    assert "licences: Apache-2.0, BSL-1.0, CC0-1.0" in printed


def test_a_set_whose_licence_has_no_text(folder: Path, tmp_path: Path, capsys: Output) -> None:
    """The folder's own text counts first; here there is none of either."""
    spec = json.loads((MODELS / "analyzer" / "tiny_pose.json").read_text(encoding="utf-8"))
    spec["license"]["name"] = "Unknown-1.0"
    target = folder / "tiny_pose.json"
    target.write_text(json.dumps(spec), encoding="utf-8")
    entry = dataclasses.replace(
        read_index(folder)["landmark_dlib5"],
        file=target.name,
        task="pose",
        sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
    )
    write_index(folder, {"tiny_pose": entry})
    options = ["bundle", "--models", str(folder), "--output", str(tmp_path / "dist")]
    assert main(options) == 2
    assert "licence Unknown-1.0" in capsys.readouterr().err
    (folder / "licenses" / "Unknown-1.0.txt").write_text("Do as you like.")
    assert main([*options]) == 0

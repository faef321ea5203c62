"""mobileface doctor: healthy where everything works, and clear about what does not."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mobileface.commands.main import main
from mobileface.diagnostics import health as doctor
from mobileface.diagnostics.findings import FAILED, NOTE, OK, Finding
from mobileface.diagnostics.health import examine
from tests.runtime.models.test_starter import copied, folder, no_users_models  # noqa: F401

ANALYZER = Path(__file__).resolve().parents[2] / "models" / "analyzer"
YOLO = Path(__file__).resolve().parents[2] / "models" / "yolo"

Output = pytest.CaptureFixture[str]


def by_name(findings: list[Finding], area: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings if finding.area == area}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the doctor works offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_starter_set_is_healthy(offline: None) -> None:
    findings = list(examine())
    assert not [finding for finding in findings if finding.state == FAILED]
    models = by_name(findings, "models")
    assert {"detection_hog", "embedding_dlib", "landmark_dlib5"} <= set(models)
    tasks = by_name(findings, "tasks")
    for name in (
        "detection",
        "landmarks",
        "pose",
        "attributes",
        "embedding",
        "align",
        "tracking",
        "enhance",
        "makeup",
    ):
        assert tasks[name].state == OK
        assert float(str(tasks[name].data["median_ms"])) > 0
    assert "1 found" in tasks["detection"].text
    assert "pose_mesh" in tasks["pose"].text


def test_json(capsys: Output) -> None:
    assert main(["doctor", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["schema"], printed["healthy"]) == (1, True)
    fields = {"area", "name", "state", "text", "hint", "data"}
    assert all(set(finding) == fields for finding in printed["findings"])
    areas = [finding["area"] for finding in printed["findings"]]
    assert list(dict.fromkeys(areas)) == ["python", "packages", "machine", "models", "tasks"]


@pytest.mark.slow
def test_a_folder_of_its_own_with_every_task(capsys: Output) -> None:
    """The tiny models have pose and attributes; random weights find no face, and that is fine."""
    for models, task in ((ANALYZER, "pose"), (YOLO, "attributes")):
        findings = list(examine(models))
        assert by_name(findings, "tasks")[task].state == OK
        assert not [finding for finding in findings if finding.state == FAILED]


def test_a_damaged_model(copied: Path, capsys: Output) -> None:  # noqa: F811
    path = copied / "landmark_dlib5.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["doctor", "--models", str(copied), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert not printed["healthy"]
    failed = {f["name"]: f for f in printed["findings"] if f["state"] == FAILED}
    # The detector gives landmarks itself; the crops of the other tasks need more.
    assert set(failed) == {"landmark_dlib5", "attributes", "embedding"}
    assert "SHA-256" in failed["landmark_dlib5"]["text"]


def test_a_model_without_certificate(copied: Path) -> None:  # noqa: F811
    (copied / "landmark_dlib5.certificate.json").unlink()
    finding = by_name(list(examine(copied)), "models")["landmark_dlib5"]
    assert finding.state == NOTE
    assert "no certificate landmark_dlib5.certificate.json" in finding.text


def test_a_folder_without_models(tmp_path: Path, capsys: Output) -> None:
    assert main(["doctor", "--models", str(tmp_path)]) == 1
    assert "failed  models    error" in capsys.readouterr().out


def test_a_damaged_index(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{")
    found = by_name(list(examine(tmp_path)), "models")
    assert found["error"].state == FAILED


def test_more_threads_than_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setenv("MOBILEFACE_THREADS", "64")
    found = by_name(list(doctor._cpus()), "machine")["threads"]
    assert (found.state, found.data["threads"]) == (NOTE, 64)


def test_a_senseless_number_of_threads(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("MOBILEFACE_THREADS", "many")
    assert main(["doctor"]) == 1
    assert "MOBILEFACE_THREADS: 'many' is not a whole number" in capsys.readouterr().out


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_limit", lambda: 100 << 20)
    (found,) = doctor._memory()
    assert (found.state, found.text) == (NOTE, "100 MiB may be used")


def test_a_package_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def refuse(name: str) -> ModuleType:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", refuse)
    findings = list(examine())
    package = by_name(findings, "packages")["opencv-python-headless"]
    assert package.state == FAILED
    assert package.hint.startswith("pip uninstall opencv-python;")
    assert [f.name for f in findings if f.area == "tasks"] == ["all"]


def test_an_old_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda: {"numpy": "99.0"})
    found = by_name(list(doctor._packages()), "packages")["numpy"]
    assert (found.state, found.hint) == (FAILED, "pip install 'numpy>=99.0'")


def test_two_opencvs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: "4.11.0")
    found = by_name(list(doctor._packages()), "packages")["opencv"]
    assert found.state == NOTE
    assert "overwrite each other" in found.text


def test_a_requirement_of_every_package_is_known() -> None:
    assert set(doctor._requirements()) == {"numpy", "onnxruntime", "opencv-python-headless"}


@pytest.mark.parametrize(("words", "code"), [(["doctor"], 1), (["models"], 2)])
def test_the_command_without_a_package(tmp_path: Path, words: list[str], code: int) -> None:
    """The doctor looks after a package that cannot be imported; other commands say so."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('a wheel for another machine')")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['mobileface', *{words!r}];"
        "from mobileface.__main__ import main; sys.exit(main())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == code
    assert "a wheel for another machine" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mobileface", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("mobileface ")


def test_the_copy_is_what_is_looked_at(copied: Path) -> None:  # noqa: F811
    shutil.rmtree(copied / "licenses")
    assert by_name(list(examine(copied)), "models")["folders"].text == str(copied)

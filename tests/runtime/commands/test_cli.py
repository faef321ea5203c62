"""The command: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobileface
from mobileface.commands.main import main
from mobileface.vision.image import Image
from tests.runtime import tiny

Crops = list[tuple[Path, Image]]
Output = pytest.CaptureFixture[str]

COLOR, GRAY = "tiny_color@382d27da59cd", "tiny_gray@a421d2b8256b"
"""Names and fingerprints of the tiny models."""


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mobileface.commands.main", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


def call(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def fails(capsys: Output, *arguments: str | Path) -> str:
    """The one line that a failing command prints."""
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mobileface: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def expected_embeddings(crops: Crops) -> Any:
    rgb = np.stack([picture[..., ::-1] for _, picture in crops])
    return tiny.evaluate("tiny_color", tiny.color_tensor(rgb))


# embed


def test_embed_json(capsys: Output, models: Path, crops: Crops) -> None:
    paths = [path for path, _ in crops]
    assert call("embed", *paths, "--crops", "--json", "--models", models) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    document = json.loads(out)
    assert set(document) == {"model", "files", "embeddings"}
    assert document["model"] == COLOR
    assert document["files"] == [str(path) for path in paths]
    embeddings = np.array(document["embeddings"])
    assert tiny.max_error(embeddings, expected_embeddings(crops)) <= 5e-7


def test_embed_output(capsys: Output, models: Path, crops: Crops, tmp_path: Path) -> None:
    paths = [path for path, _ in crops]
    target = tmp_path / "new" / "out.npz"
    assert call("embed", *paths, "--crops", "--output", target, "--models", models) == 0
    assert capsys.readouterr().out == f"4 × 16 from {COLOR}: {target}\n"
    with np.load(target, allow_pickle=False) as data:
        assert set(data.files) == {"embeddings", "files", "model"}
        assert data["model"] == COLOR
        assert data["files"].tolist() == [str(path) for path in paths]
        assert data["embeddings"].dtype == np.float32
        assert tiny.max_error(data["embeddings"], expected_embeddings(crops)) <= 5e-7
    assert [path.name for path in target.parent.iterdir()] == ["out.npz"]


def test_embed_output_and_json(capsys: Output, models: Path, crops: Crops, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    options = ("--crops", "--json", "--output", target, "--models", models)
    assert call("embed", crops[0][0], *options, "--embedder", "tiny_gray") == 0
    document = json.loads(capsys.readouterr().out)
    with np.load(target) as data:
        assert np.array_equal(np.array(document["embeddings"], np.float32), data["embeddings"])
        assert document["model"] == data["model"] == GRAY
        assert data["embeddings"].shape == (1, 8)


def test_embedder_by_path(capsys: Output, models: Path, crops: Crops) -> None:
    options = ("--crops", "--json", "--embedder", models / "tiny_gray.onnx")
    assert call("embed", crops[0][0], *options) == 0
    assert json.loads(capsys.readouterr().out)["model"] == GRAY


def test_home_variable(
    capsys: Output, models: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEFACE_HOME", str(models))
    options = ("--crops", "--json", "--embedder", "tiny_gray")
    assert call("embed", crops[0][0], *options) == 0
    assert json.loads(capsys.readouterr().out)["model"] == GRAY


# compare


def test_compare(capsys: Output, models: Path, crops: Crops) -> None:
    rows = expected_embeddings(crops)
    a, b = crops[0][0], crops[1][0]
    assert call("compare", a, b, "--crops", "--models", models) == 0
    out, err = capsys.readouterr()
    assert out == f"cannot tell: no calibration; similarity {rows[0] @ rows[1]:.4f}\n"
    assert f"no threshold: there is no calibration of {COLOR}; give --threshold or run" in err
    assert call("compare", a, b, "--crops", "--models", models, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("similarity") == pytest.approx(rows[0] @ rows[1], abs=5e-7, rel=0)
    decision = document.pop("decision")
    assert (decision["answer"], decision["same"], decision["rule"]) == ("cannot tell", None, None)
    assert document == {"model": COLOR, "files": [str(a), str(b)]}
    assert call("compare", a, a, "--crops", "--models", models, "--threshold", 0.9) == 0
    out = capsys.readouterr().out
    assert out.startswith("same person: similarity 1.0000, threshold 0.9000; error rates unknown")


# models


def test_models(capsys: Output, models: Path) -> None:
    assert call("models", "--models", models) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, second = (line.split(maxsplit=4) for line in out.splitlines())
    assert first == ["embedding", "tiny_color", "0.01", "MB", str(models / "tiny_color.onnx")]
    assert second == ["embedding", "tiny_gray", "0.00", "MB", str(models / "tiny_gray.onnx")]


def test_models_json(capsys: Output, models: Path) -> None:
    assert call("models", "--models", models, "--json") == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [model["name"] for model in found] == ["tiny_color", "tiny_gray"]
    for model in found:
        facts = {"name", "task", "path", "bytes", "sha256", "precision", "default", "variants"}
        assert set(model) == facts | {"preferred", "reason", "license"}
        assert model["reason"] is None
        assert Path(model["path"]).stat().st_size == model["bytes"]
        assert model["task"] == "embedding"


def test_no_models(capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"schema": 1, "models": {}}')
    assert call("models", "--models", tmp_path) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "no models" in err
    assert call("models", "--models", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"models": []}


# errors


@pytest.mark.parametrize("command", ["embed", "compare"])
def test_bad_pictures(
    capsys: Output, models: Path, crops: Crops, tmp_path: Path, command: str
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    options = ("--crops", "--models", models, "--json")
    for bad in (tmp_path / "absent.png", tmp_path, text):
        assert f"error: {bad}: " in fails(capsys, command, crops[0][0], bad, *options)


@pytest.mark.usefixtures("no_other_models")
def test_photos_need_a_detector(capsys: Output, models: Path, crops: Crops) -> None:
    """Without --crops faces are searched for; these models cannot do that."""
    path, reason = crops[0][0], "no model for task 'detection'"
    assert reason in fails(capsys, "embed", path, "--json", "--models", models)
    assert reason in fails(capsys, "compare", path, path, "--models", models)
    assert reason in fails(capsys, "analyze", path, "--models", models)


def test_models_that_are_not_there(
    capsys: Output, models: Path, crops: Crops, tmp_path: Path
) -> None:
    embed = ("embed", crops[0][0], "--crops", "--json")
    message = fails(capsys, *embed, "--models", models, "--embedder", "other")
    assert "no model 'other'" in message
    assert "tiny_color, tiny_gray" in message
    assert "absent.onnx" in fails(capsys, *embed, "--embedder", tmp_path / "absent.onnx")
    for folder in (tmp_path, tmp_path / "absent", crops[0][0]):
        for arguments in (embed, ("models",)):
            assert f"error: {folder}: no index.json" in fails(
                capsys, *arguments, "--models", folder
            )


def test_damaged_model(capsys: Output, copied_models: Path, crops: Crops) -> None:
    with (copied_models / "tiny_color.onnx").open("ab") as stream:
        stream.write(b"\0")
    message = fails(capsys, "embed", crops[0][0], "--crops", "--json", "--models", copied_models)
    assert "but the index lists" in message


def test_damaged_index(capsys: Output, copied_models: Path, crops: Crops) -> None:
    (copied_models / "index.json").write_text("{")
    assert "index.json" in fails(capsys, "models", "--models", copied_models)


@pytest.mark.parametrize("name", ["no_spec", "bad_spec"])
def test_model_without_a_good_spec(capsys: Output, models: Path, crops: Crops, name: str) -> None:
    path = models / f"{name}.onnx"
    assert str(path) in fails(capsys, "embed", crops[0][0], "--crops", "--json", "--embedder", path)


def test_bad_threads(
    capsys: Output, models: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEFACE_THREADS", "many")
    message = fails(capsys, "embed", crops[0][0], "--crops", "--json", "--models", models)
    assert "MOBILEFACE_THREADS: 'many'" in message


def test_output_options(capsys: Output, models: Path, crops: Crops, tmp_path: Path) -> None:
    embed = ("embed", crops[0][0], "--crops", "--models", models)
    assert "--json" in fails(capsys, *embed)
    assert ".npz" in fails(capsys, *embed, "--output", tmp_path / "out.txt")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output_leaves_nothing(
    capsys: Output, models: Path, crops: Crops, tmp_path: Path
) -> None:
    embed = ("embed", crops[0][0], "--crops", "--json", "--models", models)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.npz").mkdir()
    for target, reason in (
        (tmp_path / "file" / "out.npz", "cannot be written"),
        (tmp_path / "folder.npz", "is a folder, not a file"),
    ):
        assert f"error: {target}: {reason}" in fails(capsys, *embed, "--output", target)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.npz"}
    assert list((tmp_path / "folder.npz").iterdir()) == []


def test_a_bad_picture_leaves_no_output(
    capsys: Output, models: Path, crops: Crops, tmp_path: Path
) -> None:
    target = tmp_path / "out.npz"
    target.write_bytes(b"old")
    bad = tmp_path / "absent.png"
    options = ("--crops", "--models", models, "--output", target)
    fails(capsys, "embed", crops[0][0], bad, *options)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


MISUSED = [(), ("other",), ("embed",), ("compare", "a.png"), ("compare", "a", "b", "c")]
MISUSED += [("models", "--nothing"), ("embed", "a.png", "--output"), ("models", "extra")]


@pytest.mark.parametrize("arguments", MISUSED)
def test_usage_errors(capsys: Output, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: mobileface" in err


@pytest.mark.parametrize("arguments", [("--help",), ("embed", "--help"), ("--version",)])
def test_help_and_version(capsys: Output, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert mobileface.__version__ in out or "usage: mobileface" in out


# in a process of its own


def test_process(models: Path, crops: Crops) -> None:
    options = ("--crops", "--models", models)
    result = run("compare", crops[0][0], crops[0][0], *options)
    assert (result.returncode, result.stderr.count(b"\n")) == (0, 1)
    assert result.stdout.strip() == b"cannot tell: no calibration; similarity 1.0000"
    assert result.stderr.startswith(b"mobileface: no threshold: there is no calibration of ")
    result = run("compare", crops[0][0], crops[0][0].parent / "absent.png", *options)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"mobileface: error: ")
    assert result.stderr.count(b"\n") == 1
    assert run("compare").returncode == 2


def test_process_with_an_ascii_terminal(models: Path, crops: Crops, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    options = ("--crops", "--models", models, "--output", target)
    result = run("embed", crops[0][0], *options, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (result.returncode, result.stderr) == (0, b"")
    assert target.exists()


def test_process_with_a_name_that_the_terminal_cannot_show(
    models: Path, crops: Crops, tmp_path: Path
) -> None:
    picture = tmp_path / "Größe.png"
    picture.write_bytes(crops[0][0].read_bytes())
    options = ("--crops", "--models", models, "--json")
    for encoding in ("ascii", "utf-8"):
        result = run("embed", picture, *options, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert (result.returncode, result.stderr) == (0, b"")
        assert json.loads(result.stdout.decode("ascii"))["files"] == [str(picture)]


def test_a_reader_that_leaves_early_is_no_error(models: Path) -> None:
    """As in ``mobileface models | head -0``."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mobileface.commands.main", "models", "--models", str(models)]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")

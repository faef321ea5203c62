"""Loading and running ONNX files, good and bad."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import mobileface
from mobileface.errors import (
    InputError,
    ModelError,
    ModelIntegrityError,
    ModelNotFoundError,
    SpecError,
)
from mobileface.host.files import sha256
from mobileface.models.session import Session
from mobileface.tasks.embedding import Embedder
from tests.runtime import tiny


def test_what_a_session_knows(models: Path) -> None:
    session = Session(str(models / "tiny_color.onnx"))
    assert session.path == models / "tiny_color.onnx"
    assert session.spec.name == "tiny_color"
    assert session.inputs == ("data",)
    assert session.outputs == ("embedding",)


def test_run(models: Path) -> None:
    tensor = np.random.RandomState(0).standard_normal((5, 1, 20, 20)).astype(np.float32)
    outputs = Session(models / "tiny_gray.onnx").run({"data": tensor})
    assert list(outputs) == ["embedding"]
    assert outputs["embedding"].dtype == np.float32
    assert tiny.max_error(outputs["embedding"], tiny.evaluate("tiny_gray", tensor)) <= 5e-7


DENORMAL = """
import sys
import numpy as np
from mobileface.models.session import Session
session = Session(sys.argv[1], intra_op_num_threads=1, denormals_as_zero=eval(sys.argv[2]))
session.run({"data": np.zeros((1, 1, 20, 20), np.float32)})
small = np.full(8, 1e-30, np.float32) * np.float32(1e-10)
print(int((small == 0).all()))
"""


@pytest.mark.parametrize(
    ("argument", "variable", "zero"),
    [("None", "", "0"), ("True", "", "1"), ("None", "1", "1"), ("False", "1", "0")],
)
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the mode of x86's arithmetic"
)
def test_denormal_numbers_on_request(models: Path, argument: str, variable: str, zero: str) -> None:
    """ONNX Runtime changes the arithmetic of the process, so each case is one of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.endswith("AS_ZERO")}
    if variable:
        variables["MOBILEFACE_DENORMALS_AS_ZERO"] = variable
    command = [sys.executable, "-c", DENORMAL, str(models / "tiny_gray.onnx"), argument]
    found = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    assert found.stdout.strip() == zero


def test_a_wrong_word_for_denormals(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILEFACE_DENORMALS_AS_ZERO", "yes")
    with pytest.raises(InputError, match=r"MOBILEFACE_DENORMALS_AS_ZERO.*must be 0 or 1"):
        Session(models / "tiny_gray.onnx")


def test_expected_hash(models: Path) -> None:
    path = models / "tiny_gray.onnx"
    assert Session(path, expected_sha256=sha256(path)).spec.name == "tiny_gray"
    with pytest.raises(ModelIntegrityError, match=f"its SHA-256 is {sha256(path)}") as caught:
        Session(path, expected_sha256="0" * 64)
    assert caught.value.where == str(path)
    assert "0" * 64 in str(caught.value)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path):
        for expected in (None, "0" * 64):
            with pytest.raises(ModelError, match="cannot be read") as caught:
                Session(path, expected_sha256=expected)
            assert caught.value.where == str(path)


@pytest.mark.parametrize("name", ["a\0b.onnx", "a\ud800.onnx"])
def test_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        Session(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04"])
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Session(path)
    assert str(path) in caught.value.where


@pytest.mark.parametrize("part", [0.01, 0.25, 0.5, 0.9, 0.999])
def test_truncated(models: Path, tmp_path: Path, part: float) -> None:
    content = (models / "tiny_gray.onnx").read_bytes()
    path = tmp_path / "a.onnx"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError):
        Session(path)


def test_without_a_spec(models: Path) -> None:
    with pytest.raises(SpecError, match=r"the ONNX file has no 'mobileface\.spec' entry") as caught:
        Session(models / "no_spec.onnx")
    assert caught.value.where == str(models / "no_spec.onnx")


def test_broken_spec(models: Path) -> None:
    with pytest.raises(SpecError, match="'one' is not an integer") as caught:
        Session(models / "bad_spec.onnx")
    assert caught.value.where == f"{models / 'bad_spec.onnx'}, input, height"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("other_input", "picture"),
        ("other_output", "vector"),
        ("other_size", "3"),
        ("other_type", r"is a tensor\(float\), not a tensor\(uint8\)"),
    ],
)
def test_spec_of_another_network(models: Path, name: str, word: str) -> None:
    """A spec that names what the network does not have is found out before a picture is run."""
    with pytest.raises(SpecError, match=word) as caught:
        Embedder(Session(models / f"{name}.onnx"))
    assert str(models / f"{name}.onnx") in caught.value.where


def test_own_options_and_threads_exclude_each_other(models: Path) -> None:
    options = onnxruntime.SessionOptions()
    with pytest.raises(InputError, match="either sess_options or intra_op_num_threads, not both"):
        Session(models / "tiny_gray.onnx", sess_options=options, intra_op_num_threads=1)


@pytest.mark.parametrize("count", [0, -1])
def test_threads_from_one(models: Path, count: int) -> None:
    with pytest.raises(InputError, match=f"intra_op_num_threads must be at least 1, not {count}"):
        Session(models / "tiny_gray.onnx", intra_op_num_threads=count)


def test_providers(models: Path) -> None:
    providers = ["CPUExecutionProvider"]
    session = Session(models / "tiny_gray.onnx", providers=providers, provider_options=[{}])
    assert session._session.get_providers() == providers


@pytest.mark.parametrize(
    "shape", [(1, 1, 20, 21), (1, 3, 20, 20), (1, 20, 20), (1, 1, 1, 20, 20), (), (0,)]
)
def test_wrong_shape(gray: Embedder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="running failed") as caught:
        gray.session.run({"data": np.zeros(shape, np.float32)})
    assert caught.value.where == str(gray.session.path)
    with pytest.raises(ModelError):
        gray.embed_tensor(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int64, object])
def test_wrong_type(gray: Embedder, dtype: type) -> None:
    with pytest.raises(ModelError, match="running failed"):
        gray.session.run({"data": np.zeros((1, 1, 20, 20), dtype)})


@pytest.mark.parametrize("names", [(), ("other",), ("data", "other")])
def test_wrong_names(gray: Embedder, names: tuple[str, ...]) -> None:
    tensor = np.zeros((1, 1, 20, 20), np.float32)
    with pytest.raises(ModelError, match="running failed"):
        gray.session.run(dict.fromkeys(names, tensor))


def test_messages_are_one_line(gray: Embedder) -> None:
    with pytest.raises(ModelError) as caught:
        gray.session.run({"data": np.zeros((1, 1, 20, 21), np.float32)})
    assert "\n" not in str(caught.value)


# load


def test_load_by_name_preference_and_path(
    models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert mobileface.load("tiny_gray", models=models).spec.name == "tiny_gray"
    assert mobileface.load(models=str(models)).spec.name == "tiny_color"
    assert mobileface.load(str(models / "tiny_gray.onnx")).spec.name == "tiny_gray"
    monkeypatch.setenv("MOBILEFACE_HOME", str(models))
    assert mobileface.load("tiny_color").session.path == models / "tiny_color.onnx"


def test_load_hands_options_on(models: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = mobileface.load(models=models, sess_options=options).session
    assert session._session.get_session_options().intra_op_num_threads == 2
    with pytest.raises(InputError):
        mobileface.load(models=models, intra_op_num_threads=0)


def test_load_checks_the_index(copied_models: Path) -> None:
    path = copied_models / "tiny_gray.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelIntegrityError, match="but the index lists"):
        mobileface.load("tiny_gray", models=copied_models)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        mobileface.load("tiny_gray", models=copied_models)
    with pytest.raises(ModelNotFoundError, match="available: tiny_color, tiny_gray"):
        mobileface.load("other", models=copied_models)


@pytest.mark.parametrize(
    ("found", "message"), [(b"mobileface.spec", "metadata is not UTF-8"), (b"data", "not UTF-8")]
)
def test_text_that_is_not_utf8(
    models: Path,
    tmp_path: Path,
    found: bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """ONNX Runtime loads it and fails when Python asks for it, and prints nothing on stdout."""
    path = tmp_path / "net.onnx"
    content = (models / "tiny_color.onnx").read_bytes()
    assert content.count(found)
    path.write_bytes(content.replace(found, b"\xff" * len(found)))
    with pytest.raises(SpecError, match=message):
        Session(path)
    assert capsys.readouterr().out == ""


def test_nothing_is_printed_or_tried_again(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime would print a box of asterisks and fall back on its own providers."""
    tried = []

    def fail(*arguments: object) -> None:
        tried.append(arguments)
        raise ValueError("'utf-8' codec can't decode byte 0xb0")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(ModelError, match=r"cannot load it .*0xb0"):
        Session(models / "tiny_color.onnx")
    assert len(tried) == 1
    assert capsys.readouterr().out == ""

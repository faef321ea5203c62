"""Folders of models that somebody else wrote: a wheel holds nothing from outside of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import onnx
import pytest

from mobileface.errors import MobileFaceError, ModelError, ModelIntegrityError
from mobileface.models.spec import METADATA_KEY
from mobileface_convert.build.bundle import make_bundle

STARTER = Path(__file__).resolve().parents[3] / "models_onnx"
NAME = "landmark_dlib5"
SECRET = "the text of another folder\n"


def hostile(folder: Path, *, license_name: str = "CC0-1.0", key: str = NAME) -> None:
    """A folder with one model, whose spec and index say what an attacker wants."""
    folder.mkdir(parents=True)
    model = onnx.load(str(STARTER / f"{NAME}.onnx"))
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            spec = json.loads(entry.value)
            spec["license"] = {"name": license_name, "url": "https://example.org"}
            entry.value = json.dumps(spec)
    content = model.SerializeToString()
    (folder / f"{NAME}.onnx").write_bytes(content)
    shutil.copy(STARTER / f"{NAME}.certificate.json", folder)
    entry = json.loads((STARTER / "index.json").read_text())["models"][NAME]
    entry.update(variants=[], sha256=hashlib.sha256(content).hexdigest())
    (folder / "index.json").write_text(json.dumps({"schema": 2, "models": {key: entry}}))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def refused(tmp_path: Path, models: Path, kind: type[MobileFaceError]) -> str:
    """The error; nothing was written anywhere."""
    before = files(tmp_path)
    with pytest.raises(kind) as caught:
        make_bundle(models, tmp_path / "dist")
    assert files(tmp_path) == before
    print(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["../../secret", "{}/secret", "MIT\0", "A\nName: evil", "x" * 300, "a\\b", ".."]
)
def test_licence_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    models = tmp_path / "deep" / "models"
    hostile(models, license_name=name.format(tmp_path))
    assert "cannot be the name of a file" in refused(tmp_path, models, ModelError)


@pytest.mark.parametrize("key", ["../card", "{}/card", "x\x1b[31m\nevil", "a/b"])
def test_index_keys(key: str, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(SECRET)
    hostile(tmp_path / "models", key=key.format(tmp_path))
    assert "is not a plain name" in refused(tmp_path, tmp_path / "models", ModelIntegrityError)


@pytest.mark.parametrize(
    "file", [f"{NAME}.md", "licenses/MIT.txt", "licenses", f"{NAME}.certificate.json"]
)
def test_links(file: str, tmp_path: Path) -> None:
    """What no hash covers could be any file of this machine."""
    models = tmp_path / "models"
    hostile(models, license_name="MIT")
    secret = tmp_path / "secret"
    if file == "licenses":
        secret.mkdir()
        (secret / "MIT.txt").write_text(SECRET)
    else:
        secret.write_text(SECRET)
    (models / file).unlink(missing_ok=True)
    (models / file).parent.mkdir(exist_ok=True)
    (models / file).symlink_to(secret)
    assert "outside of its folder" in refused(tmp_path, models, ModelIntegrityError)


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_unreadable_licence(content: bytes | None, tmp_path: Path) -> None:
    models = tmp_path / "models"
    hostile(models, license_name="Own-1.0")
    (models / "licenses").mkdir()
    if content is None:
        (models / "licenses" / "Own-1.0.txt").mkdir()
    else:
        (models / "licenses" / "Own-1.0.txt").write_bytes(content)
    assert "Own-1.0" in refused(tmp_path, models, MobileFaceError)


def test_a_licence_of_their_own(tmp_path: Path) -> None:
    models = tmp_path / "models"
    hostile(models, license_name="Own-1.0")
    (models / "licenses").mkdir()
    (models / "licenses" / "Own-1.0.txt").write_text("do what you like\n")
    wheel = make_bundle(models, tmp_path / "dist").path
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("mobileface_models/licenses/Own-1.0.txt") == b"do what you like\n"

"""Indexes of models that somebody else wrote never lead out of their folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mobileface.errors import ModelIntegrityError, ModelNotFoundError
from mobileface.host.files import is_plain_name
from mobileface.matching.calibration import find_calibration
from mobileface.models.index import read_index
from mobileface.models.lookup import list_models

MODELS = Path(__file__).resolve().parents[2] / "models"
NAME = "tiny_color"
HOSTILE = [
    "../x",
    "../../../etc/x",
    "/etc/x",
    "a/b",
    "a\\b",
    "C:x",
    "..",
    ".",
    "",
    "x\x1b[31m",
    "x\ny",
    "x\0",
    "\u202ex",
    "x" * 300,
]


def test_plain_names() -> None:
    assert not [name for name in HOSTILE if is_plain_name(name)]
    good = ["a", "a.onnx", "identification_v3", "Zoë", "a b", "...", "x" * 200]
    assert [name for name in good if is_plain_name(name)] == good


def folder(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    made = tmp_path / "models"
    made.mkdir(exist_ok=True)
    for suffix in ("onnx", "certificate.json"):
        shutil.copy(MODELS / f"{NAME}.{suffix}", made)
    document = json.loads((MODELS / "index.json").read_text())
    entry = {**document["models"][NAME], "precision": "fp32", "variants": []}
    return made, {"schema": 2, "models": {NAME: entry}}


def write(made: Path, document: dict[str, Any]) -> None:
    (made / "index.json").write_text(json.dumps(document))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("field", ["key", "file", "certificate", "variant", "variant file"])
def test_names(name: str, field: str, tmp_path: Path) -> None:
    made, document = folder(tmp_path)
    write(made, document)
    assert list(read_index(made)) == [NAME]
    entry = document["models"][NAME]
    variant = {key: entry[key] for key in ("file", "sha256", "bytes", "certificate", "precision")}
    variant = {**variant, "name": "other", "file": "other.onnx", "condition": {}}
    entry["variants"] = [variant]
    if field == "key":
        document["models"] = {name: entry}
    elif field == "variant":
        variant["name"] = name
    elif field == "variant file":
        variant["file"] = name
    else:
        entry[field] = name
    write(made, document)
    with pytest.raises(ModelIntegrityError, match="is not a plain"):
        read_index(made)


@pytest.mark.parametrize("file", [f"{NAME}.onnx", f"{NAME}.certificate.json"])
def test_links(file: str, tmp_path: Path) -> None:
    made, document = folder(tmp_path)
    write(made, document)
    outside = tmp_path / "outside"
    (made / file).rename(outside)
    (made / file).symlink_to(outside)
    with pytest.raises(ModelIntegrityError, match="outside of its folder"):
        list_models(made)
    outside.rename(made / "inside")
    (made / file).unlink()
    (made / file).symlink_to("inside")
    assert [model.name for model in list_models(made)] == [NAME]
    (tmp_path / "link").symlink_to(made)  # a folder that is a link stays usable
    assert [model.name for model in list_models(tmp_path / "link")] == [NAME]


def test_names_of_calibrations(tmp_path: Path) -> None:
    """A file of embeddings says which model made it, and may say anything."""
    (tmp_path / "models").mkdir()
    (tmp_path / "x.calibration.json").write_text("would be read")
    for name in ("../x", str(tmp_path / "x")):
        with pytest.raises(ModelNotFoundError, match="no calibration of"):
            find_calibration(f"{name}@0123456789ab", tmp_path / "models")

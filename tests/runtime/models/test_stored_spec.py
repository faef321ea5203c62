"""The spec in a file as ONNX Runtime reads it, and as we read it without opening the network."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from mobileface.errors import ModelNotFoundError, SpecError
from mobileface.models.spec import METADATA_KEY, ModelSpec
from mobileface.models.stored_spec import read_stored_spec

STARTER = Path(__file__).parents[3] / "models_onnx"


@pytest.mark.parametrize("path", sorted(STARTER.glob("*.onnx")), ids=lambda path: path.stem)
def test_it_is_what_onnx_runtime_reads(path: Path) -> None:
    network = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    text = network.get_modelmeta().custom_metadata_map[METADATA_KEY]
    found = read_stored_spec(path)
    print(found.license)
    assert found == ModelSpec.from_json(text)
    assert found.license.name in (STARTER / f"{path.stem}.md").read_text()


def test_without_a_network() -> None:
    assert read_stored_spec(STARTER / "pose_mesh.json").license.name == "Apache-2.0"


@pytest.mark.parametrize(
    "content", [b"", b"no model", b"\x0a\xff\xff\xff\x7f", b"\x72\x05\x0a\x09"]
)
def test_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(SpecError, match="ONNX file"):
        read_stored_spec(path)
    cut = (STARTER / "gender.onnx").read_bytes()[:-1]
    path.write_bytes(cut)
    with pytest.raises(SpecError):
        read_stored_spec(path)
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        read_stored_spec(tmp_path / "absent.onnx")

"""Networks that take one image at a time, in the runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from mobileface.errors import SpecError
from mobileface.models.session import Session
from mobileface.models.spec import ModelSpec
from mobileface.tasks.embedding import Embedder
from tests.conftest import ROOT
from tests.runtime import tiny

TINY = ROOT / "tests" / "models"


def test_one_image_at_a_time(tmp_path: Path) -> None:
    """A network whose batch is fixed at 1 gives for several images what a free one gives."""
    model = onnx.load(str(TINY / "tiny_gray.onnx"))
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        dims[0].Clear()
        dims[0].dim_value = 1
    facts = json.loads(model.metadata_props[0].value)
    free = Session(TINY / "tiny_gray.onnx")
    assert model.metadata_props[0].key == "mobileface.spec"
    facts["input"]["batch"] = 1
    model.metadata_props[0].value = json.dumps(facts)
    path = tmp_path / "fixed.onnx"
    onnx.save(model, str(path))
    fixed = Session(path)
    tensor = np.random.RandomState(0).standard_normal((5, 1, 20, 20)).astype(np.float32)
    for count in (1, 5):
        found = fixed.run({"data": tensor[:count]})["embedding"]
        error = tiny.max_error(found, tiny.evaluate("tiny_gray", tensor[:count]))
        print(f"{count} images: largest error {error:.2g}")
        assert error <= 5e-7
    assert fixed.spec.fingerprint == free.spec.fingerprint
    images = list(np.random.RandomState(1).randint(0, 256, (3, 20, 20)).astype(np.uint8))
    both = [Embedder(session).embed(images) for session in (fixed, free)]
    assert tiny.max_error(*both) <= 5e-7
    facts["input"]["batch"] = 2
    with pytest.raises(SpecError, match="neither 1 nor left out"):
        ModelSpec.from_dict(facts)

"""The attribute network from its gluon file: logits equal to gluon's, for any number of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mobileface import AttributePredictor
from mobileface.errors import GraphError
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.vision.image import to_tensor
from mobileface_convert.build.pipeline import convert
from mobileface_convert.frontends.mxnet_params import load_params, write_params
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource
from tests import gluon_networks
from tests.convert.frontends.random_source import source_file

pytestmark = pytest.mark.needs_mxnet

OUTPUTS = ("gender", "age", "expression")
MAX_LOGIT_ERROR = 2e-6


@pytest.fixture(scope="module")
def network() -> Any:
    return gluon_networks.make_attribute(seed=5)


@pytest.fixture(scope="module")
def model(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attribute")
    gluon_networks.save_structural(network, source_file(folder, "attribute_v1", "gluon"))
    source = DirectorySource(folder, verify=False)
    made = convert(load_recipe("attribute_v1"), source, folder / "models")
    assert made.agreement is not None
    assert made.agreement.max_abs_error <= 5e-6
    return made.path


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_logits_are_those_of_gluon(model: Path, network: Any, batch: int) -> None:
    session = Session(model, intra_op_num_threads=1)
    worst = 0.0
    for seed in range(10):
        pictures = make_probes(batch, 96, 96, 3, seed)
        expected = gluon_networks.run(network, pictures)
        tensor = to_tensor(list(pictures), session.spec.input, "rgb")  # type: ignore[arg-type]
        found = session.run({"data": tensor})
        for name, logits in zip(OUTPUTS, expected, strict=True):
            assert found[name].shape == logits.shape
            worst = max(worst, float(np.abs(found[name] - logits).max()))
    print(f"batch {batch}: largest difference of a logit {worst:.2g}")
    assert worst <= MAX_LOGIT_ERROR


def test_a_batch_is_its_faces(model: Path) -> None:
    predictor = AttributePredictor(Session(model, intra_op_num_threads=1))
    crops = list(make_probes(8, 96, 96, 3, 4))
    together = predictor.predict(crops)
    for crop, found in zip(crops, together, strict=True):
        (alone,) = predictor.predict(crop)
        assert (alone.gender, alone.expressions) == (found.gender, found.expressions)
        np.testing.assert_allclose(alone.age_probs, found.age_probs, atol=1e-6)


def test_normalisations_that_can_be_folded_are(model: Path) -> None:
    """21 of 30; those that stand before ReLU or zero padding stay."""
    nodes = [node.op_type for node in onnx.load(str(model)).graph.node]
    assert nodes.count("BatchNormalization") <= 9
    print(f"{len(nodes)} nodes, {model.stat().st_size / 1e6:.2f} MB")


@pytest.mark.parametrize("fault", ["missing", "extra", "swapped", "shape"])
def test_damaged_files_are_refused(network: Any, tmp_path: Path, fault: str) -> None:
    path = source_file(tmp_path, "attribute_v1", "gluon")
    arrays = dict(load_params(gluon_networks.save_structural(network, path)))
    first, second = "features.2.0.conv1.weight", "features.3.0.conv1.weight"
    if fault == "missing":
        del arrays[first]
    elif fault == "extra":
        arrays["features.9.weight"] = arrays[first]
    elif fault == "swapped":
        arrays[first], arrays[second] = arrays[second], arrays[first]
    else:
        arrays[first] = arrays[first][:-1]
    path.write_bytes(write_params(arrays))
    named = {"extra": r"features\.9\.weight"}.get(fault, r"features\.[23]\.0\.conv1\.weight")
    with pytest.raises(GraphError, match=named):
        convert(
            load_recipe("attribute_v1"), DirectorySource(tmp_path, verify=False), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

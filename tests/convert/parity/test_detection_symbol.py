"""The published detector's symbol converts as any other network does: 259 operators, none special.

The recipe builds the ends of the detector anew (see test_detector_models); this is the symbol as it
is, table of 128×128 cells and all, which is what a converter of any checkpoint has to manage.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mobileface.models.probes import make_probes
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_checkpoint import load_checkpoint
from mobileface_convert.makers import to_optimised_onnx
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from tests import gluon_networks
from tests.convert.ops.op_check import run_onnx
from tests.gluon_networks import VALUES

pytestmark = [pytest.mark.needs_mxnet, pytest.mark.needs_source]

SYMBOL = Path("MobileFace_Detection/model/mobilefacedet_v1_mxnet-symbol.json")
SIZES = ((256, 468), (320, 585), (468, 256), (129, 161), (257, 1023), (1024, 96), (64, 640))
MAX_SCORE_ERROR, MAX_BOX_ERROR = 2e-6, 1e-3


@pytest.fixture(scope="module")
def checkpoint(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    net = gluon_networks.make_detector(1, seed=4)
    params = tmp_path_factory.mktemp("detector") / "x-0000.params"
    return source / SYMBOL, gluon_networks.save_published_checkpoint(net, params, source / SYMBOL)


@pytest.fixture(scope="module")
def reference(checkpoint: tuple[Path, Path]) -> MXNetReference:
    return MXNetReference(*checkpoint)


@pytest.fixture(scope="module", params=["as it is", "rewritten"])
def model(request: pytest.FixtureRequest, checkpoint: tuple[Path, Path]) -> onnx.ModelProto:
    """For pictures of any number and size, before and after the passes."""
    graph, shapes = load_checkpoint(*checkpoint), {"data": ("N", "H", "W", 3)}
    names = ["ids", "scores", "boxes"]
    if request.param == "rewritten":
        return to_optimised_onnx(graph, shapes, names, target="plain")[0]
    return to_onnx(graph, shapes, names)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_equals_mxnet(
    model: onnx.ModelProto, reference: MXNetReference, size: tuple[int, int], batch: int
) -> None:
    fed = {"data": make_probes(batch, *size, 3, seed=sum(size)).astype(np.float32)}
    ids, scores, boxes = run_onnx(model, fed)
    expected = reference.run(fed)
    score = float(np.abs(scores - expected[1]).max())
    box = float(np.abs(boxes - expected[2]).max())
    print(f"{(ids >= 0).sum()} detections: score error {score:.2e}, box error {box:.2e} px")
    assert [output.shape for output in expected] == [(batch, 100, n) for n in (1, 1, VALUES - 2)]
    np.testing.assert_array_equal(ids, expected[0])
    assert score <= MAX_SCORE_ERROR
    assert box <= MAX_BOX_ERROR
    assert (ids >= 0).any()

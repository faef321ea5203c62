"""Attributes, batch 1, one thread, rotating real faces: MXNet and ours in turn; random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import gluon_networks
from tests.convert.random_source import source_file

from benchmarks.engines import FloatArray, symbol_engine
from benchmarks.replay import measure_in_turn, report
from mobileface.image import read_image, to_tensor
from mobileface.session import Session
from mobileface_convert.pipeline import convert
from mobileface_convert.recipe import load_recipe
from mobileface_convert.reference import import_mxnet
from mobileface_convert.source import DirectorySource

ROUNDS, WARM_UP = 300, 30
ENGINES = ("gluon", "symbol", "onnx")
NAME = "attribute_v1"


@pytest.fixture(scope="module")
def times(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    folder = tmp_path_factory.mktemp("random")
    net = gluon_networks.make_attribute(seed=3)
    gluon_networks.save_structural(net, source_file(folder, NAME, "gluon"))
    symbol, _ = gluon_networks.export_symbol(net, folder / "attribute")
    recipe = load_recipe(NAME)
    random_source = DirectorySource(folder, verify=False)
    made = convert(recipe, random_source, folder / "models", verify=False)
    session = Session(made.path, intra_op_num_threads=1)
    mxnet = import_mxnet()
    image = recipe.spec.input
    assert image is not None
    paths = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))
    crops = [cv2.resize(read_image(path), (image.width, image.height)) for path in paths]
    faces = [to_tensor([crop], image) for crop in crops]

    def run_gluon(tensor: FloatArray) -> Any:
        return [output.asnumpy() for output in net(mxnet.nd.array(tensor))]

    def run_ours(tensor: FloatArray) -> Any:
        return session.run({image.name: np.asarray(tensor, np.float32)})

    arrays = gluon_networks.arrays_by_prefix(net)
    engines = {
        "gluon": run_gluon,
        "symbol": symbol_engine(symbol, arrays, faces[0].shape),
        "onnx": run_ours,
    }
    return measure_in_turn(engines, faces, ROUNDS, WARM_UP)


@pytest.mark.parametrize("engine", ENGINES)
def test_attributes(benchmark: Any, times: dict[str, list[float]], engine: str) -> None:
    benchmark.extra_info.update(batch=1, threads=1)
    report(benchmark, NAME, engine, times[engine])

"""Attribute network: one thread, rotating real faces, interleaved engines, random weights.

No reliable source offers the published weights; seeded random weights of the same network run at
the same speed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import gluon_networks
from tests.convert.frontends.random_source import source_file

from benchmarks.engines import (
    FloatArray,
    Run,
    UnavailableError,
    onnxruntime_engine,
    opencv_engine,
    openvino_engine,
    symbol_engine,
)
from benchmarks.exporters import export_by_mxnet
from benchmarks.replay import OURS, Contest, report
from mobileface import load_attributes
from mobileface.errors import ModelNotFoundError
from mobileface.vision.image import to_tensor
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.calibration_images import read_samples
from mobileface_convert.build.pipeline import convert
from mobileface_convert.build.variants import CONDITIONS, Plan
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

ROUNDS = {1: 150, 4: 40, 16: 10}
PRECISIONS = {OURS: None, "mobileface fp16": "fp16", "mobileface int8": "int8"}
PEERS = ("onnxruntime", "gluon", "mxnet", "mxnet export", "openvino", "opencv")
NAME = "attribute_v1"


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The network with random weights, in the form that each engine needs."""
    folder = tmp_path_factory.mktemp("random")
    net = gluon_networks.make_attribute(seed=3)
    gluon_networks.save_structural(net, source_file(folder, NAME, "gluon"))
    symbol, _ = gluon_networks.export_symbol(net, folder / "attribute")
    random_source = DirectorySource(folder, verify=False)
    recipe, models = load_recipe(NAME), folder / "models"
    samples = read_samples(source / "data" / "LFW-Aligned-100Pair")
    plan = Plan(("fp32", "fp16", "int8"), tuple(CONDITIONS), faces=samples)
    convert(recipe, random_source, models, verify=False, plan=plan)
    plain = convert(recipe.targeting("plain"), random_source, folder / "plain", verify=False)
    return {"net": net, "symbol": symbol, "models": models, "plain": plain.path, "folder": folder}


@pytest.fixture(scope="module", params=ROUNDS, ids=lambda batch: f"batch{batch}")
def contest(
    request: pytest.FixtureRequest, source: Path, made: dict[str, Any]
) -> Contest[FloatArray]:
    batch = request.param
    image = load_recipe(NAME).spec.input
    assert image is not None
    paths = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))[:96]
    crops = [cv2.resize(read_image(path), (image.width, image.height)) for path in paths]
    tensor = to_tensor(crops, image)
    items = [tensor[i : i + batch] for i in range(0, len(tensor), batch)]
    shape, net = items[0].shape, made["net"]
    arrays = gluon_networks.arrays_by_prefix(net)

    def ours(precision: str | None) -> Run:
        try:
            task = load_attributes(
                models=made["models"], precision=precision, intra_op_num_threads=1
            )
        except ModelNotFoundError as error:
            raise UnavailableError(error.what) from error
        return lambda tensor: task.session.run({image.name: np.asarray(tensor, np.float32)})

    def gluon() -> Run:
        mxnet = import_mxnet()
        return lambda tensor: [out.asnumpy() for out in net(mxnet.nd.array(tensor))]

    def exported() -> Run:
        held = {name: import_mxnet().nd.array(array) for name, array in arrays.items()}
        target = made["folder"] / f"exported{batch}.onnx"
        return onnxruntime_engine(export_by_mxnet(made["symbol"], held, shape, target))

    makers: dict[str, Callable[[], Run]] = {
        engine: (lambda precision=precision: ours(precision))  # type: ignore[misc]
        for engine, precision in PRECISIONS.items()
    }
    makers |= {
        "onnxruntime": lambda: onnxruntime_engine(made["plain"]),
        "gluon": gluon,
        "mxnet": lambda: symbol_engine(made["symbol"], arrays, shape),
        "mxnet export": exported,
        "openvino": lambda: openvino_engine(made["plain"], shape),
        "opencv": lambda: opencv_engine(made["plain"]),
    }
    extra = {"task": "attributes", "model": NAME, "batch": batch, "kind": "network"}
    return Contest(f"{NAME}, batch {batch}", makers, items, ROUNDS[batch], extra)


@pytest.mark.parametrize("engine", [*PRECISIONS, *PEERS])
def test_attributes(
    benchmark: Any, contest: Contest[FloatArray], engine: str, facts: list[dict[str, Any]]
) -> None:
    report(benchmark, contest, engine, facts)

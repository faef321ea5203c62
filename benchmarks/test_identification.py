"""Identification, batch 1, one thread, rotating real faces: MXNet and ours in turn.

The engines are measured interleaved, face by face, so that a change of the machine's speed hits
both; pytest-benchmark then gets each engine's own times. Run: ``make bench``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.replay import measure_in_turn, report
from mobileface.image import read_image, to_tensor
from mobileface.session import Session
from mobileface_convert.pipeline import convert
from mobileface_convert.recipe import load_recipe
from mobileface_convert.reference import import_mxnet
from mobileface_convert.source import DirectorySource

FloatArray = npt.NDArray[np.float32]
Engine = Callable[[FloatArray], Any]

VERSIONS = (1, 2, 3)
ROUNDS = 400
WARM_UP = 50


def mxnet_engine(source: Path, version: int, shape: tuple[int, ...]) -> Engine:
    """MXNet's symbol executor, bound once, result copied out: its fastest documented way."""
    mxnet = import_mxnet()
    prefix = source / "MobileFace_Identification" / f"MobileFace_Identification_V{version}"
    symbol, stored = mxnet.sym.load(f"{prefix}-symbol.json"), mxnet.nd.load(f"{prefix}-0000.params")
    arrays = {name.split(":")[1]: array for name, array in stored.items()}
    executor = symbol.simple_bind(mxnet.cpu(), grad_req="null", data=shape)
    executor.copy_params_from(arrays, arrays, allow_extra_params=True)

    def run(tensor: FloatArray) -> Any:
        return executor.forward(is_train=False, data=mxnet.nd.array(tensor))[0].asnumpy()

    return run


def onnx_engine(source: Path, version: int, folder: Path) -> Engine:
    recipe = load_recipe(f"identification_v{version}")
    made = convert(recipe, DirectorySource(source), folder, verify=False)
    session = Session(made.path, intra_op_num_threads=1)
    return lambda tensor: session.run({recipe.spec.input.name: tensor})


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"v{version}")
def times(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, list[float]]]:
    """Seconds a face for each engine, measured in turn."""
    version = request.param
    crops = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))
    image = load_recipe(f"identification_v{version}").spec.input
    faces = [to_tensor([read_image(path)], image) for path in crops]
    engines = {
        "mxnet": mxnet_engine(source, version, faces[0].shape),
        "onnx": onnx_engine(source, version, tmp_path_factory.mktemp("models")),
    }
    return version, measure_in_turn(engines, faces, ROUNDS, WARM_UP)


@pytest.mark.parametrize("engine", ["mxnet", "onnx"])
def test_identification(
    benchmark: Any, times: tuple[int, dict[str, list[float]]], engine: str
) -> None:
    version, measured = times
    benchmark.extra_info.update(batch=1, threads=1, faces=200)
    report(benchmark, f"identification_v{version}", engine, measured[engine])

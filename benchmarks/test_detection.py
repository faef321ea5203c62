"""Detection at 256x468, batch 1, one thread, rotating photos: MXNet and ours in turn.

The published weights are in no source to rely on; seeded random ones of the same network
stand in, whose speed is the same. All engines start from RGB pictures and end with boxes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import gluon_networks
from tests.convert.random_source import make_random_source, source_file

from benchmarks.engines import Pictures, example_pictures, symbol_engine
from benchmarks.replay import measure_in_turn, report
from mobileface.session import Session
from mobileface_convert.pipeline import convert
from mobileface_convert.recipe import load_recipe
from mobileface_convert.source import DirectorySource

HEIGHT, WIDTH = 256, 468
ROUNDS, WARM_UP = 60, 6
ENGINES = ("gluon", "symbol", "onnx")


@pytest.fixture(scope="module", params=[1, 2], ids=lambda version: f"v{version}")
def times(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, list[float]]]:
    name = f"detection_v{request.param}"
    folder = tmp_path_factory.mktemp("random")
    net = make_random_source(folder, source)[name]
    made = convert(
        load_recipe(name), DirectorySource(folder, verify=False), folder / "models", verify=False
    )
    session = Session(made.path, intra_op_num_threads=1)
    symbol = source_file(folder, "detection_v1", "symbol")
    arrays = gluon_networks.arrays_for_published_symbol(net)
    executor = symbol_engine(symbol, arrays, (1, HEIGHT, WIDTH, 3))

    def run_symbol(pictures: Pictures) -> Any:
        return executor(pictures.astype(np.float32))

    def run_gluon(pictures: Pictures) -> Any:
        return gluon_networks.run(net, pictures)

    def run_ours(pictures: Pictures) -> Any:
        return session.run({"image": pictures})

    engines = {"gluon": run_gluon, "symbol": run_symbol, "onnx": run_ours}
    pictures = example_pictures(source, HEIGHT, WIDTH)
    return name, measure_in_turn(engines, pictures, ROUNDS, WARM_UP)


@pytest.mark.parametrize("engine", ENGINES)
def test_detection(benchmark: Any, times: tuple[str, dict[str, list[float]]], engine: str) -> None:
    name, measured = times
    benchmark.extra_info.update(batch=1, threads=1, size=f"{HEIGHT}x{WIDTH}")
    report(benchmark, f"{name} {HEIGHT}x{WIDTH}", engine, measured[engine])

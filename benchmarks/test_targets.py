"""Identification for each target machine and input type: one thread, real faces, interleaved.

"network" is the network only, with a prepared input; "crop" starts from the aligned crop, uint8
BGR, so it includes the conversion to float. "steady" compares different kinds of images, because
the run time of PReLU depends on its input. Run: ``pytest benchmarks/test_targets.py -s``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.replay import Contest, report
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput
from mobileface.vision.image import Image, Tensor, resize, to_tensor
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

VERSIONS = (1, 2, 3)
ENGINES = tuple(
    f"{target}_{dtype}" for target in ("plain", "portable", "x86") for dtype in ("float32", "uint8")
)
ROUNDS = 400


class Engine:
    """One model, converted for a target machine with a float32 or a uint8 input."""

    def __init__(self, source: Path, folder: Path, version: int, name: str) -> None:
        target, dtype = name.split("_")
        recipe = load_recipe(f"identification_v{version}").targeting(target)
        recipe = recipe.reading_uint8() if dtype == "uint8" else recipe
        made = convert(recipe, DirectorySource(source), folder / name, verify=False)
        assert recipe.spec.input is not None
        self.image: ImageInput = recipe.spec.input
        self.session = Session(made.path, intra_op_num_threads=1)

    def run(self, tensor: Tensor) -> Any:
        return self.session.run({self.image.name: tensor})

    def prepared(self, crops: list[Image]) -> Callable[[int], Any]:
        """A function that runs the n-th crop, whose input tensor is prepared in advance."""
        tensors = [to_tensor([crop], self.image) for crop in crops]
        return lambda number: self.run(tensors[number])

    def whole(self, crops: list[Image]) -> Callable[[int], Any]:
        """A function that runs the n-th crop, including its conversion to a tensor."""
        return lambda number: self.run(to_tensor([crops[number]], self.image))


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"v{version}")
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def engines(
    version: int, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Engine]:
    folder = tmp_path_factory.mktemp("models")
    return {name: Engine(source, folder, version, name) for name in ENGINES}


@pytest.fixture(scope="module")
def crops(version: int, source: Path) -> list[Image]:
    """The 200 crops, resized to the model's input size."""
    side = 100 if version == 1 else 112
    paths = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))
    return [resize(read_image(path), side, side) for path in paths]


@pytest.fixture(scope="module", params=["network", "crop"])
def contest(
    request: pytest.FixtureRequest, version: int, engines: dict[str, Engine], crops: list[Image]
) -> Contest[int]:
    """The engines on the crops; the items are crop indices."""
    runs = {
        name: engine.prepared(crops) if request.param == "network" else engine.whole(crops)
        for name, engine in engines.items()
    }
    return _contest(f"identification_v{version} {request.param}", runs, len(crops), ROUNDS)


def _contest(
    group: str, runs: dict[str, Callable[[int], Any]], items: int, rounds: int
) -> Contest[int]:
    makers = {name: (lambda run=run: run) for name, run in runs.items()}
    return Contest(group, makers, range(items), rounds, {"batch": 1}, turn=2)


@pytest.mark.parametrize("engine", ENGINES)
def test_targets(benchmark: Any, contest: Contest[int], engine: str) -> None:
    ratio = np.median(contest.seconds(engine)) / np.median(contest.seconds("plain_float32"))
    print(f"{contest.group}, {engine}: {ratio:.3f} of plain")
    report(benchmark, contest, engine)


def test_steady(
    benchmark: Any, version: int, engines: dict[str, Engine], crops: list[Image]
) -> None:
    """Ratio of the slowest to the fastest image, for each engine."""
    noise = np.random.RandomState(0).randint(0, 256, crops[0].shape).astype(np.uint8)
    images = [*crops[:6], np.full_like(noise, 128), np.zeros_like(noise), noise]
    floats = {name: engine for name, engine in engines.items() if name.endswith("float32")}
    runs = {name: engine.prepared(images) for name, engine in floats.items()}
    count = len(images)
    contest = _contest(f"identification_v{version} steady", runs, count, 100 * count)
    for name in runs:
        medians = np.median(np.reshape(contest.seconds(name), (-1, count)), axis=0)
        ratio = float(medians.max() / medians.min())
        benchmark.extra_info[f"{name} slowest over fastest"] = ratio
        print(f"V{version}, {name}: slowest over fastest image {ratio:.3f}")
    report(benchmark, contest, "x86_float32")

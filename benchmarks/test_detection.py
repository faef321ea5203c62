"""Detection at 256×468, batch 1: one thread, rotating photos, interleaved engines, random weights.

No reliable source offers the published weights; seeded random weights of the same network run at
the same speed. All engines start from RGB images and end with boxes. OpenCV's DNN module and ncnn
do not support loops, so they cannot run non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import gluon_networks
from tests.convert.frontends.random_source import make_random_source, source_file

from benchmarks.engines import (
    Images,
    Run,
    UnavailableError,
    example_images,
    onnxruntime_engine,
    opencv_engine,
    openvino_engine,
    symbol_engine,
)
from benchmarks.exporters import export_by_mxnet
from benchmarks.faces import read_frames
from benchmarks.replay import OURS, Contest, report
from mobileface import load_detector
from mobileface.errors import ModelNotFoundError
from mobileface_convert.build.calibration_images import read_samples
from mobileface_convert.build.pipeline import convert
from mobileface_convert.build.variants import CONDITIONS, Plan
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

HEIGHT, WIDTH = 256, 468
ROUNDS = 36
PRECISIONS = {OURS: None, "mobileface fp16": "fp16", "mobileface int8": "int8"}
PEERS = ("onnxruntime", "gluon", "mxnet", "mxnet export", "openvino", "opencv")


@pytest.fixture(scope="module")
def photos(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of both example videos, as calibration images."""
    folder = tmp_path_factory.mktemp("photos")
    for number in (1, 2):
        for count, frame in enumerate(read_frames(source / "example" / f"friends{number}.mp4")):
            for half, part in enumerate(np.array_split(frame, 2, axis=1)):
                for flip in (0, 1):
                    image = part[:, :: -1 if flip else 1]
                    path = folder / f"{number}_{count}_{half}_{flip}.png"
                    cv2.imwrite(str(path), cv2.resize(image, None, fx=0.5, fy=0.5))
    return folder


@pytest.fixture(scope="module", params=[1, 2], ids=lambda version: f"v{version}")
def contest(
    request: pytest.FixtureRequest,
    source: Path,
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Contest[Images]:
    name = f"detection_v{request.param}"
    folder = tmp_path_factory.mktemp("random")
    net = make_random_source(folder, source)[name]
    recipe, random_source = load_recipe(name), DirectorySource(folder, verify=False)
    plan = Plan(("fp32", "fp16", "int8"), tuple(CONDITIONS), photos=read_samples(photos))
    convert(recipe, random_source, folder / "models", verify=False, plan=plan)
    plain = convert(recipe.targeting("plain"), random_source, folder / "plain", verify=False).path
    symbol = source_file(folder, "detection_v1", "symbol")
    arrays = gluon_networks.arrays_for_published_symbol(net)
    shape = (1, HEIGHT, WIDTH, 3)

    def ours(precision: str | None) -> Run:
        try:
            task = load_detector(
                name, models=folder / "models", precision=precision, intra_op_num_threads=1
            )
        except ModelNotFoundError as error:
            raise UnavailableError(error.what) from error
        return lambda images: task.session.run({"image": images})

    def exported() -> Run:
        held = {key: import_mxnet().nd.array(array) for key, array in arrays.items()}
        path = export_by_mxnet(symbol, held, shape, folder / "exported.onnx")
        run = onnxruntime_engine(path, without=["ConstantFolding"])  # fails on this file
        return lambda images: run(images.astype(np.float32))

    def by_symbol() -> Run:
        run = symbol_engine(symbol, arrays, shape)
        return lambda images: run(images.astype(np.float32))

    makers: dict[str, Callable[[], Run]] = {
        engine: (lambda precision=precision: ours(precision))  # type: ignore[misc]
        for engine, precision in PRECISIONS.items()
    }
    makers |= {
        "onnxruntime": lambda: onnxruntime_engine(plain),
        "gluon": lambda: lambda images: gluon_networks.run(net, images),
        "mxnet": by_symbol,
        "mxnet export": exported,
        "openvino": lambda: openvino_engine(plain, shape),
        "opencv": lambda: opencv_engine(plain),
    }
    extra = {"task": "detection", "model": name, "batch": 1, "kind": "network"}
    images = example_images(source, HEIGHT, WIDTH)
    return Contest(f"{name}, {HEIGHT}x{WIDTH}", makers, images, ROUNDS, extra)


@pytest.mark.parametrize("engine", [*PRECISIONS, *PEERS])
def test_detection(
    benchmark: Any, contest: Contest[Images], engine: str, facts: list[dict[str, Any]]
) -> None:
    report(benchmark, contest, engine, facts)

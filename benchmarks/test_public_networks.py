"""What the passes gain on other people's networks, and ours beside LiteRT; one thread, interleaved.

Public layer tables with random weights, before and after ``mobileface-convert optimize``; and the
networks that came from TensorFlow Lite files, on squares of real faces. Run:
``pytest benchmarks/test_public_networks.py -s``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.convert.exports.public_networks import (
    arcface_resnet50,
    mobilefacenet_with_sizes_of_training,
)

from mobileface.host.machine import this_machine
from mobileface.host.measure import measure_in_turn
from mobileface.models.session import Session
from mobileface.vision.picture_files import read_image
from mobileface_convert.exports.optimised import optimise_network, read
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.packages import PackageSource

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
ROUNDS = 200
FACES = 40
GOAL = 0.7
"""What a MobileFaceNet may take of its time, on x86-64 with AVX2."""


def test_mobilefacenet(tmp_path: Path) -> None:
    ratio = gained(mobilefacenet_with_sizes_of_training(tmp_path / "mobilefacenet.onnx"))
    if "avx2" in this_machine().features:
        assert ratio <= GOAL


def test_arcface_resnet50(tmp_path: Path) -> None:
    assert gained(arcface_resnet50(tmp_path / "resnet50.onnx")) <= 1.02


def gained(path: Path) -> float:
    """The time after the passes over that before."""
    found = optimise_network(read(path), path.name, seconds=30)
    print()
    for each in found.candidates:
        errors = max(each.parity.errors.values())
        part = each.milliseconds / found.before
        print(
            f"{path.stem}, {each.machine}: {each.milliseconds:.2f} of {found.before:.2f} ms = "
            f"{part:.3f}; error {errors:.1e}"
        )
    return found.best.milliseconds / found.before


@pytest.mark.parametrize("name", ["landmark_mesh", "segmentation_selfie"])
def test_beside_litert(name: str, source: Path) -> None:
    """From the square of a face to the outputs; LiteRT gets the scaled floats that it wants."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    session = Session(MODELS / f"{name}.onnx", intra_op_num_threads=1)
    image = session.spec.require_input()
    path = PackageSource("mediapipe", "starter-build").fetch(load_recipe(name).files["model"])
    theirs = interpreter.Interpreter(str(path), num_threads=1)
    theirs.allocate_tensors()
    (place,) = [item["index"] for item in theirs.get_input_details()]
    outputs = [item["index"] for item in theirs.get_output_details()]
    crops = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))[:FACES]
    squares = [
        np.ascontiguousarray(cv2.resize(read_image(crop), (image.width, image.height))[..., ::-1])
        for crop in crops
    ]
    scaled = [(square[None].astype(np.float32) - image.mean) / image.std for square in squares]
    floats = [value.astype(np.float32) for value in scaled]

    def litert(number: int) -> Any:
        theirs.set_tensor(place, floats[number])
        theirs.invoke()
        return [theirs.get_tensor(index) for index in outputs]

    def ours(number: int) -> Any:
        return session.run({image.name: squares[number][None]})

    engines: dict[str, Callable[[int], Any]] = {"ours": ours, "LiteRT": litert}
    measured = measure_in_turn(engines, range(FACES), ROUNDS, warm_up=10)
    times = {engine: 1000 * statistics.median(seconds) for engine, seconds in measured.items()}
    print(f"\n{name}: ours {times['ours']:.3f} ms, LiteRT {times['LiteRT']:.3f} ms, "
          f"ratio {times['ours'] / times['LiteRT']:.3f}")  # fmt: skip

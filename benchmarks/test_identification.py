"""Identification on rotating real faces: the network alone in batches, and end to end from pixels.

All engines get the same float32 tensors, or the same uint8 crops, with interleaved runs; another
group shows how much the run time depends on the content of the image. Accuracy and size of every
variant are recorded as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.engines import (
    FloatArray,
    Run,
    UnavailableError,
    ncnn_engine,
    onnxruntime_engine,
    opencv_engine,
    openvino_engine,
    session_engine,
    symbol_engine,
)
from benchmarks.exporters import export_by_mxnet, export_by_pnnx
from benchmarks.faces import Faces, auc, auc_interval, own_crops
from benchmarks.replay import OURS, Contest, report
from mobileface import load_embedder
from mobileface.errors import ModelNotFoundError
from mobileface.models.lookup import find_model
from mobileface.models.session import Session
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import Image, to_tensor
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from mobileface_convert.recipes.recipe import load_recipe

VERSIONS = (1, 2, 3)
ROUNDS = {1: 300, 4: 80, 16: 24}
"""Number of measurements per engine, by batch size."""

PRECISIONS = {OURS: None, "mobileface fp16": "fp16", "mobileface int8": "int8"}
ENGINES = (
    *PRECISIONS,
    "mobileface portable",
    "onnxruntime",
    "mxnet",
    "mxnet export",
    "ncnn",
    "openvino",
    "opencv",
)
KINDS = ("faces", "one face", "pixel noise", "noise in -1..1", "black")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def embedder(folder: Path, name: str, precision: str | None = None) -> Embedder:
    """Our embedder on one thread.

    Raises:
        UnavailableError: If the model has no variant of this precision.
    """
    try:
        return load_embedder(name, models=folder, precision=precision, intra_op_num_threads=1)
    except ModelNotFoundError as error:
        raise UnavailableError(error.what) from error


def network_makers(
    version: int, shape: tuple[int, ...], source: Path, converted: Path, plain: Path, scratch: Path
) -> dict[str, Callable[[], Run]]:
    """Functions that create every engine for one network and one tensor shape."""
    name = f"identification_v{version}"
    path = plain / f"{name}.onnx"
    prefix = f"{source / 'MobileFace_Identification' / f'MobileFace_Identification_V{version}'}"
    symbol, folder = Path(f"{prefix}-symbol.json"), scratch / f"{name}_{shape[0]}"
    folder.mkdir(exist_ok=True)

    def arrays() -> dict[str, Any]:
        stored = import_mxnet().nd.load(f"{prefix}-0000.params")
        return {key.split(":")[1]: array for key, array in stored.items()}

    def ours(precision: str | None) -> Run:
        return session_engine(embedder(converted, name, precision).session)

    def exported() -> Run:
        return onnxruntime_engine(export_by_mxnet(symbol, arrays(), shape, folder / "mx.onnx"))

    found: dict[str, Callable[[], Run]] = {
        engine: partial(ours, precision) for engine, precision in PRECISIONS.items()
    }
    return found | {
        "mobileface portable": lambda: session_engine(
            Session(find_model(name, models=converted).path, intra_op_num_threads=1)
        ),
        "onnxruntime": lambda: onnxruntime_engine(path),
        "mxnet": lambda: symbol_engine(symbol, arrays(), shape),
        "mxnet export": exported,
        "ncnn": lambda: ncnn_engine(*export_by_pnnx(path, (1, *shape[1:]), folder)),
        "openvino": lambda: openvino_engine(path, shape),
        "opencv": lambda: opencv_engine(path),
    }


@pytest.fixture(
    scope="module",
    params=[(version, batch) for version in VERSIONS for batch in ROUNDS],
    ids=lambda pair: f"v{pair[0]}-batch{pair[1]}",
)
def network(
    request: pytest.FixtureRequest,
    source: Path,
    converted: Path,
    plain: Path,
    faces: Faces,
    scratch: Path,
) -> Contest[FloatArray]:
    version, batch = request.param
    name = f"identification_v{version}"
    image = load_recipe(name).spec.input
    assert image is not None
    tensor = to_tensor(faces.crops((image.height, image.width)), image)
    items = [tensor[i : i + batch] for i in range(0, len(tensor) - batch + 1, batch)]
    makers = network_makers(version, items[0].shape, source, converted, plain, scratch)
    extra = {"task": "embedding", "model": name, "batch": batch, "kind": "network"}
    return Contest(f"{name}, batch {batch}", makers, items, ROUNDS[batch], extra, turn=4)


@pytest.mark.parametrize("engine", ENGINES)
def test_network(
    benchmark: Any, network: Contest[FloatArray], engine: str, facts: list[dict[str, Any]]
) -> None:
    report(benchmark, network, engine, facts)
    error = network.error(engine, "mxnet")
    if network.extra["batch"] == 1 and error is not None:
        model = network.extra["model"]
        facts.append({"fact": "error", "model": model, "engine": engine, "to mxnet": error})


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"v{version}")
def whole(
    request: pytest.FixtureRequest, converted: Path, plain: Path, faces: Faces
) -> Contest[Image]:
    """From a uint8 crop to an L2-normalised embedding."""
    name = f"identification_v{request.param}"

    def by_task(folder: Path, precision: str | None) -> Callable[[Image], Any]:
        return embedder(folder, name, precision).embed

    makers: dict[str, Callable[[], Callable[[Image], Any]]] = {
        engine: partial(by_task, converted, precision) for engine, precision in PRECISIONS.items()
    }
    makers["onnxruntime"] = partial(by_task, plain, None)
    image = load_recipe(name).spec.input
    assert image is not None
    crops = faces.crops((image.height, image.width))
    extra = {"task": "embedding", "model": name, "batch": 1, "kind": "end to end"}
    return Contest(f"{name}, end to end", makers, crops, ROUNDS[1], extra, turn=4)


@pytest.mark.parametrize("engine", [*PRECISIONS, "onnxruntime"])
def test_end_to_end(benchmark: Any, whole: Contest[Image], engine: str) -> None:
    report(benchmark, whole, engine)


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"v{version}")
def kinds(
    request: pytest.FixtureRequest, converted: Path, plain: Path, faces: Faces
) -> Contest[int]:
    """Our variant and the plain export on different kinds of images."""
    name = f"identification_v{request.param}"
    image = load_recipe(name).spec.input
    assert image is not None
    tensor = to_tensor(faces.crops((image.height, image.width)), image)
    inputs = _kinds(tensor)
    ours = session_engine(embedder(converted, name).session)
    theirs = onnxruntime_engine(plain / f"{name}.onnx")

    def maker(run: Run, kind: str) -> Callable[[], Callable[[int], Any]]:
        return lambda: lambda number: run(inputs[kind][number % len(inputs[kind])])

    makers = {f"{OURS}, {kind}": maker(ours, kind) for kind in KINDS}
    makers |= {f"onnxruntime, {kind}": maker(theirs, kind) for kind in KINDS}
    extra = {"task": "embedding", "model": name, "batch": 1, "kind": "inputs"}
    return Contest(f"{name}, inputs", makers, range(50), 160, extra, turn=4)


def _kinds(tensor: FloatArray) -> dict[str, list[FloatArray]]:
    """Inputs with one image each, by kind."""
    random = np.random.RandomState(0)
    shape = (20, 1, *tensor.shape[1:])
    low, high = float(tensor.min()), float(tensor.max())
    return {
        "faces": [face[np.newaxis] for face in tensor],
        "one face": [tensor[:1]],
        "pixel noise": list(random.uniform(low, high, shape).astype(np.float32)),
        "noise in -1..1": list(random.uniform(-1, 1, shape).astype(np.float32)),
        "black": [np.full(shape[1:], low, np.float32)],
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", [OURS, "onnxruntime"])
def test_inputs(benchmark: Any, kinds: Contest[int], engine: str, kind: str) -> None:
    report(benchmark, kinds, f"{engine}, {kind}")


def test_accuracy(converted: Path, faces: Faces, facts: list[dict[str, Any]]) -> None:
    """Size, cosine to fp32 and pair AUC of every variant, on people not used for calibration.

    Each model sees its own crop, and all see the same faces: those that could be found again.
    """
    facts += accuracies(converted, faces)
    assert all(np.isfinite(fact["auc"]) for fact in facts if fact["fact"] == "accuracy")


def accuracies(models: Path, faces: Faces) -> list[dict[str, Any]]:
    """The facts of all variants of the identification models in a folder."""
    names = [f"identification_v{version}" for version in VERSIONS]
    crops = {name: own_crops(faces.evaluation, embedder(models, name)) for name in names}
    rows = zip(*crops.values(), strict=True)
    kept = [n for n, row in enumerate(rows) if all(crop is not None for crop in row)]
    people, found = faces.people()[kept], []
    for name in names:
        pictures = [crop for n in kept if (crop := crops[name][n]) is not None]
        reference: npt.NDArray[np.float32] | None = None
        for item in reversed(find_model(name, models=models).variants):  # fp32 is the first here
            variant = item.variant.name
            ours = load_embedder(name, models=models, variant=variant, intra_op_num_threads=1)
            embeddings = ours.embed(pictures)
            reference = embeddings if reference is None else reference
            cosines = (embeddings * reference).sum(axis=1)
            found.append(
                {
                    "fact": "accuracy",
                    "model": name,
                    "variant": variant,
                    "precision": item.variant.precision,
                    "bytes": item.variant.bytes,
                    "crop": ours.crop,
                    "auc": round(auc(embeddings, people), 5),
                    "auc_interval": [round(end, 5) for end in auc_interval(embeddings, people)],
                    "mean_cosine": round(float(cosines.mean()), 7),
                    "min_cosine": round(float(cosines.min()), 7),
                    "faces": len(people),
                }
            )
    return found

"""The sidecar: a JSON file next to an exported network, with what the format cannot express.

::

    {"schema": 1, "model": "identification_v2", "target": "ncnn", "weights": "float32",
     "files": {"param": {"file": "identification_v2.param", "sha256": "…", "bytes": 5480},
               "bin": {"file": "identification_v2.bin", "sha256": "…", "bytes": 3508504}},
     "layers": 56,
     "input": {"blob": "in0", "channels": 3, "height": 112, "width": 112, "color": "rgb",
               "fit": "stretch", "mean": [127.5, 127.5, 127.5], "norm": [0.0039, 0.0039, 0.0039]},
     "outputs": [{"blob": "out0", "name": "embedding", "shape": [256]}],
     "options": {"use_fp16_arithmetic": false},
     "detection": null,
     "spec": {…},
     "certificate": {
       "source": {"files": [{"path": "identification_v2.onnx", "sha256": "…", "bytes": 3519365}]},
       "tools": {"pnnx": "…", "ncnn": "…"}, "passes": […],
       "verification": {"engine": "ncnn 1.0", "oracle": "ONNX Runtime 1.32.0", "count": 16,
                        "inputs": "probes of seed 20200229", "shapes": [[3, 112, 112]],
                        "max_abs_error": 2e-5, "min_cosine": 1.0, "scale": 15.3,
                        "bounds": {"max_abs_error": 7.6e-4, "min_cosine": 0.999999}},
       "onnx": {…}}}

The network's input is (pixel - mean) * norm, per channel in the order of ``color``. ``height`` and
``width`` are null if any multiple of ``detection.multiple`` is accepted. ``options`` are settings
of the engine that the verified outputs depend on. ``detection`` describes how to decode the
predictions; see docs/export.md. The program divides an output with
``"left_out": "l2_normalization"`` by its length, which the ONNX model does itself. ``spec`` is the
spec of the ONNX model: task, size, crop and normalisation of an embedding, classes, licence and
source hashes; null for a network without a recipe. ``onnx`` is how the ONNX model agreed with its
own source, if that is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError, UnsupportedOperatorError
from mobileface.host.files import sha256, write_together
from mobileface.models.probes import make_probes
from mobileface.models.spec import ModelSpec

from ..build.certificate import pass_to_dict, tools_used
from ..makers import PassRecord
from ..oracles.verify import PROBE_COUNT, PROBE_SEED, Agreement, Bounds, compare_outputs, require
from ..recipes.recipe import Recipe

__all__ = [
    "DETECTION_SHAPES",
    "ENGINES",
    "SCHEMA",
    "Export",
    "Network",
    "bounds_for",
    "check_exportable",
    "compare_all",
    "detection_section",
    "export_paths",
    "image_section",
    "probe_tensors",
    "scaled_pixels",
    "source_file",
    "why_not_exported",
    "write_export",
]

SCHEMA = 1

DETECTION_SHAPES = ((3, 256, 320), (3, 160, 96))
"""Shapes at which detectors are compared; the first is used in files that need a fixed size."""

ENGINES = {"ncnn": "ncnn", "feathercnn": "FeatherCNN", "caffe": "Caffe"}
"""The formats besides ONNX: the name of each target's engine."""

_RELATIVE = {"float32": 5e-5, "float16": 1e-2}
_COSINE = {"float32": 0.999999, "float16": 0.9999}
_SUFFIXES = {
    "ncnn": {"param": "param", "bin": "bin"},
    "feathercnn": {"param": "feathercnn.param", "bin": "feathercnn.bin"},
    "caffe": {"prototxt": "prototxt", "caffemodel": "caffemodel"},
}
"""The suffix of each of a network's files, by target."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """An exported network, before it is verified.

    Attributes:
        target: "ncnn", "feathercnn" or "caffe".
        contents: Content of each file by its key in the section ``files``.
        layers: Number of layers.
        weights: How weights are stored, "float32" or "float16".
        input: The section ``input`` of the sidecar.
        outputs: The section ``outputs``.
        detection: The section ``detection``; None for other tasks.
        tools: Distributions that were used, besides those of every conversion.
        passes: Results of the passes.
        options: Settings of the engine that the verified outputs depend on.
    """

    target: str
    contents: Mapping[str, bytes]
    layers: int
    weights: str
    input: Mapping[str, Any]
    outputs: Sequence[Mapping[str, Any]]
    detection: Mapping[str, Any] | None
    tools: tuple[str, ...]
    passes: Sequence[PassRecord] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """A network that is written to files.

    Attributes:
        name: Name of the model.
        paths: The files, the sidecar last.
        bytes: Size of the network's files, without the sidecar.
        layers: Number of layers.
        agreement: The comparison with ONNX Runtime.
        engine: The engine that ran the network for the comparison.
    """

    name: str
    paths: tuple[Path, ...]
    bytes: int
    layers: int
    agreement: Agreement
    engine: str


def why_not_exported(spec: ModelSpec | None, target: str) -> str:
    """Why a model cannot be exported to a format; empty if no reason is known.

    Args:
        spec: Spec of the model; None for a network without a recipe.
        target: Name of the format.
    """
    if spec is None:
        return ""
    return spec.kind.no_export.format(target=target)


def check_exportable(why: str, target: str, where: str) -> None:
    """Raises an error if a model cannot be exported.

    Args:
        why: The reason; empty if it can be exported.
        target: Name of the format.
        where: Name of the model in the error message.

    Raises:
        UnsupportedOperatorError: If ``why`` is not empty.
    """
    if why:
        raise UnsupportedOperatorError(f"it cannot be exported to {target}: {why}", where=where)


def bounds_for(weights: str, scale: float) -> Bounds:
    """The tolerances for an export whose largest output value is ``scale``."""
    return Bounds(_RELATIVE[weights] * max(1.0, scale), _COSINE[weights])


def image_section(
    blob: str,
    shape: Sequence[int | None],
    spec: ModelSpec | None,
    mean: npt.ArrayLike,
    norm: npt.ArrayLike,
) -> dict[str, Any]:
    """The section ``input`` of the sidecar.

    Args:
        blob: Name of the input.
        shape: Channels, height and width.
        spec: Spec of the model; None for a network without a recipe.
        mean: Mean to subtract from pixels, one value or one per channel.
        norm: Factor to multiply the difference with, one value or one per channel.
    """
    channels, height, width = shape
    image = spec.input if spec else None
    wide = {
        name: np.broadcast_to(np.asarray(v, np.float64).ravel(), (channels or 1,)).tolist()
        for name, v in (("mean", mean), ("norm", norm))
    }
    return {
        "blob": blob,
        "channels": channels,
        "height": height,
        "width": width,
        "color": image.color if image else spec.kind.input_color if spec else None,
        "fit": image.fit if image else None,
        **wide,
    }


def detection_section(recipe: Recipe) -> dict[str, Any]:
    """The section ``detection`` of the sidecar, for a YOLO detector.

    Raises:
        ConversionError: If the recipe is not for a YOLO detector.
    """
    try:
        strides, anchors = list(recipe.options["strides"]), list(recipe.options["anchors"])
    except KeyError as error:
        raise ConversionError(f"the recipe has no field {error}", where=recipe.name) from error
    return {
        "multiple": max(strides),
        "strides": strides,
        "anchors": anchors,
        "values": ["x", "y", "width", "height", "object", "class"],
    }


def probe_tensors(spec: ModelSpec | None, shapes: Sequence[tuple[int, ...]]) -> list[FloatArray]:
    """Images to compare on, float32 (N, C, H, W) with values 0..255, one tensor per shape.

    A network without a recipe may expect normalised values or pixels, so half of its inputs are
    standard normal noise.
    """
    tensors = []
    for channels, height, width in shapes:
        count = PROBE_COUNT // len(shapes)
        if spec is None:
            random = np.random.RandomState(PROBE_SEED)
            noise = random.standard_normal((count, channels, height, width))
            noise[::2] = random.randint(0, 256, noise[::2].shape)
            tensors.append(noise.astype(np.float32))
            continue
        images = make_probes(count, height, width, channels, PROBE_SEED)
        tensors.append(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
    return tensors


def scaled_pixels(pixels: FloatArray, mean: npt.ArrayLike, norm: npt.ArrayLike) -> FloatArray:
    """Computes (pixel - mean) * norm for (N, C, H, W), in float32 like the engines."""
    center, factor = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (mean, norm))
    result: FloatArray = np.ascontiguousarray((pixels - center) * factor)
    return result


def compare_all(
    found: Sequence[FloatArray], expected: Sequence[FloatArray], oracle: str
) -> list[Agreement]:
    """Compares each output, image by image."""
    return [
        compare_outputs(ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1), oracle)
        for ours, theirs in zip(found, expected, strict=True)
    ]


def write_export(
    folder: Path,
    name: str,
    network: Network,
    spec: ModelSpec | None,
    *,
    agreement: Agreement,
    shapes: Sequence[tuple[int, ...]],
    engine: str,
    sources: Sequence[Mapping[str, Any]],
    known: Mapping[str, Any] | None = None,
) -> Export:
    """Writes a verified network and, last, its sidecar.

    Args:
        folder: The output folder.
        name: Name of the model and of the files.
        network: The network.
        spec: Spec of the ONNX model; None for a network without a recipe.
        agreement: The comparison with ONNX Runtime.
        shapes: Shapes of the images in the comparison.
        engine: The engine that ran the network for the comparison.
        sources: Path, hash and size of each source file.
        known: How the ONNX model agreed with its own source; None if not known.

    Raises:
        ParityError: If the agreement is outside the tolerances; nothing is written.
        OutputError: If the folder is not writable.
    """
    bounds = bounds_for(network.weights, agreement.scale)
    require(agreement, bounds, f"{name} for {network.target}")
    stem = _export_stem(name, network.weights)
    certificate = {
        "source": {"files": list(sources)},
        "tools": tools_used(*network.tools),
        "passes": [pass_to_dict(record) for record in network.passes],
        "verification": {
            "engine": engine,
            "oracle": agreement.oracle,
            "inputs": f"probes of seed {PROBE_SEED}" if spec else "noise and pixels",
            "count": agreement.inputs,
            "shapes": [list(shape) for shape in shapes],
            **_measured(agreement, bounds),
        },
        "onnx": known,
    }
    document = _sidecar(name, stem, network, spec, certificate)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    suffixes = _SUFFIXES[network.target]
    written = {folder / f"{stem}.{suffixes[key]}": d for key, d in network.contents.items()}
    written[folder / f"{stem}.{network.target}.json"] = text.encode()
    write_together(list(written.items()))
    size = sum(map(len, network.contents.values()))
    return Export(name, tuple(written), size, network.layers, agreement, engine)


def export_paths(folder: Path, name: str, target: str, weights: str) -> list[Path]:
    """The files that `write_export` will write."""
    stem = _export_stem(name, weights)
    suffixes = (*_SUFFIXES[target].values(), f"{target}.json")
    return [folder / f"{stem}.{suffix}" for suffix in suffixes]


def _export_stem(name: str, weights: str) -> str:
    return name if weights == "float32" else f"{name}_{weights}"


def _measured(agreement: Agreement, bounds: Bounds) -> dict[str, Any]:
    """The measured values of an agreement and its tolerances as JSON types."""
    return {
        "max_abs_error": agreement.max_abs_error,
        "min_cosine": agreement.min_cosine,
        "scale": agreement.scale,
        "bounds": asdict(bounds),
    }


def _sidecar(
    name: str,
    stem: str,
    network: Network,
    spec: ModelSpec | None,
    certificate: Mapping[str, Any],
) -> dict[str, Any]:
    """The sidecar of a network as JSON types."""
    return {
        "schema": SCHEMA,
        "model": name,
        "target": network.target,
        "weights": network.weights,
        "files": {
            key: {
                "file": f"{stem}.{_SUFFIXES[network.target][key]}",
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            }
            for key, content in network.contents.items()
        },
        "layers": network.layers,
        "input": network.input,
        "outputs": list(network.outputs),
        "options": dict(network.options),
        "detection": network.detection,
        "spec": spec.to_dict() if spec else None,
        "certificate": certificate,
    }


def source_file(path: Path) -> dict[str, Any]:
    """The entry of a source file in the certificate: name, hash and size."""
    return {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}

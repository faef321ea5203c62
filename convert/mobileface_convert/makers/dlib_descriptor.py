"""Maker for dlib's networks, verified against dlib or outputs recorded from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.kinds import EmbeddingSpec
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput

from ..frontends.dlib_network import read_dlib_network
from ..frontends.dlib_network_onnx import build_dlib_network
from ..oracles.verify import (
    BATCH_SIZES,
    PROBE_COUNT,
    PROBE_SEED,
    Agreement,
    compare_outputs,
    golden_path,
    probe_tensor,
    read_golden,
    run_batches,
)
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .network import optimise, worst

__all__ = ["MAKER", "descriptors"]


def _build(recipe: Recipe, files: Files) -> Built:
    """Builds the ONNX model of a network, with linear operations folded.

    Raises:
        ConversionError: If the file is corrupt, or the input size differs from the spec.
    """
    image, embedding = _sections(recipe)
    path = files["model"]
    network = read_dlib_network(path.read_bytes(), str(path))
    if (network.height, network.width) != (image.height, image.width):
        raise ConversionError(
            f"the network is for images of {network.height}×{network.width}, "
            f"the spec declares {image.height}×{image.width}",
            where=str(path),
        )
    built = build_dlib_network(
        network,
        name=recipe.name,
        image=image.name,
        output=embedding.output,
        opset=recipe.opset,
    )
    model, records = optimise(ir.to_proto(built), recipe.name, target=recipe.target)
    return Built(
        recipe.spec, with_spec(model, recipe.spec), nodes=len(model.graph.node), passes=records
    )


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with dlib if it is installed and the file is given, otherwise with its records.

    Raises:
        ConversionError: If neither dlib and the file nor records are available.
    """
    image, embedding = _sections(recipe)
    session = Session(model, intra_op_num_threads=1)
    installed = importlib.util.find_spec("dlib") is not None
    if files is not None and installed:
        chips = make_probes(PROBE_COUNT, image.height, image.width, image.channels, PROBE_SEED)
        expected, name = descriptors(files["model"], chips)
    elif golden_path(recipe.name) is not None:
        expected, name = read_golden(recipe.name)
    else:
        raise ConversionError(
            "dlib is needed to compare", where=recipe.name, hint="pip install dlib-bin"
        )
    tensor = probe_tensor(image)
    return worst(
        [
            compare_outputs(run_batches(session, tensor, batch, [embedding.output]), expected, name)
            for batch in BATCH_SIZES
        ]
    )


def descriptors(path: Path, chips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], str]:
    """Descriptors of face chips, computed by dlib.

    Args:
        path: The network's file.
        chips: Face chips, uint8 (N, 150, 150, 3) RGB.

    Returns:
        The descriptors, float32 (N, 128), and "dlib" with its version.
    """
    import dlib

    network = dlib.face_recognition_model_v1(str(path))
    rows = [network.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips]
    return np.asarray([list(row) for row in rows], np.float32), f"dlib {dlib.__version__}"


def _sections(recipe: Recipe) -> tuple[ImageInput, EmbeddingSpec]:
    return recipe.spec.require_input(), recipe.section(EmbeddingSpec)


MAKER = Maker(_build, _agree)
"""Maker for dlib's networks with a fixed input size."""

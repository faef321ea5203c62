"""Networks on one crop that are published as Keras files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError

from ..frontends.keras_file import KerasNetwork, read_keras
from ..frontends.keras_onnx import build_keras
from ..oracles.keras_reference import KerasReference
from ..oracles.verify import Agreement, probe_tensor, read_golden
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .network import agree_with_rows, optimise

__all__ = ["MAKER", "published_rows"]

FloatArray = npt.NDArray[np.float32]


def _build(recipe: Recipe, files: Files) -> Built:
    """The network of a file, its batch normalisations folded.

    Raises:
        ConversionError: The file is refused, or the network is not what the spec says.
    """
    network = _network(recipe, files)
    made = build_keras(
        network,
        name=recipe.name,
        image=recipe.spec.require_input().name,
        output=_output(recipe)[0],
        opset=recipe.opset,
    )
    shape = made.graph.outputs[0].shape
    if shape is None or shape[-1] != _output(recipe)[1]:
        raise ConversionError(
            f"an output of shape {shape}, the spec says (N, {_output(recipe)[1]})",
            where=network.origin,
        )
    model, records = optimise(ir.to_proto(made), recipe.name, target=recipe.target)
    return Built(
        recipe.spec, with_spec(model, recipe.spec), nodes=len(model.graph.node), passes=records
    )


def _network(recipe: Recipe, files: Files) -> KerasNetwork:
    """The network of a file, which reads the images of the spec.

    Raises:
        ConversionError: It reads others.
    """
    network = read_keras(files["model"])
    image = recipe.spec.require_input()
    wanted = (image.height, image.width, image.channels)
    if network.shape != wanted:
        raise ConversionError(
            f"for images of {list(network.shape)}, the spec says {list(wanted)}",
            where=network.origin,
        )
    return network


def _output(recipe: Recipe) -> tuple[str, int | None]:
    """Name and number of classes of the only output.

    Raises:
        ConversionError: The spec has several.
    """
    outputs = recipe.spec.kind.tensors(recipe.spec.section).outputs
    if len(outputs) != 1:
        raise ConversionError("one output is expected of a Keras network", where=recipe.name)
    ((name, shape),) = outputs.items()
    return name, shape[-1]


def published_rows(recipe: Recipe, files: Files) -> tuple[FloatArray, str]:
    """What the published layers give for the probes, float32 (N, classes), and who ran them."""
    tensor = probe_tensor(recipe.spec.require_input())
    oracle = KerasReference(_network(recipe, files))
    return oracle.run(np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))), oracle.name


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with the published layers run in numpy, or with records of that.

    Raises:
        ConversionError: There is neither.
    """
    expected, name = read_golden(recipe.name) if files is None else published_rows(recipe, files)
    return agree_with_rows(model, recipe, [_output(recipe)[0]], expected, name)


MAKER = Maker(_build, _agree)
"""Networks on one crop that are published as Keras files."""

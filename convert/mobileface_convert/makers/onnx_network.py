"""Networks on one crop that are published as ONNX files.

::

    published   images (1 or N, C, height, width) ─ network ─ probabilities
    made        images (N, C, height, width) ─ the same network, constants folded ─ probabilities
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError

from ..backends.onnx import clean
from ..frontends.onnx_file import inferred, read_onnx_file, value_shapes
from ..frontends.onnx_sizes import free_sizes
from ..oracles.published_onnx import PublishedOnnx
from ..oracles.verify import Agreement, probe_tensor, read_golden
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .network import agree_with_rows

__all__ = ["MAKER", "published_rows"]

FloatArray = npt.NDArray[np.float32]


def _build(recipe: Recipe, files: Files) -> Built:
    """The network of a file, for any number of crops.

    Raises:
        ConversionError: The file is refused, or the network is not what the spec says.
    """
    path = files["model"]
    model = read_onnx_file(path, opset=recipe.opset)
    model = _any_batch(model, recipe, str(path))
    _check_outputs(model, recipe, str(path))
    made = clean(model, recipe.name)
    return Built(recipe.spec, with_spec(made, recipe.spec), nodes=len(made.graph.node))


def _any_batch(model: onnx.ModelProto, recipe: Recipe, where: str) -> onnx.ModelProto:
    """The model with the input that the spec states, whose first axis is any size.

    Raises:
        ConversionError: It has other inputs, or one of another shape.
    """
    image = recipe.spec.require_input()
    shapes = value_shapes(model)
    names = [value.name for value in model.graph.input]
    if names != [image.name]:
        raise ConversionError(
            f"inputs {', '.join(names) or 'none'}, the spec says {image.name}", where=where
        )
    batch, *rest = shapes.get(image.name) or (None,)
    if tuple(rest) != image.shape:
        raise ConversionError(
            f"input '{image.name}' of shape {rest}, the spec says {list(image.shape)}", where=where
        )
    return model if batch is None else free_sizes(model, image.name, {0: "N"}, where=where)


def _check_outputs(model: onnx.ModelProto, recipe: Recipe, where: str) -> None:
    """The outputs are those of the spec.

    Raises:
        ConversionError: They are not.
    """
    wanted = recipe.spec.kind.tensors(recipe.spec.section).outputs
    shapes = value_shapes(inferred(model, where))
    found = {value.name: shapes.get(value.name, ())[1:] for value in model.graph.output}
    if found != {name: tuple(shape[1:]) for name, shape in wanted.items()}:
        raise ConversionError(
            f"outputs {_listed(found)}, the spec says "
            f"{_listed({name: tuple(shape[1:]) for name, shape in wanted.items()})}",
            where=where,
        )


def _listed(shapes: dict[str, tuple[int | None, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())


def published_rows(recipe: Recipe, files: Files) -> tuple[FloatArray, str]:
    """What the published file gives for the probes, float32 (N, D), and who ran it.

    Crops are run one by one, so that files made for one crop can be compared as well.
    """
    image = recipe.spec.require_input()
    outputs = _outputs(recipe)
    oracle = PublishedOnnx(files["model"])
    rows = [oracle.run({image.name: crop[None]}, outputs) for crop in probe_tensor(image)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows]), oracle.name


def _outputs(recipe: Recipe) -> list[str]:
    return list(recipe.spec.kind.tensors(recipe.spec.section).outputs)


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with the published file, run without optimisation, or with records of that.

    Raises:
        ConversionError: There is neither.
    """
    expected, name = read_golden(recipe.name) if files is None else published_rows(recipe, files)
    return agree_with_rows(model, recipe, _outputs(recipe), expected, name)


MAKER = Maker(_build, _agree)
"""Networks on one crop that are published as ONNX files."""

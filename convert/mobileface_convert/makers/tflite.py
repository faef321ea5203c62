"""Networks on one image that are published as TensorFlow Lite files.

::

    published   float32 (1, H, W, C), scaled ─ network ─ outputs
    made        the input of the spec ─ scaling ─ the same network ─ outputs of the spec's shapes

The recipe's table ``[convert]`` names the published output of each output of the spec, the
outputs that get a sigmoid, and whether PReLU is split (`backends.prelu_parts`)::

    [convert]
    maker = "tflite"
    outputs = { points = "conv2d_21", presence = "conv2d_31" }
    sigmoid = ["presence"]
    split_prelu = true
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.session import Session
from mobileface.vision.image import Tensor

from ..backends.prelu_parts import split_prelus
from ..frontends.tflite import TfliteNetwork, build_tflite, read_tflite
from ..oracles.litert_oracle import LiteRTReference, litert_is_installed
from ..oracles.verify import (
    BATCH_SIZES,
    Agreement,
    compare_outputs,
    probe_input,
    probe_tensor,
    read_golden,
)
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .graph_ends import GraphEnds
from .network import optimise, worst

__all__ = ["MAKER", "published_outputs", "published_rows"]

FloatArray = npt.NDArray[np.float32]


def _build(recipe: Recipe, files: Files) -> Built:
    """The network of a file, with the input and the outputs of the spec.

    Raises:
        ConversionError: The file is refused, or the network is not what the spec says.
    """
    network = _network(recipe, files)
    names = _published_names(recipe)
    image = recipe.spec.require_input()
    made = build_tflite(
        network,
        name=recipe.name,
        opset=recipe.opset,
        outputs=list(names.values()),
        batch=image.batch is None,
    )
    if recipe.options.get("split_prelu"):
        split_prelus(made)
    ends = GraphEnds(made)
    ends.read(image, planes=True)
    shapes = recipe.spec.kind.tensors(recipe.spec.section).outputs
    sigmoid = recipe.options.get("sigmoid", ())
    for position, name in enumerate(names):
        rest = _sizes(recipe, name, shapes[name][1:], network)
        ends.output(position, name, rest, sigmoid=name in sigmoid)
    model, records = optimise(ir.to_proto(made), recipe.name, target=recipe.target)
    return Built(
        recipe.spec, with_spec(model, recipe.spec), nodes=len(model.graph.node), passes=records
    )


def _network(recipe: Recipe, files: Files) -> TfliteNetwork:
    """The network of a file, which reads the images of the spec.

    Raises:
        ConversionError: It reads others, or several.
    """
    network = read_tflite(files["model"])
    image = recipe.spec.require_input()
    shapes = [network.tensors[number].shape for number in network.inputs]
    wanted = (1, image.height, image.width, image.channels)
    if shapes != [wanted]:
        raise ConversionError(
            f"inputs {', '.join(map(str, shapes))}, the spec says {wanted}", where=network.origin
        )
    return network


def _published_names(recipe: Recipe) -> dict[str, str]:
    """The published output for each output of the spec.

    Raises:
        ConversionError: The recipe does not name one for each.
    """
    given = recipe.options.get("outputs")
    wanted = list(recipe.spec.kind.tensors(recipe.spec.section).outputs)
    if not isinstance(given, Mapping) or sorted(given) != sorted(wanted):
        raise ConversionError(
            f"field 'outputs' must name a published output for each of {', '.join(wanted)}",
            where=f"{recipe.name}, convert",
        )
    return {name: str(given[name]) for name in wanted}


def _sizes(
    recipe: Recipe, name: str, rest: tuple[int | None, ...], network: TfliteNetwork
) -> list[int]:
    """The sizes of an output's axes after the first, as the spec says.

    Raises:
        ConversionError: The published output has another number of elements.
    """
    published = _published_names(recipe)[name]
    found = {network.tensors[number].name: network.tensors[number] for number in network.outputs}
    tensor = found.get(published)
    if tensor is None:
        raise ConversionError(
            f"no output '{published}'", where=network.origin, hint=f"outputs: {', '.join(found)}"
        )
    sizes = [size or 0 for size in rest]
    if int(np.prod(tensor.shape[1:])) != int(np.prod(sizes)):
        raise ConversionError(
            f"output '{published}' of shape {list(tensor.shape)}, the spec says "
            f"'{name}' {['N', *sizes]}",
            where=network.origin,
        )
    return sizes


def published_rows(recipe: Recipe, files: Files) -> tuple[FloatArray, str]:
    """What LiteRT gives for the probes, as rows of the kind, float32 (N, D), and its name."""
    oracle = LiteRTReference(files["model"].read_bytes(), str(files["model"]))
    tensor = probe_tensor(recipe.spec.require_input())
    found = published_outputs(recipe, _network(recipe, files), oracle, tensor)
    shapes = recipe.spec.kind.tensors(recipe.spec.section).outputs
    shaped = {}
    for name, rows in found.items():
        rest = [size or 1 for size in shapes[name][1:]]
        known = int(np.prod(rest)) == rows.shape[1]  # not yet where a spec is being made up
        shaped[name] = rows.reshape(len(rows), *rest) if known else rows
    return recipe.spec.kind.rows(recipe.spec, {}, shaped), oracle.name


def published_outputs(
    recipe: Recipe, network: TfliteNetwork, oracle: LiteRTReference, tensor: FloatArray
) -> dict[str, FloatArray]:
    """The outputs of the spec by name as LiteRT gives them, each float32 (N, elements).

    Args:
        recipe: The recipe.
        network: Its network.
        oracle: LiteRT with its file.
        tensor: float32 (N, C, height, width), scaled.
    """
    fed = network.tensors[network.inputs[0]].name
    found = oracle.run({fed: np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))})
    rows: dict[str, FloatArray] = {}
    for name, published in _published_names(recipe).items():
        values = found[published].reshape(len(tensor), -1).astype(np.float64)
        if name in recipe.options.get("sigmoid", ()):
            values = 1 / (1 + np.exp(-values))
        rows[name] = values.astype(np.float32)
    return rows


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with LiteRT on the published file, or with records of that.

    Raises:
        ConversionError: There is neither.
    """
    if files is not None and litert_is_installed():
        expected, name = published_rows(recipe, files)
    else:
        expected, name = read_golden(recipe.name)
    fed = probe_input(recipe.spec.require_input())
    session = Session(model, intra_op_num_threads=1)
    found = (_rows(session, fed, batch) for batch in BATCH_SIZES)
    return worst([compare_outputs(rows, expected, name) for rows in found])


def _rows(session: Session, fed: Tensor, batch: int) -> FloatArray:
    """What a model gives for images, in batches, as rows of its kind, float32 (N, D)."""
    spec = session.spec
    feeds = [{session.inputs[0]: fed[at : at + batch]} for at in range(0, len(fed), batch)]
    return np.concatenate([spec.kind.rows(spec, feed, session.run(feed)) for feed in feeds])


MAKER = Maker(_build, _agree, published_rows)
"""Networks on one image that are published as TensorFlow Lite files."""

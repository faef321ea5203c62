"""Networks on one crop that are published as ONNX files.

::

    published   images (1 or N, C, height, width) ─ network ─ probabilities
    made        images (N, C, height, width) ─ the same network, constants folded ─ probabilities

A recipe whose table ``[convert]`` names the published output of each output of the spec is for a
network with other names, of float16, with pixels last, or with sizes left open::

    [convert]
    maker = "onnx_network"
    outputs = { embedding = "683" }

    published   input.1 (N, C, H, W) or (N, H, W, C) ─ network ─ 683
    made        the input of the spec ─ scaling if it is uint8 ─ the same network ─ embedding (N, D)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.spec import ImageInput

from ..frontends.onnx_file import Shape, inferred, read_onnx_file, value_shapes
from ..frontends.onnx_half import widened
from ..frontends.onnx_sizes import free_sizes, set_sizes
from ..oracles.published_onnx import PublishedOnnx
from ..oracles.verify import Agreement, probe_tensor, read_golden
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .graph_ends import GraphEnds
from .network import agree_with_rows, optimise

__all__ = ["MAKER", "in_planes", "published_rows"]

FloatArray = npt.NDArray[np.float32]


def _build(recipe: Recipe, files: Files) -> Built:
    """The network of a file, for any number of crops unless the spec says one.

    Raises:
        ConversionError: The file is refused, or the network is not what the spec says.
    """
    path, image = files["model"], recipe.spec.require_input()
    model = widened(read_onnx_file(path, opset=recipe.opset))
    model = _sized(model, recipe, str(path))
    _choose_outputs(model, recipe, str(path))
    _check_outputs(model, recipe, str(path))
    if "outputs" in recipe.options:
        planes = in_planes(value_shapes(model)[model.graph.input[0].name], image)
        model = _with_ends(model, recipe, planes)
    made, records = optimise(model, recipe.name, target=recipe.target)
    return Built(
        recipe.spec, with_spec(made, recipe.spec), nodes=len(made.graph.node), passes=records
    )


def in_planes(shape: Shape, image: ImageInput) -> bool:
    """Whether a published input is (N, C, height, width), or nothing that (N, …, C) fits."""
    first, last = (_fits(shape[1:], _published_shape(image, planes=p)) for p in (True, False))
    return first or not last


def _published_shape(image: ImageInput, *, planes: bool) -> tuple[int, ...]:
    size = (image.height, image.width)
    return (image.channels, *size) if planes else (*size, image.channels)


def _fits(sizes: Shape, wanted: tuple[int, ...]) -> bool:
    """Whether sizes are those wanted, or left open."""
    pairs = zip(sizes, wanted, strict=False)
    return len(sizes) == len(wanted) and all(have in (None, want) for have, want in pairs)


def _sized(model: onnx.ModelProto, recipe: Recipe, where: str) -> onnx.ModelProto:
    """The model with the input that the spec states, whose first axis is as free as it says.

    Raises:
        ConversionError: It has other inputs, or one of another shape.
    """
    image, names = recipe.spec.require_input(), [value.name for value in model.graph.input]
    if len(names) != 1 or ("outputs" not in recipe.options and names != [image.name]):
        raise ConversionError(
            f"inputs {', '.join(names) or 'none'}, the spec says {image.name}", where=where
        )
    name = names[0]
    shape = value_shapes(model).get(name) or ()
    planes = in_planes(shape, image)
    sizes = _published_shape(image, planes=planes)
    if not _fits(shape[1:], sizes) or (not planes and "outputs" not in recipe.options):
        raise ConversionError(
            f"input '{name}' of shape {list(shape[1:])}, the spec says {list(sizes)}", where=where
        )
    set_sizes(model, name, dict(enumerate(sizes, 1)), where)
    if image.batch is not None:
        if shape[0] not in (None, image.batch):
            raise ConversionError(
                f"input '{name}' takes {shape[0]} images, the spec says {image.batch}", where=where
            )
        set_sizes(model, name, {0: image.batch}, where)
    elif shape[0] is not None:
        return free_sizes(model, name, {0: "N"}, where=where)
    return model


def _choose_outputs(model: onnx.ModelProto, recipe: Recipe, where: str) -> None:
    """Keeps the published outputs of the recipe, in the order of the spec.

    Raises:
        ConversionError: There is none of that name.
    """
    if "outputs" not in recipe.options:
        return
    wanted = list(_outputs(recipe).values())
    found = {value.name: value for value in model.graph.output}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConversionError(
            f"no output '{missing[0]}'", where=where, hint=f"outputs: {', '.join(found)}"
        )
    chosen = [found[name] for name in wanted]
    del model.graph.output[:]
    model.graph.output.extend(chosen)


def _check_outputs(model: onnx.ModelProto, recipe: Recipe, where: str) -> None:
    """The outputs are those of the spec, apart from their names if the recipe maps them.

    Raises:
        ConversionError: They are not.
    """
    specified = recipe.spec.kind.tensors(recipe.spec.section).outputs
    names = _outputs(recipe)
    wanted = {names[name]: tuple(shape[1:]) for name, shape in specified.items()}
    shapes = value_shapes(inferred(model, where))
    found = {value.name: shapes.get(value.name, ())[1:] for value in model.graph.output}
    same = found == wanted
    if "outputs" in recipe.options:
        same = all(_as_many(sizes, wanted[name]) for name, sizes in found.items())
    if not same:
        raise ConversionError(
            f"outputs {_listed(found)}, the spec says {_listed(wanted)}", where=where
        )


def _as_many(sizes: Shape, wanted: Shape) -> bool:
    """Whether an output has as many elements for each image, as far as that is known."""
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or not known:
        return True
    return math.prod(known) == math.prod(size or 1 for size in wanted)


def _listed(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())


def _with_ends(model: onnx.ModelProto, recipe: Recipe, planes: bool) -> onnx.ModelProto:
    """The model with the names, the pixels and the shapes of the spec."""
    made = ir.from_proto(model)
    ends = GraphEnds(made)
    ends.read(recipe.spec.require_input(), planes=planes)
    specified = recipe.spec.kind.tensors(recipe.spec.section).outputs
    for position, (name, shape) in enumerate(specified.items()):
        ends.output(position, name, [size or 0 for size in shape[1:]])
    return ir.to_proto(made)


def published_rows(recipe: Recipe, files: Files) -> tuple[FloatArray, str]:
    """What the published file gives for the probes, float32 (N, D), and who ran it.

    Crops are run one by one, so that files made for one crop can be compared as well; those made
    for several are fed with as many copies.
    """
    image, outputs = recipe.spec.require_input(), list(_outputs(recipe).values())
    oracle = PublishedOnnx(files["model"])
    (name,) = oracle.inputs
    batch, planes = oracle.shape(name)[0] or 1, in_planes(oracle.shape(name), image)
    rows = []
    for crop in probe_tensor(image):
        fed = crop if planes else np.ascontiguousarray(crop.transpose(1, 2, 0))
        found = oracle.run({name: np.repeat(fed[None], batch, axis=0)}, outputs)
        rows.append(np.concatenate([value[:1].reshape(1, -1) for value in found], axis=1))
    return np.concatenate(rows), oracle.name


def _outputs(recipe: Recipe) -> dict[str, str]:
    """The published output of each output of the spec.

    Raises:
        ConversionError: The recipe has a table of them that does not name one for each.
    """
    names = list(recipe.spec.kind.tensors(recipe.spec.section).outputs)
    given = recipe.options.get("outputs", dict(zip(names, names, strict=True)))
    if (
        not isinstance(given, Mapping)
        or sorted(given) != sorted(names)
        or not all(isinstance(value, str) for value in given.values())
        or len(set(given.values())) < len(names)
    ):
        raise ConversionError(
            f"field 'outputs' must name a published output for each of {', '.join(names)}",
            where=f"{recipe.name}, convert",
        )
    return {name: given[name] for name in names}


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with the published file, run without optimisation, or with records of that.

    Raises:
        ConversionError: There is neither.
    """
    expected, name = read_golden(recipe.name) if files is None else published_rows(recipe, files)
    return agree_with_rows(model, recipe, list(_outputs(recipe)), expected, name)


MAKER = Maker(_build, _agree, published_rows)
"""Networks on one crop that are published as ONNX files."""

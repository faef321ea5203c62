"""Face detectors of published layouts; compared with the published file.

::

    [convert]
    maker = "single_shot"
    form = "scrfd"                     # a key of heads.single_shot_layouts.FORMS
    outputs = ["443", "468", …]        # as `Reading.outputs` says
    points = true
    logits = false
    flat = true
    color = "rgb"
    mean = [127.5]
    std = [128.0]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from mobileface import fields
from mobileface.errors import ConversionError, SpecError
from mobileface.models.kinds import SingleShotSpec
from mobileface.models.session import Session

from ..frontends.onnx_file import read_onnx_file, value_shapes
from ..frontends.onnx_half import widened
from ..frontends.onnx_sizes import free_sizes
from ..heads.single_shot_head import Reads, build_single_shot
from ..heads.single_shot_layouts import FORMS, Reading
from ..oracles.published_detector import PublishedDetector
from ..oracles.verify import Agreement, compare_outputs
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .network import optimise

__all__ = ["MAKER", "reading_of", "reads_of"]

FloatArray = npt.NDArray[np.float32]
T = TypeVar("T")


def reading_of(recipe: Recipe) -> Reading:
    """What the outputs are.

    Raises:
        ConversionError: A field of the recipe is missing or invalid.
    """
    flags = {name: _field(recipe, name, fields.boolean) for name in ("points", "logits", "flat")}
    form = _field(recipe, "form", fields.one_of(tuple(FORMS)))
    outputs = _field(recipe, "outputs", fields.list_of(fields.text))
    reading = Reading(form, outputs, **flags)
    counts = {"scrfd": (6, 9, 10, 15), "retinaface": (3,)}.get(form, (1,))
    if len(outputs) not in counts or (len(outputs) % (2 + reading.points) and form == "scrfd"):
        raise ConversionError(f"{len(outputs)} outputs", where=f"{recipe.name}, convert, outputs")
    return reading


def reads_of(recipe: Recipe, name: str) -> Reads:
    """What the network reads.

    Args:
        recipe: The recipe.
        name: Of the input in the file.

    Raises:
        ConversionError: A field of the recipe is missing or invalid.
    """
    section, form = recipe.section(SingleShotSpec), reading_of(recipe).form
    size = (section.height, section.width) if section.height else None
    color = _field(recipe, "color", fields.one_of(("rgb", "bgr")))
    mean = _field(recipe, "mean", fields.numbers((1, 3)))
    std = _field(recipe, "std", fields.numbers((1, 3), positive=True))
    return Reads(name, color, mean, std, FORMS[form].fill, size, section.batch or None)


def _field(recipe: Recipe, name: str, check: Callable[[Any, str], T]) -> T:
    """A checked option of the recipe."""
    where = f"{recipe.name}, convert, {name}"
    if name not in recipe.options:
        raise ConversionError(f"field '{name}' is missing", where=f"{recipe.name}, convert")
    try:
        return check(recipe.options[name], where)
    except SpecError as error:
        raise ConversionError(error.what, where=error.where) from error


def _network(recipe: Recipe, path: Path) -> onnx.ModelProto:
    """The network in float32, for as many images as the spec says."""
    model = widened(read_onnx_file(path, opset=recipe.opset))
    inputs = [value.name for value in model.graph.input]
    if len(inputs) != 1:
        raise ConversionError(f"the network has {len(inputs)} inputs, not one", where=str(path))
    first = value_shapes(model).get(inputs[0], ())[:1]
    if not recipe.section(SingleShotSpec).batch and first != (None,):
        return free_sizes(model, inputs[0], {0: "N"}, where=str(path))
    return model


def _build(recipe: Recipe, files: Files) -> Built:
    """The ONNX model of the detector.

    Raises:
        ConversionError: The file is damaged, or not what the recipe says.
    """
    section, path = recipe.section(SingleShotSpec), files["model"]
    model, reading = _network(recipe, path), reading_of(recipe)
    graph = build_single_shot(
        model,
        reading,
        reads_of(recipe, model.graph.input[0].name),
        name=recipe.name,
        score_threshold=section.score_threshold,
        iou_threshold=section.iou_threshold,
        topk=section.topk,
        where=str(path),
    )
    made, records = optimise(ir.to_proto(graph), recipe.name, target=recipe.target)
    return Built(
        recipe.spec, with_spec(made, recipe.spec), nodes=len(made.graph.node), passes=records
    )


def _expected(recipe: Recipe, files: Files) -> tuple[list[FloatArray], str]:
    """The faces that the published file finds in each certificate's image, and who ran it."""
    section, path = recipe.section(SingleShotSpec), files["model"]
    (name,) = [value.name for value in read_onnx_file(path, opset=recipe.opset).graph.input]
    reading = reading_of(recipe)
    oracle = PublishedDetector(path, reads_of(recipe, name), reading.outputs)
    parts = []
    for feed in recipe.spec.kind.probes(recipe.spec):
        image = np.asarray(feed[section.image][0], np.uint8)
        rows = oracle.faces(image, reading, section.probe_score, section.iou_threshold)
        rows[:, 1:] /= np.float32(max(image.shape[:2]))
        parts.append(rows)
    return parts, oracle.name


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares the faces in the certificate's images with those of the published file.

    A face that only one of them finds counts as an error of its whole score and place.

    Raises:
        ConversionError: The file is not given.
    """
    if files is None:
        raise ConversionError("the published file is needed to compare", where=recipe.name)
    parts, name = _expected(recipe, files)
    session, kind = Session(model, intra_op_num_threads=1), recipe.spec.kind
    ours, theirs = [], []
    for feed, expected in zip(kind.probes(recipe.spec), parts, strict=True):
        found = kind.rows(recipe.spec, feed, session.run(feed))
        ours += [kind.pair(found, expected), found]
        theirs += [expected, kind.pair(expected, found)]
    agreement = compare_outputs(np.concatenate(ours), np.concatenate(theirs), name)
    return dataclasses.replace(agreement, inputs=len(parts))


def _rows(recipe: Recipe, files: Files) -> tuple[FloatArray, str]:
    """The faces of all images, one after the other."""
    parts, name = _expected(recipe, files)
    return np.concatenate(parts), name


MAKER = Maker(_build, _agree, _rows)

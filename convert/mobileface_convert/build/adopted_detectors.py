"""Turns anyone's face detector into a recipe, which converts like those of the package.

::

    a file, the layout of its outputs ─ read ─ run on pictures ─ recipe (a TOML document)

The recipe states what was found: which output is what, whether classes are logits, whether the size
and the batch are fixed, hashes, and the score above which the certificate compares faces.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from mobileface import fields
from mobileface.errors import ConversionError, MobileFaceError, ParityError, SpecError
from mobileface.models.kinds import SingleShotSpec
from mobileface.models.probes import make_probes

from ..frontends.onnx_file import opset_of, read_onnx_file, value_shapes
from ..graph.onnx_builder import DEFAULT_OPSET
from ..heads.single_shot_head import Reads
from ..heads.single_shot_layouts import FORMS, POINTS, Reading, read_outputs
from ..makers import MAKERS
from ..makers.single_shot import reading_of, reads_of
from ..oracles.published_detector import PublishedDetector
from ..oracles.verify import PROBE_SEED, open_model
from ..recipes.recipe import Recipe, recipe_from
from ..sources.files import DirectorySource
from .adopted_document import Adopted, check_numbers
from .detector_document import (
    DetectorRequest,
    described,
    detector_document,
    section_of,
    yunet_section,
)
from .pipeline import fetch_all

__all__ = ["DetectorRequest", "adopt_detector"]

FloatArray = npt.NDArray[np.float32]
Size = tuple[int, int]

_NEWEST_OPSET = 23
_PROBED = ((256, 256), (128, 384))
"""Heights and widths on which a network that leaves its size open is run."""

_RANKS = (8, 64)
"""The certificate compares faces that score more than one of these of all cells."""

_SUM = 1e-3
"""Deviation of a sum of probabilities from 1 that rounding explains."""


def adopt_detector(request: DetectorRequest, folder: Path) -> Adopted:
    """The recipe of a face detector.

    Args:
        request: What is said of it.
        folder: The folder that the recipe's paths are relative to; the file lies in or below it.

    Raises:
        ConversionError: The file is refused, or contradicts what is said of it.
        ParityError: The network gives no finite numbers, or the same ones for every picture.
    """
    _check_scaling(request)
    if len(request.files) != 1 or request.files[0].suffix.lower() != ".onnx":
        raise ConversionError(
            f"no ONNX file: {', '.join(path.name for path in request.files)}",
            hint="detectors are adopted from one .onnx file",
        )
    if request.layout == "yunet":
        return _adopt_yunet(request, folder)
    (path,) = request.files
    opset = min(max(DEFAULT_OPSET, opset_of(path)), _NEWEST_OPSET)
    model = read_onnx_file(path, opset=opset)
    reads, half = _reads(request, model)
    reading = _reading(request, model, reads)
    section = section_of(reading, reads, FORMS[reading.form])
    document = detector_document(request, folder, section, half)
    document["convert"] |= {
        "maker": "single_shot",
        "opset": opset,
        "form": reading.form,
        "outputs": list(reading.outputs),
        **{name: getattr(reading, name) for name in ("points", "logits", "flat")},
        **{name: list(getattr(reads, name)) for name in ("mean", "std")},
        "color": reads.color,
    }
    return _completed(document, request, folder, reading, half=half)


def _check_scaling(request: DetectorRequest) -> None:
    """Checks the numbers of the request.

    Raises:
        ConversionError: They are not for pixels 0..255, too many, not finite or not positive.
    """
    check_numbers(request.name, request.size, request.tolerance, request.std or (1,))
    try:
        for name, given in (("mean", request.mean), ("std", request.std)):
            if given is not None:
                fields.numbers((1, 3), positive=name == "std")(given, f"{request.name}, {name}")
    except SpecError as error:
        raise ConversionError(error.what, where=error.where) from error


def _completed(
    document: dict[str, Any],
    request: DetectorRequest,
    folder: Path,
    reading: Reading,
    *,
    half: bool,
) -> Adopted:
    """The recipe with what has to be measured: batch, and score for the certificate."""
    section = document["spec"]["single_shot"]
    notes = [described(reading, section)]
    draft = recipe_from(document, request.name, folder)
    if not section["batch"]:
        reason = _why_single(draft, folder)
        if reason:
            section["batch"] = 1
            notes.append(f"batch fixed at 1: {reason}")
    elif not half:
        notes.append("batch fixed at 1: its outputs have no axis for several images")
    if section["batch"]:
        limit = "One image per run: its batch is fixed at 1, so larger batches are not faster."
        document["card"]["limits"].append(limit)
    draft = recipe_from(document, request.name, folder)
    section["probe_score"] = _probe_score(draft, folder)
    return Adopted(recipe_from(document, request.name, folder), tuple(notes))


def _reads(request: DetectorRequest, model: onnx.ModelProto) -> tuple[Reads, bool]:
    """What the network reads, and whether in float16.

    Raises:
        ConversionError: It reads something else than one colour picture, or another size.
    """
    where, shapes = str(request.files[0]), value_shapes(model)
    inputs = list(model.graph.input)
    if len(inputs) != 1:
        raise ConversionError(f"the network has {len(inputs)} inputs, not one image", where=where)
    shape = shapes.get(inputs[0].name, ())
    if request.color == "gray" or (len(shape) == 4 and shape[1] == 1):
        raise ConversionError(
            "detectors of grey pictures are not adopted: the runtime gives them three channels",
            where=where,
        )
    if len(shape) != 4 or shape[1] not in (3, None):
        sizes = [size if size is not None else "any" for size in shape]
        raise ConversionError(
            f"the input of shape {sizes} is not (N, 3, height, width)", where=where
        )
    if shape[0] not in (None, 1):
        raise ConversionError(
            f"the network takes {shape[0]} images per run",
            where=where,
            hint="export it for one image, or for any number",
        )
    form = FORMS.get(request.layout, FORMS["yolov5"])
    size = _fixed_size(request, (shape[2], shape[3]), where)
    half = inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    reads = Reads(
        inputs[0].name,
        request.color or form.color,
        request.mean or form.mean,
        request.std or form.std,
        form.fill,
        size,
        1,
    )
    return reads, half


def _fixed_size(
    request: DetectorRequest, stated: tuple[int | None, int | None], where: str
) -> Size | None:
    """Height and width of the input if they are fixed.

    Raises:
        ConversionError: One of them is, or another size is wanted.
    """
    height, width = stated
    if height is None and width is None:
        return None if request.size is None else (request.size, request.size)
    if height is None or width is None:
        raise ConversionError("of height and width only one is left open", where=where)
    if request.size is not None and (height, width) != (request.size, request.size):
        raise ConversionError(
            f"the network reads {width}x{height} pixels, not {request.size}",
            where=where,
            hint="leave --size out",
        )
    return height, width


def _reading(request: DetectorRequest, model: onnx.ModelProto, reads: Reads) -> Reading:
    """What the outputs are, from what the file gives for pictures.

    Raises:
        ConversionError: They do not have the layout, or the network does not run.
        ParityError: They are not finite, or the same for every picture.
    """
    path, where = request.files[0], str(request.files[0])
    names = [value.name for value in model.graph.output]
    oracle = PublishedDetector(path, reads, names)
    readings: list[Reading] = []
    given: list[dict[str, FloatArray]] = []
    for size in (reads.size, reads.size) if reads.size else _PROBED:
        (image,) = make_probes(2, *size, 3, PROBE_SEED + len(given))[1:]
        try:
            found, (height, width), _ = oracle.outputs(image, 1)
        except ConversionError as error:
            raise ConversionError(
                f"the network does not run on {size[1]}x{size[0]} pixels: {error.what}",
                where=where,
                hint="" if reads.size else "pass --size with the side that it was exported for",
            ) from error
        if not all(np.isfinite(value).all() for value in found.values()):
            raise ParityError(
                "the network gives nan or infinite numbers for generated pictures; nothing can "
                "be verified",
                where=where,
                hint="check the file, and how its pixels are scaled",
            )
        shapes = {name: value.shape for name, value in found.items()}
        readings.append(read_outputs(request.layout, shapes, (height, width), where))
        given.append(found)
    reading = readings[0]
    _check_multiple(reading, reads, where)
    if reading.form == "retinaface":
        classes = np.concatenate([found[reading.outputs[1]].reshape(-1, 2) for found in given])
        near = np.abs(classes.sum(axis=1) - 1).max() <= _SUM
        reading = dataclasses.replace(reading, logits=not (near and classes.min() >= 0))
    return reading


def _check_multiple(reading: Reading, reads: Reads, where: str) -> None:
    """Checks that the cells of each grid fill a fixed size.

    Raises:
        ConversionError: They do not.
    """
    if reads.size is None or not reading.strides:
        return
    if any(side % reading.multiple for side in reads.size):
        height, width = reads.size
        raise ConversionError(
            f"{width}x{height} pixels are not multiples of {reading.multiple}", where=where
        )


def _probe_score(recipe: Recipe, folder: Path) -> float:
    """A score in the widest gap between those of the best cells of the certificate's images.

    Rounding on another machine then does not move a face to the other side.

    Raises:
        ConversionError: Scores are not between 0 and 1.
        ParityError: The scores of all cells are equal.
    """
    files, section = fetch_all(recipe, DirectorySource(folder)), recipe.section(SingleShotSpec)
    (value,) = read_onnx_file(files["model"], opset=recipe.opset).graph.input
    reading = reading_of(recipe)
    oracle = PublishedDetector(files["model"], reads_of(recipe, value.name), reading.outputs)
    images = (feed[section.image][0] for feed in recipe.spec.kind.probes(recipe.spec))
    scores = np.concatenate([oracle.scores(np.asarray(i, np.uint8), reading) for i in images])
    scores = np.sort(scores.astype(np.float64))[::-1]
    if scores[-1] < 0 or scores[0] > 1 + _SUM:
        raise ConversionError(
            f"scores of {scores[-1]:.3g} to {scores[0]:.3g}, not of 0 to 1",
            where=recipe.name,
            hint="export the network with its sigmoid, or pass another --layout",
        )
    if scores[0] == scores[-1]:
        raise ParityError(
            "the network gives the same score for every cell of every picture",
            where=recipe.name,
            hint="check the file, and how its pixels are scaled",
        )
    gaps = -np.diff(scores) / np.maximum(scores[:-1], 1e-12)
    start, end = (0, len(gaps)) if len(gaps) < _RANKS[1] else _RANKS
    if not gaps[start:end].any():  # all of them are 1
        end = start + int(np.flatnonzero(gaps[start:])[0]) + 1
    widest = start + int(gaps[start:end].argmax())
    return float(f"{(scores[widest] + scores[widest + 1]) / 2:.9g}")


def _why_single(recipe: Recipe, folder: Path) -> str:
    """Why the model takes one image at a time; empty if it takes any number."""
    files = fetch_all(recipe, DirectorySource(folder))
    images = make_probes(4, 96, 128, 3, PROBE_SEED)[1::2]
    low = np.array(0, np.float32)
    names = ("image_index", "scores", "boxes")
    try:
        built = MAKERS[recipe.maker].build(recipe, files)
        session = open_model(onnx.load_from_string(built.content))
    except MobileFaceError as error:
        return error.what
    try:
        fed = {"score_threshold": low, "topk": np.array(50, np.int64)}
        which, *both = session.run(names, {"image": images, **fed})
        single = [session.run(names[1:], {"image": images[[n]], **fed}) for n in (0, 1)]
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        return f"the network fails for two images ({' '.join(str(error).split())[:160]})"
    for number, alone in enumerate(single):
        together = [value[which == number] for value in both]
        for one, other in zip(together, alone, strict=True):
            scale = max(1.0, float(np.abs(other).max(initial=0)))
            if one.shape != other.shape or np.abs(one - other).max(initial=0) > 1e-3 * scale:
                return "the faces of one image depend on the other ones"
    return ""


def _adopt_yunet(request: DetectorRequest, folder: Path) -> Adopted:
    """YuNet, whose graph is cut out and whose oracle is OpenCV.

    Raises:
        ConversionError: Something is said of it that its layout says.
    """
    for name in ("color", "mean", "std", "size"):
        if getattr(request, name) is not None:
            raise ConversionError(
                f"--{name} is not for --layout yunet, which reads BGR pixels 0..255 of any size",
                where=str(request.files[0]),
            )
    document = detector_document(request, folder, yunet_section(), half=False)
    document["convert"]["maker"] = "yunet"
    recipe = recipe_from(document, request.name, folder)
    MAKERS["yunet"].build(recipe, fetch_all(recipe, DirectorySource(folder)))
    return Adopted(recipe, (f"YuNet, strides 8, 16, 32, {POINTS} points, pictures of any size",))

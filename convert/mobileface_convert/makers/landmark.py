"""Maker for dlib's shape predictors, verified against dlib or an exact evaluator."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.kinds import LandmarkSpec
from mobileface.models.probes import make_probes
from mobileface.models.session import Session

from ..backends.onnx import check
from ..frontends.shape_predictor import read_shape_predictor
from ..frontends.shape_predictor_onnx import build_landmark_graph
from ..frontends.shape_predictor_reference import evaluate
from ..oracles.verify import PROBE_COUNT, PROBE_SEED, Agreement, compare_outputs
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec

__all__ = ["MAKER"]

_HEIGHT, _WIDTH = 240, 320
_BOXES = 16

Boxes = npt.NDArray[np.int64]


def _build(recipe: Recipe, files: Files) -> Built:
    """Builds the ONNX model of a shape predictor.

    Raises:
        ConversionError: If the file is corrupt, or the number of landmarks differs from the spec.
    """
    path = files["model"]
    predictor = read_shape_predictor(path.read_bytes(), str(path))
    names = recipe.section(LandmarkSpec).points
    if len(predictor.initial_shape) != len(names):
        raise ConversionError(
            f"{len(predictor.initial_shape)} points, the spec declares {len(names)}",
            where=str(path),
        )
    model = ir.to_proto(build_landmark_graph(predictor))
    check(model, recipe.name)
    return Built(recipe.spec, with_spec(model, recipe.spec), nodes=len(model.graph.node))


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares the landmarks in probe images, for boxes of many sizes and positions.

    Raises:
        ConversionError: If the source file is not given.
    """
    if files is None:
        raise ConversionError("the .dat file is needed to compare", where=recipe.name)
    spec, session = recipe.section(LandmarkSpec), Session(model, intra_op_num_threads=1)
    probes = make_probes(PROBE_COUNT, _HEIGHT, _WIDTH, 1, PROBE_SEED)[..., 0]
    boxes = _boxes()
    found = [session.run({spec.image: gray, spec.boxes: boxes})[spec.output] for gray in probes]
    expected, oracle = _expected(files["model"], probes, boxes)
    return compare_outputs(np.concatenate(found), expected, oracle)


def _boxes() -> Boxes:
    """Boxes inside, partly outside and around the image, from 1 pixel wide; int64 (16, 4)."""
    random = np.random.RandomState(PROBE_SEED)
    corner = random.randint(-60, 280, (_BOXES, 2))
    size = random.randint(1, 300, (_BOXES, 1))
    return np.hstack([corner, corner + size]).astype(np.int64)


def _expected(
    path: Path, probes: npt.NDArray[np.uint8], boxes: Boxes
) -> tuple[npt.NDArray[np.float32], str]:
    """Landmarks from dlib, or from the exact evaluator if dlib is not installed.

    Args:
        path: The shape predictor's file.
        probes: Grey images, uint8 (N, H, W).
        boxes: Face boxes, int64 (M, 4).

    Returns:
        The landmarks, float32 (N · M, points, 2), and the name of the reference.
    """
    if importlib.util.find_spec("dlib") is None:
        predictor = read_shape_predictor(path.read_bytes(), str(path))
        points = [evaluate(predictor, gray, boxes) for gray in probes]
        return np.concatenate(points).astype(np.float32), "the exact evaluator"
    import dlib

    shape = dlib.shape_predictor(str(path))
    rows = []
    for gray in probes:
        for box in boxes:
            found = shape(np.ascontiguousarray(gray), dlib.rectangle(*map(int, box)))
            rows.append([(part.x, part.y) for part in found.parts()])
    return np.asarray(rows, np.float32), f"dlib {dlib.__version__}"


MAKER = Maker(_build, _agree)

"""Maker for the frontal face detector of the installed dlib, verified against dlib."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.kinds import HogSpec
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.tasks.hog_detector import HogDetector

from ..backends.onnx import check
from ..frontends.hog_detector import installed_detector_bytes, read_hog_detector
from ..frontends.hog_onnx import build_hog_graph
from ..oracles.verify import PROBE_COUNT, PROBE_SEED, Agreement, compare_outputs
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec

__all__ = ["MAKER"]

_HEIGHT, _WIDTH = 240, 320
_THRESHOLD = -2.0
"""Score threshold of the comparison: low enough that probe images, without faces, have boxes."""


def _build(recipe: Recipe, _: Files) -> Built:
    """Builds the ONNX model of the detector.

    Raises:
        ConversionError: If dlib is not installed, or its detector differs from the recipe.
    """
    detector = read_hog_detector(installed_detector_bytes(), "the installed dlib")
    declared = recipe.section(HogSpec)
    for field, value in detector.to_spec().items():
        if getattr(declared, field) != value:
            raise ConversionError(
                f"the installed dlib's detector has {field} = {value}, "
                f"the recipe declares {getattr(declared, field)}",
                where=recipe.name,
            )
    import dlib  # installed, as its detector was just read

    source = dataclasses.replace(recipe.spec.source, package=f"dlib {dlib.__version__}")
    spec = dataclasses.replace(recipe.spec, source=source)
    model = ir.to_proto(build_hog_graph(detector))
    check(model, recipe.name)
    return Built(spec, with_spec(model, spec), nodes=len(model.graph.node))


def _agree(model: Path, recipe: Recipe, _: Files | None) -> Agreement:
    """Compares the score of the best box in each probe image; 0 if the boxes differ.

    Raises:
        ConversionError: If dlib is not installed.
    """
    try:
        import dlib
    except ImportError as error:
        raise ConversionError(
            "dlib is needed to compare", where=recipe.name, hint="pip install dlib-bin"
        ) from error
    reference = dlib.get_frontal_face_detector()
    session = Session(model, intra_op_num_threads=1)
    detector = HogDetector(session, score_threshold=_THRESHOLD)
    expected: list[float] = []
    found: list[float] = []
    for gray in make_probes(PROBE_COUNT, _HEIGHT, _WIDTH, 1, PROBE_SEED)[..., 0]:
        boxes, scores, _ = reference.run(np.ascontiguousarray(gray), 0, _THRESHOLD)
        best = (boxes[0].left(), boxes[0].top(), boxes[0].right(), boxes[0].bottom())
        ours = detector.detect(gray)
        same = len(ours) > 0 and tuple(ours.boxes[0]) == best
        expected.append(scores[0])
        found.append(float(ours.scores[0]) if same else 0.0)
    return compare_outputs(
        np.asarray([found], np.float32),
        np.asarray([expected], np.float32),
        f"dlib {dlib.__version__}",
    )


MAKER = Maker(_build, _agree)

"""YuNet as OpenCV Zoo publishes it; compared with OpenCV's own detector on the published file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.kinds import YunetSpec
from mobileface.models.kinds.base import paired_detections
from mobileface.models.kinds.single_shot import PROBE_SCORE
from mobileface.models.probes import make_probes
from mobileface.models.session import Session

from ..frontends.onnx_file import read_onnx_file
from ..heads.yunet_head import build_yunet
from ..oracles.verify import (
    PROBE_COUNT,
    PROBE_SEED,
    Agreement,
    compare_outputs,
    golden_path,
    read_golden,
)
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .network import optimise

__all__ = ["MAKER", "opencv_rows"]

_SIZES = ((256, 256), (129, 160), (256, 341), (200, 96))
"""Heights and widths of the images on which a model is compared with its oracle."""

_TOPK = 40
"""Best boxes that take part: noise has hundreds above so low a threshold."""

_COLUMNS = 15
"""Score, box and five points."""

FloatArray = npt.NDArray[np.float32]


def _build(recipe: Recipe, files: Files) -> Built:
    """The ONNX model of the detector.

    Raises:
        ConversionError: The file is damaged, or another network.
    """
    section, path = recipe.section(YunetSpec), files["model"]
    graph = build_yunet(
        read_onnx_file(path, opset=recipe.opset),
        name=recipe.name,
        score_threshold=section.score_threshold,
        iou_threshold=section.iou_threshold,
        topk=section.topk,
        where=str(path),
    )
    model, records = optimise(ir.to_proto(graph), recipe.name, target=recipe.target)
    return Built(
        recipe.spec, with_spec(model, recipe.spec), nodes=len(model.graph.node), passes=records
    )


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with OpenCV if it has the detector and the file is given, else with records.

    Probe images show no faces: both report what scores more than `PROBE_SCORE`.

    Raises:
        ConversionError: There is neither.
    """
    section = recipe.section(YunetSpec)
    if files is not None and hasattr(cv2, "FaceDetectorYN"):
        expected, name = opencv_rows(files["model"], section.iou_threshold)
    elif golden_path(recipe.name) is not None:
        expected, name = read_golden(recipe.name)
    else:
        raise ConversionError(
            "OpenCV's FaceDetectorYN is needed to compare",
            where=recipe.name,
            hint="pip install 'opencv-python-headless>=4.8'",
        )
    session = Session(model, intra_op_num_threads=1)
    found = [_run(session, section, image) for image in _probes()]
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        count = int((theirs[:, 0] > 0).sum())
        if len(ours) != count:
            raise ConversionError(
                f"{len(ours)} faces in probe image {number}, {name} has {count}", where=recipe.name
            )
    matched = [paired_detections(*pair) for pair in zip(found, expected, strict=True)]
    return compare_outputs(np.stack(matched), expected, name)


def opencv_rows(path: Path, iou_threshold: float) -> tuple[FloatArray, str]:
    """What OpenCV finds in the probe images, and its version.

    Args:
        path: The published file.
        iou_threshold: Of boxes that overlap more, it keeps the best.

    Returns:
        float32 (images, rows, 15): score, box and points in parts of the image's longer side; rows
        that an image has not are 0.
    """
    detector = cv2.FaceDetectorYN.create(str(path), "", (32, 32), PROBE_SCORE, iou_threshold, _TOPK)
    rows = np.zeros((PROBE_COUNT, _TOPK, _COLUMNS), np.float32)
    for number, image in enumerate(_probes()):
        height, width = image.shape[:2]
        detector.setInputSize((width, height))
        found = detector.detect(image)[1]
        if found is None:
            continue
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        parts = np.concatenate([boxes, found[:, 4:14]], axis=1) / np.float32(max(height, width))
        rows[number, : len(found), 0], rows[number, : len(found), 1:] = found[:, 14], parts
    return rows, f"OpenCV {cv2.__version__}"


def _probes() -> Iterator[npt.NDArray[np.uint8]]:
    """The probe images, uint8 (H, W, 3), in turn of each size."""
    for height, width in _SIZES:
        yield from make_probes(PROBE_COUNT // len(_SIZES), height, width, 3, PROBE_SEED)


def _run(session: Session, section: YunetSpec, image: npt.NDArray[np.uint8]) -> FloatArray:
    """Rows of one image, as `opencv_rows` gives them."""
    found = session.run(
        {
            section.image: image[np.newaxis],
            section.score_input: np.array(PROBE_SCORE, np.float32),
            section.topk_input: np.array(_TOPK, np.int64),
        }
    )
    kps = found[section.kps].reshape(-1, _COLUMNS - 5)
    parts = np.concatenate([found[section.boxes], kps], axis=1) / np.float32(max(image.shape[:2]))
    return np.asarray(np.concatenate([found[section.scores][:, None], parts], axis=1), np.float32)


MAKER = Maker(_build, _agree)

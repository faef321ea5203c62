"""A published face detector, run as it is; its outputs decoded in numpy, suppressed by OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..heads.single_shot_head import Reads
from ..heads.single_shot_layouts import Reading
from .published_onnx import PublishedOnnx

__all__ = ["PublishedDetector"]

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

_TOPK = 5000


class PublishedDetector:
    """A detector's file, unoptimised in ONNX Runtime, without any graph of this project.

    Args:
        path: The file.
        reads: What it reads.
        outputs: Names of its outputs.

    Attributes:
        name: What certificates call it.

    Raises:
        ConversionError: ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path, reads: Reads, outputs: Sequence[str]) -> None:
        self._network, self._reads, self._outputs = PublishedOnnx(path), reads, tuple(outputs)
        self.name = (
            f"{self._network.name}, decoded by numpy, suppressed by OpenCV {cv2.__version__}"
        )

    def outputs(
        self, image: ByteArray, multiple: int
    ) -> tuple[dict[str, FloatArray], tuple[int, int], FloatArray]:
        """What the file gives for an image.

        Args:
            image: uint8 (H, W, 3), BGR.
            multiple: The sides of the input are multiples of this, unless its size is fixed.

        Returns:
            Outputs by name; height and width of the input; image pixels per pixel of it, x and y.

        Raises:
            ConversionError: ONNX Runtime cannot run it.
        """
        reads, (height, width) = self._reads, image.shape[:2]
        pixels, factors = image.astype(np.float32), np.ones(2, np.float32)
        rows, columns = (-(-side // multiple) * multiple for side in (height, width))
        if reads.size is not None:
            rows, columns = reads.size
            scale = np.min(np.array(reads.size, np.float32) / np.array([height, width], np.float32))
            high, wide = (
                max(1, int(np.rint(np.float32(side) * scale))) for side in (height, width)
            )
            pixels = np.asarray(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_LINEAR))
            factors = np.array([width / wide, height / high], np.float32)
        canvas = np.full((rows, columns, 3), reads.fill, np.float32)
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        if reads.color == "rgb":
            canvas = canvas[..., ::-1]
        scaled = (canvas - np.array(reads.mean, np.float32)) / np.array(reads.std, np.float32)
        fed = np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32)
        found = self._network.run({reads.name: fed}, self._outputs)
        return dict(zip(self._outputs, found, strict=True)), (rows, columns), factors

    def faces(
        self, image: ByteArray, reading: Reading, score_threshold: float, iou_threshold: float
    ) -> FloatArray:
        """The faces in an image.

        Args:
            image: uint8 (H, W, 3), BGR.
            reading: What the outputs are.
            score_threshold: Faces score more than this.
            iou_threshold: Boxes that overlap more are suppressed.

        Returns:
            float32 (M, 5 or 15): score, x1, y1, x2, y2 and points in pixels of the image.
        """
        found, size, factors = self.outputs(image, reading.multiple)
        scores, boxes, points = decoded(found, reading, size)
        keep = np.flatnonzero(scores > score_threshold)
        keep = keep[np.argsort(-scores[keep], kind="stable")][:_TOPK]
        scores, boxes, points = scores[keep], boxes[keep], points[keep]
        sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        chosen = cv2.dnn.NMSBoxes(
            sizes.astype(np.float64).tolist(), scores.tolist(), score_threshold, iou_threshold
        )
        kept = np.asarray(chosen, np.int64).reshape(-1)
        width = boxes.shape[1] + points.shape[1]
        pairs = np.concatenate([boxes[kept], points[kept]], axis=1).reshape(-1, width // 2, 2)
        rows = (pairs * factors).reshape(-1, width)
        return np.asarray(np.concatenate([scores[kept][:, None], rows], axis=1), np.float32)

    def scores(self, image: ByteArray, reading: Reading) -> FloatArray:
        """The scores of all cells, float32 (A,)."""
        found, size, _ = self.outputs(image, reading.multiple)
        return decoded(found, reading, size)[0]


def decoded(
    found: Mapping[str, FloatArray], reading: Reading, size: tuple[int, int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores (A,), corners (A, 4) and points (A, 10 or 0) of all cells, in pixels of the input."""
    maps = [found[name].reshape(found[name].shape[-2:]) for name in reading.outputs]
    if reading.form == "yolov5":
        (rows,) = maps
        return rows[:, 4] * rows[:, 15], _corners(rows[:, :2], rows[:, 2:4]), rows[:, 5:15]
    if reading.form == "yolov8":
        rows = maps[0].T
        marks = rows[:, 5:].reshape(len(rows), -1, 3)[:, :, :2]
        return rows[:, 4], _corners(rows[:, :2], rows[:, 2:4]), marks.reshape(len(rows), -1)
    middle, unit = _cells(reading, size)
    if reading.form == "retinaface":
        boxes, classes, points = maps
        if reading.logits:
            powers = np.exp(classes - classes.max(axis=1, keepdims=True))
            classes = powers / powers.sum(axis=1, keepdims=True)
        centre = middle + boxes[:, :2] * np.float32(0.1) * unit
        corners = _corners(centre, np.exp(boxes[:, 2:] * np.float32(0.2)) * unit)
        return classes[:, 1], corners, _moved(middle, points * np.float32(0.1), unit)
    count = len(reading.strides)
    joined = [np.concatenate(maps[start : start + count]) for start in range(0, len(maps), count)]
    scores, far = joined[0][:, 0], joined[1] * unit
    corners = np.concatenate([middle - far[:, :2], middle + far[:, 2:]], axis=1)
    points = joined[2] if reading.points else np.zeros((len(scores), 0), np.float32)
    return scores, corners, _moved(middle, points, unit)


def _cells(reading: Reading, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Middle (A, 2) and unit (A, 1) of each anchor, in pixels."""
    middles, units = [], []
    offset = 0.5 if reading.form == "retinaface" else 0
    for stride, lengths in zip(reading.strides, reading.units, strict=True):
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells = np.stack([columns, rows], axis=-1).reshape(-1, 2)
        middles.append(np.repeat((cells + offset) * stride, len(lengths), axis=0))
        units.append(np.tile(lengths, len(cells)))
    middle, unit = np.concatenate(middles), np.concatenate(units)[:, None]
    return middle.astype(np.float32), unit.astype(np.float32)


def _moved(middle: FloatArray, points: FloatArray, unit: FloatArray) -> FloatArray:
    """Points (A, 10) from the middles of their cells."""
    moves = points.reshape(len(points), points.shape[1] // 2, 2) * unit[:, None]
    return np.asarray((middle[:, None] + moves).reshape(points.shape), np.float32)


def _corners(centre: FloatArray, size: FloatArray) -> FloatArray:
    half = size * np.float32(0.5)
    return np.concatenate([centre - half, centre + half], axis=1)

"""Quantises a network without a recipe, with images of a folder, and measures what it loses."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError
from mobileface.host.measure import measure_in_turn
from mobileface.vision.picture_files import read_image

from ..backends.quantized import dense_only, quantize
from ..build.calibration_images import ImageSet, read_samples
from .optimised_ends import open_session

__all__ = ["Int8", "quantised"]

_TIMED = 8
_ROUNDS = 40

Fed = dict[str, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Int8:
    """A quantised network.

    Attributes:
        model: The network.
        milliseconds: Median time of a run with batch 1.
        mean_cosine: Mean cosine similarity of its first output to the float32 network's, on the
            images that it was not calibrated with.
    """

    model: onnx.ModelProto
    milliseconds: float
    mean_cosine: float


def quantised(model: onnx.ModelProto, folder: Path, where: str, threads: int = 1) -> Int8:
    """Quantises a network whose only input is uint8 (N, height, width, C).

    Args:
        model: The network.
        folder: Images; two thirds calibrate, the others are compared. They are scaled to the input
            and read as RGB, or gray for one channel.
        where: Name of the network in error messages.
        threads: Number of threads for the time.

    Raises:
        ConversionError: The input has no fixed size, there are too few images, or no layer can be
            quantised.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim[1:]]
    if len(inputs) != 1 or len(sizes) != 3 or not all(sizes):
        raise ConversionError("--calibrate needs one input of a fixed size", where=where)
    height, width, channels = sizes
    samples = read_samples(folder)

    def feeds(images: ImageSet) -> Iterator[Fed]:
        for path in images.paths:
            yield {inputs[0].name: _image(path, height, width, channels)}

    dense = dense_only(model)
    small = quantize(model, lambda: feeds(samples.calibration), where, dense=dense).model
    sessions = [open_session(network, threads, where) for network in (model, small)]
    shown = list(feeds(samples.evaluation))
    rows = [
        np.stack([np.ravel(session.run(None, fed)[0]) for fed in shown]).astype(np.float64)
        for session in sessions
    ]
    lengths = [np.linalg.norm(values, axis=1) for values in rows]
    cosines = (rows[0] * rows[1]).sum(axis=1) / np.maximum(lengths[0] * lengths[1], 1e-30)
    timed = measure_in_turn(
        {"int8": lambda fed: sessions[1].run(None, fed)}, shown[:_TIMED], _ROUNDS, warm_up=_TIMED
    )
    return Int8(small, 1000 * statistics.median(timed["int8"]), float(cosines.mean()))


def _image(path: Path, height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """An image as uint8 (1, height, width, C), RGB or gray."""
    picture = cv2.resize(read_image(path), (width, height), interpolation=cv2.INTER_AREA)
    code = cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(picture, code), np.uint8).reshape(1, height, width, channels)

"""Runs a Caffe network with OpenCV 4; OpenCV 5 has no Caffe importer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError

from .caffe import CaffeModel

__all__ = ["CaffeNetwork", "has_importer"]

FloatArray = npt.NDArray[np.float32]


def has_importer() -> bool:
    """Whether the installed OpenCV can read Caffe networks."""
    return hasattr(cv2.dnn, "readNetFromCaffe")


class CaffeNetwork:
    """A Caffe network loaded in OpenCV.

    Args:
        model: The network.
        name: Name of the network in error messages.

    Raises:
        ConversionError: If OpenCV has no Caffe importer or cannot load the network.
    """

    def __init__(self, model: CaffeModel, name: str) -> None:
        if not has_importer():
            raise ConversionError(
                f"OpenCV {cv2.__version__} cannot read Caffe networks",
                where=name,
                hint="pip install 'opencv-python-headless<5'",
            )
        self.name = f"OpenCV {cv2.__version__}"
        self._where = name
        prototxt = np.frombuffer(model.prototxt.encode(), np.uint8)
        weights = np.frombuffer(model.caffemodel, np.uint8)
        try:
            self._net = cv2.dnn.readNetFromCaffe(prototxt, weights)
        except cv2.error as error:
            raise self._failure(error) from error
        self._net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)

    def run(self, inputs: Mapping[str, FloatArray], outputs: Sequence[str]) -> list[FloatArray]:
        """Runs the network on a batch.

        Args:
            inputs: Values by input name, float32 (N, …).
            outputs: Names of the outputs to return.

        Returns:
            The outputs in that order, each float32 (N, …).

        Raises:
            ConversionError: If OpenCV cannot run the network.
        """
        try:
            for name, tensor in inputs.items():
                self._net.setInput(np.ascontiguousarray(tensor), name)
            found = self._net.forward(list(outputs))
        except cv2.error as error:
            raise self._failure(error) from error
        return [np.array(values, np.float32) for values in found]

    def _failure(self, error: cv2.error) -> ConversionError:
        text = " ".join(str(error).split())
        return ConversionError(f"{self.name} cannot run the network: {text}", where=self._where)

"""The head of the portrait, turned in the picture."""

from __future__ import annotations

import cv2
import numpy as np

from mobileface.vision.image import Image
from tests.conftest import ROOT

STARTER = ROOT / "models_onnx"
HEAD = (225.0, 125.0)
"""Between the eyes and the mouth of the portrait, in pixels."""


def turned(image: Image, degrees: float) -> Image:
    """The head in the middle of a square, turned clockwise."""
    matrix = cv2.getRotationMatrix2D(HEAD, -degrees, 1.0)
    matrix[:, 2] += 300 - np.array(HEAD)
    return np.asarray(cv2.warpAffine(image, matrix, (600, 600)), np.uint8)

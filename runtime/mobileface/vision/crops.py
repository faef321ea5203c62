"""How a face is cut out for a network: the published templates, each under one name.

A template says where certain points of the face shall lie in the crop, as fractions of its width
and height. The crop decides whether an identification model works: each model's spec names its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["CROPS", "CropTemplate"]

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class CropTemplate:
    """Where points of the face lie in a crop.

    Attributes:
        transform: "affine": through exactly three points; "similarity": rotation, one scale and
            translation with the least squared error over all points, measured in the crop;
            "chip": the same with the error measured in the picture; "box": no points at all, the
            square around the face's box, turned until the eyes are level if they are known.
        points: What the points are; "left" is left as the viewer sees it.
        template: Their x and y as fractions of the crop's width and height.
        size: Side of the crop in pixels, if none is asked for.
        interpolation: "cubic", "linear" or, for chips, "pyramid": linear on a level of an image
            pyramid that is no more than twice as large, so that no pixel is skipped.
    """

    transform: Literal["affine", "similarity", "chip", "box"]
    points: tuple[str, ...]
    template: Points
    size: int
    interpolation: Literal["cubic", "linear", "pyramid"]


def _fractions(points: Points, size: int) -> Points:
    return tuple((x / size, y / size) for x, y in points)


_CHIP_POINTS = (
    "right_eye_outer",
    "right_eye_inner",
    "left_eye_outer",
    "left_eye_inner",
    "nose_base",
)
_CHIP_TEMPLATE = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)
"""dlib::get_face_chip_details for five points (dlib/image_transforms/interpolation.h)."""


def _padded(points: Points, padding: float) -> Points:
    """Fractions of a face as fractions of a crop with so much around it on each side."""
    side = 2 * padding + 1
    return tuple(((padding + x) / side, (padding + y) / side) for x, y in points)


CROPS: Mapping[str, CropTemplate] = MappingProxyType(
    {
        # MobileFace_Align/mobileface_align_v1.npy, rounded there to float32
        "mobileface": CropTemplate(
            transform="affine",
            points=("left_eye", "right_eye", "mouth"),
            template=((0.236842, 0.318182), (0.763158, 0.318182), (0.5, 0.772727)),
            size=96,
            interpolation="cubic",
        ),
        # The 112×112 template of ArcFace (arXiv 1801.07698) and its successors
        "arcface": CropTemplate(
            transform="similarity",
            points=("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"),
            template=_fractions(
                (
                    (38.2946, 51.6963),
                    (73.5318, 51.5014),
                    (56.0252, 71.7366),
                    (41.5493, 92.3655),
                    (70.7299, 92.2041),
                ),
                112,
            ),
            size=112,
            interpolation="linear",
        ),
        # the padding of 0.25 that dlib's face recognition network was trained with
        "dlib": CropTemplate(
            transform="chip",
            points=_CHIP_POINTS,
            template=_padded(_CHIP_TEMPLATE, 0.25),
            size=150,
            interpolation="pyramid",
        ),
        # the padding of dlib's networks for gender and age
        "dlib_20": CropTemplate(
            transform="chip",
            points=_CHIP_POINTS,
            template=_padded(_CHIP_TEMPLATE, 0.2),
            size=64,
            interpolation="pyramid",
        ),
        # what expression networks are trained on: the detector's own square
        "box": CropTemplate(
            transform="box", points=(), template=(), size=64, interpolation="pyramid"
        ),
    }
)
"""The known crops by name."""

"""Line drawings of people: black lines and dark areas on white.

The drawing is made at a size at which the eyes of the largest face are 130 pixels apart.

1. Each face's own skin tone becomes 1: the gray image is divided by what it is around points of the
   mesh that lie on skin, interpolated between them. So dark and light skin, and the lit and the
   shaded side of a face, are white.
2. Lines are a flow-based difference of Gaussians (`mobileface.vision.line_drawing`); dark areas are
   below a share of the skin tone, by a logistic curve.
3. On the skin of the mesh weak contrast is taken away; on eyes, brows and lips it is amplified, and
   the mesh's own lines are drawn.
4. What the mask of people leaves out is white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..types import Face
from ..vision.image import ChannelOrder, Image, check_color, check_image, resize, to_color
from ..vision.line_drawing import flow_lines, soft_threshold
from .backdrops import to_bytes
from .background import check_mask, person_alpha, shows_person
from .face_drawing import MeshFace

__all__ = ["LARGEST_YAW", "LEAST_EYE_DISTANCE", "PortraitStyle", "draw_portrait", "drawable"]

LARGEST_YAW = 60.0
"""Degrees up to which a turned face is drawn."""

LEAST_EYE_DISTANCE = 12.0
"""Pixels between the eyes from which on a face is drawn."""

_EYE_DISTANCE = 130.0
_MOST_PIXELS = 3_000_000
"""Pixels of a drawing at most, before it is scaled to the image's size."""

_THRESHOLD, _SLOPE = 0.002, 200.0
_DARK, _DARK_SLOPE = 0.42, 80.0
"""Share of the skin tone below which areas are black, and slope of the curve there."""

_AREA_SIGMA = 3.0
_WEAK, _STRONG = 0.45, 0.65
"""On skin, contrasts to the skin tone up to the first vanish, from the second on they stay."""

_OUTSIDE, _INSIDE = 0.25, 0.5
"""Alphas up to the first are white, from the second on they are drawn."""

_IRIS, _IRIS_SLOPE, _LEAST_SPREAD = 0.35, 16.0, 0.15
"""Share of an eye's range of tones below which it is black, slope of the curve, least range."""

_AMPLIFIED = 1.2
"""Factor of contrasts on eyes, brows and lips."""

_DARKEST, _BRIGHTEST = 0.3, 1.3
"""Range of a face's skin tones, in its median: what is darker is hair or a hat."""

_REACH = 0.3
"""Sigma of the interpolation of skin tones, in distances of the eyes."""


@dataclass(frozen=True)
class PortraitStyle:
    """How portraits are drawn.

    Attributes:
        line_width: Factor of the width of lines, 0.5 to 3.
        darkness: Factor of how much becomes black, 0 to 2; 0 draws lines alone.

    Raises:
        InputError: If one is out of range.
    """

    line_width: float = 1.0
    darkness: float = 1.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.line_width <= 3:
            raise InputError(f"line_width {self.line_width} is not between 0.5 and 3")
        if not 0 <= self.darkness <= 2:
            raise InputError(f"darkness {self.darkness} is not between 0 and 2")


def drawable(face: Face) -> str:
    """Why a face cannot be drawn; "" if it can."""
    if face.mesh is None:
        return "no mesh of the face was found"
    if face.pose is not None and face.pose.degrees and abs(face.pose.yaw) > LARGEST_YAW:
        return f"the face is turned by {abs(face.pose.yaw):.0f}°, more than {LARGEST_YAW:.0f}°"
    distance = MeshFace(face.mesh.points).eye_distance
    if distance < LEAST_EYE_DISTANCE:
        least = f"at least {LEAST_EYE_DISTANCE:.0f} are needed"
        return f"the eyes are {distance:.0f} pixels apart, {least}"
    return ""


def draw_portrait(
    image: Image,
    faces: Sequence[Face],
    mask: FloatArray | None = None,
    style: PortraitStyle | None = None,
    *,
    enlarge: bool = True,
    color: ChannelOrder = "bgr",
) -> Image:
    """Draws the people of an image.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        faces: The faces, with their meshes and, if known, poses. Those that are not `drawable` are
            drawn like the rest of the image.
        mask: float32 (h, w), 0 to 1, of any size: where people are; None keeps the background.
            Around faces, and if it shows no person, nothing is left out.
        style: How to draw; default: `PortraitStyle()`.
        enlarge: False: the drawing is never larger than the image.
        color: Channel order of a colour image.

    Returns:
        uint8 (H, W), gray. Its size is the image's; if the eyes of the largest face are less than
        130 pixels apart, as much larger as that needs, up to 3 million pixels.

    Raises:
        ImageError: If ``image`` is not an image, or ``mask`` has another type or shape.
        InputError: If ``color`` is unknown, or no face is drawable; the error says why.
    """
    image = check_image(image)
    check_color(color)
    if mask is not None:
        check_mask(mask)
    style = style or PortraitStyle()
    meshes = [face.mesh.points for face in faces if face.mesh is not None and not drawable(face)]
    if not meshes:
        reasons = [drawable(face) for face in faces]
        raise InputError(reasons[0] if reasons else "no face found")
    distance = max(MeshFace(points).eye_distance for points in meshes)
    height, width = image.shape[:2]
    scale = min(_EYE_DISTANCE / distance, (_MOST_PIXELS / (height * width)) ** 0.5)
    scale = scale if enlarge else min(scale, 1.0)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    work = resize(to_color(image, "gray", color), rows, columns).astype(np.float32) / 255
    factor = np.array([columns / width, rows / height], np.float32)
    found = [MeshFace(np.asarray((at + 0.5) * factor - 0.5, np.float32)) for at in meshes]
    drawn = _drawing(work, found, distance * scale / _EYE_DISTANCE, style)
    if mask is not None and shows_person(mask):
        alpha = resize(person_alpha(image, mask, color=color), rows, columns)
        inside = (alpha.astype(np.float32) / 255 - _OUTSIDE) / (_INSIDE - _OUTSIDE)
        share: FloatArray = np.asarray(np.clip(inside, 0, 1), np.float32)
        for face in found:
            share = np.maximum(share, face.head((rows, columns)))
        drawn = np.asarray(1 - share * (1 - drawn), np.float32)
    done = to_bytes(drawn * 255)
    if scale < 1:
        large = cv2.resize(done, (width, height), interpolation=cv2.INTER_CUBIC)
        done = _sharpened(np.asarray(large, np.uint8), 1 / scale)
    return done


def _drawing(
    gray: FloatArray, faces: Sequence[MeshFace], unit: float, style: PortraitStyle
) -> FloatArray:
    """The drawing, 0 black to 1 white, float32 (H, W); see the module."""
    shape = (gray.shape[0], gray.shape[1])
    tone = np.asarray(np.clip(gray / _skin_tones(gray, faces), 0, 1.2), np.float32)
    tone = np.asarray(cv2.bilateralFilter(tone, 0, 0.1, max(7 * unit / 2, 1.0)), np.float32)
    strokes = np.zeros(shape, np.float32)
    skin, features = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for face in faces:
        skin = np.maximum(skin, face.skin(shape))
        features = np.maximum(features, face.features(shape))
        strokes = np.maximum(strokes, face.strokes(shape, style.line_width))
    irises = np.ones(shape, np.float32)
    for face in faces:
        for inside in face.eyes(shape):
            irises = np.minimum(irises, _iris(tone, inside))
    contrast: FloatArray = np.asarray(1 - tone, np.float32)
    kept = np.clip((contrast - _WEAK) / (_STRONG - _WEAK), 0, 1)
    kept = kept * kept * (3 - 2 * kept)
    contrast *= 1 - skin * (1 - kept)
    contrast *= 1 + (_AMPLIFIED - 1) * features
    tone = np.clip(1 - contrast, 0, 1.2).astype(np.float32)
    lines = soft_threshold(flow_lines(tone, unit, style.line_width), _THRESHOLD, _SLOPE)
    drawn = np.minimum(np.minimum(lines, irises), 1 - strokes)
    if style.darkness > 0:
        soft = cv2.GaussianBlur(tone, (0, 0), max(_AREA_SIGMA * unit, 0.5))
        dark = 1 / (1 + np.exp(-_DARK_SLOPE * (soft - _DARK * style.darkness)))
        drawn = np.minimum(drawn, dark)
    return np.asarray(drawn, np.float32)


def _iris(tone: FloatArray, inside: FloatArray) -> FloatArray:
    """The dark part of an open eye: below a share of the range of tones between its lids."""
    values = tone[inside > 0.5]
    if not values.size:
        return np.ones_like(tone)
    low, high = (float(value) for value in np.quantile(values, (0.05, 0.95)))
    spread = max(high - low, _LEAST_SPREAD)
    limit = np.float32(low + _IRIS * (high - low))
    dark = 1 / (1 + np.exp(np.clip((limit - tone) * np.float32(-_IRIS_SLOPE / spread), -50, 50)))
    return np.asarray(1 - inside * dark, np.float32)


def _skin_tones(gray: FloatArray, faces: Sequence[MeshFace]) -> FloatArray:
    """The skin tone at each pixel, interpolated between points on the skin of all faces.

    The mean of the gray values around the points, weighted by a Gaussian of their distance; far
    from all points, the median of the nearest face's.
    """
    height, width = gray.shape
    scale = max(height, width) / 128
    rows, columns = max(round(height / scale), 1), max(round(width / scale), 1)
    y = ((np.arange(rows, dtype=np.float32) + 0.5) * height / rows)[:, None]
    x = ((np.arange(columns, dtype=np.float32) + 0.5) * width / columns)[None]
    total, weights = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    for face in faces:
        distance = face.eye_distance
        soft = cv2.GaussianBlur(gray, (0, 0), max(0.05 * distance, 0.5))
        places = face.skin_points()
        values = _at(np.asarray(soft, np.float32), places)
        median = float(np.median(values))
        values = np.clip(values, _DARKEST * median, _BRIGHTEST * median)
        for place, value in zip(places, values, strict=True):
            square = (x - place[0]) ** 2 + (y - place[1]) ** 2
            weight = np.exp(-square / (2 * (_REACH * distance) ** 2))
            total += weight * value
            weights += weight
        middle = places.mean(axis=0)
        square = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / distance**2
        weight = 0.05 / (1 + square**2)
        total += weight * median
        weights += weight
    tones = np.maximum(total / weights, 0.02)
    return np.asarray(cv2.resize(tones, (width, height), interpolation=cv2.INTER_LINEAR))


def _at(image: FloatArray, places: FloatArray) -> FloatArray:
    """The pixels at places, the border's outside the image."""
    columns = np.clip(np.rint(places[:, 0]).astype(int), 0, image.shape[1] - 1)
    rows = np.clip(np.rint(places[:, 1]).astype(int), 0, image.shape[0] - 1)
    return np.asarray(image[rows, columns], np.float32)


def _sharpened(drawn: Image, factor: float) -> Image:
    """An enlarged drawing whose edges are as steep as they were before."""
    values = (drawn.astype(np.float32) / 255 - 0.5) * np.float32(factor) + 0.5
    return to_bytes(values * 255)

"""Puts the face of one picture onto faces of another, by the meshes of both.

1. *Warp*: each triangle of the target's mesh shows the same triangle of the source, by an affine
   map (`mobileface.effects.face_warp`). A source that is larger is first made as small as the
   target (area interpolation). Not shown are triangles that look away from the camera in the source
   or the target, that something nearer hides in the source, that the source shows edge-on compared
   with the target, or that lie beyond the border of the source; there the target stays.
2. *Weight* of the source: w = s²·(3 − 2s), s = min(d / (0.05·size), 1), where d is the distance to
   the nearest pixel without a triangle and size the square root of the area of the mesh's hull.
   Over the forehead it falls to 0 by the same curve, since hair lies there, and it is 0 where the
   source's forehead and temples are not skin: where Δ = √((ΔL*/2)² + Δa*² + Δb*²) from the median
   of the points of its mesh below the eyes is above 18; below 10 it counts as skin.
3. *Colour*: L*, a* and b* of the warped face get the means and standard deviations that those of
   the target have where w > 0.5: c' = f·(c − m_s) + m_t with f = σ_t / σ_s (Reinhard et al., "Color
   transfer between images", 2001, https://doi.org/10.1109/38.946629, in CIE L*a*b* instead of lαβ).
   For L*, f is from 0.6 to 1.3; for a* and b* at most 1.3·(m_t + 16) / (m_s + 16) of L*, as if the
   source stood in the light of the target.
4. The result is target + w · (face − target).

Eyes come from the source, what lies between the lips from the target: teeth and tongue fit the
expression, which is the target's. Pixels outside of the triangles are those of the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..errors import InputError
from ..types import Face, FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, check_color, check_image
from .face_warp import Booleans, FaceMap, extent, facing, hidden, map_face, settled
from .mesh_faces import check_mesh_face
from .mesh_triangles import load_triangles

__all__ = ["MARK", "FaceSwapper"]

MARK = "mobileface swap; digitally altered"
"""What the metadata of a result say, in commands and over HTTP."""

_FEATHER = 0.05
_CERTAIN = 0.5
"""Colours are compared where the source has more weight than this: skin, seldom hair."""

_LIPS = 0.01
"""Width of the edge around the mouth, in sizes of the face."""

_EDGE_ON = 0.2
"""Cosine of the angle between a triangle's normal and the camera's axis, at least (78 degrees)."""

_STRETCH = 0.35
"""A triangle's cosine in the source, at least, as a share of that in the target."""

_MOST_FACTOR, _LEAST_FACTOR = 1.3, 0.6
_L_OFFSET = 16.0
"""A surface in k times as much light has ³√k times its L* + 16, a* and b*, by their definition."""

_BROWS, _HAIR = 0.4, 0.7
"""Where the forehead begins and ends to fade, in distances from the middle of the outer corners of
the eyes to the top of the mesh."""

_OVER_BROWS = 0.28
"""Where what lies above the brows begins, in the same distances; there only skin is taken."""

_CORNER, _BESIDE = 0.53, 0.08
"""Beside the eyes too: from where, from the middle, and how far it fades, in distances between the
outer corners."""

_SKIN, _NO_SKIN = 10.0, 18.0
"""Difference from the colour of the skin up to which a pixel is skin, and from which it is not."""

_CHEEKS = (-0.7, -0.15)
"""Points of the mesh at these heights show the skin, in the same distances."""

_TOP, _EYES = 10, (33, 263)
"""Points of landmark_mesh: the top of the forehead, the outer corners of the eyes."""

_BORDER = 4
"""Pixels around the mesh that are kept of the source."""


class FaceSwapper:
    """Puts one face onto others; see the module for the formula.

    Args:
        image: Picture of the source, uint8 (H, W, 3) or (H, W).
        face: Its face, with a mesh (landmark_mesh).
        color: Channel order of a colour picture, of this and of all targets.

    Raises:
        ImageError: If ``image`` is not an image.
        InputError: See `mobileface.effects.mesh_faces.check_mesh_face`; or if ``color`` is unknown.

    Example:
        >>> analyzer = FaceAnalyzer(landmarks="landmark_mesh")         # doctest: +SKIP
        >>> swapper = FaceSwapper(source, analyzer(source)[0])         # doctest: +SKIP
        >>> swapped = swapper(target, analyzer(target))                # doctest: +SKIP
    """

    def __init__(self, image: Image, face: Face, *, color: ChannelOrder = "bgr") -> None:
        image = check_image(image)
        check_color(color)
        mesh = check_mesh_face(face, "source")
        self._triangles = load_triangles()
        self._color = color
        self._size = extent(mesh)
        self._facing = facing(mesh, self._triangles)
        points = mesh.points
        corners = points[self._triangles.corners]
        inside = (corners >= -1) & (corners <= [image.shape[1], image.shape[0]])
        self._inside = inside.all(axis=(1, 2))
        self._usable = self._facing > _EDGE_ON
        self._usable &= ~hidden(mesh, self._triangles, self._size)
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - _BORDER, 0)
        high = np.ceil(points.max(axis=0)).astype(int) + _BORDER + 1
        part = image[low[1] : high[1], low[0] : high[0]]
        if not part.size:
            raise InputError("the face lies outside of its image", where="source")
        self._part = np.ascontiguousarray(_colored(part))
        self._points = points - low.astype(np.float32)
        self._skin = _skin(self._part, self._points, color)
        self._scaled: tuple[int, Image, FloatArray, FloatArray] | None = None

    def __call__(self, image: Image, faces: Face | Sequence[Face]) -> Image:
        """Puts the source's face onto faces of an image.

        Args:
            image: uint8 (H, W, 3) or (H, W); grey images stay grey.
            faces: The faces of this image to replace, with meshes (landmark_mesh).

        Returns:
            A new image of the same shape. Outside of the faces' triangles every pixel is the same.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: See `mobileface.effects.mesh_faces.check_mesh_face`.
        """
        image = check_image(image)
        chosen = [faces] if isinstance(faces, Face) else list(faces)
        meshes = [
            check_mesh_face(face, f"target, face {number}" if len(chosen) > 1 else "target")
            for number, face in enumerate(chosen)
        ]
        result = image.copy()
        for mesh in meshes:
            self._put(result, mesh)
        return result

    def _put(self, image: Image, mesh: Landmarks) -> None:
        """Puts the face into an image."""
        size, here = extent(mesh), facing(mesh, self._triangles)
        usable = self._usable & (self._facing > _STRETCH * here)
        shown = settled(usable, self._triangles) & self._inside & (here > _EDGE_ON)
        part, skin, points = self._at_scale(self._size / size)
        found = map_face(mesh, points, shown, self._triangles, image.shape)
        if found is None:
            return
        there = image[found.place]
        target = _colored(there)
        warped = np.asarray(
            cv2.remap(part, found.x, found.y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )
        skin = np.asarray(cv2.remap(skin, found.x, found.y, cv2.INTER_LINEAR), np.float32)
        weight = _weight(found, size) * _forehead(mesh, found.place, skin)
        face = self._matched(warped, target, weight > _CERTAIN)
        weight = weight[..., None]
        mixed = np.rint(target + weight * (face - target))
        mixed = np.clip(mixed, 0, 255).astype(np.uint8)
        image[found.place] = mixed[..., 0] if there.ndim == 2 else mixed

    def _at_scale(self, ratio: float) -> tuple[Image, FloatArray, FloatArray]:
        """The source's face, not larger than the target's, where it is skin, and its points there.

        Args:
            ratio: Size of the source's face in sizes of the target's. Scales are steps of ⁴√2, so
                that most frames of a video need the one before.
        """
        step = max(round(4 * math.log2(ratio)), 0)
        if self._scaled is None or self._scaled[0] != step:
            height, width = self._part.shape[:2]
            sides = [max(round(side * 2 ** (-step / 4)), 1) for side in (width, height)]
            small, skin = self._part, self._skin
            if step:
                small = np.asarray(cv2.resize(small, sides, interpolation=cv2.INTER_AREA))
                skin = np.asarray(cv2.resize(skin, sides, interpolation=cv2.INTER_AREA))
            # Coordinates are those of the centres of pixels.
            points = (self._points + 0.5) * (np.array(sides) / [width, height]) - 0.5
            self._scaled = step, small, skin, points.astype(np.float32)
        return self._scaled[1:]

    def _matched(self, warped: Image, target: Image, place: Booleans) -> FloatArray:
        """The warped face in the colours of the target, float32 (H, W, 3), 0 to 255.

        Args:
            warped: The face.
            target: What it covers.
            place: bool (H, W): where colours are compared.
        """
        rgb = self._color == "rgb"
        to_lab = cv2.COLOR_RGB2LAB if rgb else cv2.COLOR_BGR2LAB
        from_lab = cv2.COLOR_LAB2RGB if rgb else cv2.COLOR_LAB2BGR
        labs = [cv2.cvtColor(part.astype(np.float32) / 255, to_lab) for part in (warped, target)]
        means, sigmas = zip(
            *(cv2.meanStdDev(lab, mask=place.astype(np.uint8)) for lab in labs), strict=True
        )
        factor = sigmas[1][:, 0] / np.maximum(sigmas[0][:, 0], 1e-3)
        light = (means[1][0, 0] + _L_OFFSET) / (means[0][0, 0] + _L_OFFSET)
        most = [_MOST_FACTOR, *[_MOST_FACTOR * light] * 2]
        factor = np.clip(factor, [_LEAST_FACTOR, 0, 0], most)
        shift = means[1][:, 0] - factor * means[0][:, 0]
        lab = labs[0] * factor.astype(np.float32) + shift.astype(np.float32)
        face = np.asarray(cv2.cvtColor(lab, from_lab) * 255, np.float32)
        if (target == target[..., :1]).all():
            face[:] = face.mean(axis=2, keepdims=True)
        return face


def _colored(image: Image) -> Image:
    """An image of three channels."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _weight(found: FaceMap, size: float) -> FloatArray:
    """How much of each pixel is the source's, float32 (H, W)."""
    drawn = np.pad(found.drawn.astype(np.uint8), 1)
    distance = cv2.distanceTransform(drawn, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    weight = _smooth(distance / (_FEATHER * size))
    if found.mouth.any():
        outside = (~found.mouth).astype(np.uint8)
        away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5)
        weight *= np.clip(away / max(_LIPS * size, 1), 0, 1)
    return np.asarray(weight, np.float32)


def _forehead(mesh: Landmarks, place: tuple[slice, slice], skin: FloatArray) -> FloatArray:
    """1 in the face, how much is skin above brows and beside eyes, 0 at the top, float32 (H, W)."""
    rows, columns = place
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None]
    height = _heights(mesh.points, x, y)
    over = _smooth((height - _OVER_BROWS) / (_BROWS - _OVER_BROWS))
    left, right = mesh.points[list(_EYES)]
    across = (right - left) / max(float((right - left) @ (right - left)), 1.0)
    aside = np.abs((x - left[0]) * across[0] + (y - left[1]) * across[1] - 0.5)
    temples = _smooth((aside - _CORNER) / _BESIDE) * (height > _CHEEKS[0] / 2)
    over = np.maximum(over, temples)
    return _smooth((_HAIR - height) / (_HAIR - _BROWS)) * (1 - over * (1 - skin))


def _heights(points: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """How far up places are from the eyes, 1 at the top of a mesh."""
    eyes = points[list(_EYES)].mean(axis=0)
    up = points[_TOP] - eyes
    up /= max(float(up @ up), 1.0)
    return np.asarray((x - eyes[0]) * up[0] + (y - eyes[1]) * up[1], np.float32)


def _smooth(share: FloatArray) -> FloatArray:
    """0 at 0 and below, 1 at 1 and above, without a corner between."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _skin(image: Image, points: FloatArray, color: ChannelOrder) -> FloatArray:
    """How much each pixel of a face has the colour of its skin, float32 (H, W), 0 to 1."""
    code = cv2.COLOR_RGB2LAB if color == "rgb" else cv2.COLOR_BGR2LAB
    lab = cv2.cvtColor(image.astype(np.float32) / 255, code)
    height = _heights(points, points[:, 0], points[:, 1])
    below = (height > _CHEEKS[0]) & (height < _CHEEKS[1])
    x, y = np.clip(
        np.rint(points[below]).astype(int).T, 0, [[lab.shape[1] - 1], [lab.shape[0] - 1]]
    )
    away = lab - np.median(lab[y, x], axis=0)
    away[..., 0] /= 2
    difference = np.sqrt((away * away).sum(axis=2))
    return _smooth((_NO_SKIN - difference) / (_NO_SKIN - _SKIN))

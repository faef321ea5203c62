"""Makeup of a reference face on other faces, after Guo and Sim.

D. Guo and T. Sim, "Digital face makeup by example", CVPR 2009,
https://doi.org/10.1109/CVPR.2009.5206833. The reference is warped onto the face by the mesh. In
Lab, lightness is split into structure (large scale) and detail by an edge-preserving filter. The
skin takes the reference's colour by weight, its detail by weight, and its highlights and contours
as gradients of the structure. The lips take the reference's colours by luminance remapping. Eyes,
the inside of the mouth and all outside the face stay as they are.

What differs from the paper: the filter is the guided filter instead of weighted least squares, the
Poisson equation is screened (`mobileface.effects.gradients`), a pixel's luminance alone says which
pixel of the reference's lips it takes, and pixels that do not have the skin's colour, such as hair
and glasses, are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from ..errors import InputError
from ..types import Face, FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, check_color, check_image
from .face_warp import Booleans, clockwise, map_face
from .gradients import guided, integrated
from .lip_colors import LipColors
from .mesh_faces import check_mesh_face
from .mesh_regions import inward, mesh_box, mesh_size, region_mask, soft_mask
from .mesh_triangles import load_triangles

__all__ = ["MakeupTransfer", "makeup_of"]

_COLORLESS = 2
"""A face whose channels differ by at most so much, in grey levels, is of a gray picture."""

_COLOR_SHARE, _TONE_SHARE = 0.8, 0.25
"""The paper's γ: share of the reference in the skin's colour; and in its median, the skin's tone,
which also depends on the person and on the light."""

_OWN_DETAIL, _NEW_DETAIL = 0.5, 0.4
"""The paper's δ: shares of the face's own detail and of the reference's in the skin's detail."""

_FEATHER = 0.02
"""Width of the regions' soft edges (sigma), as a share of the face's size."""

_WHOLE = 0.99
"""Share of a pixel that is wholly inside a region."""

_SOFT_LIPS = 8.0
"""From this sigma on lips have soft edges too, of a tenth of it; smaller ones are antialiased."""

_DETAIL_RADIUS, _DETAIL_EDGE = 0.03, 6.0
"""Guided filter: radius as a share of the face's size, and contrast of an edge in units of L."""

_GRID = 160
"""Largest side of the grid on which structure is integrated; it is smooth."""

_REACH = 0.12
"""How far highlights and contours reach, as a share of the face's size."""

_DARKER, _OTHER_COLOR = (15.0, 30.0), (16.0, 30.0)
"""Differences from the skin's median lightness and colour (ΔL, Δab) at which a pixel begins not to
be skin, and at which it is none."""

_CONTRAST = (0.2, 1.0)
"""Limits of how much weaker the reference's differences from its skin's tone become."""

_MEDIAN_OF = 5000
"""The median colour of the skin is that of about so many of its pixels."""

_SHADED = 0.5
"""Skin darker than this share of its tone takes less colour, black none."""

_MOST = 12.0
"""Lightness that highlights and contours add or take at most."""


class MakeupTransfer:
    """Puts the makeup of a reference on other faces.

    Args:
        reference: uint8 (H, W, 3): the photo with the makeup.
        face: Its face, with a mesh (``FaceAnalyzer(landmarks="landmark_mesh")``).
        color: Channel order of the reference.

    Raises:
        ImageError: If the reference is not an image.
        InputError: If it is gray, or the face has no mesh, is turned away by more than 60° or is
            smaller than 32 pixels.
    """

    def __init__(self, reference: Image, face: Face, *, color: ChannelOrder = "bgr") -> None:
        image, mesh = _checked(reference, face, color)
        points, triangles = mesh.points, load_triangles()
        low, high = mesh_box(points, image.shape, mesh_size(points) * 0.2)
        self._part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        self._points = np.asarray(points - low, np.float32)
        self._seen = clockwise(points, triangles)
        self._seen[triangles.skin :] = True  # a closed mouth is not hidden
        mask = region_mask(self._part.shape, self._points, "lips")
        self._lips = LipColors(_to_lab(self._part), mask)

    def __call__(
        self,
        image: Image,
        faces: Sequence[Face],
        *,
        skin: float = 1.0,
        lips: float = 1.0,
        eyes: float = 1.0,
        color: ChannelOrder = "bgr",
    ) -> Image:
        """Makes up the faces of an image.

        Args:
            image: uint8 (H, W, 3).
            faces: The faces to make up, with meshes.
            skin: Strength on the skin, 0 (unchanged) to 1.
            lips: Strength on the lips, 0 to 1.
            eyes: Strength on the eye shadow, 0 to 1.
            color: Channel order of the image.

        Returns:
            A new image of the same shape; the same bytes where nothing is made up.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If it is gray, a strength is out of range, or a face cannot be made up
                (`mobileface.effects.mesh_faces.check_mesh_face`).
        """
        strengths = {"skin": skin, "lips": lips, "eyes": eyes}
        for name, value in strengths.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} {value} is not between 0 and 1")
        checked = [_checked(image, face, color) for face in faces]
        result = _colored(image, color).copy()
        for picture, mesh in checked if any(strengths.values()) else ():
            low, high = mesh_box(mesh.points, picture.shape, 2)
            part = result[low[1] : high[1], low[0] : high[0]]
            if part.size:
                points = np.asarray(mesh.points - low, np.float32)
                part[:] = self._made_up(part, dataclasses.replace(mesh, points=points), strengths)
        return np.ascontiguousarray(result[..., ::-1]) if color == "rgb" else result

    def _made_up(self, part: Image, mesh: Landmarks, strengths: dict[str, float]) -> Image:
        """The part of an image around a face, made up."""
        points = mesh.points
        own, new, seen = _to_lab(part), *self._warped(mesh, part.shape)
        weights = _weights(own, new, seen, points)
        used = {name: weights[name] for name in strengths if strengths[name] > 0}
        tones = [_median(lab, weights["bare"]) for lab in (own, new)]
        changed = _skin(own, new, used, tones, mesh_size(points)) - own
        total = np.zeros_like(own)
        for name in ("skin", "eyes"):
            total += changed * (weights[name] * strengths[name])[..., None]
        if strengths["lips"]:
            remapped = self._lips(own, weights["lips"])
            total += (remapped - own) * (weights["lips"] * strengths["lips"])[..., None]
        before, after = (_from_lab(lab) for lab in (own, own + total))
        found = np.clip(np.round(part + 255 * (after - before)), 0, 255).astype(np.uint8)
        return np.where(total.any(axis=2, keepdims=True), found, part)

    def _warped(self, mesh: Landmarks, shape: tuple[int, ...]) -> tuple[FloatArray, Booleans]:
        """The reference's Lab warped onto a face, and where it is seen."""
        source, where = self._part, self._points
        scale = mesh_size(mesh.points) / mesh_size(where)
        if scale < 1:
            height, width = (max(round(side * scale), 1) for side in source.shape[:2])
            source = np.asarray(cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA))
            ratio = np.array([width, height], np.float32) / self._part.shape[1::-1]
            where = (where + 0.5) * ratio - 0.5
        triangles = load_triangles()
        place, seen = np.full((*shape[:2], 2), -1, np.float32), np.zeros(shape[:2], np.bool_)
        found = map_face(mesh, where, clockwise(mesh.points, triangles), triangles, shape)
        if found is not None:
            place[found.place][found.drawn] = np.dstack([found.x, found.y])[found.drawn]
            seen[found.place] = found.drawn & self._seen[found.number]
        inside = (place >= 0).all(axis=2) & (place <= np.array(source.shape[1::-1]) - 1).all(axis=2)
        warped = cv2.remap(
            source, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return _to_lab(np.asarray(warped, np.uint8)), seen & inside


def makeup_of(reference: Image, face: Face, where: str) -> MakeupTransfer:
    """The makeup of a face in a reference photo; errors name the photo.

    Args:
        reference: uint8 (H, W, 3) BGR.
        face: Its face, with a mesh.
        where: Name of the photo.

    Raises:
        InputError: As `MakeupTransfer`.
    """
    check_mesh_face(face, where)
    try:
        return MakeupTransfer(reference, face)
    except InputError as error:
        raise InputError(error.what, where=where, hint=error.hint) from error


def _skin(
    own: FloatArray,
    new: FloatArray,
    used: dict[str, FloatArray],
    tones: Sequence[FloatArray],
    size: float,
) -> FloatArray:
    """What skin and eyelids become at full strength, Lab: structure + detail, and colour.

    Colours are taken relative to the tone of the skin, which moves by a share of its own;
    differences in lightness as they would be on skin as light as the face's, and those in colour
    by the root of as much, and less in shadow.
    """
    contrast = float(np.clip(tones[0][0] / max(tones[1][0], 1), *_CONTRAST))
    scale = np.array([contrast, contrast**0.5, contrast**0.5], np.float32)
    new = tones[1] + scale * (new - tones[1])
    radius = max(round(_DETAIL_RADIUS * size), 1)
    structure, other = (guided(lab[..., 0], radius, _DETAIL_EDGE) for lab in (own, new))
    nothing = np.zeros(own.shape[:2], np.float32)
    skin, eyes = used.get("skin", nothing), used.get("eyes", nothing)
    result = np.empty_like(own)
    detail = _OWN_DETAIL * (own[..., 0] - structure) + _NEW_DETAIL * (new[..., 0] - other)
    result[..., 0] = structure + detail + _contours(structure, other, skin, eyes, size)
    smooth = cv2.GaussianBlur(new[..., 1:], (0, 0), max(0.01 * size, 0.5))
    share = (_COLOR_SHARE + (1 - _COLOR_SHARE) * eyes)[..., None]
    apart = tones[1][1:] - tones[0][1:]
    added = share * (smooth - own[..., 1:] - apart) + _TONE_SHARE * apart
    lit = np.clip(structure / max(_SHADED * float(tones[0][0]), 1), 0, 1)[..., None]
    result[..., 1:] = own[..., 1:] + lit * added
    return result


def _median(lab: FloatArray, weight: FloatArray) -> FloatArray:
    """The median colour where a weight is above one half; 0 if it is nowhere."""
    inside = lab[weight > 0.5]
    some = inside[:: max(len(inside) // _MEDIAN_OF, 1)]
    return np.asarray(np.median(some, axis=0) if len(some) else np.zeros(3), np.float32)


def _contours(
    own: FloatArray, new: FloatArray, skin: FloatArray, eyes: FloatArray, size: float
) -> FloatArray:
    """What the reference's gradients add to the structure of lightness.

    On the skin the steeper gradient of the two is kept, on the eyelids always the reference's.
    The mean lightness stays.
    """
    height, width = own.shape
    scale = min(_GRID / max(height, width), 1)
    grid = tuple(max(round(side * scale), 2) for side in (width, height))
    small = [
        np.asarray(cv2.resize(plane, grid, interpolation=cv2.INTER_AREA), np.float32)
        for plane in (own, new, skin, eyes)
    ]
    (across, down), (new_across, new_down) = (_differences(plane) for plane in small[:2])
    steeper = np.hypot(new_down, new_across) > np.hypot(down, across)
    weight = small[2] * steeper + small[3]
    added = integrated(
        weight * (new_across - across), weight * (new_down - down), _REACH * size * scale
    )
    total = np.maximum(small[2], small[3])
    added -= (added * total).sum() / max(float(total.sum()), 1)
    added = _MOST * np.tanh(added / _MOST)
    return np.asarray(cv2.resize(added, (width, height), interpolation=cv2.INTER_LINEAR))


def _differences(plane: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What is added from each pixel to the next one to the right, and to the next one below."""
    right, below = np.zeros_like(plane), np.zeros_like(plane)
    right[:, :-1] = np.diff(plane, axis=1)
    below[:-1] = np.diff(plane, axis=0)
    return right, below


def _weights(
    own: FloatArray, new: FloatArray, seen: Booleans, points: FloatArray
) -> dict[str, FloatArray]:
    """Where skin, lips and eye shadow change, 0 to 1; exactly 0 on eyes and in an open mouth."""
    sigma = max(_FEATHER * mesh_size(points), 0.5)
    skin = soft_mask(own.shape, points, ("skin",), sigma)
    lids = soft_mask(own.shape, points, ("shadow", "eyes"), sigma / 2)
    shown = inward(seen.astype(np.float32), sigma)
    both = shown * _skin_share(own, skin, sigma) * _skin_share(new, skin, sigma)
    face, eyes, mouth = (region_mask(own.shape, points, n) for n in ("face", "eyes", "mouth"))
    kept = (face > 0) & (eyes == 0)
    if (mouth > _WHOLE).any():  # otherwise the lips touch: there is no inside
        kept &= mouth == 0
    lips = region_mask(own.shape, points, "lips")
    if sigma > _SOFT_LIPS:
        lips = inward(lips, sigma / 10)
    return {
        "skin": skin * (1 - lids) * both * kept,
        "eyes": lids * shown * kept,
        "lips": lips * kept,
        "bare": skin * both,
    }


def _skin_share(lab: FloatArray, weight: FloatArray, sigma: float) -> FloatArray:
    """How much each pixel has the skin's own colour, 0 to 1; hair and glasses do not."""
    middle = _median(lab, weight)
    darker = _falling(middle[0] - lab[..., 0], *_DARKER)
    other = _falling(np.hypot(*np.moveaxis(lab[..., 1:] - middle[1:], 2, 0)), *_OTHER_COLOR)
    around = 2 * int(np.ceil(sigma)) + 1
    least = cv2.erode(darker * other, np.ones((around, around), np.uint8))
    return np.asarray(cv2.GaussianBlur(least, (0, 0), sigma), np.float32)


def _falling(values: FloatArray, low: float, high: float) -> FloatArray:
    """1 up to low, 0 from high on."""
    return np.clip((high - values) / (high - low), 0, 1).astype(np.float32)


def _checked(image: Image, face: Face, color: ChannelOrder) -> tuple[Image, Landmarks]:
    """The image in BGR, and the mesh of a face that can be made up."""
    picture = _colored(image, color)
    mesh = check_mesh_face(face)
    low, high = mesh_box(mesh.points, picture.shape, 0)
    part = picture[low[1] : high[1], low[0] : high[0]]
    if part.size and cv2.absdiff(part, part[..., [1, 2, 0]]).max() <= _COLORLESS:
        raise InputError("the face is gray", hint="makeup needs a picture in colour")
    return picture, mesh


def _colored(image: Image, color: ChannelOrder) -> Image:
    """Checks a colour image and returns it in BGR."""
    image = check_image(image)
    check_color(color)
    if image.ndim != 3:
        raise InputError("a colour image is required, not a greyscale one")
    return np.ascontiguousarray(image[..., ::-1] if color == "rgb" else image)


def _to_lab(image: Image) -> FloatArray:
    """CIE Lab under D65 of a BGR image, L 0 to 100."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB))


def _from_lab(lab: FloatArray) -> FloatArray:
    """BGR of Lab, 0 to 1."""
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR))

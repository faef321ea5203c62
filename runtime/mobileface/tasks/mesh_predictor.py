"""The mesh of a face: hundreds of points in 3-D, from a square that is turned with the head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..models.kinds import MeshSpec
from ..models.session import Session
from ..types import FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, check_color, check_image, to_tensor
from .landmarks import limited_boxes, turns_of
from .upright import Matrix, points_back, turned_patch

__all__ = ["MeshPredictor"]

_BATCH = 8
"""Squares per run: more gain nothing on a CPU and need more memory."""

_LEVEL = 5.0
"""Degrees: if a mesh's eyes are tilted by more in its square, the face is looked at again.

A square that is off by 5 degrees moves yaw, pitch and roll of the mesh by less than 1 degree in the
mean, one that is off by 25 degrees by up to 7 (67 portraits of LFW).
"""

_LOOKS = 3
"""How often a face is looked at, each time turned as its mesh was the time before."""


class MeshPredictor:
    """Finds the mesh of each face (Kartynnik et al. 2019, https://arxiv.org/abs/1907.06724).

    Args:
        session: A landmark model of kind "mesh".
        presence_threshold: Faces that are less sure have no mesh, 0 to 1; default: the model's.

    Attributes:
        spec: The model's spec.
        name: Name of the model.
        point_names: Name of each point: "mesh_0", "mesh_1", …

    Raises:
        ModelError: If the model is of another kind.
        InputError: If the threshold is out of range.
    """

    def __init__(self, session: Session, *, presence_threshold: float | None = None) -> None:
        self._section = session.spec.require(MeshSpec, str(session.path))
        self._input = session.spec.require_input()
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.point_names = tuple(f"mesh_{number}" for number in range(self._section.count))
        given = presence_threshold
        self.presence_threshold = self._section.presence_threshold if given is None else given
        if not 0 <= self.presence_threshold <= 1:
            raise InputError(f"presence_threshold must be from 0 to 1, not {given}")

    def predict(
        self,
        image: Image,
        boxes: npt.ArrayLike,
        rolls: npt.ArrayLike | Sequence[float | None] | None = None,
        *,
        color: ChannelOrder = "bgr",
    ) -> list[Landmarks | None]:
        """Finds the mesh of each face.

        The network sees a square around the middle of the box, turned by the roll. If the eyes are
        not level in it, it looks again, turned by as much.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            boxes: (N, 4): x1, y1, x2, y2 of the upright faces in pixels. They may extend beyond the
                image, where pixels are treated as black.
            rolls: (N,): degrees by which each head is turned clockwise; None or nan if that is not
                known, which is the default for all.
            color: Channel order of a colour image.

        Returns:
            For each box the points in pixels of the image, with z and score; None if the score is
            below `presence_threshold` or the box has no area.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If the boxes are not an (N, 4) array of finite numbers in the supported
                range, the rolls not N numbers, or ``color`` is unknown.
        """
        image, corners = check_image(image), limited_boxes(boxes)
        check_color(color)
        turns = turns_of(rolls, len(corners))
        sides = self._section.side * (corners[:, 2:] - corners[:, :2]).max(axis=1, initial=0)
        centers = (corners[:, :2] + corners[:, 2:]) / 2
        found: list[Landmarks | None] = [None] * len(corners)
        left = [number for number in range(len(corners)) if sides[number] > 0]
        for look in range(_LOOKS):
            again = []
            for start in range(0, len(left), _BATCH):
                numbers = left[start : start + _BATCH]
                squares = [
                    turned_patch(
                        image,
                        centers[number].astype(np.float32),
                        float(turns[number]),
                        self._input.width / float(sides[number]),
                        self._input.width,
                    )
                    for number in numbers
                ]
                parts = self._run(squares, sides[numbers], color)
                for number, (marks, tilt) in zip(numbers, parts, strict=True):
                    found[number] = marks
                    if marks is not None and abs(tilt) > _LEVEL and look + 1 < _LOOKS:
                        turns[number] += tilt
                        again.append(number)
            left = again
        return found

    __call__ = predict

    def _run(
        self,
        squares: list[tuple[Image, Matrix]],
        sides: npt.NDArray[np.float64],
        color: ChannelOrder,
    ) -> list[tuple[Landmarks | None, float]]:
        """The mesh of each square, in pixels of the image, and the tilt of its eyes there."""
        tensor = to_tensor([square for square, _ in squares], self._input, color)
        output = self.session.run({self._input.name: tensor})
        found: list[tuple[Landmarks | None, float]] = []
        for number, (_, matrix) in enumerate(squares):
            points: FloatArray = output[self._section.points][number]
            score = float(output[self._section.presence][number])
            if not (score >= self.presence_threshold and np.isfinite(points).all()):
                found.append((None, 0.0))
                continue
            z = points[:, 2] * np.float32(sides[number] / self._input.width)
            where = points_back(points[:, :2], matrix)
            found.append((Landmarks(self.point_names, where, z, score), self._tilt(points)))
        return found

    def _tilt(self, points: FloatArray) -> float:
        """Degrees from the horizontal to the line through the corners of the eyes, clockwise."""
        left, right = self._section.eyes
        across, down = (float(value) for value in points[right, :2] - points[left, :2])
        return math.degrees(math.atan2(down, across))

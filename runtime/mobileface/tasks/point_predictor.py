"""Landmarks from a network that reads the square around a face's box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, ModelError
from ..models.kinds import PointsSpec
from ..models.session import Session
from ..types import FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, check_color, check_image, to_tensor
from .landmarks import limited_boxes, turns_of
from .upright import Matrix, points_back, turned_patch

__all__ = ["PointPredictor"]

_BATCH = 8
"""Crops per run: more gain nothing on a CPU and need more memory."""

_MAX_IMAGE_SIDE = 32766
"""Maximum side, in pixels, of an image that OpenCV's warp can address."""


class PointPredictor:
    """Predicts the landmarks of faces with a network on their crops.

    The crop is the square around the middle of the box, `PointsSpec.margin` wider on each side,
    scaled bilinearly. The middle of the box is coordinate width / 2 of the crop.

    Args:
        session: A landmark model of kind "points".

    Attributes:
        spec: The model's spec.
        name: Name of the model.
        point_names: Name of each landmark.

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        self._section = session.spec.require(PointsSpec, str(session.path))
        self._input = session.spec.require_input()
        if self._input.height != self._input.width:
            raise ModelError("reads no squares", where=str(session.path))
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.point_names = self._section.points

    def predict(
        self,
        image: Image,
        boxes: npt.ArrayLike,
        rolls: npt.ArrayLike | Sequence[float | None] | None = None,
        *,
        color: ChannelOrder = "bgr",
    ) -> list[Landmarks]:
        """Predicts the landmarks of each face.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            boxes: (N, 4): x1, y1, x2, y2 of the upright faces in pixels. They may extend beyond the
                image, where pixels are treated as black; sides below one pixel count as one.
            rolls: (N,): degrees by which each head is turned clockwise, so that its crop is turned
                as well; None or nan if that is not known, which is the default for all.
            color: Channel order of a colour image.

        Returns:
            The landmarks of each box in pixels of the image, with z on the same scale if the
            network gives it; they may lie outside the box or the image.

        Raises:
            ImageError: If ``image`` is not an image, or is too large.
            InputError: If the boxes are not an (N, 4) array of finite numbers in the supported
                range, the rolls not N numbers, or ``color`` is unknown.
        """
        image, corners = check_image(image), limited_boxes(boxes)
        check_color(color)
        if max(image.shape[:2]) > _MAX_IMAGE_SIDE:
            raise ImageError(
                f"the sides must be at most {_MAX_IMAGE_SIDE} pixels, not {image.shape[:2]}"
            )
        turned = list(zip(corners, turns_of(rolls, len(corners)).tolist(), strict=True))
        found: list[Landmarks] = []
        for start in range(0, len(turned), _BATCH):
            crops = [self._crop(image, *item) for item in turned[start : start + _BATCH]]
            tensor = to_tensor([crop for crop, _ in crops], self._input, color)
            rows = self.session.run({self._input.name: tensor})[self._section.output]
            pairs = zip(rows, crops, strict=True)
            found += [self._landmarks(row, matrix) for row, (_, matrix) in pairs]
        return found

    __call__ = predict

    def _crop(
        self, image: Image, box: npt.NDArray[np.float64], turn: float
    ) -> tuple[Image, Matrix]:
        """The square around a box, turned with the head, and the matrix from image to crop."""
        side = max(float((box[2:] - box[:2]).max()), 1.0) * (1 + 2 * self._section.margin)
        center = np.asarray((box[:2] + box[2:]) / 2, np.float32)
        return turned_patch(image, center, turn, self._input.width / side, self._input.width)

    def _landmarks(self, row: FloatArray, matrix: Matrix) -> Landmarks:
        """Landmarks in pixels of the image from the numbers of one crop."""
        count, axes = len(self._section.points), self._section.dimensions
        planar = self._section.order == "planar"
        values = row.reshape(axes, count).T if planar else row.reshape(count, axes)
        points = values.astype(np.float64)
        if self._section.range == "signed":
            points[:, :2] += 1
            points *= self._input.width / 2
        elif self._section.range == "unit":
            points *= self._input.width
        where = points_back(points[:, :2], matrix)
        if axes == 2:
            return Landmarks(self.point_names, where)
        z = points[:, 2] / math.hypot(*matrix[0, :2])
        return Landmarks(self.point_names, where, np.asarray(z, np.float32))

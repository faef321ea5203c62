"""Irises and contours of the eyes of faces that have a mesh, and where the eyes look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError, ModelError
from ..models.kinds import IrisSpec
from ..models.session import Session
from ..types import FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, Tensor, check_color, check_image, to_tensor
from .upright import Matrix, points_back, turned_patch

__all__ = ["Eye", "IrisPredictor"]

Doubles = npt.NDArray[np.float64]

_BATCH = 8
"""Eyes per run: more gain nothing on a CPU and need more memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """One eye.

    Attributes:
        iris: float32 (5, 2): the centre of the iris and four points on its edge, in pixels of the
            image.
        contour: float32 (71, 2): contour of the eye and its brow in the same pixels; the first 16
            are the eye itself: its lower lid from the outer to the inner corner, then its upper.
        gaze: Offset of the centre of the iris from the middle between the corners of the eye, in
            halves of their distance: x along the line through them, positive to the viewer's right,
            y across it, positive down. It is not a calibrated direction: it says nothing about
            where the head is turned, and an eye that looks into the camera is not always at 0.
    """

    iris: FloatArray
    contour: FloatArray
    gaze: tuple[float, float]


class IrisPredictor:
    """Finds irises (Ablavatski et al. 2020, https://arxiv.org/abs/2006.11341).

    Args:
        session: A model of kind "iris".

    Attributes:
        spec: The model's spec.
        name: Name of the model.

    Raises:
        ModelError: If the model is of another kind.

    Example:
        >>> analyzer = mobileface.FaceAnalyzer(landmarks="landmark_mesh")   # doctest: +SKIP
        >>> faces = analyzer(image)                                         # doctest: +SKIP
        >>> irises = mobileface.load("landmark_iris")                       # doctest: +SKIP
        >>> eyes = irises.predict(image, [f.mesh for f in faces])           # doctest: +SKIP
        >>> left, right = eyes[0]  # as the viewer sees them                # doctest: +SKIP
    """

    def __init__(self, session: Session) -> None:
        self._section = session.spec.require(IrisSpec, str(session.path))
        self._input = session.spec.require_input()
        if self._input.height != self._input.width:
            raise ModelError("reads no squares", where=str(session.path))
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name

    def predict(
        self,
        image: Image,
        meshes: Sequence[Landmarks | None],
        *,
        color: ChannelOrder = "bgr",
    ) -> list[tuple[Eye, Eye] | None]:
        """Finds both eyes of each face.

        The network sees a square around each eye, turned until its corners are level.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            meshes: The mesh of each face, as ``face.mesh`` of landmark_mesh; None without one.
            color: Channel order of a colour image.

        Returns:
            For each mesh the viewer's left and right eye; None without a mesh, or if the corners of
            an eye coincide.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If a mesh lacks the corners of the eyes or is not finite, or ``color`` is
                unknown.
        """
        image = check_image(image)
        check_color(color)
        corners = [self._corners(mesh, number) for number, mesh in enumerate(meshes)]
        chosen = [pair for pair in corners if pair is not None]
        eyes = self._eyes(
            image, [eye for pair in chosen for eye in zip(pair, (False, True), strict=True)], color
        )
        pairs = iter(zip(eyes[::2], eyes[1::2], strict=True))
        return [None if pair is None else next(pairs) for pair in corners]

    def __call__(self, image: Image, *, color: ChannelOrder = "bgr") -> Eye:
        """One eye in a square of its own: the corners are where `predict` would put them.

        Args:
            image: uint8 (H, W, 3) or (H, W): a left eye as the viewer sees it; it is stretched to a
                square.
            color: Channel order of a colour image.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If ``color`` is unknown.
        """
        image = check_image(image)
        check_color(color)
        height, width = image.shape[:2]
        side = self._input.width
        contour, iris = self._run(to_tensor([image], self._input, color))
        scale = np.array([width / side, height / side], np.float32)
        half = width / (2 * self._section.side)
        ends = np.array([[width / 2 - half, height / 2], [width / 2 + half, height / 2]])
        return _eye(iris[0] * scale, contour[0] * scale, ends)

    def _corners(self, mesh: Landmarks | None, number: int) -> Doubles | None:
        """The corners of both eyes, float64 (2, 2, 2), the viewer's left of each first.

        Raises:
            InputError: The mesh lacks them, or they are not finite.
        """
        if mesh is None:
            return None
        chosen = (*self._section.left, *self._section.right[::-1])
        found = mesh.select(tuple(f"mesh_{point}" for point in chosen))
        if found is None or not np.isfinite(found).all():
            raise InputError(
                "no mesh with the corners of the eyes",
                where=f"mesh {number}",
                hint='FaceAnalyzer(landmarks="landmark_mesh") gives face.mesh',
            )
        pairs = found.astype(np.float64).reshape(2, 2, 2)
        lengths = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=1)
        return pairs if lengths.min() > 0 else None

    def _eyes(
        self, image: Image, places: Sequence[tuple[Doubles, bool]], color: ChannelOrder
    ) -> list[Eye]:
        """The eyes between corners, mirrored for the network where that is wanted."""
        found = []
        for start in range(0, len(places), _BATCH):
            part = places[start : start + _BATCH]
            squares = [self._square(image, ends, mirrored) for ends, mirrored in part]
            tensor = to_tensor([square for square, _ in squares], self._input, color)
            contours, irises = self._run(tensor)
            for number, (ends, _) in enumerate(part):
                matrix = squares[number][1]
                iris, contour = (points_back(p[number], matrix) for p in (irises, contours))
                found.append(_eye(iris, contour, ends))
        return found

    def _square(self, image: Image, ends: Doubles, mirrored: bool) -> tuple[Image, Matrix]:
        """The square around an eye, and the matrix from image to square."""
        side = self._input.width
        across, down = (ends[1] - ends[0]).tolist()
        scale = side / (self._section.side * math.hypot(across, down))
        turn = math.degrees(math.atan2(down, across))
        center = np.asarray(ends.mean(axis=0), np.float32)
        square, matrix = turned_patch(image, center, turn, scale, side)
        if mirrored:
            square = np.ascontiguousarray(square[:, ::-1])
            matrix = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ matrix
            matrix[0, 2] += side - 1
        return square, matrix

    def _run(self, tensor: Tensor) -> tuple[FloatArray, FloatArray]:
        """Contours (N, 71, 2) and irises (N, 5, 2) in pixels of the squares."""
        found = self.session.run({self._input.name: tensor})
        contour, iris = found[self._section.contour], found[self._section.iris]
        return np.asarray(contour[..., :2], np.float32), np.asarray(iris[..., :2], np.float32)


def _eye(iris: FloatArray, contour: FloatArray, ends: Doubles) -> Eye:
    """An eye with the offset of its iris."""
    across = ends[1] - ends[0]
    offset = iris[0].astype(np.float64) - ends.mean(axis=0)
    square = float(across @ across) / 2
    x = float(offset @ across) / square
    y = float(offset[1] * across[0] - offset[0] * across[1]) / square
    return Eye(np.asarray(iris, np.float32), np.asarray(contour, np.float32), (x, y))

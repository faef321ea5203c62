"""Follows the meshes of faces through a video, with a detection in few frames only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..tasks.upright import eye_line
from ..types import Face, FloatArray, Landmarks
from ..vision.image import Image, check_image
from .smoothing import PointSmoother
from .tracker import Tracker

__all__ = ["MeshFollower", "mesh_box"]

_BOX = 1.05
"""Side of a detector's box in longer sides of the mesh (median of 205 portraits; 1.01 to 1.09)."""

_TASKS = ("landmarks", "pose")


class MeshFollower:
    """Finds the mesh of each face in each frame of one video.

    In a frame without a detection, a face is looked for where its mesh was in the frame before, as
    far as it was turned there. The detector runs in every ``detect_every``-th frame, and at once
    where a mesh is lost. The points of each face are smoothed over time (`PointSmoother`).

    Args:
        analyzer: Provides the detector and landmark_mesh, and the pose by it.
        detect_every: Frames from one detection to the next; a new face is found that much later.

    Raises:
        InputError: If ``detect_every`` is not at least 1.
    """

    def __init__(self, analyzer: FaceAnalyzer, *, detect_every: int = 10) -> None:
        if detect_every < 1:
            raise InputError(f"detect_every must be at least 1, not {detect_every}")
        self._analyzer, self._every = analyzer, detect_every
        self._tracker = Tracker(max_age=2 * detect_every, min_hits=1)
        self._smoothers: dict[int, PointSmoother] = {}
        self._faces: list[Face] = []
        self._number = -1

    def __call__(self, frame: Image, time: float) -> dict[int, Face]:
        """The faces of the next frame, by the IDs of their tracks.

        Args:
            frame: uint8 (H, W, 3) BGR, or (H, W).
            time: Its time in seconds.

        Returns:
            The faces that are seen, each with box and pose, and its smoothed mesh. Both are None
            where the network is not sure of the face; it is looked for in the next detection.

        Raises:
            ImageError: If ``frame`` is not an image.
        """
        frame = check_image(frame)
        self._number += 1
        due = self._number % self._every == 0
        followed = None if due else self._followed(frame)
        faces = self._detected(frame) if followed is None else followed
        self._faces = [face for face in faces if face.mesh is not None]
        boxes = np.array([face.bbox for face in faces], np.float32).reshape(-1, 4)
        found: dict[int, Face] = {}
        for track in self._tracker.update(boxes, [face.det_score for face in faces]):
            assert track.detection is not None
            found[track.track_id] = faces[track.detection]
        self._smoothers = {
            number: self._smoothers.get(number) or PointSmoother()
            for number, face in found.items()
            if face.mesh is not None
        }
        return {number: self._smoothed(number, face, time) for number, face in found.items()}

    def _detected(self, frame: Image) -> list[Face]:
        faces = []
        for face in self._analyzer.detect(frame):
            roll = None if face.landmarks is None else eye_line(face.landmarks)
            faces.append(dataclasses.replace(face, landmarks=None, roll=roll))
        return self._analyzer.describe(frame, faces, _TASKS)

    def _followed(self, frame: Image) -> list[Face] | None:
        """The faces near those of the frame before; None if one is not there any more."""
        before: Sequence[Face] = [
            Face(
                bbox=mesh_box(face.mesh),
                det_score=face.det_score,
                roll=None if face.pose is None else face.pose.roll,
            )
            for face in self._faces
            if face.mesh is not None
        ]
        faces = self._analyzer.describe(frame, before, _TASKS)
        return None if any(face.mesh is None for face in faces) else faces

    def _smoothed(self, number: int, face: Face, time: float) -> Face:
        if face.mesh is None or face.mesh.z is None:
            return face
        rows = self._smoothers[number](np.column_stack([face.mesh.points, face.mesh.z]), time)
        points, z = (np.array(part, np.float32) for part in (rows[:, :2], rows[:, 2]))
        mesh = dataclasses.replace(face.mesh, points=points, z=z)
        return dataclasses.replace(face, mesh=mesh)


def mesh_box(mesh: Landmarks) -> FloatArray:
    """The square that a detector would give for the face of a mesh, float32 (4,).

    The mesh is turned upright by the line from its 10th point (forehead) to its 152nd (chin).
    """
    points = mesh.points.astype(np.float64)
    down = points[152] - points[10]
    turn = math.atan2(-float(down[0]), float(down[1]))
    cosine, sine = math.cos(turn), math.sin(turn)
    upright = points @ np.array([[cosine, -sine], [sine, cosine]])
    low, high = upright.min(axis=0), upright.max(axis=0)
    middle = np.array([[cosine, -sine], [sine, cosine]]) @ ((low + high) / 2)
    half = max(_BOX * float((high - low).max()) / 2, 1.0)
    return np.asarray(np.concatenate([middle - half, middle + half]), np.float32)

"""mobileface: face tasks on small machines, on ONNX Runtime and OpenCV alone.

>>> import mobileface
>>> embedder = mobileface.load()                       # doctest: +SKIP
>>> embedder.embed([crop_a, crop_b]).shape             # doctest: +SKIP
(2, 256)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyzer import FaceAnalyzer
    from .effects.enhance import enhance
    from .effects.makeup import makeup
    from .errors import MobileFaceError
    from .gallery.enrol import Enroller
    from .gallery.gallery import Gallery
    from .matching.calibration import Calibration, find_calibration
    from .matching.embeddings import EmbeddingSet
    from .matching.error_rates import Decision, Rate
    from .matching.similarity import cosine_similarity
    from .models.lookup import find_model, list_models
    from .models.session import Session
    from .models.spec import ModelSpec
    from .tasks.align import align
    from .tasks.attribute_set import AttributeSet
    from .tasks.attributes import AttributePredictor
    from .tasks.detection import Detector
    from .tasks.drawing import draw_faces
    from .tasks.embedding import Embedder
    from .tasks.head_predictor import HeadPredictor
    from .tasks.landmarks import LandmarkPredictor
    from .tasks.loading import (
        load,
        load_attributes,
        load_detector,
        load_embedder,
        load_landmarks,
        load_pose,
    )
    from .tasks.pose import PoseEstimator
    from .tracking.follower import FaceFollower
    from .tracking.tracker import Tracker
    from .types import Attributes, Detections, Face, Landmarks, Pose, Track
    from .vision.image import read_image
    from .vision.video import VideoReader, VideoWriter

__all__ = [
    "AttributePredictor",
    "AttributeSet",
    "Attributes",
    "Calibration",
    "Decision",
    "Detections",
    "Detector",
    "Embedder",
    "EmbeddingSet",
    "Enroller",
    "Face",
    "FaceAnalyzer",
    "FaceFollower",
    "Gallery",
    "HeadPredictor",
    "LandmarkPredictor",
    "Landmarks",
    "MobileFaceError",
    "ModelSpec",
    "Pose",
    "PoseEstimator",
    "Rate",
    "Session",
    "Track",
    "Tracker",
    "VideoReader",
    "VideoWriter",
    "__version__",
    "align",
    "cosine_similarity",
    "draw_faces",
    "enhance",
    "find_calibration",
    "find_model",
    "list_models",
    "load",
    "load_attributes",
    "load_detector",
    "load_embedder",
    "load_landmarks",
    "load_pose",
    "makeup",
    "read_image",
]

__version__ = "0.1.0"

# ONNX Runtime from 1.24 on would number this machine in a file of the user's cache folder, gather
# events there and send them. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "AttributePredictor": "tasks.attributes",
    "AttributeSet": "tasks.attribute_set",
    "Attributes": "types",
    "Calibration": "matching.calibration",
    "Decision": "matching.error_rates",
    "Detections": "types",
    "Detector": "tasks.detection",
    "Embedder": "tasks.embedding",
    "EmbeddingSet": "matching.embeddings",
    "Enroller": "gallery.enrol",
    "Face": "types",
    "FaceAnalyzer": "analyzer",
    "FaceFollower": "tracking.follower",
    "Gallery": "gallery.gallery",
    "HeadPredictor": "tasks.head_predictor",
    "LandmarkPredictor": "tasks.landmarks",
    "Landmarks": "types",
    "MobileFaceError": "errors",
    "ModelSpec": "models.spec",
    "Pose": "types",
    "PoseEstimator": "tasks.pose",
    "Rate": "matching.error_rates",
    "Session": "models.session",
    "Track": "types",
    "Tracker": "tracking.tracker",
    "VideoReader": "vision.video",
    "VideoWriter": "vision.video",
    "align": "tasks.align",
    "cosine_similarity": "matching.similarity",
    "draw_faces": "tasks.drawing",
    "enhance": "effects.enhance",
    "find_calibration": "matching.calibration",
    "find_model": "models.lookup",
    "list_models": "models.lookup",
    "load": "tasks.loading",
    "load_attributes": "tasks.loading",
    "load_detector": "tasks.loading",
    "load_embedder": "tasks.loading",
    "load_landmarks": "tasks.loading",
    "load_pose": "tasks.loading",
    "makeup": "effects.makeup",
    "read_image": "vision.image",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: reading a spec needs no ONNX Runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

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
    from .calibration import Calibration, find_calibration
    from .draw import draw_faces
    from .embeddings import EmbeddingSet
    from .error_rates import Decision, Rate
    from .errors import MobileFaceError
    from .following import FaceFollower
    from .gallery.enrol import Enroller
    from .gallery.store import Gallery
    from .image import read_image
    from .loading import (
        load,
        load_attributes,
        load_detector,
        load_embedder,
        load_landmarks,
        load_pose,
    )
    from .session import Session
    from .spec import ModelSpec
    from .store import find_model, list_models
    from .tasks.align import align
    from .tasks.attribute import AttributePredictor
    from .tasks.detect import Detector
    from .tasks.embed import Embedder, cosine_similarity
    from .tasks.enhance import enhance
    from .tasks.landmark import LandmarkPredictor
    from .tasks.makeup import makeup
    from .tasks.pose import PoseEstimator
    from .tasks.track import Tracker
    from .types import Attributes, Detections, Face, Landmarks, Pose, Track
    from .video import VideoReader, VideoWriter

__all__ = [
    "AttributePredictor",
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
    "AttributePredictor": "tasks.attribute",
    "Attributes": "types",
    "Calibration": "calibration",
    "Decision": "error_rates",
    "Detections": "types",
    "Detector": "tasks.detect",
    "Embedder": "tasks.embed",
    "EmbeddingSet": "embeddings",
    "Enroller": "gallery.enrol",
    "Face": "types",
    "FaceAnalyzer": "analyzer",
    "FaceFollower": "following",
    "Gallery": "gallery.store",
    "LandmarkPredictor": "tasks.landmark",
    "Landmarks": "types",
    "MobileFaceError": "errors",
    "ModelSpec": "spec",
    "Pose": "types",
    "PoseEstimator": "tasks.pose",
    "Rate": "error_rates",
    "Session": "session",
    "Track": "types",
    "Tracker": "tasks.track",
    "VideoReader": "video",
    "VideoWriter": "video",
    "align": "tasks.align",
    "cosine_similarity": "tasks.embed",
    "draw_faces": "draw",
    "enhance": "tasks.enhance",
    "find_calibration": "calibration",
    "find_model": "store",
    "list_models": "store",
    "load": "loading",
    "load_attributes": "loading",
    "load_detector": "loading",
    "load_embedder": "loading",
    "load_landmarks": "loading",
    "load_pose": "loading",
    "makeup": "tasks.makeup",
    "read_image": "image",
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

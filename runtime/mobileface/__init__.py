"""mobileface: face analysis for small devices, with only ONNX Runtime and OpenCV.

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
    from .effects.anonymize import anonymize
    from .effects.backdrops import Backdrop
    from .effects.background import change_background
    from .effects.background_video import BackgroundChanger
    from .effects.enhance import enhance
    from .effects.makeup import makeup
    from .effects.makeup_transfer import MakeupTransfer
    from .effects.portrait import PortraitStyle, draw_portrait
    from .effects.swap import FaceSwapper
    from .errors import MobileFaceError
    from .gallery.enrol import Enroller
    from .gallery.gallery import Gallery
    from .matching.calibration import Calibration, find_calibration
    from .matching.decisions import DecisionRule, Verdict, decision_rule, verdict
    from .matching.embeddings import EmbeddingSet
    from .matching.error_rates import Rate
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
    from .tasks.face_choice import choose_face
    from .tasks.head_predictor import HeadPredictor
    from .tasks.iris_predictor import Eye, IrisPredictor
    from .tasks.landmarks import LandmarkPredictor
    from .tasks.loading import (
        load,
        load_attributes,
        load_detector,
        load_embedder,
        load_landmarks,
        load_pose,
    )
    from .tasks.mesh_pose import MeshPoseEstimator
    from .tasks.mesh_predictor import MeshPredictor
    from .tasks.person_segmenter import PersonSegmenter
    from .tasks.point_predictor import PointPredictor
    from .tasks.pose import PoseEstimator
    from .tracking.follower import FaceFollower
    from .tracking.tracker import Tracker
    from .types import Attributes, Detections, Face, Landmarks, Pose, PublishedPose, Track
    from .vision.picture_files import read_image
    from .vision.video import VideoReader, VideoWriter

__all__ = [
    "AttributePredictor",
    "AttributeSet",
    "Attributes",
    "Backdrop",
    "BackgroundChanger",
    "Calibration",
    "DecisionRule",
    "Detections",
    "Detector",
    "Embedder",
    "EmbeddingSet",
    "Enroller",
    "Eye",
    "Face",
    "FaceAnalyzer",
    "FaceFollower",
    "FaceSwapper",
    "Gallery",
    "HeadPredictor",
    "IrisPredictor",
    "LandmarkPredictor",
    "Landmarks",
    "MakeupTransfer",
    "MeshPoseEstimator",
    "MeshPredictor",
    "MobileFaceError",
    "ModelSpec",
    "PersonSegmenter",
    "PointPredictor",
    "PortraitStyle",
    "Pose",
    "PoseEstimator",
    "PublishedPose",
    "Rate",
    "Session",
    "Track",
    "Tracker",
    "Verdict",
    "VideoReader",
    "VideoWriter",
    "__version__",
    "align",
    "anonymize",
    "change_background",
    "choose_face",
    "cosine_similarity",
    "decision_rule",
    "draw_faces",
    "draw_portrait",
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
    "verdict",
]

__version__ = "0.1.0"

# ONNX Runtime 1.24 or newer stores an ID of this machine in the user's cache folder, collects
# events there and sends them. To enable that, set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "AttributePredictor": "tasks.attributes",
    "AttributeSet": "tasks.attribute_set",
    "Attributes": "types",
    "Backdrop": "effects.backdrops",
    "BackgroundChanger": "effects.background_video",
    "Calibration": "matching.calibration",
    "DecisionRule": "matching.decisions",
    "Detections": "types",
    "Detector": "tasks.detection",
    "Embedder": "tasks.embedding",
    "EmbeddingSet": "matching.embeddings",
    "Enroller": "gallery.enrol",
    "Eye": "tasks.iris_predictor",
    "Face": "types",
    "FaceAnalyzer": "analyzer",
    "FaceFollower": "tracking.follower",
    "FaceSwapper": "effects.swap",
    "Gallery": "gallery.gallery",
    "HeadPredictor": "tasks.head_predictor",
    "IrisPredictor": "tasks.iris_predictor",
    "LandmarkPredictor": "tasks.landmarks",
    "Landmarks": "types",
    "MakeupTransfer": "effects.makeup_transfer",
    "MeshPoseEstimator": "tasks.mesh_pose",
    "MeshPredictor": "tasks.mesh_predictor",
    "MobileFaceError": "errors",
    "ModelSpec": "models.spec",
    "PersonSegmenter": "tasks.person_segmenter",
    "PointPredictor": "tasks.point_predictor",
    "PortraitStyle": "effects.portrait",
    "Pose": "types",
    "PublishedPose": "types",
    "PoseEstimator": "tasks.pose",
    "Rate": "matching.error_rates",
    "Session": "models.session",
    "Track": "types",
    "Tracker": "tracking.tracker",
    "Verdict": "matching.decisions",
    "VideoReader": "vision.video",
    "VideoWriter": "vision.video",
    "align": "tasks.align",
    "change_background": "effects.background",
    "choose_face": "tasks.face_choice",
    "cosine_similarity": "matching.similarity",
    "decision_rule": "matching.decisions",
    "draw_faces": "tasks.drawing",
    "draw_portrait": "effects.portrait",
    "anonymize": "effects.anonymize",
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
    "read_image": "vision.picture_files",
    "verdict": "matching.decisions",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that reading a spec does not load ONNX Runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Makers: one for each kind of source file, by the name that recipes use for it."""

from __future__ import annotations

from . import (
    dlib_descriptor,
    hog,
    keras,
    landmark,
    mxnet,
    onnx_network,
    pose,
    rigid_pose,
    single_shot,
    tflite,
    yolo,
    yunet,
)
from .base import Built, Files, Maker, PassRecord
from .network import (
    apply_passes,
    apply_source_passes,
    load_network,
    optimise,
    spec_passes,
    to_optimised_onnx,
)

__all__ = [
    "MAKERS",
    "Built",
    "Files",
    "Maker",
    "PassRecord",
    "apply_passes",
    "apply_source_passes",
    "load_network",
    "optimise",
    "spec_passes",
    "to_optimised_onnx",
]

MAKERS: dict[str, Maker] = {
    "mxnet": mxnet.MAKER,
    "shape_predictor": landmark.MAKER,
    "dlib_network": dlib_descriptor.MAKER,
    "onnx_network": onnx_network.MAKER,
    "keras": keras.MAKER,
    "hog_detector": hog.MAKER,
    "pose": pose.MAKER,
    "rigid_pose": rigid_pose.MAKER,
    "single_shot": single_shot.MAKER,
    "tflite": tflite.MAKER,
    "yolo": yolo.MAKER,
    "yunet": yunet.MAKER,
}

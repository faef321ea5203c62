"""Reads what ``mobileface-convert export`` wrote as its users do: by the sidecar alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mobileface_convert.backends.caffe import CaffeModel
from mobileface_convert.backends.caffe_engine import has_importer
from mobileface_convert.oracles.caffe_evaluator import CaffeEvaluator

__all__ = ["cosines", "read_sidecar", "run_caffe", "run_ncnn"]

FloatArray = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


def read_sidecar(folder: Path, name: str, target: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{name}.{target}.json").read_text())
    return document


def run_ncnn(folder: Path, sidecar: Mapping[str, Any], picture: Picture) -> list[FloatArray]:
    """The outputs for one picture (H, W, 3) or (H, W), in the sidecar's order of channels."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = False
    for name, value in sidecar["options"].items():
        setattr(net.opt, name, value)
    assert net.load_param(str(folder / sidecar["files"]["param"]["file"])) == 0
    assert net.load_model(str(folder / sidecar["files"]["bin"]["file"])) == 0
    height, width = picture.shape[:2]
    kind = ncnn.Mat.PixelType.PIXEL_GRAY if picture.ndim == 2 else ncnn.Mat.PixelType.PIXEL_RGB
    blob = ncnn.Mat.from_pixels(np.ascontiguousarray(picture), kind, width, height)
    blob.substract_mean_normalize(sidecar["input"]["mean"], sidecar["input"]["norm"])
    extractor = net.create_extractor()
    extractor.input(sidecar["input"]["blob"], blob)
    found = []
    for output in sidecar["outputs"]:
        code, values = extractor.extract(output["blob"])
        assert code == 0
        found.append(np.array(values, np.float32))
    return found


def run_caffe(folder: Path, sidecar: Mapping[str, Any], pictures: Picture) -> list[FloatArray]:
    """The outputs for pictures (N, H, W, C), in the sidecar's order of channels.

    The evaluator computes them; where OpenCV can read Caffe's files, it must agree.
    """
    files = [folder / sidecar["files"][key]["file"] for key in ("prototxt", "caffemodel")]
    mean, norm = (np.float32(sidecar["input"][name]) for name in ("mean", "norm"))
    tensor = ((pictures.astype(np.float32) - mean) * norm).transpose(0, 3, 1, 2)
    fed = {sidecar["input"]["blob"]: np.ascontiguousarray(tensor)}
    names = [o["blob"] for o in sidecar["outputs"]]
    model = CaffeModel(files[0].read_text(), files[1].read_bytes(), sidecar["layers"], {})
    found = CaffeEvaluator(model, "test").run(fed, names)
    if has_importer():
        net = cv2.dnn.readNetFromCaffe(*map(str, files))
        net.setInput(fed[sidecar["input"]["blob"]], sidecar["input"]["blob"])
        for ours, theirs in zip(found, net.forward(names), strict=True):
            error = np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())
            print(f"evaluator and OpenCV: relative error {error:.2g}")
            assert error <= 2e-5
    return found


def cosines(found: FloatArray, expected: FloatArray) -> FloatArray:
    """Cosine of each row with the row of the other."""
    ours, theirs = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (found, expected))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    result: FloatArray = np.asarray((ours * theirs).sum(axis=1) / lengths)
    return result

"""A detector in ncnn and Caffe: predictions equal, and the sidecar is enough to decode them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.models.kinds import YoloSpec
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands.main import main
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource
from tests import gluon_networks
from tests.convert.exports.export_check import read_sidecar, run_caffe, run_ncnn
from tests.convert.frontends.random_source import source_file

pytestmark = pytest.mark.needs_mxnet

FloatArray = npt.NDArray[np.float32]
SIZES = ((192, 256), (256, 160))
"""Heights and widths other than those that the export is proven on."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source folder with detection_v2 of random weights."""
    folder = tmp_path_factory.mktemp("detection")
    path = source_file(folder, "detection_v2", "gluon")
    gluon_networks.save_structural(gluon_networks.make_detector(2, seed=2), path)
    return folder


@pytest.fixture(scope="module")
def model(files: Path) -> Path:
    source = DirectorySource(files, verify=False)
    return convert(load_recipe("detection_v2"), source, files / "models", verify=False).path


@pytest.mark.slow
@pytest.mark.needs_ncnn
def test_detector_in_ncnn(model: Path, tmp_path: Path) -> None:
    arguments = ["export", "--target", "ncnn", "--model", str(model)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    sidecar = read_sidecar(tmp_path, "detection_v2", "ncnn")
    for picture in shown():
        maps = run_ncnn(tmp_path, sidecar, picture)
        check(model, picture, decode(maps, sidecar["detection"]))


@pytest.mark.slow
def test_detector_in_caffe(files: Path, model: Path, tmp_path: Path) -> None:
    params = source_file(files, "detection_v2", "gluon")
    arguments = ["export", "--target", "caffe", "--recipe", "detection_v2", "--params", str(params)]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    sidecar = read_sidecar(tmp_path, "detection_v2", "caffe")
    for picture in shown():
        maps = [rows[0] for rows in run_caffe(tmp_path, sidecar, picture[None])]
        check(model, picture, decode(maps, sidecar["detection"]))


def shown() -> list[npt.NDArray[np.uint8]]:
    return [make_probes(1, height, width, 3, 7)[0] for height, width in SIZES]


def decode(maps: list[FloatArray], section: dict[str, Any]) -> FloatArray:
    """Rows of score and box (x1, y1, x2, y2), as docs/export.md says."""
    rows = []
    for values, stride, anchors in zip(maps, section["strides"], section["anchors"], strict=True):
        assert section["values"] == ["x", "y", "width", "height", "object", "class"]
        height, width = values.shape[1:]
        x, y, w, h, thing, face = values.reshape(len(anchors), 6, height, width).transpose(
            1, 0, 2, 3
        )
        column, row = np.arange(width), np.arange(height)[:, None]
        sizes = np.float32(anchors).reshape(-1, 2, 1, 1)
        center_x, center_y = (sigmoid(x) + column) * stride, (sigmoid(y) + row) * stride
        half_w, half_h = np.exp(w) * sizes[:, 0] / 2, np.exp(h) * sizes[:, 1] / 2
        box = (center_x - half_w, center_y - half_h, center_x + half_w, center_y + half_h)
        rows.append(np.stack((sigmoid(face) * sigmoid(thing), *box), axis=-1).reshape(-1, 5))
    return np.concatenate(rows)


def sigmoid(values: FloatArray) -> FloatArray:
    result: FloatArray = 1 / (1 + np.exp(-values))
    return result


def check(model: Path, picture: npt.NDArray[np.uint8], rows: FloatArray) -> None:
    """Every box that the ONNX model lists is among the decoded rows, with its score."""
    session = Session(model, intra_op_num_threads=1)
    spec = session.spec.require(YoloSpec)
    found = session.run({spec.image: picture[None]})
    scores, boxes = found[spec.scores][0, :, 0], found[spec.boxes][0]
    listed = scores >= 0
    assert listed.sum() >= 20
    worst_score = worst_box = 0.0
    for score, box in zip(scores[listed], boxes[listed], strict=True):
        nearest = np.abs(rows[:, 1:] - box).max(axis=1).argmin()
        worst_score = max(worst_score, abs(rows[nearest, 0] - score))
        worst_box = max(worst_box, np.abs(rows[nearest, 1:] - box).max())
    print(f"{listed.sum()} boxes: scores within {worst_score:.2g}, boxes {worst_box:.2g} pixels")
    assert worst_score <= 1e-5
    assert worst_box <= 5e-3

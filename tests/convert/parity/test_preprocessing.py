"""The runtime prepares pictures for the networks as MXNet and upstream's scripts do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.models.kinds.yolo import YoloSpec, network_images
from mobileface.models.probes import make_probes
from mobileface.vision.image import to_tensor
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from mobileface_convert.recipes.recipe import load_recipe
from tests.record_preprocessing import GOLDEN, SIZES, images, means, mxnet_resize

TINY = Path(__file__).parents[2] / "models" / "yolo" / "tiny_yolo.onnx"
NAMES = ("friends", *(f"{height}x{width}" for height, width in SIZES))
EXPECTED = {"friends": (256, 468), "333x517": (256, 397), "1001x431": (595, 256)}
EXPECTED["97x1025"] = (97, 1024)

# Builds of OpenCV differ by one grey level in a few values of a cubic interpolation.
MOST_LEVELS, MOST_SHARE, MOST_MEAN = 1, 0.05, 0.25


def prepare(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """With the published sizes."""
    section = load_recipe("detection_v1").spec.require(YoloSpec)
    return network_images([picture], section, color="rgb")[0]


@pytest.mark.needs_source
@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_the_recorded_ones(source: Path, name: str) -> None:
    found = prepare(images(source)[name])
    assert found.shape == (*EXPECTED[name], 3)
    rows, columns = means(found)
    with np.load(GOLDEN, allow_pickle=False) as golden:
        errors = [
            float(np.abs(ours - golden[f"{name}_{part}"]).max())
            for part, ours in (("rows", rows), ("columns", columns))
        ]
    print(f"{name}: largest difference of a row's or a column's mean {max(errors):.3f}")
    assert max(errors) <= MOST_MEAN


@pytest.mark.needs_source
@pytest.mark.needs_mxnet
@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_those_of_mxnet(source: Path, name: str) -> None:
    picture = images(source)[name]
    difference = np.abs(prepare(picture).astype(int) - mxnet_resize(picture).astype(int))
    print(f"{name}: {(difference > 0).mean():.4f} of the values differ, by {difference.max()}")
    assert difference.max() <= MOST_LEVELS
    assert (difference > 0).mean() <= MOST_SHARE


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("size", [(96, 96), (96, 131), (211, 100), (97, 96), (300, 250)])
def test_faces_for_attributes_are_those_of_mxnet(size: tuple[int, int]) -> None:
    """Short side to 96 (bilinear, of floats), the middle, then ToTensor and Normalize."""
    mxnet: Any = import_mxnet()
    picture = make_probes(1, *size, 3, seed=9)[0]
    spec = load_recipe("attribute_v1").spec.input
    assert spec is not None
    found = to_tensor([picture], spec, "rgb")[0]
    pixels = mxnet.nd.array(picture.astype(np.float32))
    height, width = size
    new = (max(96, width * 96 // height), max(96, height * 96 // width))
    if (width, height) != new:
        pixels = mxnet.image.imresize(pixels, *new, interp=1)
    left, top = int((new[0] - 96) / 2), int((new[1] - 96) / 2)
    cut = pixels[top : top + 96, left : left + 96]
    transforms = mxnet.gluon.data.vision.transforms
    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = normalise(transforms.ToTensor()(cut)).asnumpy()
    error = float(np.abs(found - expected).max())
    print(f"{size}: largest difference {error:.2g}")
    assert error <= 1e-4

"""The grey image for dlib's models, against its definition on every colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import ImageError
from mobileface.vision.gray import dlib_gray


def test_equals_the_floored_mean_for_every_colour() -> None:
    levels = np.arange(256, dtype=np.uint8)
    image = np.empty((256, 256, 3), np.uint8)
    image[..., 1], image[..., 2] = levels[:, None], levels[None]
    for level in levels:
        image[..., 0] = level
        np.testing.assert_array_equal(dlib_gray(image), image.sum(axis=2, dtype=np.uint16) // 3)


def test_leaves_a_grey_image_alone() -> None:
    image = np.zeros((3, 4), np.uint8)
    assert dlib_gray(image) is image


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 4)),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((3, 4, 1), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_refuses_what_is_no_image(image: Any) -> None:
    with pytest.raises(ImageError):
        dlib_gray(image)

"""A model that reads uint8 pixels and gives unit vectors is the same model, fed with less work."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import ModelError, SpecError
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput, ModelSpec
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import tensor_batches, to_tensor
from tests.runtime import tiny

RGB = np.random.RandomState(2).randint(0, 256, (9, 24, 24, 3)).astype(np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])
TOLERANCE = 5e-7  # four units in the last place below 1; seen: 1.2e-7


@pytest.fixture
def pixels(models: Path) -> Embedder:
    return Embedder(Session(models / "pixels" / "tiny_color.onnx"))


@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_against_numpy(pixels: Embedder, batch_size: int) -> None:
    found = pixels.embed(BGR, batch_size=batch_size)
    assert found.dtype == np.float32
    assert tiny.max_error(found, tiny.evaluate("tiny_color", tiny.color_tensor(RGB))) <= TOLERANCE


def test_as_the_model_that_reads_floats(pixels: Embedder, color: Embedder) -> None:
    assert tiny.max_error(pixels.embed(BGR), color.embed(BGR).astype(np.float64)) <= TOLERANCE
    assert pixels.identity == color.identity
    assert pixels.spec != color.spec
    assert np.array_equal(pixels.embed(BGR, normalize=False), pixels.embed(BGR))


def test_gray_and_other_sizes(pixels: Embedder, color: Embedder) -> None:
    pictures = [BGR[0, :, :, 0], BGR[1, 3:, 5:], np.repeat(BGR[2], 3, axis=0)]
    assert tiny.max_error(pixels.embed(pictures), color.embed(pictures).astype(float)) <= TOLERANCE
    assert pixels.embed([]).shape == (0, 16)


def test_the_tensor_is_the_pixels(pixels: Embedder) -> None:
    (tensor,) = tensor_batches(BGR, pixels.image, "bgr", 16)
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor, RGB)
    with pytest.raises(ModelError, match="running failed"):
        pixels.embed_tensor(tensor.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_every_dtype_in_every_layout(dtype: Any, layout: Any, color: Any) -> None:
    """Gray and three channels; only floats are scaled."""
    image = ImageInput("data", 24, 24, color, (100.0,), (50.0,), dtype=dtype, layout=layout)
    pictures = RGB[..., :1] if color == "gray" else RGB
    expected = pictures if layout == "nhwc" else pictures.transpose(0, 3, 1, 2)
    found = to_tensor([p[..., 0] if color == "gray" else p for p in pictures], image, "rgb")
    assert found.shape == (9, *image.shape)
    assert found.dtype == np.dtype(dtype)
    if dtype == "float32":
        expected = (expected.astype(np.float32) - 100) / 50
    np.testing.assert_array_equal(found, expected)


def test_means_by_channel_in_either_layout(color: Embedder) -> None:
    planes = to_tensor(list(RGB), color.image, "rgb")
    turned = to_tensor(list(RGB), dataclasses.replace(color.image, layout="nhwc"), "rgb")
    np.testing.assert_array_equal(turned.transpose(0, 3, 1, 2), planes)


def test_the_spec_says_so_and_older_specs_are_as_they_were(
    pixels: Embedder, color: Embedder
) -> None:
    written = pixels.spec.to_dict()
    assert written["input"]["dtype"] == "uint8"
    assert written["input"]["layout"] == "nhwc"
    assert written["embedding"]["normalization_added"] is True
    assert ModelSpec.from_dict(written) == pixels.spec
    older = color.spec.to_dict()
    assert not {"dtype", "layout"} & older["input"].keys()
    assert "normalization_added" not in older["embedding"]


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("input", "dtype", "float16", "dtype"),
        ("input", "layout", "hwc", "layout"),
        ("input", "fit", "center_crop", "center_crop does not support uint8"),
        ("embedding", "normalized", False, "must be true where it was added"),
        ("embedding", "normalization_added", "yes", "not true or false"),
    ],
)
def test_broken_fields_are_named(
    pixels: Embedder, section: str, field: str, value: Any, message: str
) -> None:
    data = pixels.spec.to_dict()
    data[section][field] = value
    with pytest.raises(SpecError, match=message) as caught:
        ModelSpec.from_dict(data, "x.onnx")
    assert caught.value.where.startswith(f"x.onnx, {section}")


def test_what_a_network_does_itself_stays_part_of_its_identity(color: Embedder) -> None:
    """Of two published networks one of which normalises, the embeddings are not the same."""
    spec = color.spec.replace_section(normalized=True)
    assert spec.fingerprint != color.spec.fingerprint

"""Embeddings: against an independent evaluation, in every form of input, and bad inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import ImageError, InputError, ModelError
from mobileface.matching.similarity import cosine_similarity
from mobileface.models.session import Session
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import resize
from tests.runtime import tiny
from tests.runtime.conftest import MODELS

GRAY = np.random.RandomState(1).randint(0, 256, (7, 20, 20)).astype(np.uint8)
RGB = np.random.RandomState(2).randint(0, 256, (70, 24, 24, 3)).astype(np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])
TOLERANCE = 5e-7  # four units in the last place below 1; seen: 1.7e-7

SELF = 4e-7  # of a float32 unit vector with itself, to 1; seen: 2.4e-7

Array = npt.NDArray[np.float32]


def assert_unit(embeddings: Array) -> None:
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    assert tiny.max_error(lengths, np.ones(len(embeddings))) <= 2e-7


def test_gray_against_numpy(gray: Embedder) -> None:
    found = gray.embed(list(GRAY))
    assert found.dtype == np.float32
    assert found.shape == (7, 8)
    expected = tiny.evaluate("tiny_gray", tiny.gray_tensor(GRAY))
    assert tiny.max_error(found, expected) <= TOLERANCE
    assert_unit(found)


@pytest.mark.parametrize(("color_order", "pictures"), [("bgr", BGR), ("rgb", RGB)])
def test_color_against_numpy(
    color: Embedder, color_order: Any, pictures: npt.NDArray[np.uint8]
) -> None:
    found = color.embed(pictures, color=color_order)
    assert found.dtype == np.float32
    assert found.shape == (70, 16)
    expected = tiny.evaluate("tiny_color", tiny.color_tensor(RGB))
    assert tiny.max_error(found, expected) <= TOLERANCE
    assert_unit(found)


def test_bgr_is_the_default(color: Embedder) -> None:
    assert np.array_equal(color.embed(BGR), color.embed(BGR, color="bgr"))
    assert np.abs(color.embed(BGR) - color.embed(BGR, color="rgb")).max() > 0.1


@pytest.mark.parametrize("batch_size", [1, 2, 7, 32, 69, 70, 71, 1000])
def test_batch_size_changes_nothing(color: Embedder, batch_size: int) -> None:
    found = color.embed(BGR, batch_size=batch_size)
    assert tiny.max_error(found, color.embed(BGR)) <= 1e-6


def test_one_picture_and_many(color: Embedder) -> None:
    alone = [color.embed(picture) for picture in BGR]
    assert {embedding.shape for embedding in alone} == {(1, 16)}
    assert tiny.max_error(np.concatenate(alone), color.embed(BGR)) <= 1e-6


def test_forms_of_input(color: Embedder, gray: Embedder) -> None:
    batch = color.embed(BGR[:5])
    for form in (list(BGR[:5]), tuple(BGR[:5])):
        assert np.array_equal(color.embed(form), batch)
    assert np.array_equal(gray.embed(GRAY[0]), gray.embed([GRAY[0]]))
    assert np.array_equal(gray.embed(GRAY[0][:, :, None]), gray.embed(GRAY[0]))
    assert np.array_equal(gray.embed(GRAY[..., None]), gray.embed(list(GRAY)))


@pytest.mark.parametrize("images", [[], (), np.empty((0, 24, 24, 3), np.uint8)])
def test_no_pictures_no_embeddings(color: Embedder, gray: Embedder, images: Any) -> None:
    for embedder, size in ((color, 16), (gray, 8)):
        found = embedder.embed(images)
        assert found.shape == (0, size)
        assert found.dtype == np.float32


def test_mixed_sizes_and_colours_keep_their_order(color: Embedder) -> None:
    random = np.random.RandomState(3)
    shapes = [(24, 24, 3), (48, 30, 3), (7, 9, 3), (1, 1, 3), (24, 24), (50, 10), (30, 30, 1)]
    pictures = [random.randint(0, 256, shape).astype(np.uint8) for shape in shapes]
    found = color.embed(pictures)
    rgb = []
    for picture in pictures:
        flat = picture[:, :, 0] if picture.shape[-1] == 1 else picture
        small = resize(flat, 24, 24)
        rgb.append(np.stack([small] * 3, axis=2) if small.ndim == 2 else small[..., ::-1])
    expected = tiny.evaluate("tiny_color", tiny.color_tensor(np.stack(rgb)))
    assert tiny.max_error(found, expected) <= TOLERANCE


def test_colour_for_a_gray_network(gray: Embedder) -> None:
    same = np.repeat(GRAY[..., None], 3, axis=3)  # gray in all channels: no weighing, no rounding
    for order in ("bgr", "rgb"):
        assert np.array_equal(gray.embed(same, color=order), gray.embed(list(GRAY)))


def test_pictures_are_left_alone(color: Embedder) -> None:
    pictures = BGR[:3].copy()
    color.embed(pictures)
    color.embed(pictures[:, ::2, ::2])
    assert np.array_equal(pictures, BGR[:3])


def test_results_are_the_callers_own(gray: Embedder) -> None:
    first = gray.embed(GRAY[0])
    kept = first.copy()
    gray.embed(GRAY[1])
    assert np.array_equal(first, kept)
    first += 1
    assert np.array_equal(gray.embed(GRAY[0]), kept)


def test_embed_tensor(color: Embedder) -> None:
    tensor = tiny.color_tensor(RGB).astype(np.float32)
    assert tiny.max_error(color.embed_tensor(tensor), color.embed(BGR)) <= 1e-6
    assert color.embed_tensor(tensor[:0]).shape == (0, 16)


# compare, cosine_similarity


def test_compare(color: Embedder) -> None:
    expected = tiny.evaluate("tiny_color", tiny.color_tensor(RGB[:2]))
    similarity = color.compare(BGR[0], BGR[1])
    assert isinstance(similarity, float)
    assert abs(similarity - float(expected[0] @ expected[1])) <= TOLERANCE
    assert similarity == color.compare(BGR[1], BGR[0])
    assert similarity == color.compare(RGB[0], RGB[1], color="rgb")


def test_a_picture_is_like_itself(color: Embedder, gray: Embedder) -> None:
    for picture in BGR:
        assert 1 - SELF <= color.compare(picture, picture) <= 1
    for picture in GRAY:
        assert 1 - SELF <= gray.compare(picture, picture) <= 1


def test_cosine_similarity(color: Embedder) -> None:
    a, b = color.embed(BGR[:40]), color.embed(BGR[40:])
    found = cosine_similarity(a, b)
    assert found.shape == (40, 30)
    assert found.dtype == np.float32
    assert tiny.max_error(found, a.astype(np.float64) @ b.T.astype(np.float64)) <= 3e-7
    assert tiny.max_error(found.T, cosine_similarity(b, a)) <= 3e-7
    itself = cosine_similarity(a, a)
    assert itself.max() <= 1
    assert tiny.max_error(np.diag(itself), np.ones(40)) <= SELF


def test_cosine_similarity_is_clipped() -> None:
    long = np.full((1, 4), 0.6, np.float32)
    assert cosine_similarity(long, long).item() == 1
    assert cosine_similarity(long, -long).item() == -1


@pytest.mark.parametrize(
    ("a", "b"), [((2, 8), (2, 16)), ((8,), (8,)), ((1, 8), (8,)), ((1, 1, 8), (1, 8))]
)
def test_embeddings_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        cosine_similarity(np.zeros(a, np.float32), np.zeros(b, np.float32))


def test_no_embeddings() -> None:
    assert cosine_similarity(np.zeros((0, 8), np.float32), np.zeros((3, 8), np.float32)).size == 0


# bad inputs


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_from_one(color: Embedder, batch_size: int) -> None:
    for images in (BGR, BGR[:0]):
        with pytest.raises(InputError, match=f"batch_size must be at least 1, not {batch_size}"):
            color.embed(images, batch_size=batch_size)


def test_unknown_color(color: Embedder) -> None:
    with pytest.raises(InputError, match="color must be 'bgr' or 'rgb', not 'hsv'"):
        color.embed(BGR, color="hsv")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="color must be 'bgr' or 'rgb', not 'hsv'"):
        color.compare(BGR[0], BGR[1], color="hsv")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images",
    [None, "a.png", 3, BGR[0] / 255, BGR[0].astype(np.float32), BGR[:, None], BGR[0, 0, 0]],
    ids=["None", "str", "int", "float64", "float32", "5-D", "1-D"],
)
def test_no_pictures(color: Embedder, images: Any) -> None:
    with pytest.raises(ImageError):
        color.embed(images)


def test_the_bad_picture_is_named(color: Embedder) -> None:
    with pytest.raises(ImageError, match="image 3: expected 3 channels, got 4"):
        color.embed([*BGR[:3], np.zeros((5, 5, 4), np.uint8), BGR[3]])


def test_other_tasks_are_refused() -> None:
    session = Session(MODELS / "yolo" / "tiny_yolo.onnx")
    with pytest.raises(
        ModelError, match=r"yolo\.onnx: the model's task is 'detection', not 'embedding'"
    ):
        Embedder(session)

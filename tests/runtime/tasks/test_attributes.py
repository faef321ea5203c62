"""Attributes: probabilities, ages, words, and how a picture is brought to the network's size."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import AttributePredictor, load, load_attributes, load_detector
from mobileface.commands.main import main
from mobileface.errors import ImageError, InputError, ModelError
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput
from mobileface.tasks.attribute_model import softmax
from mobileface.vision.image import to_tensor

YOLO = Path(__file__).parents[2] / "models" / "yolo"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture(scope="module")
def predictor() -> AttributePredictor:
    return AttributePredictor(Session(YOLO / "tiny_attributes.onnx", intra_op_num_threads=1))


class Fixed(AttributePredictor):
    """Says what the network would."""

    def __init__(self, model: AttributePredictor, **logits: list[float]) -> None:
        self.__dict__.update(model.__dict__)
        rows = {name: np.float32([row]) for name, row in logits.items()}
        self.session = type("Network", (), {"run": lambda *_: rows, "batch": None})()  # type: ignore


def fixed(
    predictor: AttributePredictor, gender: list[float], age: list[float], mood: list[float]
) -> AttributePredictor:
    return Fixed(predictor, gender=gender, age=age, expression=mood)


EVEN = [0.0] * 6


def test_probabilities_are_those_of_the_logits(predictor: AttributePredictor) -> None:
    crops = make_probes(5, 24, 24, 3, 2)
    found = predictor.predict(list(crops), batch_size=2)
    tensor = to_tensor(list(crops), predictor.image)
    logits = predictor.session.run({"data": tensor})
    for name, field in (("gender", "gender_probs"), ("age", "age_probs")):
        powers = np.exp(logits[name].astype(np.float64))
        expected = powers / powers.sum(axis=1, keepdims=True)
        given = np.array([getattr(each, field) for each in found])
        error = float(np.abs(given - expected).max())
        print(f"{name}: largest difference {error:.2g}")
        assert error <= 2e-7
    for each in found:
        ages = np.float64([5, 15, 25, 35, 50, 70])
        assert each.age == pytest.approx(float(each.age_probs.astype(np.float64) @ ages), abs=1e-5)
        assert each.age_published == sum(
            int(p * a) for p, a in zip(each.age_probs, ages, strict=True)
        )
        assert each.gender == ("female", "male")[int(each.gender_probs.argmax())]


def test_published_age_is_cut_class_by_class(predictor: AttributePredictor) -> None:
    """Six even shares: 200/6 = 33.3 years, but 0 + 2 + 4 + 5 + 8 + 11 = 30 as published."""
    (found,) = fixed(predictor, [0, 1], EVEN, [5, 0, 0, 0]).predict(make_probes(1, 24, 24, 3, 1)[0])
    assert found.age == pytest.approx(200 / 6, abs=1e-5)
    assert found.age_published == 30
    assert found.gender == "male"


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ([5, 4, 0, 0], ("laugh", "smile")),
        ([0, 5, 4, 0], ("smile", "smile")),  # two classes of one word
        ([0, 0, 4, 6], ("calm", "smile")),
        ([1, 1, 1, 1], ("complicated",)),
        ([0.5, 0, 0, 0], ("complicated",)),
    ],
)
def test_words_for_expressions(
    predictor: AttributePredictor, mood: list[float], words: tuple[str, ...]
) -> None:
    (found,) = fixed(predictor, [1, 0], EVEN, mood).predict(make_probes(1, 24, 24, 3, 1)[0])
    assert found.expressions == words


def test_softmax_of_large_logits() -> None:
    found = softmax(np.float32([[1e4, 1e4, -1e4]]))
    np.testing.assert_array_equal(found, np.float32([[0.5, 0.5, 0]]))


def published_tensor(picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.float32]:
    """The shorter side becomes the size (bilinear, not rounded), the middle is cut out."""
    height, width = picture.shape[:2]
    shape = (size, width * size // height) if height <= width else (height * size // width, size)
    pixels = picture[..., ::-1].astype(np.float32)
    if shape != (height, width):
        pixels = cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)
    top, left = int((shape[0] - size) / 2), int((shape[1] - size) / 2)
    pixels = pixels[top : top + size, left : left + size]
    return ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


@pytest.mark.parametrize(
    "size", [(24, 24), (24, 37), (51, 24), (96, 97), (10, 33), (200, 60), (1, 5), (23, 240)]
)
def test_the_middle_of_the_picture_is_taken(size: tuple[int, int]) -> None:
    spec = ImageInput("data", 24, 24, "rgb", MEAN, STD, "center_crop")
    picture = make_probes(1, *size, 3, 3)[0]
    found = to_tensor([picture], spec)[0]
    error = float(np.abs(found - published_tensor(picture, 24)).max())
    print(f"largest difference {error:.2g}")
    assert error <= 1e-6


def test_bad_input(predictor: AttributePredictor) -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1, not 0"):
        predictor.predict([], batch_size=0)
    with pytest.raises(ImageError, match="image 1"):
        predictor.predict([make_probes(1, 9, 9, 3, 1)[0], np.zeros((2, 2))])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="'detection', not 'attributes'"):
        AttributePredictor(Session(YOLO / "tiny_yolo.onnx"))
    with pytest.raises(ModelError, match="'attributes', not 'detection'"):
        load_detector(YOLO / "tiny_attributes.onnx")
    assert predictor.predict([]) == []


def test_loading() -> None:
    assert isinstance(load("tiny_attributes", models=YOLO), AttributePredictor)
    assert [model.name for model in load_attributes(models=YOLO)] == ["tiny_attributes"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, drawn = tmp_path / "a.png", tmp_path / "drawn.png"
    cv2.imwrite(str(path), make_probes(1, 120, 160, 3, 7)[0])
    options = ["attributes", str(path), "--models", str(YOLO), "--iou-threshold", "0.1"]
    assert main([*options, "--json", "--draw", str(drawn), "--topk", "50"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["faces"]) >= 2
    attributes = document["faces"][0]["attributes"]
    assert set(attributes) == {
        "gender",
        "gender_probs",
        "age",
        "age_published",
        "age_probs",
        "expressions",
        "expression_probs",
    }
    assert sum(attributes["age_probs"]) == pytest.approx(1, abs=1e-3)
    assert cv2.imread(str(drawn)).shape == (120, 160, 3)
    assert main(options) == 0
    assert " years, " in capsys.readouterr().out
    assert main([*options, "--upsample", "1"]) == 2
    assert "'tiny_yolo' has no option upsample" in capsys.readouterr().err

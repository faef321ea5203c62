"""Attribute models of several networks: what each head says, and how they complete each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import AttributePredictor, AttributeSet, FaceAnalyzer, HeadPredictor, align, load
from mobileface import load_attributes as load_set
from mobileface.commands.main import main
from mobileface.errors import InputError, ModelError, ModelNotFoundError, SpecError
from mobileface.models import lookup
from mobileface.models.index import read_index, write_index
from mobileface.models.kinds import HeadSpec
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.models.spec import ModelSpec
from mobileface.tasks.attribute_set import merge_attributes
from mobileface.tasks.attribute_stage import TASK, AttributeStage
from mobileface.tasks.base import Request
from mobileface.types import Attributes, Face, Landmarks
from mobileface.vision.image import Image, to_tensor
from tests.runtime.tiny import head_weights, max_error, probabilities

MODELS = Path(__file__).parents[2] / "models"
HEADS = MODELS / "heads"
TOGETHER = ("tiny_age", "tiny_expression", "tiny_gender")
WORDS = ("angry", "happy", "sad", "neutral")
FIVE = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
DLIB = ("right_eye_outer", "right_eye_inner", "left_eye_outer", "left_eye_inner", "nose_base")
EMPTY = Landmarks((), np.zeros((0, 2), np.float32))


@pytest.fixture(autouse=True)
def no_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the starter set nor a user's own folder."""
    monkeypatch.setattr(lookup, "_common_folders", tuple)


def copied(folder: Path, *names: str) -> Path:
    """A models folder with the tiny detector, its five points and some of the attribute models."""
    shutil.copytree(MODELS / "yolo", folder)
    shutil.copytree(HEADS, folder, dirs_exist_ok=True)
    index = {**read_index(MODELS / "yolo"), **read_index(HEADS)}
    kept = {"tiny_yolo", "tiny_points", *names}
    write_index(folder, {name: entry for name, entry in index.items() if name in kept})
    return folder


def expected(name: str, number: int, size: int, images: list[Image]) -> Any:
    """What a head must say, in float64."""
    model = load(name, models=HEADS)
    tensor = to_tensor(images, model.image).reshape(len(images), -1).astype(np.float64)
    weights, biases = head_weights(number + len(name), tensor.shape[1], size)
    return probabilities(tensor @ weights + biases)


@pytest.mark.parametrize("batch", [1, 3, None])
def test_each_head_says_its_own(batch: int | None) -> None:
    """Probabilities in the graph and outside of it, on images of any size, to 1e-6."""
    images = [make_probes(1, 8 + n, 11, 3, n)[0] for n in range(7)]
    for name, number, field, size in (
        ("tiny_gender", 0, "gender_probs", 2),
        ("tiny_age", 0, "age_probs", 3),
        ("tiny_expression", 0, "expression_probs", 4),
        ("tiny_two", 0, "gender_probs", 2),
        ("tiny_two", 1, "age_probs", 3),
    ):
        model = load(name, models=HEADS)
        assert isinstance(model, HeadPredictor)
        found = model.predict(images, batch_size=batch)
        rows = np.array([getattr(each, field) for each in found])
        wanted = expected(name, number, size, images)
        print(name, field, end=": ")
        assert max_error(rows, wanted) <= 1e-6
        for each, row in zip(found, wanted, strict=True):
            assert each.age_published is None
            if field == "gender_probs":
                assert each.gender == ("female", "male")[int(row.argmax())]
            if field == "age_probs":
                assert each.age == pytest.approx(float(row @ [0.25, 20, 60]), abs=1e-4)
            if field == "expression_probs":
                best = np.argsort(-row, kind="stable")[: 1 if row.max() > 0.5 else 2]
                assert each.expressions == tuple(WORDS[index] for index in best)
        assert load(name, models=HEADS).predict([]) == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.1, 0.51, 0.19, 0.2], ("happy",)),
        ([0.1, 0.5, 0.2, 0.2], ("happy", "sad")),
        ([0.25, 0.25, 0.25, 0.25], ("angry", "happy")),
        ([0.0, 0.0, 0.0, 1.0], ("neutral",)),
    ],
)
def test_one_word_if_it_outweighs_the_others(row: list[float], words: tuple[str, ...]) -> None:
    model = load("tiny_expression", models=HEADS)
    model.session = type("Network", (), {"run": lambda *_: {"expression": np.float32([row])}})()
    (found,) = model.predict_tensor(np.zeros((1, 1, 8, 8), np.float32))
    assert found.expressions == words


def test_models_of_one_preference_complete_each_other() -> None:
    """The one of lower preference stays out, and so do all if one is named."""
    found = load_set(models=HEADS)
    assert isinstance(found, AttributeSet)
    assert tuple(model.name for model in found) == TOGETHER
    assert set(found.fills) == {"gender", "age", "expression"}
    assert len(found) == 3
    (alone,) = load_set("tiny_two", models=HEADS)
    assert alone.fills == ("gender", "age")
    with pytest.raises(InputError, match="tiny_age 'dlib_20', tiny_expression 'box'") as caught:
        found.predict(make_probes(1, 8, 8, 3, 1)[0])
    assert "describe" in caught.value.hint
    with pytest.raises(ModelNotFoundError, match="tiny_none"):
        load_set("tiny_none", models=HEADS)


def test_a_model_that_fills_all_comes_first(tmp_path: Path) -> None:
    """As MobileFace's attribute_v1 does, by its higher preference."""
    folder = copied(tmp_path / "models", "tiny_attributes", *TOGETHER)
    index = read_index(folder)
    tiny = index["tiny_attributes"].__class__
    fields = {name: getattr(index["tiny_attributes"], name) for name in tiny.__slots__}
    write_index(folder, {**index, "tiny_attributes": tiny(**{**fields, "preference": 10})})
    (model,) = load_set(models=folder)
    assert isinstance(model, AttributePredictor)
    (found,) = load_set(models=folder).predict(make_probes(1, 30, 30, 3, 1)[0])
    (same,) = model.predict(make_probes(1, 30, 30, 3, 1)[0])
    assert found.age == same.age
    assert found.age_published == same.age_published


def faces_in(image: Image) -> list[Face]:
    """One face with all points, one whose points lie on one spot, one without points."""
    marks = Landmarks(
        (*FIVE, *DLIB),
        np.float32(
            [
                *[(40, 40), (60, 44), (50, 52), (43, 62), (58, 64)],
                *[(64, 44), (57, 43), (36, 39), (43, 40), (50, 56)],
            ]
        ),
    )
    spot = Landmarks((*FIVE, *DLIB), np.full((10, 2), 50, np.float32))
    box = np.float32([25, 20, 75, 80])
    return [Face(box, 1.0, marks), Face(box, 1.0, spot), Face(box, 1.0)]


def test_each_model_gets_its_own_crop() -> None:
    image = make_probes(2, 100, 110, 3, 3)[1]
    faces = faces_in(image)
    models = load_set(models=HEADS)
    found = models.describe(image, faces)
    for model in models:
        crops = [
            align(image, face.landmarks or EMPTY, crop=model.crop, size=(8, 8), box=face.bbox)
            for face in (faces if model.crop == "box" else faces[:1])
        ]
        for part, whole in zip(model.predict(crops), found, strict=False):
            assert whole is not None
            merged = merge_attributes([part, whole])
            for name in Attributes.__slots__:
                assert np.array_equal(getattr(merged, name), getattr(whole, name))
    assert found[0] is not None
    assert None not in (found[0].gender, found[0].age, found[0].expressions)
    for other in found[1:]:
        assert other is not None
        assert (other.gender, other.age) == (None, None)
        assert other.expressions is not None
    others = AttributeSet([model for model in models if model.crop != "box"])
    assert others.describe(image, faces)[1:] == [None, None]
    assert others.describe(image, []) == []


@pytest.mark.parametrize("angle", [0, 30, -75, 180])
def test_the_box_is_turned_until_the_eyes_are_level(angle: float) -> None:
    """The crop of a turned image is the crop of the upright one, but for sampling."""
    image = cv2.GaussianBlur(make_probes(2, 200, 200, 3, 5)[1], None, 3)
    matrix = cv2.getRotationMatrix2D((99.5, 99.5), angle, 1)
    turned = np.asarray(cv2.warpAffine(image, matrix, (200, 200)), np.uint8)
    eyes = np.array([(85.0, 90), (115, 90)])
    box = np.float32([74.5, 69.5, 124.5, 129.5])
    crops = []
    for picture, points in ((image, eyes), (turned, eyes @ matrix[:, :2].T + matrix[:, 2])):
        marks = Landmarks(("left_eye", "right_eye"), np.float32(points))
        crops.append(align(picture, marks, crop="box", size=40, box=box).astype(int))
    difference = np.abs(crops[0] - crops[1])
    print(f"{angle}°: mean difference {difference.mean():.2f}, largest {difference.max()}")
    assert difference.max() <= 3
    corners = Landmarks(DLIB[:4], np.float32([(120, 90), (110, 90), (80, 90), (90, 90)]))
    upright = align(image, EMPTY, crop="box", size=40, box=box)
    assert np.array_equal(align(image, corners, crop="box", size=40, box=box), upright)


def test_the_box_is_the_square_around_it() -> None:
    """Its side is the longer one; a pixel of the crop is the pixel in the middle of its place."""
    image = np.add.outer(np.arange(100), np.zeros(120)).astype(np.uint8)
    found = align(image, EMPTY, crop="box", size=64, box=np.float32([30, 18, 50, 81]))
    assert found.shape == (64, 64)
    # From the first pixel to the last are 63 − 1 pixels of the image, as dlib counts.
    middle, step = 49.5, (63 - 1) / 63
    wanted = middle + (np.arange(64) - 31.5) * step
    assert np.abs(found[:, 32] - np.floor(wanted + 1e-9)).max() <= 1


BAD_BOXES = [None, [5, 5, 5, 9], [9, 9, 5, 5], [0, 0, np.nan, 5], [0, 0, 0.5, 0.5], [1, 2, 3]]


@pytest.mark.parametrize("box", BAD_BOXES)
def test_boxes_that_are_none(box: Any) -> None:
    given = None if box is None else np.float32(box)
    with pytest.raises(InputError, match="box"):
        align(np.zeros((20, 20, 3), np.uint8), EMPTY, crop="box", box=given)


def test_folders_that_lack_one(tmp_path: Path) -> None:
    """The others fill what they can; the rest is None, and JSON, text and captions leave it out."""
    image = make_probes(1, 120, 160, 3, 7)[0]
    for name in ("tiny_gender", "tiny_expression"):
        folder = copied(tmp_path / name, name)
        analyzer = FaceAnalyzer(folder, iou_threshold=0.1)
        assert analyzer.models["attributes"] == (name,)
        face = analyzer(image)[0]
        assert face.attributes is not None
        assert face.attributes.age is None
        lacks = "gender" if name == "tiny_expression" else "expressions"
        has = "expressions" if name == "tiny_expression" else "gender"
        assert getattr(face.attributes, lacks) is None
        values = TASK.to_json(face, False)["attributes"]
        word = getattr(face.attributes, has)
        assert values[has] == (list(word) if isinstance(word, tuple) else word)
        assert not {lacks, "age", "age_probs", "age_published"} & set(values)
        text = "/".join(word) if isinstance(word, tuple) else word
        assert TASK.to_text(face) == [text]
        assert TASK.caption(face) == text


def test_a_model_whose_crop_is_impossible_is_left_out(tmp_path: Path) -> None:
    """The tiny points allow no chip of dlib's: the age stays None, and the stage says why."""
    folder = copied(tmp_path / "models", *TOGETHER)
    analyzer = FaceAnalyzer(folder, iou_threshold=0.1)
    assert analyzer.models["attributes"] == ("tiny_expression", "tiny_gender")
    stage = AttributeStage.load(Request(models=folder, points=analyzer._points))
    assert "tiny_age" in stage.refused
    assert "right_eye_outer" in stage.refused["tiny_age"]
    with pytest.raises(ModelNotFoundError, match=r"tiny_age: the crop 'dlib_20' needs"):
        FaceAnalyzer(folder, ["attributes"], attributes="tiny_age")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path = copied(tmp_path / "models", *TOGETHER), tmp_path / "a.png"
    cv2.imwrite(str(path), make_probes(1, 120, 160, 3, 7)[0])
    options = ["attributes", str(path), "--models", str(folder), "--iou-threshold", "0.1"]
    assert main([*options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["faces"][0]["attributes"]) == {
        "gender",
        "gender_probs",
        "expressions",
        "expression_probs",
    }
    assert main(options) == 0
    assert "years" not in capsys.readouterr().out


def test_probabilities_that_are_no_numbers_are_a_problem() -> None:
    face, other, nothing = (
        Face(np.zeros(4, np.float32), 1.0, attributes=attributes)
        for attributes in (
            Attributes(gender_probs=np.float32([0.5, 0.5])),
            Attributes(gender_probs=np.float32([np.nan, 0.5])),
            None,
        )
    )
    assert TASK.problem(face, face) == ""
    assert TASK.problem(other, other) != ""
    assert TASK.to_json(nothing, True) == {}
    assert (TASK.to_text(nothing), TASK.caption(nothing)) == ([], "")


def test_other_kinds_are_refused() -> None:
    with pytest.raises(ModelError, match="the model's kind is 'attributes', not 'heads'"):
        HeadPredictor(Session(MODELS / "yolo" / "tiny_attributes.onnx"))
    with pytest.raises(ModelError, match="the model's kind is 'heads', not 'attributes'"):
        AttributePredictor(Session(HEADS / "tiny_gender.onnx"))


BAD_HEADS: list[tuple[dict[str, Any], str]] = [
    ({"attribute": "height"}, "is not one of gender, age, expression"),
    ({"years": [1, 2]}, "'gender' has no years"),
    ({"classes": ["one"]}, "fewer than two classes"),
    ({"attribute": "age"}, "'age' has no classes"),
    ({"attribute": "age", "classes": [], "years": [1]}, "fewer than two classes"),
    ({"attribute": "age", "classes": [], "years": [-1, 3]}, "a year is below zero"),
    ({"attribute": "age", "classes": [], "years": ["1", 3]}, "is not a number"),
    ({"probabilities": 1}, "is not true or false"),
    ({"classes": ["a b", "c"]}, "must be letters"),
    ({"output": ""}, "must be text"),
]


@pytest.mark.parametrize(("change", "message"), BAD_HEADS)
def test_broken_heads_are_named(change: dict[str, Any], message: str) -> None:
    good = load("tiny_gender", models=HEADS).spec.to_dict()
    assert ModelSpec.from_dict(good).to_dict() == good
    head = {**good["heads"]["heads"][0], **change}
    with pytest.raises(SpecError, match=message) as caught:
        ModelSpec.from_dict({**good, "heads": {**good["heads"], "heads": [head]}})
    assert "heads" in str(caught.value)


def test_two_heads_of_one_attribute_or_output() -> None:
    good = load("tiny_two", models=HEADS).spec.to_dict()
    gender, age = good["heads"]["heads"]
    for heads, what in (
        ([gender, gender], "attribute"),
        ([gender, {**age, "output": "gender"}], "output"),
    ):
        with pytest.raises(SpecError, match=f"two heads have the same {what}"):
            ModelSpec.from_dict({**good, "heads": {**good["heads"], "heads": heads}})
    with pytest.raises(SpecError, match="is not a list"):
        ModelSpec.from_dict({**good, "heads": {**good["heads"], "heads": []}})


def test_the_card_lists_the_classes() -> None:
    spec = load("tiny_two", models=HEADS).spec
    assert spec.kind.describe_output(spec.section) == (
        "`gender`, float32 (N, 2), logits of gender: female, male; "
        "`age`, float32 (N, 3), probabilities of age: 3 ages from 0.25 to 60 years"
    )
    assert HeadSpec("o", "gender", True, ("a", "b")).size == 2

"""ModelSpec: back and forth, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import pytest

from mobileface.errors import ModelError, SpecError
from mobileface.models.spec import SCHEMA, ImageInput, ModelSpec
from mobileface.tasks.embedding import Embedder

MISSING = object()

GOOD: dict[str, Any] = {
    "schema": 1,
    "name": "net_1",
    "task": "embedding",
    "title": "A network",
    "license": {"name": "MIT", "url": "https://example.com/license"},
    "source": {
        "repository": "https://example.com/tiny",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "files": [
            {"path": "a/net.json", "git_blob_sha1": "f" * 40, "bytes": 12},
            {"path": "a/net.params", "git_blob_sha1": "0" * 40},
        ],
    },
    "input": {
        "name": "data",
        "height": 20,
        "width": 24,
        "color": "rgb",
        "mean": [1.0, 2.0, 3.5],
        "std": [4.0, 5.0, 6.0],
        "fit": "center_crop",
    },
    "embedding": {"output": "vector", "size": 8, "normalized": True, "crop": "arcface"},
    "preference": 7,
}

TEXT = [MISSING, None, "", "  ", 3, ["a"]]
POSITIVE = [MISSING, None, 0, -1, 1.5, 2.0, True, "2"]
SHA1 = [*TEXT, "f" * 39, "f" * 41, "F" * 40, "g" * 40]
NUMBERS = [None, [], [1.0, 2.0], [1.0] * 4, 1.0, "0", ["0"], [None], [True], [[1.0]]]
NUMBERS += [[float("nan")], [float("inf")], [1.0, 2.0, float("-inf")]]
TABLE = [MISSING, None, "text", 5, ["list"]]

BROKEN: list[tuple[tuple[str | int, ...], list[Any]]] = [
    (("schema",), [MISSING, None, "1", 1.0, True, 0, -1]),
    (("name",), [*TEXT, "a b", "a-b", "naïve", "../x", "a.onnx", "___", "a" * 65]),
    (("task",), [MISSING, None, "", "tracking", "Embedding", 1, []]),
    (("title",), TEXT),
    (("preference",), [None, -1, 1.5, True, "1"]),
    (("license",), TABLE),
    (("license", "name"), TEXT),
    (("license", "url"), TEXT),
    (("source",), TABLE),
    (("source", "repository"), TEXT),
    (("source", "commit"), SHA1[1:]),
    (("source", "files"), [None, "net.json", {"path": "net.json"}, 1]),
    (("source", "files", 1), [None, "net.json", []]),
    (("source", "files", 1, "path"), TEXT),
    (("source", "files", 1, "git_blob_sha1"), SHA1),
    (("source", "files", 1, "bytes"), [None, -1, 1.5, True, "5"]),
    (("input",), TABLE),
    (("input", "name"), TEXT),
    (("input", "height"), POSITIVE),
    (("input", "width"), POSITIVE),
    (("input", "color"), [MISSING, None, "", "RGB", "cmyk", 3, ["rgb"]]),
    (("input", "mean"), NUMBERS),
    (("input", "std"), [*NUMBERS, [0.0], [-1.0], [1.0, 0.0, 1.0]]),
    (("embedding",), TABLE),
    (("embedding", "output"), TEXT),
    (("embedding", "size"), POSITIVE),
    (("embedding", "crop"), [*TEXT, "square"]),
    (("embedding", "normalized"), [MISSING, None, 0, 1, "true"]),
]
CASES = [(path, value) for path, values in BROKEN for value in values]


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The good spec with one field replaced or taken away."""
    document = copy.deepcopy(GOOD)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def label(case: Any) -> str:
    return "missing" if case is MISSING else str(case)[:20] or "empty"


def test_dict_and_json_round_trip() -> None:
    spec = ModelSpec.from_dict(GOOD)
    assert spec.to_dict() == GOOD
    assert ModelSpec.from_dict(spec.to_dict()) == spec
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert json.loads(spec.to_json()) == GOOD
    assert "\n" not in spec.to_json()
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize("name", ["gray", "color"])
def test_specs_of_models_round_trip(name: str, request: pytest.FixtureRequest) -> None:
    embedder: Embedder = request.getfixturevalue(name)
    spec = embedder.spec
    assert spec.name == f"tiny_{name}"
    assert spec.license.name == "CC0-1.0"
    assert ModelSpec.from_dict(spec.to_dict()) == spec
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_defaults() -> None:
    document = changed(("preference",), MISSING)
    del document["input"]["mean"], document["input"]["std"]
    spec = ModelSpec.from_dict(document)
    assert spec.preference == 0
    assert (spec.input.mean, spec.input.std) == ((0.0,), (1.0,))
    assert spec.source.files[1].bytes is None
    assert "bytes" not in spec.to_dict()["source"]["files"][1]


def test_whole_numbers_become_floats() -> None:
    spec = ModelSpec.from_dict(changed(("input", "mean"), [1]))
    assert spec.input.mean == (1.0,)
    assert isinstance(spec.input.mean[0], float)


@pytest.mark.parametrize(("color", "channels"), [("gray", 1), ("rgb", 3), ("bgr", 3)])
def test_channels(color: Any, channels: int) -> None:
    assert ImageInput("data", 1, 1, color).channels == channels


def test_frozen() -> None:
    spec = ModelSpec.from_dict(GOOD)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("path", "value"), CASES, ids=label)
def test_broken_field_is_named(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_dict(changed(path, value), where="net.onnx")
    error = caught.value
    assert error.where.startswith("net.onnx")
    words = [f"[{key}]" if isinstance(key, int) else key for key in path]
    for word in words:
        assert word in str(error)
    if value is not MISSING and path != ("schema",):
        assert error.where.replace("files, [", "files[").endswith(words[-1])


@pytest.mark.parametrize(
    "path", [(), ("license",), ("source",), ("source", "files", 0), ("input",), ("embedding",)]
)
def test_unknown_field_is_named(path: tuple[str | int, ...]) -> None:
    with pytest.raises(SpecError, match="unknown field 'extra'") as caught:
        ModelSpec.from_dict(changed((*path, "extra"), 1))
    assert "available: " in caught.value.hint


def test_newer_schema() -> None:
    document = changed(("schema",), SCHEMA + 1)
    document["of_the_future"] = True
    with pytest.raises(SpecError, match=f"schema {SCHEMA + 1} is newer") as caught:
        ModelSpec.from_dict(document)
    assert caught.value.hint == "upgrade mobileface"


@pytest.mark.parametrize(
    "text", ["", "{", "spec", "{'a': 1}", '{"schema": 1,}', "[" * 100_000, "9" * 5000]
)
def test_not_json(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_json(text, where="net.onnx")
    assert caught.value.where == "net.onnx"


@pytest.mark.parametrize("text", ["[]", "null", "5", '"text"', "NaN", "[{}]"])
def test_json_but_no_table(text: str) -> None:
    with pytest.raises(SpecError, match="must be a table of fields"):
        ModelSpec.from_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_numbers_that_are_none(number: str) -> None:
    text = json.dumps(GOOD).replace("2.0, 3.5", f"{number}, 3.5")
    assert number in text
    with pytest.raises(SpecError, match="input, mean: "):
        ModelSpec.from_json(text)


@pytest.mark.parametrize("field", ["mean", "std"])
@pytest.mark.parametrize("value", [10**400, 1e39], ids=["1e400", "1e39"])
def test_numbers_beyond_float32(field: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"input, {field}: "):
        ModelSpec.from_dict(changed(("input", field), [value]))


def test_divisor_that_is_zero_in_float32() -> None:
    with pytest.raises(SpecError, match="input, std: "):
        ModelSpec.from_dict(changed(("input", "std"), [1e-50]))


@pytest.mark.parametrize("field", ["mean", "std"])
def test_gray_has_one_mean_and_one_std(field: str) -> None:
    document = changed(("input", "color"), "gray")
    for other in ("mean", "std"):
        document["input"][other] = [1.0, 1.0, 1.0] if other == field else [1.0]
    with pytest.raises(SpecError, match=field):
        ModelSpec.from_dict(document)


def test_is_a_model_error() -> None:
    with pytest.raises(ModelError):
        ModelSpec.from_json("")
    with pytest.raises(ValueError, match="not JSON"):
        ModelSpec.from_json("")


HOG: dict[str, Any] = {
    "image": "image",
    "output": "scores",
    "filters": 5,
    "filter_rows": 10,
    "filter_columns": 10,
    "cell_size": 8,
    "pyramid_step": 6,
    "max_pyramid_levels": 1000,
    "min_layer_width": 80,
    "min_layer_height": 80,
    "overlap_threshold": 0.3,
    "covered_threshold": 1.0,
}
YOLO: dict[str, Any] = {
    "image": "image",
    "ids": "ids",
    "scores": "scores",
    "boxes": "boxes",
    "iou_input": "iou",
    "valid_input": "valid",
    "topk_input": "topk",
    "rows": 100,
    "short_side": 256,
    "max_side": 1024,
    "multiple": 1,
    "score_threshold": 0.5,
    "iou_threshold": 0.45,
    "topk": 200,
    "labels": ["face"],
}
ATTRIBUTES: dict[str, Any] = {
    "gender_output": "gender",
    "age_output": "age",
    "expression_output": "expression",
    "genders": ["female", "male"],
    "ages": [5, 15],
    "expressions": ["smile", "calm"],
    "uncertain_below": 0.45,
    "uncertain_expression": "complicated",
    "crop": "mobileface",
}


def detector(**sections: Any) -> dict[str, Any]:
    kept = {name: value for name, value in GOOD.items() if name not in ("input", "embedding")}
    return {**kept, "task": "detection", **sections}


def attribute_net(**sections: Any) -> dict[str, Any]:
    kept = {name: value for name, value in GOOD.items() if name != "embedding"}
    return {**kept, "task": "attributes", **sections}


def test_detectors_and_attributes_round_trip() -> None:
    square = {"side": 0.75, "shift_down": 0.1}
    attributes = attribute_net(attributes=ATTRIBUTES)
    for data in (detector(hog=HOG), detector(yolo=YOLO, landmark_box=square), attributes):
        assert ModelSpec.from_dict(data).to_dict() == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            detector(),
            "needs exactly one section 'hog' or 'yolo' or 'yunet' or 'single_shot', found: none",
        ),
        (
            detector(hog=HOG, yolo=YOLO),
            "'hog' or 'yolo' or 'yunet' or 'single_shot', found: hog, yolo",
        ),
        (detector(yolo={**YOLO, "rows": 0}), "rows"),
        (detector(yolo={**YOLO, "labels": []}), "labels"),
        (detector(yolo={k: v for k, v in YOLO.items() if k != "ids"}), "ids"),
        (detector(yolo=YOLO, landmark_box={"side": "1", "shift_down": 0}), "side"),
        ({**GOOD, "task": "attributes"}, "'attributes' or 'heads', found: embedding"),
        (attribute_net(), "needs exactly one section 'attributes' or 'heads', found: none"),
        (attribute_net(attributes={**ATTRIBUTES, "crop": "no"}), "crop"),
        (attribute_net(attributes={**ATTRIBUTES, "ages": ["5"]}), "ages"),
        ({**GOOD, "input": {**GOOD["input"], "fit": "squeeze"}}, "fit"),
    ],
    ids=str,
)
def test_broken_sections_are_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_dict(data)

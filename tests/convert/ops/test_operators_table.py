"""OPERATORS.md says what the registry holds; so does the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobileface_convert.commands.main import main
from mobileface_convert.frontends.tflite.tflite_registry import registered as tflite_registered
from mobileface_convert.ops import registered

DOCUMENT = Path(__file__).parents[3] / "OPERATORS.md"


def test_document_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["operators"]) == 0
    written = capsys.readouterr().out
    assert DOCUMENT.read_text() == written, "mobileface-convert operators > OPERATORS.md"


def test_every_operator_is_in_the_document_once() -> None:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    names = [line.split("`")[1] for line in lines]
    assert sorted(names) == sorted([*registered(), *tflite_registered()])


def test_json_has_what_the_conversions_declare(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["operators", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sorted(entries) == sorted([*registered(), *tflite_registered()])
    convolution = entries["Convolution"]
    assert {"kernel", "num_group"} <= set(convolution["attributes"])
    assert "workspace" in convolution["ignored"]
    assert "Convolution_v1" in convolution["spellings"]
    assert convolution["framework"] == "mxnet"
    assert entries["CONV_2D"]["framework"] == "tflite"
    assert {"padding", "dilation_h"} <= set(entries["CONV_2D"]["options"])
    assert all(entry["onnx"].endswith(".") for entry in entries.values())

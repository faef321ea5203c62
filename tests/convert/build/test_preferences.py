"""Which model is the default follows from what was measured, and is said with these figures."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from benchmarks.results import OURS, medians

from mobileface.commands.main import main
from mobileface.errors import ModelIntegrityError
from mobileface.models.index import INDEX_FILE, read_index, write_index
from mobileface.models.sealed import sealed
from mobileface_convert.recipes.recipe import load_recipe
from tests.conftest import ROOT

MODELS = ROOT / "models_onnx"
EMBEDDERS = ("embedding_dlib", "identification_v2", "identification_v3", "identification_v1")
DETECTORS = {"detection_yunet": "max_side 640", "detection_hog": "defaults"}
"""Rows of the table in docs/models.md; tests/convert/parity/test_recall.py holds the recall."""


def document() -> str:
    return " ".join((ROOT / "docs" / "models.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("name", EMBEDDERS)
def test_figures_of_embedders(name: str) -> None:
    reference = json.loads((ROOT / "benchmarks" / "results" / "reference.json").read_text())
    group = "starter, embedding" if name == "embedding_dlib" else f"{name}, batch 1"
    milliseconds = 1e3 * medians(reference)[group][OURS]
    (own,) = re.findall(r"is ([\d.]+), ([\d.]+) and ([\d.]+) for V1, V2 and V3", document())
    (best,) = re.findall(r"embedding_dlib reaches ([\d.]+) there", document())
    auc = best if name == "embedding_dlib" else own[int(name[-1]) - 1]
    reason = load_recipe(name).reason
    print(f"{name}: {milliseconds:.3f} ms, {auc}; {reason}")
    found = re.findall(r"with probability ([\d.]+), in ([\d.]+) ms per face$", reason)
    assert found == [(auc, f"{milliseconds:.2g}")]


@pytest.mark.parametrize("name", DETECTORS)
def test_figures_of_detectors(name: str) -> None:
    row = next(
        line.split("|")
        for line in (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {name}, {DETECTORS[name]} ")
    )
    counts = [int(re.findall(r"(\d+) of", cell)[0]) for cell in row[2:4]]
    reason = load_recipe(name).reason
    print(f"{name}: {counts}, {row[-2]} ms; {reason}")
    found = re.findall(r"finds (\d+) of 206 .* in ([\d.]+) ms per frame", reason)
    assert found == [(str(sum(counts)), row[-2].strip())]


@pytest.mark.parametrize("names", [EMBEDDERS, tuple(DETECTORS)], ids=["embedders", "detectors"])
def test_preference_follows_accuracy(names: tuple[str, ...]) -> None:
    """The tuples begin with the most preferred."""
    recipes = [load_recipe(name) for name in names]
    pattern = r"probability ([\d.]+)" if names is EMBEDDERS else r"finds (\d+)"
    accuracies = [float(re.findall(pattern, recipe.reason)[0]) for recipe in recipes]
    preferences = [recipe.spec.preference for recipe in recipes]
    print(dict(zip(names, zip(preferences, accuracies, strict=True), strict=True)))
    assert preferences == sorted(set(preferences), reverse=True)
    assert accuracies == sorted(set(accuracies), reverse=True)


def test_the_starter_set_says_it() -> None:
    for name, entry in read_index(MODELS).items():
        assert entry.reason == load_recipe(name).reason, name
        assert entry.preference == load_recipe(name).spec.preference, name


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One that is converted later is not preferred for that."""
    entry = read_index(MODELS)["embedding_dlib"]
    later = dataclasses.replace(entry, file="later.onnx", preference=4, reason="")
    write_index(tmp_path, {"embedding_dlib": entry, "later": later})
    assert main(["models", "--models", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].strip() == f"the default: {load_recipe('embedding_dlib').reason}"
    assert lines[3].strip() == "not the default: not measured against the others"
    assert main(["models", "--models", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [(m["preferred"], m["reason"]) for m in found] == [(True, entry.reason), (False, None)]


@pytest.mark.parametrize("reason", ["two\\nlines", "\\u001b[2J"])
def test_reasons_reach_no_terminal_raw(tmp_path: Path, reason: str) -> None:
    write_index(tmp_path, {"a": dataclasses.replace(read_index(MODELS)["age"], reason="REASON")})
    text = (tmp_path / INDEX_FILE).read_text(encoding="utf-8").replace("REASON", reason)
    (tmp_path / INDEX_FILE).write_text(json.dumps(sealed(json.loads(text))), encoding="utf-8")
    with pytest.raises(ModelIntegrityError, match="unprintable"):
        read_index(tmp_path)

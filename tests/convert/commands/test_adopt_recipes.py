"""``mobileface-convert adopt`` with recipes: written, read, moved and damaged."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from mobileface.models.lookup import find_model
from mobileface_convert.commands.main import main
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.recipes.toml_text import toml_text
from tests.convert.commands.adoptable_networks import write_network
from tests.convert.commands.adopting import FACTS, SCALING, adopt, error_of, written

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_recipe_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    (source / "nets").mkdir(parents=True)
    original = write_network(source / "nets" / "net.onnx")
    terms = tmp_path / "TERMS"
    terms.write_text('Free for "everyone" – \\o/\n\x7fname=Zoë 😀\n', encoding="utf-8")
    recipe, first, second = source / "my.toml", tmp_path / "m1", tmp_path / "m2"
    told = ["--name", "mine", "--license", terms, "--origin", "https://example.org/net"]
    given = [original, *FACTS, *SCALING, *told, "--output", first]
    assert adopt(*given, "--write-recipe", recipe) == 0
    assert load_recipe(str(recipe)).files["model"].path == "nets/net.onnx"
    moved = tmp_path / "moved"
    source.rename(moved)
    assert adopt(moved / "my.toml", "--output", second) == 0
    assert written(first) == written(second)
    for name in ("mine.onnx", "mine.md", "licenses/mine.txt"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert (first / "licenses" / "mine.txt").read_text(encoding="utf-8") == terms.read_text("utf-8")
    documents = [json.loads((f / "mine.certificate.json").read_text()) for f in (first, second)]
    assert documents[0]["recipe"] == documents[1]["recipe"]
    model = find_model("mine", models=second).path
    capsys.readouterr()
    for more in (["--source", moved], ["--recipe", moved / "my.toml"]):
        assert main(["verify", str(model), *map(str, more)]) == 0
        assert "max abs error" in capsys.readouterr().out
    assert main(["verify", str(model)]) == 2
    assert "--source DIR" in error_of(capsys)
    write_network(moved / "nets" / "net.onnx", seed=8)
    assert main(["verify", str(model), "--source", str(moved)]) == 2
    assert "is pinned" in error_of(capsys)


def test_toml_is_read_back() -> None:
    tables = {
        "a": {"text": 'q"\\\n\t\x7f\x01ü😀', "n": 3, "x": 1e-9, "yes": True, "list": [1.5, 2.0]},
        "b": {"c": {"d": "e"}, "rows": [{"k": "v"}, {"k": ["w"]}]},
        "empty": [],
        "odd key": {"1.5": "z"},
    }
    assert tomllib.loads(toml_text(tables)) == tables


CHANGED: dict[str, tuple[str, str, str]] = {
    "hash": ('sha256 = "', 'sha256 = "0', "is not a SHA-256"),
    "another file": ("bytes = ", "bytes = 1", "is pinned"),
    "out of the folder": ('path = "net.onnx"', 'path = "../net.onnx"', "not a plain path"),
    "absolute": ('path = "net.onnx"', 'path = "/net.onnx"', "not a plain path"),
    "a link": ('path = "net.onnx"', 'path = "link.onnx"', "leads out of the folder"),
    "missing": ('path = "net.onnx"', 'path = "gone.onnx"', "has no file gone.onnx"),
    "upstream": ("[upstream]", "[other]", "'repository'"),
    "no words": ("words = ", "word = ", "words"),
    "no card": ("[card]", "[cards]", "'card' is missing"),
    "size": ("size = 64", "size = 65", "the spec says"),
    "output": ('embedding = "683"', 'embedding = "684"', "no output '684'"),
    "output list": ('embedding = "683"', 'embedding = ["683"]', "must name a published output"),
    "outputs text": (
        "[convert.outputs]",
        'outputs = "x"\n[convert.others]',
        "must name a published output",
    ),
    "license": ("[upstream.license]", "license = 5\n[upstream.others]", "wrong type"),
    "path number": ('path = "net.onnx"', "path = 5", "wrong type"),
    "opset": ("opset = 17", "opset = 99", "operator set"),
    "outputs": ('embedding = "683"', 'vector = "683"', "must name a published output"),
    "height": ("height = 112", "height = 96", "the spec says"),
    "layout": ('layout = "nhwc"', 'layout = "nchw"', "images of bytes must be nhwc"),
    "batch": ('layout = "nhwc"', 'layout = "nhwc"\nbatch = 2', "neither 1 nor left out"),
    "name": ('name = "net"', 'name = "a/b"', "must be letters"),
    "maker": ('maker = "onnx_network"', 'maker = "x"', "unknown maker"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_recipes_that_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    original, recipe = write_network(folder / "net.onnx"), folder / "my.toml"
    outside = shutil.copyfile(original, tmp_path / "outside.onnx")
    (folder / "link.onnx").symlink_to(outside)
    given = [original, *FACTS, *SCALING, "--output", tmp_path / "first"]
    assert adopt(*given, "--write-recipe", recipe) == 0
    before, after, reason = CHANGED[name]
    assert recipe.read_text().count(before) >= 1
    recipe.write_text(recipe.read_text().replace(before, after, 1))
    capsys.readouterr()
    assert adopt(recipe, "--output", tmp_path / "second") == 2
    said = error_of(capsys)
    print(said)
    assert reason in said
    assert not (tmp_path / "second").exists() or written(tmp_path / "second") == []


def test_a_recipe_says_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert adopt(tmp_path / "my.toml", "--crop", "arcface", "--output", tmp_path) == 2
    assert "--crop is for networks" in error_of(capsys)
    assert adopt(tmp_path / "my.toml", "--output", tmp_path) == 2
    assert "cannot be read" in error_of(capsys)
    (tmp_path / "x.txt").write_text("x")
    assert adopt(tmp_path / "x.txt", *FACTS, *SCALING, "--output", tmp_path / "m") == 2
    assert "pass one .onnx or .tflite file" in error_of(capsys)

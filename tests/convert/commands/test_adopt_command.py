"""``mobileface-convert adopt``: unknown networks run by the name that they are given."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from mobileface import Embedder, Session
from mobileface.commands.main import main as run
from mobileface.models.lookup import find_model
from mobileface_convert.commands.main import main
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.recipes.toml_text import toml_text
from mobileface_eval.commands.main import main as evaluate
from tests.convert.commands.adoptable_networks import (
    DIMENSIONS,
    SIDE,
    write_heads,
    write_network,
    write_two_inputs,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOLERANCE = 1e-5
FACTS = ["--task", "embedding", "--crop", "arcface", "--color", "rgb"]
SCALING = ["--mean", "127.5", "--std", "127.5"]

FloatArray = npt.NDArray[np.float32]

VARIANTS: dict[str, dict[str, Any]] = {
    "any batch": {},
    "batch of one, freed": {"batch": 1},
    "batch of four, freed": {"batch": 4},
    "batch reshaped away": {"batch": 1, "mixed": True},
    "batch stated as any, but reshaped away": {"mixed": True},
    "any height and width": {"size": "any"},
    "pixels last": {"last": True},
    "float16 weights with Cast": {"cast": True},
    "unit length": {"unit": True},
    "operator set 13": {"opset": 13},
    "operator set 19": {"opset": 19},
}


def adopt(*arguments: object) -> int:
    return main(["adopt", *map(str, arguments)])


def crops(folder: Path, count: int = 3, side: int = SIDE) -> tuple[list[Path], FloatArray]:
    """Seeded crops as files, and what they are: uint8 (N, side, side, 3), BGR."""
    folder.mkdir(exist_ok=True)
    random = np.random.RandomState(11)
    grids = random.randint(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    noise = random.randint(0, 16, (count, side, side, 3)).astype(np.uint8)  # sharp enough to enrol
    smooth = [cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC) for grid in grids]
    pictures = [cv2.add(one, more) for one, more in zip(smooth, noise, strict=True)]
    paths = [folder / f"{index}.png" for index in range(count)]
    for path, picture in zip(paths, pictures, strict=True):
        assert cv2.imwrite(str(path), picture)
    return paths, np.stack(pictures)


def published(
    path: Path, pictures: npt.NDArray[Any], *, last: bool = False, half: bool = False
) -> FloatArray:
    """What ONNX Runtime gives for the original file, run crop by crop without optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    fed = (pictures[..., ::-1].astype(np.float32) - 127.5) / 127.5
    fed = (fed if last else fed.transpose(0, 3, 1, 2)).astype(np.float16 if half else np.float32)
    batch = session.get_inputs()[0].shape[0]
    if isinstance(batch, int) and batch > 1:
        fed = fed[[*range(len(fed)), *[0] * (batch - len(fed))]]
        return np.asarray(session.run(None, {"input.1": fed})[0][: len(pictures)])
    rows = [session.run(None, {"input.1": np.ascontiguousarray(one[None])})[0] for one in fed]
    return np.concatenate(rows).astype(np.float32)


def written(folder: Path) -> list[str]:
    """All files in a folder and below, but for what locks it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name[0] != ".")


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    said = capsys.readouterr().err.strip()
    assert said.startswith("mobileface-convert: error: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", VARIANTS)
def test_embeds_like_the_original(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = VARIANTS[name]
    original = write_network(tmp_path / "w600k.onnx", **options)
    models = tmp_path / "models"
    assert adopt(original, *FACTS, *SCALING, "--name", "mine", "--output", models) == 0
    said = capsys.readouterr().out
    paths, pictures = crops(tmp_path / "crops", 4 if options.get("batch") == 4 else 3)
    expected = published(original, pictures, last=bool(options.get("last")))
    vectors = tmp_path / "e.npz"
    command = ["embed", "--crops", *map(str, paths), "--embedder", "mine", "--models", str(models)]
    assert run([*command, "--output", str(vectors)]) == 0
    with np.load(vectors) as stored:
        found = stored["embeddings"]
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    error = float(np.abs(found - expected / lengths).max())
    embedder = Embedder(Session(models / "mine.onnx"))
    raw = embedder.embed(list(pictures), normalize=False)
    raw_error = float(np.abs(raw - expected).max())
    print(
        f"{name}: largest error {error:.2g}, before unit length {raw_error:.2g} of {raw.max():.2g}"
    )
    assert found.shape == (len(paths), DIMENSIONS)
    assert np.abs(found[0] - found[1]).max() > 1e-2  # crops differ
    assert error <= TOLERANCE
    assert raw_error <= TOLERANCE * max(1, raw.max())
    fixed = "batch fixed at 1" in said
    assert fixed is ("stated as any" in name)
    assert (embedder.image.batch == 1) is fixed
    assert ("batch fixed at 1" in (models / "mine.md").read_text()) is fixed
    spec = embedder.spec
    assert spec.section.normalized is ("unit length" in name)
    assert written(models) == sorted(
        ["index.json", "licenses/mine.txt", "mine.certificate.json", "mine.md", "mine.onnx"]
    )


def test_float16_arithmetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The made model computes in float32 on the same weights: within float16's rounding."""
    original = write_network(tmp_path / "half.onnx", half=True)
    exact = write_network(tmp_path / "exact.onnx", cast=True)  # the same weights in float32
    models = tmp_path / "models"
    assert adopt(original, *FACTS, *SCALING, "--output", models) == 0
    assert "float16" in (models / "half.md").read_text()
    _, pictures = crops(tmp_path / "crops")
    found = Embedder(Session(models / "half.onnx")).embed(list(pictures), normalize=False)
    theirs = published(original, pictures, half=True)
    wide = published(exact, pictures)
    errors = [float(np.abs(found - rows).max()) for rows in (theirs, wide)]
    print(
        f"float16: {errors[0]:.2g} from float16, {errors[1]:.2g} from float32, of {wide.max():.2g}"
    )
    assert max(errors) <= 5e-3 * wide.max()
    entry = json.loads((models / "index.json").read_text())["models"]["half"]
    assert entry["precision"] == "fp16"
    assert main(["verify", str(models / "half.onnx"), "--source", str(tmp_path)]) == 0


def test_every_command_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = write_network(tmp_path / "net.onnx", mixed=True)
    models, place = tmp_path / "models", ["--models", str(tmp_path / "models")]
    assert adopt(original, *FACTS, *SCALING, "--name", "mine", "--output", models) == 0
    paths, _ = crops(tmp_path / "crops")
    first, second = map(str, paths[:2])
    capsys.readouterr()
    by_name = ["--embedder", "mine", *place]
    assert run(["compare", "--crops", first, second, *by_name]) == 0
    assert "cannot tell: no calibration" in capsys.readouterr().out
    more = ["--gallery", str(tmp_path / "g.db"), *by_name]
    assert run(["gallery", "create", *more]) == 0
    assert run(["gallery", "add", "Ada", first, "--crops", *more]) == 0
    capsys.readouterr()
    assert run(["gallery", "search", first, "--crops", *more, "--json"]) == 0
    assert "Ada" in capsys.readouterr().out
    assert run(["models", *place]) == 0
    assert "mine" in capsys.readouterr().out
    bench = ["bench", "--model", "mine", *place, "--seconds", "1", "--batch", "1", "4", "--json"]
    assert run(bench) == 0
    assert "mine" in capsys.readouterr().out
    assert run(["certify", *place, "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)["variants"]
    assert [v["state"] for v in verdicts if v["model"] == "mine"] == ["held"]


def test_roc(tmp_path: Path) -> None:
    original = write_network(tmp_path / "net.onnx")
    models = tmp_path / "models"
    assert adopt(original, *FACTS, *SCALING, "--name", "mine", "--output", models) == 0
    paths, _ = crops(tmp_path / "crops", 4)
    for index, path in enumerate(paths):
        person = tmp_path / "people" / f"p{index // 2}"
        person.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, person / path.name)
    out = tmp_path / "out"
    command = ["roc", tmp_path / "people", "--embedder", "mine", "--models", models, "--crops"]
    assert evaluate([*map(str, command), "--output", str(out)]) == 0
    (row,) = json.loads((out / "roc.json").read_text())["models"]
    print({key: row[key] for key in list(row)[:6]})


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


REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "size": ({}, [*SCALING, "--size", "128"], "reads 112x112 pixels, not 128"),
    "gray, pixels last": ({"last": True, "channels": 1}, SCALING, "reads 1 channels"),
    "channels": ({}, [*SCALING, "--color", "gray"], "reads 3 channels, 'gray' has 1"),
    "two outputs": ({"second": True}, SCALING, "has 2 outputs: 683, quality"),
    "no such output": ({}, [*SCALING, "--feature", "x"], "has no output 'x'"),
    "nan": ({"poison": float("nan")}, SCALING, "gives nan or infinite numbers"),
    "infinite": ({"poison": float("inf")}, SCALING, "gives nan or infinite numbers"),
    "pixels 0..1": ({}, ["--mean", "0.5", "--std", "0.5"], "is not for pixels 0..255"),
    "two means": ({}, ["--mean", "1", "2", "--std", "127.5"], "expected 1 or 3 numbers"),
    "std below zero": ({}, ["--mean", "1", "--std", "-1"], "must be positive"),
    "std nan": ({}, ["--mean", "1", "--std", "nan"], "not a number"),
    "no scaling": ({}, [], "--mean, --std must be given"),
    "name": ({}, [*SCALING, "--name", "../x"], "must be letters, digits and underscores"),
    "shipped": ({}, [*SCALING, "--name", "identification_v2"], "the package has this name"),
    "tolerance": ({}, [*SCALING, "--tolerance", "1e-12"], "differs from ONNX Runtime"),
    "no tolerance": ({}, [*SCALING, "--tolerance", "-1"], "must be above 0"),
    "recipe elsewhere": ({}, [*SCALING, "--write-recipe", "sub/my.toml"], "lies outside"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, more, reason = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    original = write_network(tmp_path / "net.onnx", **options)
    assert adopt(original, *FACTS, "--output", "models", *more) == 2
    said = error_of(capsys)
    print(said)
    assert reason in said
    assert written(tmp_path) == ["net.onnx"]  # nothing half-written


def test_no_square(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = write_heads(tmp_path / "net.onnx", only="age", size=(112, 96))
    assert adopt(original, *FACTS, *SCALING, "--output", tmp_path / "models") == 2
    assert "112 rows of 96 pixels, but crops are square" in error_of(capsys)
    inputs = write_two_inputs(tmp_path / "two.onnx")
    assert adopt(inputs, *FACTS, *SCALING, "--output", tmp_path / "models") == 2
    assert "has 2 inputs, not one image" in error_of(capsys)
    assert not (tmp_path / "models").exists()


def test_source_is_for_adopted_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "age.onnx"), "--source", str(tmp_path)]) == 2
    assert "--source is for adopted models" in error_of(capsys)


def test_unknown_crop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = write_network(tmp_path / "net.onnx")
    with pytest.raises(SystemExit) as caught:
        adopt(original, *FACTS, *SCALING, "--crop", "x")
    assert caught.value.code == 2
    assert "--crop" in capsys.readouterr().err
    recipe = tmp_path / "my.toml"
    out = tmp_path / "models"
    assert adopt(original, *FACTS, *SCALING, "--output", out, "--write-recipe", recipe) == 0
    recipe.write_text(recipe.read_text().replace('crop = "arcface"', 'crop = "x"'))
    capsys.readouterr()
    assert adopt(recipe, "--output", tmp_path / "other") == 2
    assert "'x' is not one of" in error_of(capsys)


def test_existing_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original, models = write_network(tmp_path / "net.onnx"), tmp_path / "models"
    given = [original, *FACTS, *SCALING, "--name", "mine", "--output", models]
    assert adopt(*given) == 0
    before = {name: (models / name).read_bytes() for name in written(models)}
    write_network(original, seed=8)
    capsys.readouterr()
    assert adopt(*given) == 2
    assert "has a model of this name" in error_of(capsys)
    assert {name: (models / name).read_bytes() for name in written(models)} == before
    write_network(original, seed=8, poison=float("nan"))
    assert adopt(*given, "--replace") == 2
    assert {name: (models / name).read_bytes() for name in written(models)} == before
    write_network(original, seed=8)
    assert adopt(*given, "--replace") == 0
    assert (models / "mine.onnx").read_bytes() != before["mine.onnx"]
    shipped = [original, *FACTS, *SCALING, "--name", "embedding_dlib", "--output", models]
    assert adopt(*shipped, "--replace") == 0
    capsys.readouterr()
    assert main(["verify", str(models / "embedding_dlib.onnx"), "--source", str(tmp_path)]) == 0
    shutil.copyfile(original, models / "other.onnx")
    capsys.readouterr()
    inside = [models / "other.onnx", *FACTS, *SCALING, "--output", models, "--replace"]
    assert adopt(*inside) == 2
    assert "would overwrite its own input" in error_of(capsys)


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

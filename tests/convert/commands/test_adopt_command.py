"""``mobileface-convert adopt``: unknown networks run by the name that they are given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from mobileface import Embedder, Session
from mobileface.commands.main import main as run
from mobileface_convert.commands.main import main
from mobileface_eval.commands.main import main as evaluate
from tests.convert.commands.adoptable_networks import (
    DIMENSIONS,
    SIDE,
    write_heads,
    write_network,
    write_two_inputs,
)
from tests.convert.commands.adopting import FACTS, SCALING, adopt, error_of, written

TOLERANCE = 1e-5
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

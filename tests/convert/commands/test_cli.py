"""The ``mobileface-convert`` command: what it writes, what it says, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from mobileface.models.index import read_index
from mobileface.models.session import Session
from mobileface.models.spec import METADATA_KEY
from mobileface_convert.commands.main import main
from mobileface_convert.frontends.mxnet_checkpoint import load_checkpoint
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from mobileface_convert.oracles.verify import probe_tensor
from mobileface_convert.recipes.recipe import Recipe, load_recipe, recipe_names

Checkpoint = Callable[[int], tuple[Path, Path]]


@pytest.fixture
def checkpoint(random_source: Path, random_recipe: Callable[[int], Recipe]) -> Checkpoint:
    """Symbol and parameter file of a random network."""

    def find(version: int) -> tuple[Path, Path]:
        files = random_recipe(version).files
        return random_source / files["symbol"].path, random_source / files["params"].path

    return find


def given(files: tuple[Path, Path]) -> list[str]:
    return ["--symbol", str(files[0]), "--params", str(files[1])]


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must fail; returns its one line of error text."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("mobileface-convert: error: ")
    print(lines[0])
    return lines[0]


def test_recipes_are_complete() -> None:
    names = [f"identification_v{version}" for version in (1, 2, 3)]
    assert set(names) <= set(recipe_names())
    for name in names:
        assert load_recipe(name).spec.name == name


def test_inspect(checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    symbol, params = checkpoint(2)
    assert main(["inspect", str(symbol), str(params), "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["operators"]["Convolution"] == 37
    assert description["inputs"] == ["data"]
    assert description["outputs"] == ["fc5_bn"]
    assert description["weight_bytes"] == load_checkpoint(symbol, params).weight_bytes
    assert main(["inspect", str(symbol), str(params)]) == 0
    assert "conv1_weight" not in capsys.readouterr().err
    assert main(["inspect", str(params)]) == 0
    assert "arg:fc5_weight" in capsys.readouterr().out


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("version", [1, 2, 3])
def test_merge_bn_writes_what_mxnet_loads(
    checkpoint: Checkpoint, tmp_path: Path, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    files = checkpoint(version)
    assert main(["merge-bn", *given(files), "--output", str(tmp_path / "merged")]) == 0
    assert "weight bytes saved" in capsys.readouterr().out
    merged = tmp_path / "merged-symbol.json", tmp_path / "merged-0000.params"
    assert not any(n.op == "BatchNorm" for n in load_checkpoint(*merged).operators)
    tensor = probe_tensor(load_recipe(f"identification_v{version}").spec.input, count=4)
    before, after = (MXNetReference(*pair).run({"data": tensor})[0] for pair in (files, merged))
    error = float(np.abs(before - after).max() / np.abs(before).max())
    print(f"V{version}: largest relative error of the merged checkpoint {error:.3g}")
    assert error <= 2e-5


def test_prune_at_a_name(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prune", *given(checkpoint(2)), "--output", str(tmp_path / "cut"), "--at", "fc5"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "dropped fc5_bn (BatchNorm)" in said
    assert "1 of 137 layers and 4096 of" in said
    cut = load_checkpoint(tmp_path / "cut-symbol.json", tmp_path / "cut-0000.params")
    assert [edge.node.name for edge in cut.outputs] == ["fc5"]
    assert not any(name.startswith("fc5_bn") for name in cut.params)


def test_export_with_a_recipe_runs(checkpoint: Checkpoint, tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    arguments = ["export", *given(checkpoint(3)), "--output", str(target)]
    assert main([*arguments, "--recipe", "identification_v3"]) == 0
    session = Session(target)
    assert session.spec.name == "identification_v3"
    for count in (1, 5):
        tensor = probe_tensor(session.spec.input, count=count)
        assert session.run({"data": tensor})["embedding"].shape == (count, 256)


def test_export_of_any_shape(checkpoint: Checkpoint, tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    arguments = ["export", *given(checkpoint(2)), "--output", str(target)]
    assert main([*arguments, "--input-shape", "data=batch,3,112,112", "--opset", "18"]) == 0
    model = onnx.load(str(target))
    assert model.opset_import[0].version == 18
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert METADATA_KEY not in {entry.key for entry in model.metadata_props}


def test_verify_refuses_another_network(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "identification_v3.onnx"
    arguments = ["export", *given(checkpoint(3)), "--output", str(target)]
    assert main([*arguments, "--recipe", "identification_v3"]) == 0
    text = fails(capsys, "verify", str(target))
    assert "differs from recorded from MXNet" in text


@pytest.mark.slow
@pytest.mark.needs_source
def test_all_from_a_folder(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By argument and by MOBILEFACE_SOURCE; one model alone joins an existing index."""
    folder = tmp_path / "models"
    arguments = ["all", "--output", str(folder), "--only"]
    assert main([*arguments, "identification_v3", "--source", str(source)]) == 0
    monkeypatch.setenv("MOBILEFACE_SOURCE", str(source))
    assert main([*arguments, "identification_v1"]) == 0
    said = capsys.readouterr().out
    assert "identification_v3: 37 nodes" in said
    assert "identification_v1: 73 nodes" in said
    index = read_index(folder)
    assert set(index) == {"identification_v1", "identification_v3"}
    variants = [variant for entry in index.values() for variant in entry.all_variants]
    listed = {file for variant in variants for file in (variant.file, variant.certificate)}
    assert {path.name for path in folder.iterdir()} == {"index.json", *listed}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, p: p.write_bytes(p.read_bytes()[:100_000]), ("params", "truncated")),
        (lambda s, p: p.write_bytes(b"\0" * 64), ("params", "magic")),
        (lambda s, p: p.unlink(), ("params", "cannot be read")),
        (lambda s, p: s.write_text("{"), ("symbol.json", "not JSON")),
        (lambda s, p: s.write_text("[]"), ("symbol.json", "not an MXNet symbol")),
        (
            lambda s, p: s.write_text(s.read_text().replace('"Flatten"', '"Flaten"')),
            ("symbol.json", "'Flaten'", "flatten0", "did you mean: Flatten", "supported"),
        ),
        (
            lambda s, p: s.write_text(s.read_text().replace('"(3, 3)"', '"(5, 5)"')),
            ("symbol.json", "conv1", "(32, 3, 3, 3)", "(32, 3, 5, 5)", "another model"),
        ),
        (
            lambda s, p: s.write_text(s.read_text().replace("fc5_weight", "fc6_weight")),
            ("symbol.json", "fc6_weight", "missing"),
        ),
        (
            lambda s, p: s.write_text(s.read_text().replace('"num_hidden"', '"hidden"')),
            ("symbol.json", "fc5", "hidden"),
        ),
    ],
)
def test_bad_files_give_one_error_and_no_output(
    checkpoint: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path, Path], object],
    words: tuple[str, ...],
) -> None:
    copies = []
    for path in checkpoint(3):
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(path.read_bytes())
    change(*copies)
    output = tmp_path / "out"
    text = fails(
        capsys, "export", *given((copies[0], copies[1])), "--output", str(output / "x.onnx"),
        "--input-shape", "N,3,112,112",
    )  # fmt: skip
    for word in words:
        assert word in text
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["all", "--output", "x", "--only", "nothing"], ("no recipe named 'nothing'",)),
        (["all", "--output", "x", "--source", "/nowhere"], ("/nowhere",)),
        (["inspect", "picture.jpg"], ("picture.jpg", "cannot be inspected")),
        (["inspect", "absent.onnx"], ("absent.onnx",)),
        (["verify", "absent.onnx"], ("no recipe named 'absent'",)),
    ],
)
def test_bad_arguments(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: tuple[str, ...]
) -> None:
    text = fails(capsys, *arguments)
    for word in words:
        assert word in text


def test_conversion_imports_no_mxnet(checkpoint: Checkpoint, tmp_path: Path) -> None:
    code = (
        "import sys; from mobileface_convert.commands.main import main; code = main(sys.argv[1:]);"
        "assert not {'mxnet', 'dlib'} & set(sys.modules); sys.exit(code)"
    )
    arguments = ["export", *given(checkpoint(3)), "--output", str(tmp_path / "net.onnx")]
    arguments += ["--recipe", "identification_v3"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=2)

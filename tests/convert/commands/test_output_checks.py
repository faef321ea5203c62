"""mobileface-convert and mobileface-eval never write onto what they read."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mobileface_convert.commands import main as convert_main
from mobileface_convert.exports.sidecar import export_paths
from mobileface_eval.commands import main as eval_main
from tests.runtime.commands.test_output_commands import check_parser

SAME = "would overwrite its own input"


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two files with the names of a checkpoint: the checks come before they are read."""
    monkeypatch.chdir(tmp_path)
    symbol, params = tmp_path / "net-symbol.json", tmp_path / "net-0000.params"
    symbol.write_bytes(b"{}")
    params.write_bytes(b"params")
    return symbol, params


def refused(output: Any, reason: str, *arguments: object) -> None:
    before = hashes(Path())
    assert convert_main.main([str(argument) for argument in arguments]) == 2, arguments
    out, err = output.readouterr()
    assert reason in err, (arguments, err)
    assert (out, err.count("\n")) == ("", 1), arguments
    assert hashes(Path()) == before, arguments


def test_outputs_onto_sources(
    checkpoint: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    symbol, params = checkpoint
    files = ("--symbol", symbol, "--params", params)
    Path("soft-0000.params").symlink_to(params)
    Path("hard-symbol.json").hardlink_to(symbol)
    for command in ("prune", "merge-bn"):
        for prefix in ("net", "soft", "hard"):
            refused(capsys, SAME, command, *files, "--output", prefix)
    for name in (params, symbol, "soft-0000.params", "hard-symbol.json"):
        for command in (("model",), ("export", "--input-shape", "N,3,8,8")):
            refused(capsys, SAME, *command, *files, "--output", name)
    certificate = Path("made.certificate.json")
    certificate.write_bytes(b"{}")
    refused(
        capsys, SAME, "model", "--symbol", certificate, "--params", params, "--output", "made.onnx"
    )
    for command in ("model", "export"):
        refused(capsys, "is a folder, not a file", command, *files, "--output", ".")
    for target, source in (("ncnn", "net.param"), ("caffe", "net.caffemodel")):
        Path(source).write_bytes(b"params")
        arguments = ("--target", target, "--input-shape", "N,3,8,8", "--output", ".")
        refused(
            capsys, SAME, "export", "--symbol", "net-symbol.json", "--params", source, *arguments
        )
        arguments = ("--target", target, "--input-shape", "N,3,8,8", "--output", source)
        refused(capsys, "is a file, not a folder", "export", *files, *arguments)
    for command in ("all", "starter", "bundle --models ."):
        refused(capsys, "is a file, not a folder", *command.split(), "--output", params)


def test_models_onto_their_own_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source file whose name is that of an output, in the folder of the outputs."""
    from mobileface.errors import InputError
    from mobileface_convert.build import pipeline
    from mobileface_convert.recipes.recipe import load_recipe

    source = tmp_path / "identification_v3.onnx"
    source.write_bytes(b"source")
    recipe = load_recipe("identification_v3")
    monkeypatch.setattr(pipeline, "choose", lambda *_: (recipe, {"params": source}))
    with pytest.raises(InputError, match=SAME):
        pipeline.convert(recipe, None, tmp_path)
    assert hashes(tmp_path).keys() == {source.name}


def test_all_outputs_are_declared(capsys: pytest.CaptureFixture[str]) -> None:
    parser: Any = convert_main._parser()
    check_parser(parser, 7)
    parser = eval_main._parser()
    check_parser(parser, 8)


def test_names_of_exports() -> None:
    names = [path.name for path in export_paths(Path("out"), "net", "ncnn", "float16")]
    assert names == ["net_float16.param", "net_float16.bin", "net_float16.ncnn.json"]
    names = [path.name for path in export_paths(Path("out"), "net", "caffe", "float32")]
    assert names == ["net.prototxt", "net.caffemodel", "net.caffe.json"]


def test_a_report_onto_its_own_input(tmp_path: Path) -> None:
    people = tmp_path / "roc.json"
    people.write_bytes(b"mine")
    command = [sys.executable, "-m", "mobileface_eval", "roc", people, "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert SAME in done.stderr
    assert people.read_bytes() == b"mine"

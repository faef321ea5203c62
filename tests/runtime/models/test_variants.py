"""Model variants: the index that lists them, which one runs, loading, and the commands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobileface
from mobileface import FaceAnalyzer, find_model, load, load_embedder
from mobileface.commands.main import main
from mobileface.errors import InputError, ModelError, ModelIntegrityError, ModelNotFoundError
from mobileface.host.files import sha256
from mobileface.host.machine import ANYWHERE, Condition, Machine, this_machine
from mobileface.models.index import INDEX_FILE, IndexEntry, Variant, read_index, write_index
from mobileface.models.lookup import Prefer, StoredModel
from mobileface.vision.image import Image
from tests.runtime.host.machines import ARM, AVX2, OLD_X86, UNKNOWN, X86

Output = pytest.CaptureFixture[str]


def variant(name: str, condition: Condition = ANYWHERE, model: str = "net") -> Variant:
    file = f"{model}.{name}"
    precision = name.partition("_")[0]
    certificate = f"{file}.certificate.json"
    return Variant(name, precision, f"{file}.onnx", "cd" * 32, 7, certificate, condition)


def entry(**changes: Any) -> IndexEntry:
    fields: dict[str, Any] = {
        "file": "net.onnx",
        "sha256": "ab" * 32,
        "bytes": 12,
        "task": "embedding",
        "preference": 1,
        "certificate": "net.certificate.json",
        "variants": (
            variant("fp32_x86", AVX2),
            variant("fp16"),
            variant("int8_x86", AVX2),
            variant("int8"),
        ),
    }
    return IndexEntry(**{**fields, **changes})


def stored(**changes: Any) -> StoredModel:
    folder = Path("models")
    return StoredModel("net", folder / "net.onnx", folder / "c.json", entry(**changes))


# index


def test_index_with_variants_round_trip(tmp_path: Path) -> None:
    models = {"net": entry(), "plain": entry(file="plain.onnx", precision="fp16", variants=())}
    write_index(tmp_path, models)
    assert read_index(tmp_path) == models
    document = json.loads((tmp_path / INDEX_FILE).read_text())
    assert document["schema"] == 2
    listed = document["models"]["net"]["variants"]
    assert listed[0]["condition"] == {"machines": ["x86_64"], "features": ["avx2"]}
    assert listed[1]["condition"] == {}


def test_the_models_own_file_is_the_last_variant() -> None:
    names = [item.name for item in entry().all_variants]
    assert names == ["fp32_x86", "fp16", "int8_x86", "int8", "fp32"]
    own = entry().all_variants[-1]
    assert (own.file, own.sha256, own.bytes) == ("net.onnx", "ab" * 32, 12)
    assert own.condition == ANYWHERE


def test_an_index_of_the_first_schema_has_no_variants(models: Path, tmp_path: Path) -> None:
    document = {
        field: value
        for field, value in dataclasses.asdict(entry()).items()
        if field not in ("precision", "variants", "reason")
    }
    (tmp_path / INDEX_FILE).write_text(json.dumps({"schema": 1, "models": {"net": document}}))
    assert read_index(tmp_path) == {"net": entry(variants=())}
    assert find_model(models=models).choose("fp32").path.name == "tiny_color.onnx"


def raw(change: Callable[[dict[str, Any]], Any]) -> str:
    """An index whose second variant is changed."""
    item = json.loads(json.dumps(dataclasses.asdict(entry())))
    for one in item["variants"]:
        one["condition"] = {key: words for key, words in one["condition"].items() if words}
    change(item["variants"][1])
    return json.dumps({"schema": 2, "models": {"net": item}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(file="../net.onnx"), "file '../net.onnx' is not a plain file name"),
        (lambda v: v.update(certificate="a/b"), "certificate 'a/b' is not a plain file name"),
        (lambda v: v.update(bytes="7"), "bytes '7' is not of type int"),
        (lambda v: v.update(precision="fp8"), "precision 'fp8' is not one of fp32, fp16, int8"),
        (lambda v: v.pop("sha256"), "must have the fields name, precision"),
        (lambda v: v.update(more=1), "must have the fields name, precision"),
        (lambda v: v.update(condition=[]), "condition .. is not of type dict"),
        (lambda v: v.update(condition={"gpu": ["any"]}), "condition 'gpu' is not one of"),
        (
            lambda v: v.update(condition={"machines": "x86_64"}),
            "condition 'machines' is not one of",
        ),
        (lambda v: v.update(condition={"features": [1]}), "condition 'features' is not one of"),
        (lambda v: v.update(name="int8"), "two variants have the name 'int8'"),
        (lambda v: v.update(name="fp32"), "two variants have the name 'fp32'"),
        (lambda v: v.update(file="net.onnx"), "two variants have the file 'net.onnx'"),
    ],
)
def test_a_broken_variant_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    (tmp_path / INDEX_FILE).write_text(raw(change))
    with pytest.raises(ModelIntegrityError, match=message) as caught:
        read_index(tmp_path)
    assert f"{INDEX_FILE}, net" in caught.value.where


# which one runs


@pytest.mark.parametrize(
    ("machine", "precision", "expected"),
    [
        (X86, None, "fp32_x86"),
        (X86, "fp32", "fp32_x86"),
        (OLD_X86, None, "fp32"),
        (ARM, None, "fp32"),
        (UNKNOWN, None, "fp32"),
        (X86, "fp16", "fp16"),
        (X86, "int8", "int8_x86"),
        (OLD_X86, "int8", "int8"),
        (ARM, "int8", "int8"),
        (UNKNOWN, "int8", "int8"),
    ],
)
def test_what_a_machine_runs(machine: Machine, precision: str | None, expected: str) -> None:
    assert stored().choose(precision, machine=machine).variant.name == expected
    prefer = None if precision is None else Prefer(precision)
    assert stored().choose(prefer, machine=machine).variant.name == expected


def test_a_file_that_is_not_fp32_is_the_default_all_the_same() -> None:
    model = stored(precision="fp16", variants=(variant("int8"),))
    assert model.precisions == ("fp16", "int8")
    assert model.choose(machine=ARM).variant.name == "fp16"
    assert model.choose(Prefer("fp32"), machine=ARM).variant.name == "fp16"
    with pytest.raises(ModelNotFoundError, match="net has no fp32 variant; available: int8, fp16"):
        model.choose("fp32", machine=ARM)


def test_a_precision_for_other_machines_alone() -> None:
    model = stored(variants=(variant("int8_x86", AVX2),))
    for machine, reason in (
        (ARM, "int8_x86: for x86_64, this is aarch64"),
        (OLD_X86, "int8_x86: needs a CPU with avx2"),
        (UNKNOWN, "int8_x86: for x86_64, this is unknown"),
    ):
        with pytest.raises(ModelNotFoundError, match=reason) as caught:
            model.choose("int8", machine=machine)
        assert "available: int8_x86, fp32" in caught.value.what
        assert model.choose(Prefer("int8"), machine=machine).variant.name == "fp32"


def test_a_variant_by_name() -> None:
    assert stored().choose(variant="int8_x86", machine=ARM).path == Path("models/net.int8_x86.onnx")
    with pytest.raises(ModelNotFoundError, match="net has no variant 'fp8'; available: fp32_x86"):
        stored().choose(variant="fp8")


def test_a_precision_that_is_none() -> None:
    for wish in ("fp8", Prefer("")):
        with pytest.raises(InputError, match="unknown precision"):
            stored().choose(wish)


# loading


@pytest.fixture
def folder(copied_models: Path) -> Path:
    """tiny_color with a variant for every precision, all of them copies."""
    model = read_index(copied_models)["tiny_color"]
    for name in ("fp16", "int8"):
        (copied_models / f"tiny_color.{name}.onnx").write_bytes(
            (copied_models / model.file).read_bytes()
        )
    variants = tuple(
        dataclasses.replace(variant(name, model="tiny_color"), sha256=model.sha256)
        for name in ("fp16", "int8")
    )
    entries = {**read_index(copied_models)}
    entries["tiny_color"] = dataclasses.replace(model, variants=variants)
    write_index(copied_models, entries)
    return copied_models


def test_load_takes_a_precision(folder: Path, crops: list[tuple[Path, Image]]) -> None:
    plain, small = load(models=folder), load(models=folder, precision="int8")
    assert isinstance(plain, mobileface.Embedder)
    assert isinstance(small, mobileface.Embedder)
    assert small.session.path.name == "tiny_color.int8.onnx"
    assert small.session.variant is not None
    assert small.session.variant.precision == "int8"
    assert plain.identity == small.identity
    picture = crops[0][1]
    np.testing.assert_array_equal(plain.embed(picture), small.embed(picture))
    named = load_embedder("tiny_color", models=folder, variant="fp16")
    assert named.session.path.name == "tiny_color.fp16.onnx"


def test_load_refuses_an_absent_precision(folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="tiny_gray has no int8 variant; available: fp32"):
        load("tiny_gray", models=folder, precision="int8")
    with pytest.raises(InputError, match="cannot be used with the path of a file"):
        load(str(folder / "tiny_gray.onnx"), precision="fp32")
    with pytest.raises(InputError, match="cannot be used with the path of a file"):
        load_embedder(str(folder / "tiny_gray.onnx"), variant="fp32")


def test_a_damaged_variant_is_refused(folder: Path) -> None:
    path = folder / "tiny_color.int8.onnx"
    path.write_bytes(path.read_bytes() + b" ")
    assert load(models=folder, precision="fp16")
    with pytest.raises(ModelIntegrityError, match=sha256(path)):
        load(models=folder, precision="int8")


ANALYZER = Path(__file__).parents[2] / "models" / "analyzer"


@pytest.mark.usefixtures("no_other_models")
def test_the_analyzer_says_what_it_runs() -> None:
    analyzer = FaceAnalyzer(ANALYZER, precision="fp32")
    assert set(analyzer.variants) == set(analyzer.models) - {"pose"}
    assert all(set(names) == {"fp32"} for names in analyzer.variants.values())
    with pytest.raises(ModelNotFoundError, match="none of the models has a variant in int8"):
        FaceAnalyzer(ANALYZER, precision="int8")
    with pytest.raises(ModelError, match="has no int8 variant"):
        FaceAnalyzer(ANALYZER, ("detection",), precision={"detection": "int8"})
    with pytest.raises(InputError, match="unknown precision 'half'"):
        FaceAnalyzer(ANALYZER, precision="half")
    with pytest.raises(InputError, match="unknown task 'detections'"):
        FaceAnalyzer(ANALYZER, precision={"detections": "fp32"})


# commands


def test_models_lists_variants(folder: Path, capsys: Output) -> None:
    assert main(["models", "--models", str(folder), "--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(" ")]
    assert [(row[0], row[3]) for row in rows] == [("fp16", "ok"), ("int8", "ok"), ("fp32", "ok")]
    assert main(["models", "--models", str(folder), "--json"]) == 0
    models = {m["name"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    found = models["tiny_color"]
    assert (found["precision"], found["default"]) == ("fp32", "fp32")
    assert [item["name"] for item in found["variants"]] == ["fp16", "int8", "fp32"]
    assert all(item["picked"] for item in found["variants"])
    assert found["variants"][-1]["path"] == found["path"]
    assert found["variants"][-1]["reason"] == "runs here in fp32 and by default"
    assert [item["name"] for item in models["tiny_gray"]["variants"]] == ["fp32"]


def test_models_says_why_a_variant_does_not_run(folder: Path, capsys: Output) -> None:
    entries = read_index(folder)
    entry = entries["tiny_color"]
    never = Condition(("vax",), ())
    first, second = entry.variants
    other = dataclasses.replace(first, name="fp16_too", file="other.onnx")
    changed = (dataclasses.replace(second, condition=never), first, other)
    entries["tiny_color"] = dataclasses.replace(entry, variants=changed)
    write_index(folder, entries)
    assert main(["models", "--models", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"for vax, this is {this_machine().name}" in out
    assert "fp16 is preferred" in out


def test_check_covers_every_file(folder: Path, capsys: Output) -> None:
    path = folder / "tiny_color.int8.onnx"
    path.write_bytes(b"other")
    assert main(["models", "--models", str(folder), "--check", "--json"]) == 2
    captured = capsys.readouterr()
    assert str(path) in captured.err
    models = {m["name"]: m for m in json.loads(captured.out)["models"]}
    assert models["tiny_color"]["intact"]
    states = {item["name"]: item["intact"] for item in models["tiny_color"]["variants"]}
    assert states == {"fp16": True, "int8": False, "fp32": True}
    assert main(["models", "--models", str(folder), "--check"]) == 2
    assert "damaged" in capsys.readouterr().out


def test_embed_in_a_precision(
    folder: Path, tmp_path: Path, crops: list[tuple[Path, Image]], capsys: Output
) -> None:
    command = ["embed", "--crops", str(crops[0][0]), "--models", str(folder), "--json"]
    assert main([*command, "--precision", "int8"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].startswith("tiny_color@")
    assert main([*command, "--precision", "int8", "--embedder", "tiny_gray"]) == 2
    assert "tiny_gray has no int8 variant; available: fp32" in capsys.readouterr().err


@pytest.mark.usefixtures("no_other_models")
def test_analyze_in_a_precision(crops: list[tuple[Path, Image]], capsys: Output) -> None:
    command = ["analyze", str(crops[0][0]), "--models", str(ANALYZER), "--precision"]
    assert main([*command, "fp32"]) == 0
    capsys.readouterr()
    assert main([*command, "fp16"]) == 2
    assert "none of the models has a variant in fp16" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([*command, "half"])
    assert caught.value.code == 2

"""Stored settings: what is used, what is ignored, and what ``mobileface tune`` finds."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobileface
from mobileface.commands import tune
from mobileface.commands.main import main
from mobileface.errors import TuningError
from mobileface.host import places
from mobileface.host.files import sha256
from mobileface.models.index import Variant, read_index, write_index
from mobileface.models.lookup import find_model
from mobileface.models.session import Session, runtime_version
from mobileface.models.tuning import (
    Setting,
    machine_key,
    read_tuning,
    setting_for,
    store_tuning,
)

pytestmark = pytest.mark.usefixtures("no_other_models")

MACHINE = machine_key(runtime_version())


@pytest.fixture(autouse=True)
def settings_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config" / "mobileface"
    monkeypatch.setattr(places, "user_settings", lambda: folder)
    return folder


@pytest.fixture
def two_variants(copied_models: Path) -> Path:
    """Models whose tiny_gray has a second file, with the same network, as an int8 variant."""
    index = read_index(copied_models)
    path = copied_models / "tiny_gray.int8.onnx"
    # Bytes that ONNX readers skip make it another file of the same network.
    path.write_bytes((copied_models / "tiny_gray.onnx").read_bytes() + b"\xa2\x06\x01x")
    certificate = "tiny_gray.int8.certificate.json"
    shutil.copyfile(copied_models / "tiny_gray.certificate.json", copied_models / certificate)
    size = path.stat().st_size
    variant = Variant("int8", "int8", path.name, sha256(path), size, certificate)
    index["tiny_gray"] = dataclasses.replace(index["tiny_gray"], variants=(variant,))
    write_index(copied_models, index)
    return copied_models


def setting(models: Path, variant: str = "fp32", **changes: Any) -> tuple[str, Setting]:
    """Hash of tiny_gray and a setting for it."""
    stored = find_model("tiny_gray", models=models)
    item = stored.choose(variant=variant).variant
    made = Setting("tiny_gray", item.name, item.sha256, 2, True, 3, 0.5, 1.0)
    return stored.entry.sha256, dataclasses.replace(made, **changes)


def store(models: Path, machine: str = MACHINE, **changes: Any) -> Setting:
    key, made = setting(models, **changes)
    store_tuning(machine, {key: made})
    return made


def loaded(models: Path, **options: Any) -> Session:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return mobileface.load_embedder("tiny_gray", models=models, **options).session


def test_a_stored_setting_is_used(two_variants: Path) -> None:
    assert loaded(two_variants).batch is None
    store(two_variants, variant="int8")
    session = loaded(two_variants)
    assert (session.threads, session.batch) == (2, 3)
    assert session.variant is not None
    assert session.variant.name == "int8"


def test_the_batch_is_that_of_the_setting(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(models)
    embedder = mobileface.load_embedder("tiny_gray", models=models)
    crops = np.random.RandomState(0).randint(0, 256, (8, 20, 20)).astype(np.uint8)
    sizes: list[int] = []
    run = Session.run

    def counted(self: Session, inputs: Any) -> Any:
        sizes.append(len(inputs["data"]))
        return run(self, inputs)

    monkeypatch.setattr(Session, "run", counted)
    tuned = embedder.embed(list(crops))
    assert sizes == [3, 3, 2]
    assert np.abs(tuned - embedder.embed(list(crops), batch_size=8)).max() <= 1e-6
    assert sizes[3:] == [8]


@pytest.mark.parametrize(
    "options", [{"intra_op_num_threads": 1}, {"precision": "fp32"}, {"variant": "fp32"}]
)
def test_what_a_caller_says_comes_first(models: Path, options: dict[str, Any]) -> None:
    store(models)
    assert loaded(models, **options).batch is None


def test_the_environment_comes_first(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(models)
    monkeypatch.setenv("MOBILEFACE_THREADS", "1")
    assert loaded(models).threads == 1


def test_another_machine_or_model_does_not_count(models: Path) -> None:
    store(models, "another machine")
    key, made = setting(models)
    store_tuning(MACHINE, {"0" * 64: made})
    assert loaded(models).batch is None
    assert set(read_tuning()) == {"another machine", MACHINE}
    assert key in read_tuning()["another machine"]


def test_a_changed_variant_is_ignored_with_a_warning(models: Path) -> None:
    store(models, sha256="0" * 64)
    with pytest.warns(
        UserWarning, match="setting of tiny_gray, because its 'fp32' variant has changed"
    ):
        session = mobileface.load_embedder("tiny_gray", models=models).session
    assert session.batch is None


GOOD = {
    "model": "tiny_gray",
    "variant": "fp32",
    "sha256": "0",
    "threads": 1,
    "spinning": False,
    "batch": 1,
    "median_ms": 1.0,
    "default_ms": 1.0,
}
DAMAGED: dict[str, object] = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": [],
    "another schema": {"schema": 2, "machines": {}},
    "no machines": {"schema": 1},
    "machines in a list": {"schema": 1, "machines": []},
    "a machine that is a number": {"schema": 1, "machines": {"a": 1}},
    "a field missing": {"schema": 1, "machines": {"a": {"b": {"model": "x"}}}},
    "too deep": b"[" * 100_000,
    "too long": b" " * (1 << 22) + b"{}",
    **{
        f"{field} {value!r}": {"schema": 1, "machines": {"a": {"b": {**GOOD, field: value}}}}
        for field, value in (
            ("threads", 0),
            ("threads", True),
            ("threads", 1.5),
            ("threads", 10**9),
            ("threads", "2"),
            ("spinning", 1),
            ("batch", -1),
            ("batch", 10_000),
            ("variant", None),
            ("median_ms", float("nan")),
        )
    },
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file(
    models: Path, settings_folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loading warns and goes on; ``tune --show`` says one error; tuning writes a new file."""
    content = DAMAGED[name]
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    settings_folder.mkdir(parents=True)
    path = settings_folder / "tuning.json"
    path.write_bytes(data)
    with pytest.raises(TuningError) as caught:
        read_tuning()
    assert caught.value.where == str(path)
    with pytest.warns(UserWarning, match="ignored"):
        assert mobileface.load_embedder("tiny_gray", models=models).session.batch is None
    assert main(["tune", "--show"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mobileface: error: {path}: not a valid settings file")
    assert error.count("\n") == 1
    store(models)
    assert list(read_tuning()) == [MACHINE]


def test_a_folder_in_place_of_the_file(settings_folder: Path) -> None:
    (settings_folder / "tuning.json").mkdir(parents=True)
    with pytest.raises(TuningError, match="cannot be read"):
        read_tuning()
    assert main(["tune", "--reset"]) == 2


def test_a_user_without_a_home(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "user_settings", lambda: None)
    assert loaded(models).batch is None
    assert read_tuning() == {}
    assert main(["tune", "--reset"]) == 0
    assert main(["tune", "--models", str(models), "--seconds", "0.1"]) == 2


def test_tune_show_reset(
    models: Path, settings_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "--models", str(models), "--model", "tiny_gray", "tiny_color"]
    assert main([*command, "--seconds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["machine"] == MACHINE
    assert document["file"] == str(settings_folder / "tuning.json")
    assert [item["model"] for item in document["settings"]] == ["tiny_color", "tiny_gray"]
    assert document["refused"] == []
    stored = find_model("tiny_gray", models=models)
    found = setting_for(stored, runtime_version())
    assert found is not None
    assert dataclasses.asdict(found) == document["settings"][1]
    assert loaded(models).batch == found.batch
    assert main(["tune", "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == document["settings"]
    assert main(["tune", "--show"]) == 0
    assert "tiny_gray" in capsys.readouterr().out
    assert main(["tune", "--reset"]) == 0
    assert main(["tune", "--show"]) == 0
    assert "no settings are stored for this machine" in capsys.readouterr().out


def test_tuning_keeps_other_models_and_machines(models: Path) -> None:
    store(models, "another machine")
    assert main(["tune", "--models", str(models), "--model", "tiny_color", "--seconds", "0.5"]) == 0
    assert main(["tune", "--models", str(models), "--model", "tiny_gray", "--seconds", "0.5"]) == 0
    known = read_tuning()
    assert len(known["another machine"]) == 1
    assert len(known[MACHINE]) == 2


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--seconds", "nan"], ["--model", "nobody"]])
def test_bad_options(models: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--models", str(models), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def choose(models: Path, monkeypatch: pytest.MonkeyPatch, **times: float) -> tuple[Setting, Any]:
    """What is chosen if the variants take these times, whatever the threads."""

    def measured(_: Any, candidates: Any, *__: Any) -> Any:
        return {c: times[c.variant.variant.name] * (1 + c.threads / 1e6) for c in candidates}

    monkeypatch.setattr(tune, "_measure", measured)
    monkeypatch.setattr(tune, "_best_batch", lambda *_: (1, 0.001))
    refused: list[dict[str, str]] = []
    stored = find_model("tiny_gray", models=models)
    return tune.tune_model(stored, [], 1.0, refused=refused), refused


def test_int8_needs_its_certificate(two_variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as fast, but its certificate has no record to replay: not taken, and said why."""
    found, refused = choose(two_variants, monkeypatch, fp32=1.0, int8=0.5)
    assert found.variant == "fp32"
    assert [item["variant"] for item in refused] == ["int8"]


def test_int8_only_if_faster(two_variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "certificate_refusal", lambda *_: "")
    assert choose(two_variants, monkeypatch, fp32=1.0, int8=0.5)[0].variant == "int8"
    assert choose(two_variants, monkeypatch, fp32=1.0, int8=0.99)[0].variant == "fp32"
    assert choose(two_variants, monkeypatch, fp32=1.0, int8=1.5)[0].variant == "fp32"


def test_exact_leaves_int8_out(two_variants: Path) -> None:
    stored = find_model("tiny_gray", models=two_variants)
    default = tune._default(stored)
    others = tune._others(stored, default, True, [])
    assert {candidate.variant.variant.name for candidate in others} <= {"fp32"}


@pytest.mark.parametrize(
    ("cpus", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])]
)
def test_thread_counts(cpus: int, counts: list[int]) -> None:
    assert tune.thread_counts(cpus) == counts

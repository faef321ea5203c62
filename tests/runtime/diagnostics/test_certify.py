"""Records of what models give, and replaying them."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface import list_models
from mobileface.commands.main import main
from mobileface.diagnostics.certification import BROKEN, FAILED, HELD, LEFT_OUT, certify
from mobileface.errors import ModelIntegrityError, ParityError
from mobileface.host.machine import Condition, Machine
from mobileface.models.agreement import Agreement, Bounds, compare_outputs
from mobileface.models.index import Variant, read_index, write_index
from mobileface.models.kinds.base import paired_detections
from mobileface.models.probes import make_probes
from mobileface.models.replay import make_record, output_rows, replay
from mobileface.models.sealed import sealed
from mobileface.models.session import Session
from tests.runtime import tiny

Output = pytest.CaptureFixture[str]
STARTER = Path(__file__).resolve().parents[3] / "models_onnx"
BOUNDS = Bounds(1e-5, 0.9999999)
NAME = "tiny_color"


def certificate_of(folder: Path, name: str = NAME) -> Path:
    return folder / f"{name}.certificate.json"


def change_certificate(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = certificate_of(folder)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(sealed(document)))


@pytest.fixture
def folder(copied_models: Path) -> Path:
    """tiny_color alone, with a record in its certificate."""
    record = make_record(Session(copied_models / f"{NAME}.onnx"), BOUNDS)
    change_certificate(copied_models, lambda document: document.update(record=record))
    write_index(copied_models, {NAME: read_index(copied_models)[NAME]})
    return copied_models


# records


def test_a_record_holds_what_an_independent_evaluation_gives(models: Path) -> None:
    """In float64, from the weights before conversion, for the probes that any machine makes."""
    record = make_record(Session(models / f"{NAME}.onnx"), BOUNDS)
    rows = np.frombuffer(base64.b64decode(record["float32"]), "<f4").reshape(
        record["rows"], record["columns"]
    )
    assert rows.shape == (4, 16)
    expected = tiny.evaluate("tiny_color", tiny.color_tensor(make_probes(4, 24, 24, 3, 20200229)))
    found = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert tiny.max_error(found, expected) <= 1e-6


def test_a_record_of_a_model_replays(models: Path) -> None:
    session = Session(models / f"{NAME}.onnx")
    record = json.loads(json.dumps(make_record(session, BOUNDS)))
    agreement, bounds = replay(session, record, "here")
    assert (agreement.max_abs_error, bounds) == (0.0, BOUNDS)
    assert record["platform"]["machine"]
    assert record["platform"]["onnxruntime"]


def test_another_network_misses_its_record(models: Path) -> None:
    """Records of tiny_gray's size, of another network."""
    session = Session(models / f"{NAME}.onnx")
    record = make_record(session, BOUNDS)
    numbers = np.frombuffer(base64.b64decode(record["float32"]), "<f4") + np.float32(1e-3)
    record["float32"] = base64.b64encode(numbers.tobytes()).decode()
    agreement, bounds = replay(session, record, "here")
    assert agreement.max_abs_error == pytest.approx(1e-3, rel=1e-2)
    assert not agreement.within(bounds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "another version"),
        ({"inputs": {"generator": "noise", "seed": 1}}, "another version"),
        ({"rows": 0}, "not an integer"),
        ({"rows": True}, "not an integer"),
        ({"rows": 1 << 40}, "characters"),
        ({"rows": 3}, "expected 192 bytes, got 256"),
        ({"columns": "16"}, "not an integer"),
        ({"float32": "A" * 99}, "cannot be used"),
        ({"float32": "***"}, "cannot be used"),
        ({"float32": 5}, "must be text"),
        ({"bounds": None}, "table of fields"),
        ({"bounds": {"max_abs_error": float("nan"), "min_cosine": 0}}, "max_abs_error"),
        ({"bounds": {"max_abs_error": 1}}, "'min_cosine' is missing"),
        ({"rows": 8, "columns": 8}, "the model outputs 4×16"),
    ],
)
def test_a_damaged_record_is_refused(models: Path, change: dict[str, Any], message: str) -> None:
    session = Session(models / f"{NAME}.onnx")
    record = {**make_record(session, BOUNDS), **change}
    with pytest.raises(ModelIntegrityError, match=message) as caught:
        replay(session, record, "the certificate")
    assert caught.value.where == "the certificate"


@pytest.mark.parametrize("record", [None, [], "text", 3])
def test_something_that_is_no_record(models: Path, record: Any) -> None:
    with pytest.raises(ModelIntegrityError, match="cannot be used"):
        replay(Session(models / f"{NAME}.onnx"), record, "the certificate")


# comparing


def test_detections_are_paired_by_overlap() -> None:
    expected = np.array(
        [[0.9, 0, 0, 1, 1], [0.8, 0, 0, 0.5, 0.5], [0.7, 0.8, 0.8, 0.9, 0.9]], np.float32
    )
    found = np.array([[0.75, 0, 0, 0.5, 0.48], [0.85, 0, 0, 1, 1], [0.2, 0, 0, 1, 1]], np.float32)
    matched = paired_detections(found, expected)
    np.testing.assert_array_equal(matched, [found[1], found[0], np.zeros(5)])
    np.testing.assert_array_equal(paired_detections(found[:0], expected), np.zeros((3, 5)))
    assert paired_detections(found, expected[:0]).shape == (0, 5)


def test_agreement_of_known_rows() -> None:
    expected = np.array([[3, 4], [1, 0], [0, 0], [0, 0]], np.float32)
    found = np.array([[3, 4], [0, 2], [0, 0], [1, 0]], np.float32)
    agreement = compare_outputs(found, expected, "them")
    assert agreement == Agreement("them", 4, 2.0, 0.0, 4.0, 0.5)
    assert agreement.within(Bounds(2, 0, 0.5))
    for bounds in (Bounds(1.9, 0), Bounds(2, 0.1), Bounds(2, 0, 0.51)):
        assert not agreement.within(bounds)
        assert "2 (allowed" in agreement.failure(bounds)
    nan = compare_outputs(found * np.float32("nan"), expected, "them")
    assert not nan.within(Bounds(1e9, -1))
    with pytest.raises(ParityError):
        compare_outputs(found, expected[:1], "them")


# replaying


def test_the_starter_set_holds_here() -> None:
    """The committed records, made on another day, on this machine's ONNX Runtime."""
    verdicts = certify(list_models(STARTER))
    for verdict in verdicts:
        assert verdict.state == HELD, verdict.reason
        if verdict.stored.model == "pose_mesh":
            assert verdict.agreement is None  # it has no network
            continue
        assert verdict.agreement is not None
        assert verdict.certified_on["machine"] == "x86_64"
        print(f"{verdict.stored.model}: {verdict.agreement}")
    assert {verdict.stored.model for verdict in verdicts} == set(read_index(STARTER))


def test_the_command(folder: Path, capsys: Output) -> None:
    assert main(["certify", "--models", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("here: ")
    assert "tiny_color" in out
    assert "held      max abs error 0 of" in out
    assert "certified on" in out
    assert main(["certify", "--models", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (record,) = document["variants"]
    assert (record["model"], record["variant"], record["state"]) == (NAME, "fp32", "held")
    assert record["seen"]["max_abs_error"] == 0.0
    assert record["bounds"]["max_abs_error"] == 1e-5
    assert record["certified_on"] == document["platform"]


def test_a_broken_bound_is_exit_code_1(folder: Path, capsys: Output) -> None:
    def shift(document: dict[str, Any]) -> None:
        record = document["record"]
        numbers = np.frombuffer(base64.b64decode(record["float32"]), "<f4") + np.float32(0.5)
        record["float32"] = base64.b64encode(numbers.tobytes()).decode()

    change_certificate(folder, shift)
    assert main(["certify", "--models", str(folder)]) == 1
    assert "broken    max abs error 0.5" in capsys.readouterr().out
    assert main(["certify", "--models", str(folder), "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)["variants"]
    assert record["state"] == BROKEN
    assert "(allowed 1e-05)" in record["reason"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: certificate_of(f).unlink(), "cannot be read"),
        (lambda f: certificate_of(f).write_text("{"), "cannot be read"),
        (lambda f: certificate_of(f).write_text("[]"), "not a certificate"),
        (lambda f: certificate_of(f).write_bytes(b" " * (17 << 20)), "too large"),
        (lambda f: change_certificate(f, lambda d: d.pop("record")), "no record to replay"),
        (lambda f: change_certificate(f, lambda d: d.update(record=[])), "cannot be used"),
        (lambda f: change_certificate(f, lambda d: d.update(sha256="0")), "not the certificate"),
        (lambda f: (f / f"{NAME}.onnx").write_bytes(b"no model"), "its SHA-256 is"),
        (lambda f: (f / f"{NAME}.onnx").unlink(), "cannot be read"),
    ],
)
def test_what_cannot_be_replayed_is_exit_code_2(
    folder: Path, damage: Callable[[Path], Any], message: str, capsys: Output
) -> None:
    damage(folder)
    assert main(["certify", "--models", str(folder), "--json"]) == 2
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)["variants"]
    assert (record["state"], record["seen"]) == (FAILED, None)
    assert message in record["reason"]
    assert message in captured.err


def test_a_folder_without_models(tmp_path: Path, capsys: Output) -> None:
    assert main(["certify", "--models", str(tmp_path)]) == 2
    assert "no index.json found" in capsys.readouterr().err
    write_index(tmp_path, {})
    assert main(["certify", "--models", str(tmp_path)]) == 2
    assert "no models" in capsys.readouterr().err


def test_every_variant_is_replayed_where_it_runs(folder: Path) -> None:
    entry = read_index(folder)[NAME]
    variants = []
    for name, condition in (("fp32_x86", Condition(("x86_64",))), ("int8", Condition())):
        file = f"{NAME}.{name}.onnx"
        (folder / file).write_bytes((folder / entry.file).read_bytes())
        certificate = certificate_of(folder).name
        variants.append(
            Variant(name, name[:4], file, entry.sha256, entry.bytes, certificate, condition)
        )
    write_index(folder, {NAME: dataclasses.replace(entry, variants=tuple(variants))})
    steps: list[int] = []
    verdicts = certify(list_models(folder), Machine("aarch64"), lambda: steps.append(1))
    states = {verdict.stored.variant.name: verdict.state for verdict in verdicts}
    assert states == {"fp32_x86": LEFT_OUT, "int8": HELD, "fp32": HELD}
    assert len(steps) == 3
    assert verdicts[0].reason == "for x86_64, this is aarch64"


def test_detectors_and_landmarks_have_rows() -> None:
    """Every kind of network with a spec can be recorded."""
    analyzer = Path(__file__).resolve().parents[2] / "models" / "analyzer"
    kinds = set()
    for model in [*list_models(analyzer), *list_models(STARTER)]:
        if model.path.suffix == ".onnx":
            session = Session(model.path, intra_op_num_threads=1)
            rows = output_rows(session)
            assert rows.dtype == np.float32
            assert rows.ndim == 2
            assert len(rows) > 0
            kinds.add(model.entry.task)
            assert replay(session, make_record(session, BOUNDS), "")[0].max_abs_error == 0
    assert kinds >= {"detection", "landmarks", "embedding"}

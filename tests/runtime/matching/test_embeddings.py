"""Embeddings that know their model: files, and the refusal to compare what cannot be compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface import EmbeddingSet, Face
from mobileface.commands.main import main
from mobileface.errors import InputError
from mobileface.models.spec import ModelSpec
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import Image

Crops = list[tuple[Path, Image]]
Output = pytest.CaptureFixture[str]


def unit(count: int, size: int, seed: int = 1) -> npt.NDArray[np.float32]:
    vectors = np.random.RandomState(seed).standard_normal((count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def example(count: int = 3, model: str = "net@123", **fields: Any) -> EmbeddingSet:
    return EmbeddingSet(model, unit(count, 8), tuple(f"{n}.jpg" for n in range(count)), **fields)


@pytest.mark.parametrize("boxes", [None, np.arange(12, dtype=np.float32).reshape(3, 4)])
def test_what_is_saved_is_loaded(tmp_path: Path, boxes: Any) -> None:
    written = example(bboxes=boxes)
    written.save(tmp_path / "new" / "faces.npz")
    found = EmbeddingSet.load(tmp_path / "new" / "faces.npz")
    assert (found.model, found.files, len(found)) == (written.model, written.files, 3)
    assert np.array_equal(found.embeddings, written.embeddings)
    assert (found.bboxes is None) == (boxes is None)
    assert boxes is None or np.array_equal(found.bboxes, boxes)


def test_similarity_is_the_cosine() -> None:
    one, other = example(3), EmbeddingSet("net@123", unit(2, 8, 5), ("a", "b"))
    expected = one.embeddings.astype(np.float64) @ other.embeddings.astype(np.float64).T
    error = float(np.abs(one.similarity(other) - expected).max())
    print(f"largest difference {error:.1e}")
    assert error < 1e-6


def test_models_do_not_mix() -> None:
    """The error names both, and two makes of one name are told apart."""
    for other in ("other@123", "net@124"):
        with pytest.raises(InputError, match=f"net@123 and {other} cannot be compared") as caught:
            example().similarity(example(model=other))
        assert "same model" in caught.value.hint


def face(model: str | None, seed: int = 1) -> Face:
    vector = None if model is None else unit(1, 8, seed)[0]
    return Face(np.zeros(4, np.float32), 1.0, embedding=vector, embedding_model=model)


def test_faces_do_not_mix() -> None:
    assert face("a@1").similarity(face("a@1")) == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match="embeddings of a@1 and b@2 cannot be compared"):
        face("a@1").similarity(face("b@2"))
    for one, other in ((None, "a@1"), ("a@1", None), (None, None)):
        with pytest.raises(InputError, match="a face without an embedding"):
            face(one).similarity(face(other))


def test_the_fingerprint_is_of_what_counts(color: Embedder) -> None:
    """Source, input and output count; name, title, licence and preference do not."""
    spec = color.spec
    assert color.identity == f"tiny_color@{spec.fingerprint}"
    assert len(spec.fingerprint) == 12
    renamed = dataclasses.replace(spec, name="other", title="other", preference=99)
    assert renamed.fingerprint == spec.fingerprint
    assert ModelSpec.from_json(spec.to_json()).fingerprint == spec.fingerprint
    assert spec.replace_section(crop="dlib").fingerprint != spec.fingerprint
    resourced = dataclasses.replace(spec.source, commit="f" * 40)
    assert dataclasses.replace(spec, source=resourced).fingerprint != spec.fingerprint


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


GOOD: dict[str, Any] = {"embeddings": unit(2, 8), "files": np.array(["a", "b"]), "model": "m@1"}
BAD_ARRAYS: dict[str, dict[str, Any]] = {
    "one axis": {"embeddings": unit(2, 8)[0]},
    "float64": {"embeddings": unit(2, 8).astype(np.float64)},
    "not finite": {"embeddings": np.full((2, 8), np.nan, np.float32)},
    "too few names": {"files": np.array(["a"])},
    "two models": {"model": np.array(["m@1", "m@2"])},
    "boxes of another count": {"bboxes": np.zeros((3, 4), np.float32)},
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_that_are_no_embeddings(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.npz", **{**GOOD, **BAD_ARRAYS[name]})
    with pytest.raises(InputError, match="an array has the wrong shape or type") as caught:
        EmbeddingSet.load(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("name", list(GOOD))
def test_missing_arrays_are_named(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.npz", **{k: v for k, v in GOOD.items() if k != name})
    with pytest.raises(InputError, match=f"'{name}' is missing"):
        EmbeddingSet.load(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    """Absent, empty, text, cut off, pickled: one kind of error, and no code is run."""
    whole = archive(tmp_path / "whole.npz", **GOOD).read_bytes()
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{**GOOD, "files": np.array([print, print], dtype=object)})
    contents = {"empty.npz": b"", "text.npz": b"no archive", "cut.npz": whole[:200]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in ("absent.npz", "pickled.npz", *contents):
        with pytest.raises(InputError, match="not an embeddings file") as caught:
            EmbeddingSet.load(tmp_path / name)
        print(caught.value)


def test_saving_needs_the_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not end in \.npz"):
        example().save(tmp_path / "faces.json")
    assert list(tmp_path.iterdir()) == []


def test_raw_vectors_are_not_scaled(color: Embedder, crops: Crops) -> None:
    """tiny_color scales its vectors itself; what differs is shown by a model that does not."""
    pictures = [picture for _, picture in crops]
    scaled, raw = color.embed(pictures), color.embed(pictures, normalize=False)
    assert np.allclose(scaled, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def command(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


def test_compare_reads_embeddings(
    capsys: Output, crops: Crops, models: Path, tmp_path: Path
) -> None:
    """A file of embeddings on either side, or on both."""
    paths = [path for path, _ in crops]
    options = ("--crops", "--models", models)
    assert command("embed", *paths, *options, "--output", tmp_path / "all.npz") == 0
    capsys.readouterr()
    assert command("compare", tmp_path / "all.npz", tmp_path / "all.npz", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert np.allclose(np.diag(document["similarity"]), 1, atol=1e-6)
    assert document["files"] == [[str(path) for path in paths]] * 2
    assert command("compare", paths[1], tmp_path / "all.npz", *options, "--json") == 0
    row = json.loads(capsys.readouterr().out)["similarity"]
    assert np.allclose(row, [document["similarity"][1]], atol=1e-6)
    assert command("compare", paths[1], tmp_path / "all.npz", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        [f"{value:.4f}", "cannot", "tell", str(paths[1]), str(path)]
        for value, path in zip(row[0], paths, strict=True)
    ]


def test_compare_refuses_another_model(
    capsys: Output, crops: Crops, models: Path, tmp_path: Path
) -> None:
    path, target = crops[0][0], tmp_path / "gray.npz"
    options = ("--crops", "--models", models)
    assert command("embed", path, *options, "--embedder", "tiny_gray", "--output", target) == 0
    capsys.readouterr()
    assert command("compare", path, target, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mobileface: error: embeddings of tiny_color@")
    assert "and tiny_gray@" in err

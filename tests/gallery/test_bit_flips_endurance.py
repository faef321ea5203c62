"""5,000 flipped bits: the answer of the unflipped file, or a refusal that names the file."""

from __future__ import annotations

import collections
import json
import random
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.diagnostics.certification import FAILED, certify
from mobileface.errors import MobileFaceError
from mobileface.gallery import Gallery, NewFace, matrix
from mobileface.models.lookup import find_model, list_models
from mobileface.models.session import Session
from tests.conftest import ROOT
from tests.runtime.gallery.gallery_helpers import stamp, vectors

PEOPLE, SIZE, TOP = 50, 32, 4
FLIPS = {"gallery": 2000, "matrix": 1000, "index": 1000, "model": 500, "certificate": 500}
MODEL = "tiny_color"

Read = Callable[[], object]
"""What is asked of the files; raises their refusal."""


class RefusedError(Exception):
    """A refusal, with the class that it counts as."""


def flip_all(target: Path, read: Read, flips: int, seed: int, whole: dict[Path, bytes]) -> None:
    """Flips single bits of a file, one after the other, and asks each time.

    Args:
        target: The file.
        read: Gives the answer, or raises `RefusedError`.
        flips: Number of bits.
        seed: Which bits.
        whole: The content of all files; they are restored before each flip.
    """
    chosen, counts = random.Random(seed), collections.Counter[str]()
    expected = read()
    for _ in range(flips):
        for path, content in whole.items():
            path.write_bytes(content)
        for path in target.parent.iterdir():
            if path not in whole and path.is_file():
                path.unlink()
        flipped = bytearray(whole[target])
        bit = chosen.randrange(8 * len(flipped))
        flipped[bit // 8] ^= 1 << bit % 8
        target.write_bytes(flipped)
        try:
            assert read() == expected
            counts["same"] += 1
        except RefusedError as refusal:
            counts[str(refusal)] += 1
        except BaseException as error:
            raise AssertionError(f"bit {bit % 8} of byte {bit // 8} of {target.name}") from error
    print(f"{target.name}: {dict(sorted(counts.items()))}", file=sys.stderr)
    assert sum(counts.values()) == flips
    for path, content in whole.items():
        path.write_bytes(content)
    assert read() == expected


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery that has a matrix file although it is small."""
    monkeypatch.setattr(matrix, "_MIN_ROWS", PEOPLE // 2)
    path = tmp_path / "gallery" / "people.gallery"
    with Gallery.create(path, stamp(SIZE)) as made, made.database.write():
        for number, vector in enumerate(vectors(PEOPLE, SIZE)):
            made.add(f"person {number}", [NewFace(vector, crop=bytes([number]) * 20)])
    return path


def search(path: Path) -> Any:
    """The nearest people by brute force in float64 are the answer, without faces left out."""
    rows = vectors(PEOPLE, SIZE).astype(np.float64)
    probes = vectors(PEOPLE, SIZE)[::10] + 0.3 * vectors(5, SIZE, 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with Gallery.open(path) as opened:
                results = opened.search(probes / np.linalg.norm(probes, axis=1)[:, None], top=TOP)
        except MobileFaceError as error:
            raise refused(error, path) from error
    found = [[match.name for match in result.matches] for result in results]
    texts = [str(each.message) for each in caught]
    left_out: list[int | None] = [None]
    if texts:
        # Either of the two numbers that the one warning names may be what is damaged.
        named = re.fullmatch(
            rf"{path}: 1 damaged face is left out: face (-?\d+)(?: of 'person (\d+)')? .*", texts[0]
        )
        assert named is not None, texts
        assert len(texts) == 1
        left_out = [int(named[1]) - 1, int(named[2] or -1)]
    right = []
    for absent in left_out:
        order = [np.argsort(-(rows @ probe)) for probe in probes.astype(np.float64)]
        right.append([[f"person {r}" for r in rows_ if r != absent][:TOP] for rows_ in order])
    assert found in right, (texts, found, right)
    if texts:
        raise RefusedError("face named and left out")
    return [[(match.name, match.similarity) for match in result.matches] for result in results]


@pytest.mark.endurance
@pytest.mark.parametrize("kind", ["gallery", "matrix"])
def test_gallery(gallery: Path, kind: str) -> None:
    search(gallery)
    path = gallery if kind == "gallery" else gallery.with_name("people.gallery-matrix")
    whole = contents(gallery.parent)
    if kind == "gallery":  # so that embeddings are read from it
        del whole[gallery.with_name("people.gallery-matrix")]
    flip_all(path, lambda: search(gallery), FLIPS[kind], 11, whole)


def refused(error: MobileFaceError, *paths: Path) -> RefusedError:
    """The refusal names one of the files."""
    assert any(path.name in str(error) for path in paths), error
    assert "\n" not in str(error)
    return RefusedError(type(error).__name__)


@pytest.mark.endurance
def test_index(tmp_path: Path) -> None:
    """Everything that the starter set's index says, with the preferred models."""
    path = tmp_path / "index.json"
    shutil.copy(ROOT / "models_onnx" / "index.json", path)

    def read() -> object:
        try:
            return list_models(tmp_path)
        except MobileFaceError as error:
            raise refused(error, path) from error

    flip_all(path, read, FLIPS["index"], 12, contents(tmp_path))


@pytest.mark.endurance
def test_model(tmp_path: Path) -> None:
    for name in (f"{MODEL}.onnx", "index.json"):
        shutil.copy(ROOT / "tests" / "models" / name, tmp_path / name)
    path = tmp_path / f"{MODEL}.onnx"
    image = vectors(3, 24 * 24, 4).reshape(1, 3, 24, 24)

    def read() -> object:
        found = find_model(MODEL, models=tmp_path).choose()
        try:
            session = Session(found.path, expected_sha256=found.variant.sha256)
            given = {session.inputs[0]: image}
            return [output.tobytes() for output in session.run(given).values()]
        except MobileFaceError as error:
            raise refused(error, path) from error

    flip_all(path, read, FLIPS["model"], 13, contents(tmp_path))


@pytest.mark.endurance
def test_certificate(tmp_path: Path) -> None:
    """The verdict and everything that the certificate says."""
    for name in ("gender.onnx", "gender.certificate.json", "index.json"):
        shutil.copy(ROOT / "models_onnx" / name, tmp_path / name)
    path = tmp_path / "gender.certificate.json"
    names = set(json.loads(path.read_text())) - {"checksum"}

    def read() -> object:
        (verdict,) = certify([find_model("gender", models=tmp_path)])
        if verdict.state == FAILED:
            assert path.name in verdict.reason
            raise RefusedError("ModelIntegrityError")
        said = {name: (verdict.certificate or {})[name] for name in names}
        return verdict.state, said, verdict.agreement

    flip_all(path, read, FLIPS["certificate"], 14, contents(tmp_path))

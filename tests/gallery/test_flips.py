"""Flipped bits in a gallery and the files beside it: the same answer, or the damage is named."""

from __future__ import annotations

import collections
import random
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import GalleryError, InputError, OutputError
from mobileface.gallery import Gallery, NewFace
from mobileface.gallery.usearch_engine import UsearchEngine, is_intact_index
from tests.runtime.gallery.gallery_helpers import FloatArray, stamp, vectors

SIZE, SMALL, LARGE, PROBES, TOP = 32, 150, 2048, 6, 4

SHARES = ("gallery",) * 7 + ("matrix",) * 2 + ("index",)

Answers = list[list[tuple[str, int, float]]]


def enrolled(path: Path, count: int) -> None:
    """One face per person, with a crop."""
    noise = np.random.RandomState(3)
    with Gallery.create(path, stamp(SIZE)) as gallery, gallery.database.write():
        for number, vector in enumerate(vectors(count, SIZE)):
            gallery.add(f"person {number}", [NewFace(vector, crop=noise.bytes(30))])


def probes(count: int) -> FloatArray:
    """Noisy copies of enrolled embeddings."""
    found = vectors(count, SIZE)[:: count // PROBES][:PROBES] + 0.3 * vectors(PROBES, SIZE, 5)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def expected(count: int, without: set[int]) -> Answers:
    """By brute force in float64, from what was enrolled, without the faces with these IDs."""
    rows = vectors(count, SIZE).astype(np.float64)
    answers: Answers = []
    for probe in probes(count).astype(np.float64):
        products = rows @ probe
        order = [row for row in np.argsort(-products) if row + 1 not in without]
        answers.append([(f"person {row}", int(row) + 1, float(products[row])) for row in order])
    return answers


def answers_of(path: Path, count: int, engine: UsearchEngine | None) -> Answers:
    with Gallery.open(path) as gallery:
        found = gallery.search(probes(count), top=TOP, engine=engine)
    return [
        [(match.name, match.face_id or 0, match.similarity) for match in result.matches]
        for result in found
    ]


def check(path: Path, count: int, engine: UsearchEngine | None) -> str:
    """Searches a damaged gallery; returns what happened, and fails if the answer is wrong."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = answers_of(path, count, engine)
        except (GalleryError, InputError, OutputError) as error:
            if path.name in error.where:
                return "refused"
            raise
    texts = [str(each.message) for each in caught]
    assert all(text.startswith(f"{path}: 1 damaged face is left out: face ") for text in texts)
    # Either of the two numbers that the warning names may be what is damaged.
    ways = {tuple(int(n) + k for text in texts for n in re.findall(p, text)) for p, k in NAMED}
    wrong = [difference(found, expected(count, set(without)), engine) for without in ways]
    assert None in wrong, (texts, wrong)
    return "left out" if texts else "same"


NAMED = ((r"left out: face (\d+)", 0), (r" of 'person (\d+)'", 1))


def difference(found: Answers, expected: Answers, engine: UsearchEngine | None) -> object:
    """The first answer that is not as expected; None if there is none."""
    for answer, ordered in zip(found, expected, strict=True):
        right = ordered[:TOP]
        if engine is not None:  # it may miss a face, but what it finds is right
            by_face = {match[1]: match for match in ordered}
            right = [by_face[match[1]] for match in answer]
        if [match[:2] for match in answer] != [match[:2] for match in right]:
            return answer, right
        if max(abs(a[2] - b[2]) for a, b in zip(answer, right, strict=True)) > 1e-6:
            return answer, right
    return None


def flip_all(folder: Path, flips: int, seed: int) -> None:
    """Flips single bits: most in a gallery, some in a matrix and in an index."""
    small, large = folder / "small.gallery", folder / "large.gallery"
    enrolled(small, SMALL)
    enrolled(large, LARGE)
    assert check(small, SMALL, None) == check(large, LARGE, UsearchEngine()) == "same"
    (index,) = folder.glob("*-usearch-*")
    matrix = folder / "large.gallery-matrix"
    chosen = random.Random(seed)
    counts: collections.Counter[str] = collections.Counter()
    place = folder / "flipped"
    place.mkdir()
    for turn in range(flips):
        kind = SHARES[turn % len(SHARES)]
        target = {"gallery": small, "matrix": matrix, "index": index}[kind]
        here = (small,) if target == small else (large, matrix, index)
        for file in place.iterdir():
            file.unlink()
        for file in here:
            shutil.copy(file, place / file.name)
        content = bytearray((place / target.name).read_bytes())
        bit = chosen.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        (place / target.name).write_bytes(content)
        engine = UsearchEngine() if target == index else None
        try:
            said = check(place / here[0].name, SMALL if target == small else LARGE, engine)
        except BaseException as error:
            raise AssertionError(f"turn {turn}: bit {bit} of the {kind}: {error!r}") from error
        for left in place.glob("*-usearch-*"):
            assert is_intact_index(left)  # made anew
        counts[f"{kind}: {said}"] += 1
    print(dict(sorted(counts.items())))
    assert counts["gallery: refused"] > 0
    assert counts["gallery: left out"] > 0
    assert counts["matrix: same"] + counts["index: same"] == flips // 10 * 3  # made anew


@pytest.mark.slow
def test_flipped_bits(tmp_path: Path) -> None:
    flip_all(tmp_path, 300, 7)


@pytest.mark.endurance
def test_many_flipped_bits(tmp_path: Path) -> None:
    flip_all(tmp_path, 1000, 8)

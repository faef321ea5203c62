"""Calibrations: counts against loops, listed against all pairs, bad scores, bundled files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import InputError
from mobileface.matching.calibration import Basis, Calibration, find_calibration
from mobileface.tasks.loading import load_embedder
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource
from mobileface_eval.calibrating import calibrate, scores_of_people
from mobileface_eval.datasets.face_sets import FaceImage, FaceSet
from mobileface_eval.embedding import Embedded
from mobileface_eval.people_scores import PeopleScores

PEOPLE = 60
STEP = 1e-5
SHIPPED = ("embedding_dlib", "identification_v1", "identification_v2", "identification_v3")

Pairs = npt.NDArray[np.int64]


def embedded(images: int = 3, pairs: Pairs | None = None) -> Embedded:
    """Embeddings of synthetic people, in random order."""
    random = np.random.default_rng(8)
    labels = np.repeat(np.arange(PEOPLE), images)
    vectors = random.normal(size=(PEOPLE, 24))[labels] + random.normal(size=(len(labels), 24)) * 0.8
    order = random.permutation(len(labels))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[order].astype(np.float32)
    names = tuple(f"person{label:02d}" for label in labels[order])
    same = None if pairs is None else labels[order][pairs[:, 0]] == labels[order][pairs[:, 1]]
    found = tuple(FaceImage(f"{number}.png") for number in range(len(labels)))
    return Embedded("net@0", FaceSet("invented", found, names, pairs, same), vectors)


def made(given: Embedded) -> Calibration:
    basis = Basis("invented", PEOPLE, len(given.vectors), 1, 1, "2026-11-26")
    return calibrate(scores_of_people(given), PEOPLE, given.model, basis)


def test_rates_against_a_loop() -> None:
    given = embedded()
    found = made(given)
    labels, vectors = given.set.labels, given.vectors.astype(np.float64)
    first, second = np.triu_indices(len(labels), 1)
    scores = (vectors[first] * vectors[second]).sum(axis=1)
    same = labels[first] == labels[second]
    assert found.basis.genuine_pairs == same.sum() == PEOPLE * 3
    assert found.basis.impostor_pairs == (~same).sum()
    for place, matched, missed in zip(
        found.similarity,
        found.false_match_curve.value,
        found.false_non_match_curve.value,
        strict=True,
    ):
        # Rounding may put a similarity on either side of a stored one.
        low, high = ((scores[~same] >= place + shift).mean() for shift in (2e-7, -2e-7))
        assert low - 1e-12 <= matched <= high + 1e-12
        low, high = ((scores[same] < place + shift).mean() for shift in (-2e-7, 2e-7))
        assert low - 1e-12 <= missed <= high + 1e-12
    for rate in (0.2, 0.05, 0.01, found.lowest_false_match_rate):
        threshold = found.threshold(rate)
        assert abs((scores[~same] >= threshold).mean() - rate) <= 0.06 * rate + 2 / (~same).sum()


def test_listed_pairs_give_the_same_as_all() -> None:
    count = PEOPLE * 3
    every = np.stack(np.triu_indices(count, 1), axis=1)
    random = np.random.default_rng(3)
    shuffled = random.permuted(every, axis=1)[random.permutation(len(every))]
    one, other = made(embedded()), made(embedded(pairs=shuffled))
    # Another order of summation may move a similarity to the next step of 1e-5.
    for similarity in np.linspace(-0.9, 0.99, 80):
        for rate in ("false_match_rate", "false_non_match_rate"):
            a, b = getattr(one, rate)(similarity), getattr(other, rate)(similarity)
            difference = np.subtract(dataclasses.astuple(a), dataclasses.astuple(b))
            assert np.abs(difference).max() <= 2e-3


def test_more_people_support_lower_rates_and_narrow_the_intervals(tmp_path: Path) -> None:
    found = made(embedded())
    found.save(tmp_path / "net.calibration.json")
    assert Calibration.load(tmp_path / "net.calibration.json").model == "net@0"
    rate = found.false_match_rate(found.threshold(0.01))
    assert rate.low < 0.01 < rate.high
    assert 0.0005 < found.lowest_false_match_rate < 0.01
    beyond = found.false_match_rate(0.9999)
    assert beyond.value == 0
    assert 1 / found.basis.impostor_pairs < beyond.high < 0.01
    few = embedded(1, np.array([[0, 1], [2, 3]]))
    with pytest.raises(InputError, match="no genuine pairs"):
        made(few)


def walk(scores: list[float]) -> PeopleScores:
    both = np.tile([0, 1], (len(scores), 1))
    return PeopleScores(np.array([0]), np.array([0.5]), both, np.array(scores))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.5, -2.0])
def test_scores_that_are_not_cosines(bad: float) -> None:
    basis = Basis("invented", 2, 3, 1, 1, "2026-11-26")
    with pytest.raises(InputError, match="is not a cosine between -1 and 1"):
        calibrate(lambda: iter([walk([0.1, bad])]), 2, "net@0", basis)


def test_too_few_people() -> None:
    basis = Basis("invented", 2, 3, 1, 1, "2026-11-26")
    with pytest.raises(InputError, match="2 people with 2 impostor pairs are too few"):
        calibrate(lambda: iter([walk([0.1, 0.2])]), 2, "net@0", basis)


def test_a_set_without_person_labels() -> None:
    given = embedded()
    nameless = Embedded("net@0", FaceSet("lfw", given.set.images), given.vectors)
    with pytest.raises(InputError, match="the set has no person labels"):
        scores_of_people(nameless)


# bundled calibrations


def test_the_starter_embedder_is_calibrated() -> None:
    embedder = load_embedder("embedding_dlib")
    found = find_calibration(embedder.identity)
    assert found.basis.data == "LFW-Aligned-100Pair"
    assert found.basis.identities >= 90
    assert found.basis.note is not None
    assert embedder.calibration == found


@pytest.mark.needs_source
@pytest.mark.parametrize("version", [1, 2, 3])
def test_bundled_calibrations_match_the_converted_models(
    source: Path, tmp_path: Path, version: int
) -> None:
    name = f"identification_v{version}"
    convert(load_recipe(name), DirectorySource(source), tmp_path, verify=False)
    embedder = load_embedder(name, models=tmp_path)
    assert embedder.calibration.model == embedder.identity

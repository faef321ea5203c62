"""The MegaFace protocol against brute force, at several block sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import InputError
from mobileface_eval.datasets import megaface
from mobileface_eval.datasets.megaface import evaluate_megaface

Floats = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.float64]) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def synthetic(people: int, images: int, strangers: int, size: int = 16) -> tuple[Floats, ...]:
    """Embeddings of probes and of distractors."""
    random = np.random.default_rng(people)
    centres = random.normal(size=(people, size))
    probes = np.repeat(centres, images, axis=0) + random.normal(size=(people * images, size))
    return unit(probes), unit(random.normal(size=(strangers, size)))


@pytest.mark.parametrize("block", [1, 1000, 1 << 14, 1 << 26])
def test_against_brute_force(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(megaface, "_BLOCK_BYTES", block)
    strangers = 60 if block == 1 else 3456
    probes, distractors = synthetic(20, 3, strangers)
    labels = np.repeat(np.arange(20), 3)
    found = evaluate_megaface(probes, labels, distractors)
    exact = distractors.astype(np.float64)
    ranks, mates = [], []
    for probe in range(60):
        similar = exact @ probes[probe]
        for mate in range(60):
            if mate != probe and labels[mate] == labels[probe]:
                own = float(probes[probe].astype(np.float64) @ probes[mate])
                assert np.abs(similar - own).min() > 1e-7  # no ties within rounding errors
                mates.append(own)
                ranks.append(1 + int((similar > own).sum()))
    assert found.ranks.tolist() == ranks
    assert np.abs(found.mates - mates).max() <= 5e-7
    assert found.rank1[strangers] == np.mean(np.array(ranks) == 1)
    assert sorted(found.rank1) == [s for s in (10, 100, 1000) if s < strangers] + [strangers]
    shares = found.cmc(np.array([1, 2, 5, strangers + 1]))
    assert shares.tolist() == [np.mean(np.array(ranks) <= r) for r in (1, 2, 5, strangers + 1)]
    strange = np.sort((probes.astype(np.float64) @ exact.T).ravel())[::-1]
    for rate in (1e-3, 5e-4, 1e-4):
        if rate * len(strange) < 1:
            assert found.true_accept_at(rate) is None
            continue
        threshold = strange[int(rate * len(strange) + 1e-9)]
        expected = np.mean(np.array(mates) > threshold)
        assert found.true_accept_at(rate) == pytest.approx(expected, abs=1e-12)
    assert found.true_accept_at(0.5) is None  # not computed


def test_the_order_of_small_galleries_is_seeded() -> None:
    probes, distractors = synthetic(30, 2, 2000)
    labels = np.repeat(np.arange(30), 2)
    runs = [evaluate_megaface(probes, labels, distractors, seed=seed) for seed in (0, 0, 1)]
    assert runs[0].rank1 == runs[1].rank1
    assert runs[0].rank1 != runs[2].rank1
    assert runs[0].rank1[2000] == runs[2].rank1[2000]
    assert np.array_equal(np.sort(runs[0].ranks), np.sort(runs[2].ranks))


def test_a_tie_is_not_a_hit() -> None:
    probes = np.eye(4, dtype=np.float32)[[0, 0]]
    found = evaluate_megaface(probes, np.zeros(2, int), probes[:1])
    assert found.ranks.tolist() == [2, 2]
    assert found.rank1 == {1: 0.0}


def test_people_with_one_image_are_not_probes() -> None:
    probes, distractors = synthetic(5, 2, 50)
    labels = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6, 7])
    found = evaluate_megaface(probes, labels, distractors)
    assert (found.probes, len(found.ranks)) == (4, 4)


def test_bad_input() -> None:
    probes, distractors = synthetic(3, 2, 50)
    labels = np.repeat(np.arange(3), 2)
    with pytest.raises(InputError, match="no two probes are of the same person"):
        evaluate_megaface(probes, np.arange(6), distractors)
    with pytest.raises(InputError, match="no distractors"):
        evaluate_megaface(probes, labels, distractors[:0])
    with pytest.raises(InputError, match=r"shape \(6, 16\), but distractors have shape \(50, 8\)"):
        evaluate_megaface(probes, labels, distractors[:, :8])
    for broken in (np.nan, np.inf):
        bad = distractors.copy()
        bad[7, 3] = broken
        with pytest.raises(InputError, match="a distractor is not a finite vector"):
            evaluate_megaface(probes, labels, bad)
        bad = probes.copy()
        bad[0, 0] = broken
        with pytest.raises(InputError, match="a probe is not a finite vector"):
            evaluate_megaface(bad, labels, distractors)


@pytest.mark.endurance
def test_a_million_distractors(tmp_path: Path) -> None:
    """A million 256-d unit vectors and 1,000 probes: bounded memory, exact ranks."""
    random = np.random.default_rng(6)
    matrix = np.lib.format.open_memmap(
        tmp_path / "strangers.npy", "w+", np.float32, (1_000_000, 256)
    )
    for start in range(0, len(matrix), 50_000):
        matrix[start : start + 50_000] = unit(random.normal(size=(50_000, 256)))
    matrix.flush()
    probes = np.repeat(random.normal(size=(500, 256)), 2, axis=0)
    probes = unit(probes + 1.7 * random.normal(size=(1000, 256)))
    np.save(tmp_path / "probes.npy", probes)
    code = (
        "import json, time, numpy as np\n"
        "from mobileface.host.measure import peak_memory\n"
        "from mobileface_eval.datasets.megaface import evaluate_megaface\n"
        "probes = np.load('probes.npy'); strangers = np.load('strangers.npy', mmap_mode='r')\n"
        "start = time.perf_counter()\n"
        "found = evaluate_megaface(probes, np.repeat(np.arange(500), 2), strangers)\n"
        "seconds = time.perf_counter() - start\n"
        "print(json.dumps([seconds, peak_memory(), found.ranks.tolist(), found.mates.tolist()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    seconds, peak, ranks, mates = json.loads(done.stdout)
    print(f"{seconds:.1f} s, peak memory {peak / 1e9:.2f} GB")
    assert peak <= 2e9
    for probe in random.choice(1000, 12, replace=False):
        similar = matrix @ probes[probe]
        own = np.float32(mates[probe])
        # Another order of summation may decide ties in the last digit differently.
        assert (similar > own + 3e-7).sum() <= ranks[probe] - 1 <= (similar >= own - 3e-7).sum()

"""Searching a gallery: equal to brute force in float64, whatever the path to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import InputError
from mobileface.gallery import Gallery, NewFace
from mobileface.gallery.exact import best_rows
from tests.runtime.gallery.gallery_helpers import calibration, fill, made, vectors

Array = npt.NDArray[Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.gallery"


def brute_force(rows: Array, probe: Array, count: int) -> tuple[Array, Array]:
    """The best rows by a sort of all products in float64; the first of equal ones first."""
    products = rows.astype(np.float64) @ probe.astype(np.float64)
    order = np.lexsort((np.arange(len(rows)), -products))[:count]
    return order, products[order]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("rows", "size", "probes", "count", "threads"),
    [
        (1, 128, 1, 5, 1),
        (7, 512, 3, 7, 2),
        (5000, 128, 1, 5, 1),
        (20_000, 256, 1, 5, 2),
        (20_000, 256, 50, 5, 3),
        (9000, 512, 10, 100, 2),
        (20_000, 128, 2, 20_000, 2),
    ],
)
def test_equal_to_brute_force(
    rows: int, size: int, probes: int, count: int, threads: int, dtype: type
) -> None:
    matrix = vectors(rows, size, 1).astype(dtype)
    asked = vectors(probes, size, 2)
    parts = [matrix[: rows // 3], matrix[rows // 3 : rows // 2], matrix[rows // 2 :]]
    error = 0.0
    for probe, (found, products) in zip(
        asked, best_rows(parts, asked, count, threads), strict=True
    ):
        expected, exact = brute_force(matrix, probe, count)
        error = max(error, float(np.abs(products - exact).max()))
        assert (found == expected).all()
    print(f"largest difference of products {error:.3g}")
    assert error <= 1e-15


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_equal_rows_come_in_their_order(dtype: type) -> None:
    """Of ten thousand copies of three vectors, the first ones."""
    base = vectors(3, 128)
    matrix = base[np.random.RandomState(0).randint(0, 3, 30_000)].astype(dtype)
    for probe in base:
        ((found, _),) = best_rows([matrix], probe[None], 20, 2)
        assert (found == brute_force(matrix, probe, 20)[0]).all()


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_people_are_as_brute_force_ranks_them(path: Path, storage: str) -> None:
    """With one to thirty faces a person, before and after a file, a tail and removals."""
    random = np.random.RandomState(5)
    given = vectors(4000, 128)
    owner = np.minimum(random.geometric(0.01, 4000), 400)  # some with many, most with few
    with made(path, None, storage=storage, size=128) as gallery:
        for start, end in ((0, 1500), (1500, 2500), (2500, 2510), (2510, 4000)):
            with gallery.database.write():
                for number in range(start, end):
                    gallery.add(f"person {owner[number]}", [NewFace(given[number])])
            check_people(gallery, given[:end].astype(storage), owner[:end], vectors(20, 128, 9))
        for name in (1, 7, 3):
            gallery.remove(f"person {name}")
        kept = ~np.isin(owner, (1, 7, 3))
        check_people(gallery, given[kept].astype(storage), owner[kept], vectors(20, 128, 9))
    with Gallery.open(path) as gallery:
        check_people(gallery, given[kept].astype(storage), owner[kept], vectors(20, 128, 9))


def check_people(gallery: Gallery, rows: Array, owner: Array, probes: Array) -> None:
    found = gallery.search(probes, top=10)
    one_by_one = [gallery.search(probe, top=10)[0] for probe in probes]
    for probe, result, single in zip(probes, found, one_by_one, strict=True):
        products = rows.astype(np.float64) @ probe.astype(np.float64)
        best = {person: products[owner == person].max() for person in np.unique(owner)}
        expected = sorted(best, key=lambda person: -best[person])[:10]
        assert [match.name for match in result.matches] == [f"person {n}" for n in expected]
        errors = [
            abs(m.similarity - best[n]) for m, n in zip(result.matches, expected, strict=True)
        ]
        assert max(errors) <= 1e-15
        assert result == single  # not a bit depends on what is searched beside it
        assert result.runner_up == result.matches[1]
        assert result.comparisons == len(rows)


def test_mean_templates(path: Path) -> None:
    given = vectors(900, 128)
    probes = vectors(30, 128, 4)
    with made(path, None, size=128) as gallery:
        fill(gallery, given, people=90)
        found = gallery.search(probes, templates="mean", top=3)
        means = given.reshape(10, 90, 128).mean(axis=0, dtype=np.float64)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        error = 0.0
        for probe, result in zip(probes, found, strict=True):
            order, products = brute_force(means, probe, 3)
            assert [match.name for match in result.matches] == [f"person {n}" for n in order]
            similar = [match.similarity for match in result.matches]
            error = max(error, float(np.abs(similar - products).max()))
            assert result.comparisons == 90
            assert result.matches[0].face_id is None
        print(f"largest difference {error:.3g}")
        assert error < 2e-7


def test_an_empty_gallery_knows_nobody(path: Path) -> None:
    with made(path) as gallery:
        for templates in ("best", "mean"):
            (result,) = gallery.search(vectors(1), templates=templates)  # type: ignore[arg-type]
            assert (result.name, result.best, result.runner_up, result.margin) == (None,) * 4
            assert not result.accepted
        gallery.add("Ann", [NewFace(vectors(1)[0])])
        (result,) = gallery.search(vectors(1), top=1)
        assert (result.matches[0].name, result.runner_up, result.margin) == ("Ann", None, None)


def test_the_runner_up_is_there_when_one_is_asked_for(path: Path) -> None:
    given = vectors(5)
    with made(path, given) as gallery:
        (result,) = gallery.search(given[2], top=1)
        assert len(result.matches) == 1
        cosines = np.delete(given @ given[2], 2)
        assert result.runner_up is not None
        assert abs(result.runner_up.similarity - cosines.max()) < 1e-6
        assert result.margin is not None
        assert abs(result.margin - (1 - cosines.max())) < 1e-6


def test_rates(path: Path) -> None:
    """The calibration's rate, and what N independent comparisons make of it."""
    given = vectors(1000)
    probe = 0.45 * given[3] + np.sqrt(1 - 0.45**2) * orthogonal(given[3])
    with made(path, given, calibration=calibration()) as gallery:
        (best, *_) = gallery.search(probe)[0].matches
        assert best.name == "person 3"
        expected = np.interp(0.45, [0.4, 0.5], [1e-4, 1e-5])
        assert best.false_match_rate is not None
        assert best.false_identification_rate is not None
        assert abs(best.false_match_rate.value / expected - 1) < 1e-3
        fpir = 1 - (1 - best.false_match_rate.value) ** 1000
        assert abs(best.false_identification_rate.value / fpir - 1) < 1e-9
        for limits, known in (
            ({}, True),  # the default is that of 1e-3
            ({"fmr": 1e-3}, True),  # 0.3
            ({"fmr": 1e-5}, False),  # 0.5
            ({"fpir": 0.2}, True),  # 2.2e-4 a comparison, below 0.4
            ({"fpir": 0.02}, False),  # 2.0e-5, near 0.49
            ({"threshold": 0.44}, True),
            ({"threshold": 0.46}, False),
        ):
            (result,) = gallery.search(probe, **limits)  # type: ignore[arg-type]
            assert (result.name == "person 3") == result.accepted == known, limits
            assert result.best is not None
            assert result.best.name == "person 3"
    with Gallery.open(path) as gallery:
        assert gallery.stamp.calibration == calibration()


def orthogonal(vector: Array) -> Array:
    """A unit vector at a right angle."""
    other = np.roll(vector, 1)
    other = other - (other @ vector) * vector
    return np.asarray(other / np.linalg.norm(other), np.float32)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no calibration": ({"fmr": 0.01}, "fmr needs a calibration of invented@0123456789ab"),
    "no calibration either": ({"fpir": 0.01}, "fpir needs a calibration"),
    "two limits": ({"fmr": 0.01, "threshold": 0.3}, "pass only one of"),
    "no cosine": ({"threshold": float("nan")}, "not a cosine"),
    "no people": ({"top": 0}, "top must be from 1 to 10000, not 0"),
    "templates": ({"templates": "median"}, "must be 'best' or 'mean'"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_out_of_range(case: str, path: Path) -> None:
    options, message = BAD[case]
    with made(path, vectors(3)) as gallery, pytest.raises(InputError, match=message):
        gallery.search(vectors(1), **options)


def test_a_rate_that_the_calibration_cannot_support(path: Path) -> None:
    with made(path, vectors(3), calibration=calibration()) as gallery:
        for options in ({"fmr": 1e-9}, {"fpir": 1e-9}):
            with pytest.raises(InputError, match="the lowest it supports"):
                gallery.search(vectors(1), **options)  # type: ignore[arg-type]


def test_the_matrix_file(path: Path) -> None:
    """It is made, used, made anew when stale or damaged, and never trusted."""
    given = vectors(6200)
    matrix = path.with_name(f"{path.name}-matrix")
    with made(path, given[:1999]) as gallery:
        gallery.search(given[:1])
        assert not matrix.exists()  # too few to pay
        gallery.add("more", [NewFace(given[1999])])
        gallery.search(given[:1])
        assert matrix.stat().st_size == 4096 + 2000 * (64 * 4 + 16)
        assert matrix.stat().st_mode & 0o077 == 0
    made_at = matrix.stat().st_mtime_ns
    with Gallery.open(path) as gallery:
        assert gallery.search(given[1500])[0].matches[0].name == "person 1500"
        assert matrix.stat().st_mtime_ns == made_at
    for damage in (
        lambda: matrix.write_bytes(b"nonsense"),
        lambda: matrix.write_bytes(matrix.read_bytes()[:-1]),
        lambda: matrix.write_bytes(b"{" * 10_000),
        lambda: matrix.write_bytes(matrix.read_bytes().replace(b'"rows": 2000', b'"rows": 9999')),
        lambda: matrix.write_bytes(matrix.read_bytes().replace(b'"size": 64', b'"size": 65')),
        matrix.unlink,
    ):
        damage()
        with Gallery.open(path) as gallery:
            assert gallery.search(given[1500])[0].matches[0].name == "person 1500"
        assert matrix.stat().st_size == 4096 + 2000 * (64 * 4 + 16)
    with Gallery.open(path) as gallery, Gallery.open(path) as reader:
        with gallery.database.write():  # so many that a new file pays
            for number, vector in enumerate(given[2000:], 2000):
                gallery.add(f"new {number}", [NewFace(vector)])
        for number in (3, 1999, 2000, 6199):
            best = reader.search(given[number])[0].best
            assert best is not None
            assert best.similarity > 0.9999
        assert matrix.stat().st_size > 4096 + 5000 * (64 * 4 + 16)


def test_a_matrix_that_was_written_while_somebody_was_removed(path: Path) -> None:
    """The reader that wrote it takes it back, and the embedding is in no file."""
    given = vectors(2500)
    with made(path, given) as gallery, Gallery.open(path) as reader:
        with reader.database.read():
            reader._searcher.matrix.refresh()
            gallery.database.run("PRAGMA busy_timeout = 50")
            gallery.remove("person 9")
            reader._searcher.matrix._write(2500)  # as if it had been written only now
        reader._searcher.matrix.confirm()
        assert not path.with_name(f"{path.name}-matrix").exists()
        assert gallery.database.empty_log()
        assert all(given[9].tobytes() not in file.read_bytes() for file in path.parent.iterdir())

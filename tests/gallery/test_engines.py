"""Search engines compared with the exact search, and the exact search with faiss's flat index."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from mobileface.errors import GalleryError, InputError
from mobileface.gallery import Gallery, NewFace, backup, measure_recall, probes_like
from mobileface.gallery.milvus_engine import MilvusEngine
from mobileface.gallery.usearch_engine import UsearchEngine
from tests.runtime.gallery.gallery_helpers import everything_in, fill, made, stamp, vectors

ROWS, SIZE = 10_000, 256


@pytest.fixture(scope="module")
def given() -> np.ndarray:
    return vectors(ROWS, SIZE, 11)


@pytest.fixture
def gallery(tmp_path: Path, given: np.ndarray) -> Iterator[Gallery]:
    with made(tmp_path / "people.gallery", given) as opened:
        yield opened


@pytest.fixture
def few(tmp_path: Path, given: np.ndarray) -> Iterator[Gallery]:
    """The smallest gallery that has an index file; larger indexes take longer to build."""
    with made(tmp_path / "few.gallery", given[:2100]) as opened:
        yield opened


def names(gallery: Gallery, probes: np.ndarray, **options: object) -> list[list[str]]:
    found = gallery.search(probes, **options)  # type: ignore[arg-type]
    return [[match.name for match in result.matches] for result in found]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_exact_search_agrees_with_faiss(tmp_path: Path, given: np.ndarray, dtype: str) -> None:
    with made(tmp_path / "g", given, storage=dtype) as gallery:
        probes = probes_like(gallery, 200, seed=1)
        index = faiss.IndexFlatIP(SIZE)
        index.add(np.ascontiguousarray(given.astype(dtype).astype(np.float32)))
        products, rows = index.search(probes, 5)
        found = gallery.search(probes, top=5)
        error = 0.0
        for result, expected, order in zip(found, products, rows, strict=True):
            similar = np.array([match.similarity for match in result.matches])
            error = max(error, float(np.abs(similar - expected).max()))
            assert [match.name for match in result.matches] == [f"person {row}" for row in order]
        print(f"{dtype}: largest difference of similarities {error:.2g}")
        assert error < 1e-6


def test_usearch_finds_what_the_exact_search_finds(few: Gallery, given: np.ndarray) -> None:
    """Recall is high, similarities are exact, and later additions and removals take effect."""
    engine = UsearchEngine(expansion_search=256)
    probes = probes_like(few, 200)
    report = measure_recall(few, engine, probes)
    print(report)
    exact, found = (
        [result.best for result in few.search(probes, engine=chosen)] for chosen in (None, engine)
    )
    hits = sum(a == b for a, b in zip(exact, found, strict=True))
    print(f"identical best match for {hits} of {len(probes)}")
    assert report.recall >= 0.98  # vectors that are random in all directions are the hardest case
    assert hits >= 198
    (index,) = few.path.parent.glob("*-usearch-*")
    assert index.stat().st_mode & 0o077 == 0
    new = vectors(1, SIZE, 77)
    few.add("new", [NewFace(new[0])])
    assert names(few, new, engine=engine)[0][0] == "new"
    few.remove("person 17")
    assert not index.exists()
    assert "person 17" not in names(few, given[17], engine=engine)[0]
    with Gallery.open(few.path) as other:  # uses the index file of the first engine
        again = UsearchEngine(expansion_search=256)
        assert names(other, given[:3], engine=again) == names(few, given[:3], engine=engine)


def test_an_index_made_before_a_merger_is_not_used(few: Gallery, given: np.ndarray) -> None:
    engine = UsearchEngine(expansion_search=256)
    assert names(few, given[17], engine=engine)[0][0] == "person 17"
    few.merge("person 17", "person 3")
    assert names(few, given[17], engine=engine)[0][0] == "person 3"
    assert names(few, given[17], engine=engine) == names(few, given[17])


def test_a_corrupt_index_is_rebuilt(few: Gallery, given: np.ndarray) -> None:
    names(few, given[:1], engine=UsearchEngine())
    (index,) = few.path.parent.glob("*-usearch-*")
    whole = index.read_bytes()
    for content in (b"", b"nonsense", whole[:1000], bytes(len(whole)), whole[::-1]):
        index.write_bytes(content)
        assert names(few, given[5], engine=UsearchEngine())[0][0] == "person 5"


def test_removed_is_erased_from_the_index(tmp_path: Path) -> None:
    given = vectors(2500, 64, 3)
    with made(tmp_path / "g", given) as gallery:
        names(gallery, given[:1], engine=UsearchEngine())
        stored = given[123].astype(np.float16).tobytes()
        (index,) = tmp_path.glob("*-usearch-*")
        reader = index.open("rb")
        assert stored in everything_in(tmp_path)
        gallery.remove("person 123")
        assert stored not in everything_in(tmp_path)
        assert stored not in reader.read()  # the removed file, still open
        reader.close()


@pytest.mark.slow
def test_milvus_gives_the_same_best_match(
    gallery: Gallery, given: np.ndarray, tmp_path: Path
) -> None:
    engine = MilvusEngine(tmp_path / "milvus" / "people.db")
    probes = probes_like(gallery, 100)
    assert names(gallery, probes, top=1, engine=engine) == names(gallery, probes, top=1)
    found, exact = (gallery.search(probes, engine=chosen) for chosen in (engine, None))
    same = sum(a == b for a, b in zip(found, exact, strict=True))
    print(f"{same} of {len(probes)} results identical")
    assert same == len(probes)
    new = vectors(1, SIZE, 78)
    gallery.add("new", [NewFace(new[0])])
    gallery.remove("person 17")
    assert names(gallery, new, engine=engine)[0][0] == "new"
    assert "person 17" not in names(gallery, given[17], engine=engine)[0]
    engine.close()


@pytest.mark.slow
def test_invalid_milvus_addresses(gallery: Gallery) -> None:
    with pytest.raises(InputError, match="neither a file name that ends in"):
        MilvusEngine("people")
    with pytest.raises(GalleryError, match="Milvus failed"):
        MilvusEngine("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("usearch.index", UsearchEngine),
        ("pymilvus", lambda: MilvusEngine("x.db")),
        ("sqlcipher3", lambda: Gallery.open(__file__, key="secret")),
    ],
)
def test_absent_packages(
    package: str, make: type[UsearchEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match="pip install 'mobileface"):
        make()


@pytest.mark.slow
def test_encrypted_galleries(tmp_path: Path) -> None:
    """No file contains plaintext, the key is required, and everything else works as usual."""
    given = vectors(2500, 64)
    path, plain = tmp_path / "people.gallery", tmp_path / "plain.gallery"
    key = "a 'quoted' secret"
    made(plain, given).close()
    with Gallery.create(path, stamp(), key=key) as gallery:
        fill(gallery, given)
        assert gallery.database.encrypted
        for engine in (None, UsearchEngine(expansion_search=512)):
            assert names(gallery, given[77], engine=engine)[0][0] == "person 77"
        with pytest.raises(InputError, match="in the clear"):
            gallery.search(given[:1], engine=MilvusEngine(tmp_path / "m.db"))
        backup(gallery, tmp_path / "copy.gallery", key=key)
        assert gallery.remove("person 3").erased
        gallery.check()
        files = [file for file in tmp_path.iterdir() if file.name.startswith("people")]
        for file in (*files, tmp_path / "copy.gallery"):
            content = file.read_bytes()
            assert b"SQLite format" not in content
            assert b"person" not in content
            assert given[5].tobytes() not in content
    assert given[5].tobytes() in plain.read_bytes()
    for wrong in (None, "another"):
        with pytest.raises(GalleryError, match="key is missing or wrong"):
            Gallery.open(path, key=wrong)
    with Gallery.open(tmp_path / "copy.gallery", key=key) as copy:
        assert len(copy) == 2500
    with Gallery.open(plain, key=key) as gallery:  # an unnecessary key is ignored
        assert not gallery.database.encrypted

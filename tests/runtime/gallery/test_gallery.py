"""Galleries: storing, renaming, removing and erasing faces, and concurrent writers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import GalleryError, InputError
from mobileface.gallery import Gallery, NewFace
from mobileface.host.files import replacing
from tests.runtime.gallery.gallery_helpers import (
    MODEL,
    SIZE,
    everything_in,
    fill,
    made,
    names,
    stamp,
    vectors,
)


def test_what_is_stored_is_there(path: Path) -> None:
    """Every field comes back, from another connection."""
    face = NewFace(
        vectors(1)[0],
        "photos/ann.jpg",
        "ab" * 32,
        (1.5, 2.0, 30.25, 40.0),
        1.25,
        {"left_eye": (10.0, 11.5), "right_eye": (20.0, 12.0)},
        {"sharpness": 120.5},
        b"\xff\xd8 not looked at",
        (5.0, 5.0, 20.0, 20.0),
        {"left_eye": (7.0, 8.0)},
        "0011223344556677",
        "2026-01-01T00:00:00+00:00",
    )
    with made(path) as gallery:
        assert gallery.add("Ann", [face]) == [1]
    with Gallery.open(path, model=MODEL) as gallery:
        (record,) = gallery.faces("Ann")
        for field in dataclasses.fields(NewFace):
            found, expected = getattr(record.face, field.name), getattr(face, field.name)
            if field.name == "embedding":
                assert np.abs(found - expected).max() <= 1e-7
                continue
            if field.name.endswith(("kps", "bbox")):
                found = json.loads(json.dumps(found))
                expected = json.loads(json.dumps(expected))
            assert found == expected, field.name
        assert gallery.stamp == stamp()
        gallery.check()
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # the log is written back
    assert path.stat().st_mode & 0o077 == 0


def test_float16_takes_half_the_space_and_rounds(path: Path) -> None:
    given = vectors(500, 256)
    sizes = {}
    for storage in ("float32", "float16"):
        file = path.with_name(storage)
        with made(file, given, storage=storage) as gallery:
            (record,) = gallery.faces("person 7")
        error = np.abs(record.face.embedding - given[7]).max()
        print(f"{storage}: largest difference {error:.2g}")
        assert error <= (2e-8 if storage == "float32" else 2**-11 * np.abs(given[7]).max())
        sizes[storage] = file.stat().st_size
    print(sizes)
    assert sizes["float16"] < 0.75 * sizes["float32"]


def test_faces_of_a_person_gather(path: Path) -> None:
    given = vectors(6)
    with made(path) as gallery:
        fill(gallery, given, people=2)
        assert [(p.name, p.faces) for p in gallery.people()] == [("person 0", 3), ("person 1", 3)]
        gallery.rename("person 0", "Zoë")
        assert [r.face_id for r in gallery.faces("Zoe\u0308")] == [1, 3, 5]  # one name, two forms
        assert gallery.remove("Zoë", faces=[3]).faces == 1
        assert [r.face_id for r in gallery.faces("Zoë")] == [1, 5]
        assert gallery.remove("Zoë").faces == 2
        assert names(gallery) == ["person 1"]
        gallery.add("Zoë", [NewFace(given[0])])
        assert [r.face_id for r in gallery.faces("Zoë")] == [7]  # numbers are never given twice


def test_another_model_is_refused_by_both_names(path: Path) -> None:
    made(path).close()
    with pytest.raises(InputError, match=f"{MODEL}.*other@ffffffffffff") as caught:
        Gallery.open(path, model="other@ffffffffffff")
    assert "gallery migrate" in caught.value.hint
    # A variant of the same model has the same fingerprint and another name.
    Gallery.open(path, model="invented_int8@0123456789ab").close()


SQL = "Robert'); DROP TABLE person; --"

NAMES: dict[str, tuple[object, str]] = {
    "empty": ("  ", "empty"),
    "10 kB": ("x" * 10_000, "10000 bytes"),
    "path": ("../../etc/passwd", "is a path"),
    "Windows path": ("a\\b", "is a path"),
    "parent": ("..", "is a path"),
    "line break": ("a\nb", "unprintable characters"),
    "zero byte": ("a\0b", "unprintable characters"),
    "half a character": ("a\ud800", "not valid Unicode"),
    "number": (7, "text, not int"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_cannot_be(case: str, path: Path) -> None:
    name, message = NAMES[case]
    with made(path, vectors(2)) as gallery:
        for act in (
            lambda: gallery.add(name, [NewFace(vectors(1)[0])]),  # type: ignore[arg-type]
            lambda: gallery.rename("person 0", name),  # type: ignore[arg-type]
        ):
            with pytest.raises(InputError, match=message) as caught:
                act()
            assert len(str(caught.value)) < 200
        assert names(gallery) == ["person 0", "person 1"]


def test_sql_in_a_name_is_a_name(path: Path) -> None:
    with made(path, vectors(3)) as gallery:
        gallery.add(SQL, [NewFace(vectors(4)[3])])
        assert gallery.search(vectors(4)[3])[0].matches[0].name == SQL
        gallery.rename(SQL, SQL + "%_\"'")
        assert gallery.remove(SQL + "%_\"'").faces == 1
        assert names(gallery) == ["person 0", "person 1", "person 2"]
        gallery.check()


def test_duplicate_and_unknown_names(path: Path) -> None:
    with made(path, vectors(2)) as gallery:
        with pytest.raises(InputError, match="'person 1' is already enrolled"):
            gallery.rename("person 0", "person 1")
        for act in (
            lambda: gallery.rename("nobody", "x"),
            lambda: gallery.remove("nobody"),
            lambda: list(gallery.faces("nobody")),
        ):
            with pytest.raises(InputError, match="no person named 'nobody'"):
                act()
        with pytest.raises(InputError, match="has no face 2"):
            gallery.remove("person 0", faces=[1, 2])
        assert len(list(gallery.faces("person 0"))) == 1


EMBEDDINGS: dict[str, tuple[Any, str]] = {
    "not a number": (np.full(SIZE, np.nan, np.float32), "not finite"),
    "infinite": (np.full(SIZE, np.inf, np.float32), "not finite"),
    "zero": (np.zeros(SIZE, np.float32), "zero"),
    "too long": (np.ones(SIZE + 1, np.float32), r"shape \(64,\), not \(65,\)"),
    "too short": (np.ones(2, np.float32), "must have shape"),
    "matrix": (np.ones((2, SIZE), np.float32), "must have shape"),
    "text": (["a"] * SIZE, "not an array of numbers"),
}


@pytest.mark.parametrize("case", EMBEDDINGS)
def test_embeddings_that_cannot_be(case: str, path: Path) -> None:
    """One bad face keeps all of its person's faces out."""
    vector, message = EMBEDDINGS[case]
    with made(path, vectors(2)) as gallery:
        with pytest.raises(InputError, match=message):
            gallery.add("Ann", [NewFace(vectors(1)[0]), NewFace(vector)])
        assert names(gallery) == ["person 0", "person 1"]
        if case not in ("matrix", "text"):
            with pytest.raises(InputError, match=message):
                gallery.search(vector)


def test_embeddings_are_scaled_to_unit_length(path: Path) -> None:
    with made(path) as gallery:
        gallery.add("Ann", [NewFace(70 * vectors(1)[0])])  # as long as V2 gives them
        assert abs(gallery.search(3 * vectors(1))[0].matches[0].similarity - 1) < 1e-6


def test_removed_is_erased(path: Path) -> None:
    """Of names, embeddings, crops and file names nothing is left in any file of the gallery."""
    random = np.random.RandomState(3)
    given = vectors(3000)
    secret = [random.bytes(12).hex() for _ in range(3000)]
    crops = [random.bytes(random.randint(500, 9000)) for _ in range(3000)]
    with made(path) as gallery:
        with gallery.database.write():
            for name, vector, crop in zip(secret, given, crops, strict=True):
                gallery.add(name, [NewFace(vector, f"{name}.jpg", crop=crop)])
        assert gallery.search(given[5])[0].matches[0].name == secret[5]
        assert path.with_name(f"{path.name}-matrix").is_file()
        chosen = random.choice(3000, 20, replace=False)
        before = everything_in(path.parent)
        needles = [secret[number].encode() for number in chosen]
        for number in chosen:
            needles += [face.face.embedding.tobytes() for face in gallery.faces(secret[number])]
        assert all(needle in before for needle in needles)
        pieces = [crops[number][at : at + 40] for number in chosen for at in (0, 100, 300)]
        needles += [piece for piece in pieces if piece in before]  # others lie in two pages
        assert len(needles) > 40 + 50
        with Gallery.open(path) as reader:
            reader.search(given[5])  # maps the matrix
            for number in chosen:
                assert gallery.remove(secret[number]).erased
            after = everything_in(path.parent)
            assert not [needle for needle in needles if needle in after]
            assert reader.search(given[chosen[0]])[0].matches[0].name != secret[chosen[0]]
        old = next(number for number in range(3000) if number not in chosen)
        gallery.rename(secret[old], "somebody")
        gallery.check()


@pytest.mark.parametrize("name", ["people.gallery", "people", "a.[b].gallery"])
def test_unfinished_files_are_erased_too(name: str, tmp_path: Path) -> None:
    """What a killed process left of a matrix or index; another gallery's files stay."""
    given = vectors(3)
    with made(tmp_path / name, given) as gallery:
        for suffix in ("-matrix", "-usearch-0-1-2"):
            with replacing(tmp_path / f"{name}{suffix}") as temporary:
                pass
            (tmp_path / f"{name}{suffix}").rename(temporary)  # as if nobody had come to rename it
            temporary.write_bytes(given[1].tobytes())
        other = tmp_path / f"other{name}-matrix"
        other.write_bytes(b"another gallery's")
        (tmp_path / "link").symlink_to(tmp_path / name)
        with Gallery.open(tmp_path / "link") as linked:
            linked.remove("person 1")
        assert other.exists()
        assert not list(tmp_path.glob(".*"))
        assert given[1].tobytes() not in everything_in(tmp_path)
        assert names(gallery) == ["person 0", "person 2"]


def test_a_reader_of_an_older_state_delays_erasing_and_is_told_of(path: Path) -> None:
    with made(path, vectors(5)) as gallery, Gallery.open(path) as reader:
        gallery.database.run("PRAGMA busy_timeout = 50")
        with reader.database.read():
            assert len(reader) == 5
            assert not gallery.remove("person 1").erased
            assert len(reader) == 5
        assert gallery.remove("person 2").erased


def test_a_second_writer_waits_and_then_says_so(path: Path) -> None:
    with made(path, vectors(2)) as gallery, Gallery.open(path, timeout=0.05) as other:
        with gallery.database.write():
            gallery.add("Ann", [NewFace(vectors(3)[2])])
            with pytest.raises(GalleryError, match="another process is writing"):
                other.add("Bob", [NewFace(vectors(4)[3])])
            assert names(other) == ["person 0", "person 1"]  # readers do not wait
        other.add("Bob", [NewFace(vectors(4)[3])])
        assert names(gallery) == ["Ann", "Bob", "person 0", "person 1"]


def test_an_interrupted_transaction_leaves_nothing(path: Path) -> None:
    with made(path, vectors(2)) as gallery:

        def interrupted() -> None:
            with gallery.database.write():
                gallery.add("Ann", [NewFace(vectors(3)[2])])
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert names(gallery) == ["person 0", "person 1"]


def test_a_migrated_gallery_is_not_read_on_with_the_old_model(path: Path) -> None:
    with made(path, vectors(5)) as gallery, Gallery.open(path) as other:
        gallery.search(vectors(1))
        other.database.run("UPDATE stamp SET model = 'other@ffffffffffff'")
        for act in (
            lambda: gallery.search(vectors(1)),
            lambda: gallery.add("Ann", [NewFace(vectors(1)[0])]),
        ):
            with pytest.raises(GalleryError, match=f"{MODEL} and now contains those of other@"):
                act()

"""People without faces, faces by their uid, and merging."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.gallery import Gallery, NewFace
from mobileface.gallery.subjects import (
    add_person,
    find_face,
    find_source,
    list_faces,
    merge_people,
    read_face,
)

from .gallery_helpers import SIZE, stamp, vectors

UIDS = [f"{number:016x}" for number in range(1, 6)]
DIGESTS = [f"{number:064x}" for number in range(1, 6)]


@pytest.fixture(params=["float32", "float16"])
def gallery(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Gallery]:
    """Ann with two faces, Ben with three."""
    made = stamp(storage=request.param)
    with Gallery.create(tmp_path / "people.gallery", made) as gallery:
        rows = vectors(5, SIZE, 3)
        faces = [
            NewFace(row, f"{uid}.jpg", digest, crop=uid.encode(), uid=uid)
            for row, uid, digest in zip(rows, UIDS, DIGESTS, strict=True)
        ]
        gallery.add("Ann", faces[:2])
        gallery.add("Ben", faces[2:])
        yield gallery


def test_a_person_without_faces(gallery: Gallery) -> None:
    assert add_person(gallery, " Zoë ")
    assert not add_person(gallery, "Zoë")
    assert not add_person(gallery, "Ann")
    people = [(person.name, person.faces) for person in gallery.people()]
    assert people == [("Ann", 2), ("Ben", 3), ("Zoë", 0)]
    assert list(gallery.faces("Zoë")) == []
    (found,) = gallery.search(vectors(1, SIZE, 3), top=10)
    assert [match.name for match in found.matches] == ["Ann", "Ben"]
    gallery.rename("Zoë", "Zoe")
    gallery.check()
    assert gallery.remove("Zoe").faces == 0
    assert len(gallery) == 2
    with pytest.raises(InputError, match="is a path"):
        add_person(gallery, "../a")


def test_faces_are_listed_in_pages(gallery: Gallery) -> None:
    total, faces = list_faces(gallery)
    assert total == 5
    assert [face.uid for face in faces] == UIDS
    total, faces = list_faces(gallery, offset=1, limit=2)
    assert (total, [(face.uid, face.name) for face in faces]) == (
        5,
        [(UIDS[1], "Ann"), (UIDS[2], "Ben")],
    )
    total, faces = list_faces(gallery, "Ben", offset=2, limit=20)
    assert (total, [face.uid for face in faces]) == (3, UIDS[4:])
    assert list_faces(gallery, "Nobody") == (0, [])
    with pytest.raises(InputError, match="must not be empty"):
        list_faces(gallery, "")


def test_a_face_is_found_by_its_uid_and_its_file(gallery: Gallery) -> None:
    face = find_face(gallery, UIDS[3])
    assert face is not None
    assert face.name == "Ben"
    assert find_source(gallery, "Ben", DIGESTS[3]) == face
    assert find_source(gallery, "Ann", DIGESTS[3]) is None
    assert find_face(gallery, UIDS[3].upper() + "0") is None
    record = read_face(gallery, face)
    expected = vectors(5, SIZE, 3)[3]
    error = float(np.abs(record.face.embedding - expected).max())
    print(f"largest difference {error:.2g}")
    assert error < (1e-7 if gallery.stamp.storage == "float32" else 5e-4)
    gone = dataclasses.replace(face, face_id=999)
    with pytest.raises(InputError, match="face 999 is not enrolled any more"):
        read_face(gallery, gone)


def test_merging_moves_everything(gallery: Gallery) -> None:
    before = {record.face.uid: record.face for record in gallery.faces("Ann")}
    assert merge_people(gallery, "Ann", "Ben") == 2
    assert [person.name for person in gallery.people()] == ["Ben"]
    after = {record.face.uid: record.face for record in gallery.faces("Ben")}
    assert sorted(after) == UIDS
    for uid, face in before.items():
        kept = after[uid]
        assert np.array_equal(kept.embedding, face.embedding)
        assert (kept.crop, kept.source, kept.created) == (face.crop, face.source, face.created)
    gallery.check()
    found = gallery.search(vectors(5, SIZE, 3), top=1)
    assert {result.matches[0].name for result in found} == {"Ben"}
    least = min(result.matches[0].similarity for result in found)
    print(f"least similarity with itself {least:.6f}")
    assert least > 0.999
    assert b"Ann" not in gallery.path.with_name("people.gallery-wal").read_bytes()


def test_merging_into_a_new_name_and_nobody(gallery: Gallery) -> None:
    assert merge_people(gallery, "Ann", "Cem") == 2
    add_person(gallery, "Dan")
    assert merge_people(gallery, "Dan", "Cem") == 0
    assert [person.name for person in gallery.people()] == ["Ben", "Cem"]
    with pytest.raises(InputError, match="no person named 'Ann'"):
        merge_people(gallery, "Ann", "Ben")
    with pytest.raises(InputError, match="is a path"):
        merge_people(gallery, "Ben", "a/b")
    assert len(list(gallery.faces("Ben"))) == 3

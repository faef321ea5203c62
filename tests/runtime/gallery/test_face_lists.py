"""People without faces, and faces by page, uid and file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.gallery import Gallery, NewFace
from mobileface.gallery.face_lists import find_face, find_source, list_faces, read_face

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
    assert gallery.add_person(" Zoë ")
    assert not gallery.add_person("Zoë")
    assert not gallery.add_person("Ann")
    found = gallery.find("Zoë")
    assert found is not None
    assert found == gallery.find(found.person_id)
    assert gallery.find("Nobody") is None
    people = [(person.name, person.faces) for person in gallery.people()]
    assert people == [("Ann", 2), ("Ben", 3), ("Zoë", 0)]
    assert list(gallery.faces("Zoë")) == []
    (result,) = gallery.search(vectors(1, SIZE, 3), top=10)
    assert [match.name for match in result.matches] == ["Ann", "Ben"]
    gallery.rename("Zoë", "Zoe")
    gallery.check()
    assert gallery.merge("Zoe", "Ann").moved == 0
    assert len(gallery) == 2
    with pytest.raises(InputError, match="is a path"):
        gallery.add_person("../a")


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

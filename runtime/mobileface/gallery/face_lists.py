"""Enrolled faces of all people: listed in pages, found by their uid or their file."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .entries import FaceRecord, check_name
from .gallery import Gallery

__all__ = ["ListedFace", "find_face", "find_source", "list_faces", "read_face"]

_QUERY = "SELECT face.id, face.uid, person.name FROM face JOIN person ON person.id = face.person "


@dataclass(frozen=True, slots=True)
class ListedFace:
    """An enrolled face, without its data.

    Attributes:
        face_id: ID of the face in this gallery.
        uid: Unique ID of the face, in hexadecimal.
        name: Name of the person.
    """

    face_id: int
    uid: str
    name: str


def list_faces(
    gallery: Gallery, name: str | None = None, *, offset: int = 0, limit: int = 20
) -> tuple[int, list[ListedFace]]:
    """Some of the enrolled faces, in the order of enrolment, and the number of all.

    Args:
        gallery: The gallery.
        name: Only faces of this person, none if nobody has the name; None for all faces.
        offset: Faces to leave out at the beginning.
        limit: Most faces.

    Raises:
        InputError: If the name is invalid.
    """
    where, values = "", tuple[str, ...]()
    if name is not None:
        where, values = "WHERE person.name = ? ", (check_name(name),)
    with gallery.database.read():
        count = "SELECT count(*) FROM face JOIN person ON person.id = face.person "
        total = int(gallery.database.value(count + where, values))
        query = f"{_QUERY}{where}ORDER BY face.id LIMIT ? OFFSET ?"
        rows = list(gallery.database.rows(query, (*values, limit, offset)))
    return total, [ListedFace(*row) for row in rows]


def find_face(gallery: Gallery, uid: str) -> ListedFace | None:
    """The face with a uid; None if there is none."""
    row = gallery.database.row(f"{_QUERY}WHERE face.uid = ?", (uid,))
    return None if row is None else ListedFace(*row)


def find_source(gallery: Gallery, name: str, digest: str) -> ListedFace | None:
    """A person's face from a file with this SHA-256; None if there is none."""
    query = f"{_QUERY}WHERE person.name = ? AND face.source_sha256 = ? ORDER BY face.id"
    row = gallery.database.row(query, (name, digest))
    return None if row is None else ListedFace(*row)


def read_face(gallery: Gallery, face: ListedFace) -> FaceRecord:
    """The data of a face.

    Raises:
        InputError: If the face is not enrolled any more.
        GalleryError: If it is damaged.
    """
    person = gallery.find(face.name)
    record = None if person is None else gallery.rows.find(person.person_id, face.face_id)
    if record is None:
        raise InputError(f"face {face.face_id} is not enrolled any more", where=str(gallery.path))
    return record

"""What other face services' clients ask of a gallery: people without faces, faces by uid."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .checksums import checksum
from .entries import FaceRecord, check_name
from .gallery import Gallery
from .removal import remove_faces
from .stamp import now

__all__ = [
    "ListedFace",
    "add_person",
    "find_face",
    "find_source",
    "list_faces",
    "merge_people",
    "read_face",
]

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


def add_person(gallery: Gallery, name: str) -> bool:
    """Adds a person without faces, whom no search can find yet; False if the name is enrolled.

    Raises:
        InputError: If the name is invalid.
        OutputError: If the gallery cannot be written.
        GalleryError: If another process does not finish writing within the timeout.
    """
    name, database = check_name(name), gallery.database
    with database.write():
        if database.value("SELECT id FROM person WHERE name = ?", (name,)) is not None:
            return False
        sql = "INSERT INTO person (name, created) VALUES (?, ?)"
        person = database.insert(sql, (name, now()))
        sql = "UPDATE person SET checksum = ? WHERE id = ?"
        database.run(sql, (checksum(person, name), person))
    return True


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
    for record in gallery.faces(face.name):
        if record.face_id == face.face_id:
            return record
    raise InputError(f"face {face.face_id} is not enrolled any more", where=str(gallery.path))


def merge_people(gallery: Gallery, name: str, into: str) -> int:
    """Moves all faces of a person to another one, and removes the first.

    Faces keep their uids and get new IDs.

    Args:
        gallery: The gallery.
        name: Name of the person who is removed.
        into: Name of the person who gets the faces; created if it is not enrolled.

    Returns:
        Number of faces that were moved.

    Raises:
        InputError: If the first person is not enrolled, or the second name is invalid.
        OutputError: If a file that contains the data cannot be erased; nothing is changed then.
    """
    into, database = check_name(into), gallery.database
    with database.write():
        faces = [record.face for record in gallery.faces(name)]
        person = database.value("SELECT id FROM person WHERE name = ?", (check_name(name),))
        remove_faces(database, gallery.rows, int(person), name, None)
        if faces:
            gallery.add(into, faces)
    database.empty_log()  # it contains the removed rows
    return len(faces)

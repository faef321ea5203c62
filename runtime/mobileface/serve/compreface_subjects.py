"""CompreFace's subjects and their examples: people of the gallery and their faces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..gallery import Gallery
from ..gallery.entries import check_name
from ..gallery.face_lists import ListedFace, find_face, list_faces, read_face
from .client_faces import enrol_example
from .picture_analysis import Picture
from .service import Service

__all__ = [
    "CompreFaceError",
    "add_example",
    "add_subject",
    "delete_example",
    "delete_examples",
    "delete_listed",
    "delete_subject",
    "delete_subjects",
    "example_image",
    "image_id_of",
    "list_examples",
    "list_subjects",
    "rename_subject",
    "require_face",
]

_UID = re.compile(r"[0-9a-f]{16}")
_ID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-8([0-9a-f]{3})-8([0-9a-f])00-0{12}")


class CompreFaceError(InputError):
    """An error with a number of CompreFace's.

    Args:
        what: What is wrong.
        number: CompreFace's number of the error.
        status: Status of the answer.
    """

    def __init__(self, what: str, *, number: int, status: int = 400) -> None:
        super().__init__(what)
        self.number, self.status = number, status


def image_id_of(uid: str) -> str:
    """A face's uid, 64 bits, as a UUID of version 8 (RFC 9562, section 5.8)."""
    if not _UID.fullmatch(uid):
        return uid
    return f"{uid[:8]}-{uid[8:12]}-8{uid[12:15]}-8{uid[15]}00-{'0' * 12}"


def add_subject(service: Service, name: str) -> dict[str, Any]:
    """Adds a subject without examples.

    Raises:
        CompreFaceError: If it exists.
        InputError: If the name is invalid.
    """
    name = check_name(name)
    with service.gallery() as gallery:
        if not gallery.add_person(name):
            raise CompreFaceError(f"the subject '{name}' exists", number=43)
    return {"subject": name}


def list_subjects(service: Service) -> dict[str, Any]:
    """The names of all subjects."""
    with service.gallery() as gallery:
        return {"subjects": [person.name for person in gallery.people()]}


def rename_subject(service: Service, name: str, new: str) -> dict[str, Any]:
    """Renames a subject; if the new name exists, its examples are moved there.

    A file that both have stays once, that of the new name.

    Raises:
        CompreFaceError: If the subject does not exist.
        InputError: If the new name is invalid.
    """
    new = check_name(new)
    with service.gallery() as gallery:
        name = _require_subject(gallery, name)
        if new == name or gallery.find(new) is None:
            gallery.rename(name, new)
        else:
            gallery.merge(name, new)
        found = gallery.find(new)
    assert found is not None
    service.live.rename(name, new, found.person_id)
    return {"updated": True}


def delete_subject(service: Service, name: str) -> dict[str, Any]:
    """Deletes a subject and its examples.

    Raises:
        CompreFaceError: If the subject does not exist.
    """
    with service.gallery() as gallery:
        name = _require_subject(gallery, name)
        gallery.remove(name)
    service.live.forget(name)
    return {"subject": name}


def delete_subjects(service: Service) -> dict[str, Any]:
    """Deletes all subjects; gives their number."""
    with service.gallery() as gallery:
        people = gallery.people()
        for person in people:
            gallery.remove(person.name)
    for person in people:
        service.live.forget(person.name)
    return {"deleted": len(people)}


def add_example(service: Service, name: str, picture: Picture, least: float) -> dict[str, Any]:
    """Adds the only face of a picture to a subject, which is created if needed.

    Raises:
        As `enrol_example`.
    """
    uid = enrol_example(service, name, picture, least)
    return {"image_id": image_id_of(uid), "subject": check_name(name)}


def list_examples(service: Service, name: str | None, page: int, size: int) -> dict[str, Any]:
    """One page of the examples.

    Args:
        service: The service.
        name: Only examples of this subject; None for all.
        page: Number of the page, from 0.
        size: Examples on a page, at least 1.
    """
    with service.gallery() as gallery:
        total, faces = list_faces(gallery, name, offset=page * size, limit=size)
    return {
        "faces": [_listed(face) for face in faces],
        "page_number": page,
        "page_size": size,
        "total_pages": -(-total // size),
        "total_elements": total,
    }


def delete_example(service: Service, image_id: str) -> dict[str, Any]:
    """Deletes an example; its subject stays.

    Raises:
        CompreFaceError: If there is no such example.
    """
    with service.gallery() as gallery:
        face = require_face(gallery, image_id)
        gallery.remove(face.name, faces=[face.face_id])
    return _listed(face)


def delete_listed(service: Service, image_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Deletes examples; IDs that there are not do not count."""
    deleted = []
    with service.gallery() as gallery:
        for image_id in dict.fromkeys(image_ids):
            face = find_face(gallery, _uid_of(image_id))
            if face is not None:
                gallery.remove(face.name, faces=[face.face_id])
                deleted.append(_listed(face))
    return deleted


def delete_examples(service: Service, name: str | None) -> dict[str, Any]:
    """Deletes a subject with all its examples, or all subjects; gives the number of examples."""
    with service.gallery() as gallery:
        found = gallery.people() if name is None else [gallery.find(check_name(name))]
        people = [person for person in found if person is not None]
        count = sum(gallery.remove(person.name).faces for person in people)
    for person in people:
        service.live.forget(person.name)
    return {"deleted": count}


def example_image(service: Service, image_id: str) -> bytes:
    """The crop of an example's face, JPEG; b"" if the gallery keeps no crops.

    Raises:
        CompreFaceError: If there is no such example.
    """
    with service.gallery() as gallery:
        return read_face(gallery, require_face(gallery, image_id)).face.crop or b""


def require_face(gallery: Gallery, image_id: str) -> ListedFace:
    """An example by its ID.

    Raises:
        CompreFaceError: If there is none.
    """
    face = find_face(gallery, _uid_of(image_id))
    if face is None:
        raise CompreFaceError(f"there is no image {image_id[:40]!a}", number=44, status=404)
    return face


def _uid_of(image_id: str) -> str:
    """The uid that an image ID stands for; one that no face has if it is no ID."""
    found = _ID.fullmatch(image_id.lower())
    if found:
        return "".join(found.groups())
    return image_id if image_id.isascii() else ""


def _listed(face: ListedFace) -> dict[str, Any]:
    return {"image_id": image_id_of(face.uid), "subject": face.name}


def _require_subject(gallery: Gallery, name: str) -> str:
    name = check_name(name)
    if gallery.find(name) is None:
        raise CompreFaceError(f"there is no subject '{name}'", number=42, status=404)
    return name

"""People of the service's gallery: listed, enrolled from pictures, renamed, merged, erased.

All functions run on a worker's thread and raise the errors of `mobileface.errors`. Pictures are
examined before the gallery is taken, so that searches do not wait for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..gallery import Enroller, Gallery, Person
from ..gallery.entries import check_name
from .picture_analysis import Picture
from .service import Service

__all__ = [
    "NameTakenError",
    "UnknownError",
    "add_faces",
    "enrol",
    "enrol_event",
    "list_people",
    "merge_people",
    "person_detail",
    "remove_face",
    "remove_person",
    "rename_person",
    "thumbnail",
]


class UnknownError(InputError):
    """There is no such person, face or crop."""


class NameTakenError(InputError):
    """Another person has the name."""


def list_people(service: Service) -> dict[str, Any]:
    """All people, sorted by name.

    Raises:
        NoGalleryError: If there is no gallery.
    """
    with service.gallery() as gallery:
        return {"people": [_facts(person) for person in gallery.people()]}


def person_detail(service: Service, person_id: int) -> dict[str, Any]:
    """A person with all faces, in the order of enrolment.

    Raises:
        UnknownError: If nobody has the ID.
        NoGalleryError: If there is no gallery.
    """
    with service.gallery() as gallery, gallery.database.read():
        return _detail(gallery, _person(gallery, person_id))


def enrol(
    service: Service,
    name: str,
    pictures: Sequence[Picture],
    face: str | None = None,
    *,
    min_score: float = -math.inf,
    option: str = "face",
) -> dict[str, Any]:
    """Enrols the pictures of one person: the document of ``mobileface gallery add --json``.

    Args:
        service: The service.
        name: Name of the person, who is created if needed.
        pictures: The pictures.
        face: Which face of a picture with several, see `mobileface.tasks.face_choice`.
        min_score: Lowest detection score of a face that counts.
        option: Form field that chooses a face, for hints; "" if there is none.

    Returns:
        The document, and ``person_id``.

    Raises:
        InputError: If the name or the choice is invalid; or the first reason, if no picture can be
            enrolled.
        OutputError: If the disk is full.
        GalleryError: If another process keeps writing.
        NoGalleryError: If there is no gallery.
    """
    with service.gallery() as gallery:
        enroller = Enroller(gallery, service.analyzer, min_score=min_score, option=option)
    return _enrol(service, enroller, check_name(name), None, pictures, face)


def add_faces(
    service: Service, person_id: int, pictures: Sequence[Picture], face: str | None = None
) -> dict[str, Any]:
    """Enrols more pictures of a person who is enrolled; see `enrol`.

    Raises:
        UnknownError: If nobody has the ID.
    """
    with service.gallery() as gallery:
        name = _person(gallery, person_id).name
        enroller = Enroller(gallery, service.analyzer)
    return _enrol(service, enroller, name, person_id, pictures, face)


def enrol_event(service: Service, event_id: str, name: str) -> dict[str, Any]:
    """Enrols the face of an event, which is the person's from then on: it goes when they do.

    Args:
        service: The service.
        event_id: ID of the event.
        name: Name of the person, who is created if needed.

    Returns:
        As `enrol`.

    Raises:
        UnknownError: If there is no such event, or no picture of it.
        InputError: If the name is invalid, or the face cannot be enrolled.
    """
    events = service.live.events
    data = events.face(event_id)
    if data is None:
        raise UnknownError("there is no such event, or no picture of it", where=event_id[:100])
    document = enrol(service, name, [(data, f"{event_id}.jpg")], "largest")
    events.assign(event_id, document["name"], document["person_id"])
    return document


def rename_person(service: Service, person_id: int, name: str) -> dict[str, Any]:
    """Renames a person; returns the person.

    Raises:
        UnknownError: If nobody has the ID.
        NameTakenError: If another person has the name.
        InputError: If the name is invalid.
    """
    name = check_name(name)
    with service.gallery() as gallery:
        person = _person(gallery, person_id)
        other = gallery.find(name)
        if other is not None and other.person_id != person_id:
            raise NameTakenError(f"'{name}' is already enrolled", where="name")
        gallery.rename(person.name, name)
        detail = _detail(gallery, _person(gallery, person_id))
    service.live.rename(person.name, name)
    return detail


def merge_people(service: Service, person_id: int, into: int) -> dict[str, Any]:
    """Moves all faces of a person to another one; returns that one.

    Raises:
        UnknownError: If nobody has one of the IDs.
        InputError: If both are the same.
    """
    with service.gallery() as gallery:
        person, target = _person(gallery, person_id), _person(gallery, into)
        gallery.merge(person.name, target.name)
        detail = _detail(gallery, _person(gallery, into))
    service.live.rename(person.name, target.name, into)
    return detail


def remove_person(service: Service, person_id: int) -> dict[str, Any]:
    """Erases a person: the document of ``mobileface gallery remove --json``.

    Raises:
        UnknownError: If nobody has the ID.
    """
    return _removed(service, person_id, None)


def remove_face(service: Service, person_id: int, face_id: int) -> dict[str, Any]:
    """Erases a face of a person; see `remove_person`.

    Raises:
        UnknownError: If nobody has the ID, or the person has no such face.
    """
    return _removed(service, person_id, face_id)


def thumbnail(service: Service, person_id: int, face_id: int | None = None) -> bytes:
    """The stored crop of a face, as JPEG; without a face, the person's first one that has a crop.

    Raises:
        UnknownError: If there is no such person or face, or no crop of it.
        GalleryError: If the row is damaged.
    """
    with service.gallery() as gallery:
        person = _person(gallery, person_id)
        if face_id is None:
            crops = (record.face.crop for record in gallery.faces(person.name))
            crop = next((crop for crop in crops if crop is not None), None)
        else:
            record = gallery.rows.find(person_id, face_id)
            if record is None:
                raise _no_face(person, face_id)
            crop = record.face.crop
    if crop is None:
        raise UnknownError("the gallery keeps no picture of this face")
    return crop


def _enrol(
    service: Service,
    enroller: Enroller,
    name: str,
    person_id: int | None,
    pictures: Sequence[Picture],
    face: str | None,
) -> dict[str, Any]:
    with service.gallery():
        known = enroller.known(name)
    found = enroller.examine_contents(
        pictures, face=face, known=known, max_pixels=service.settings.limits.pixels
    )
    service.metrics.faces.inc(sum(image.faces for image in found.images))
    if found.refused and not found.faces and not found.known:
        raise found.refused[0]
    with service.gallery() as gallery, gallery.database.write():
        if person_id is not None:  # the person may have been renamed or removed meanwhile
            name = _person(gallery, person_id).name
        document = enroller.store(name, found).to_dict()
        person = gallery.find(name)
        if person is None:
            raise UnknownError(f"no person named '{name}' is enrolled any more")
    return {"person_id": person.person_id, **document}


def _removed(service: Service, person_id: int, face_id: int | None) -> dict[str, Any]:
    with service.gallery() as gallery:
        person = _person(gallery, person_id)
        if face_id is not None and gallery.rows.find(person_id, face_id) is None:
            raise _no_face(person, face_id)
        faces = None if face_id is None else [face_id]
        done = gallery.remove(person.name, faces=faces)
    if faces is None:  # without the gallery, which cameras may wait for
        service.live.forget(person.name)
    return {"name": person.name, "faces": done.faces, "erased": done.erased}


def _person(gallery: Gallery, person_id: int) -> Person:
    person = gallery.find(person_id)
    if person is None:
        raise UnknownError(f"there is no person {person_id}")
    return person


def _no_face(person: Person, face_id: int) -> UnknownError:
    return UnknownError(f"'{person.name}' has no face {face_id}")


def _facts(person: Person) -> dict[str, Any]:
    return {
        "person_id": person.person_id,
        "name": person.name,
        "faces": person.faces,
        "created": person.created,
    }


def _detail(gallery: Gallery, person: Person) -> dict[str, Any]:
    faces = [record.to_dict() for record in gallery.rows.of_person(person.person_id)]
    return {**_facts(person), "faces": faces}

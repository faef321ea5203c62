"""The gallery's people: list, enrolment, names, removal, merging, thumbnails."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Response, UploadFile
from pydantic import BaseModel, Field

from .. import people
from ..picture_analysis import Picture
from .answers import TheService, errors, read_picture

__all__ = ["Enrolled", "router"]

router = APIRouter(prefix="/api/v1/people", tags=["people"])

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Name = Annotated[str, Field(max_length=1000)]
Choice = Annotated[
    str | None,
    Form(max_length=50, description="With several faces: largest, surest, N from the left or X,Y"),
]
Pictures = list[UploadFile]

_MOST_FILES = 20


class PersonFacts(BaseModel):
    """A person."""

    person_id: int
    name: str
    faces: int = Field(description="Number of faces")
    created: str = Field(description="ISO 8601, UTC")


class People(BaseModel):
    """All people, sorted by name."""

    people: list[PersonFacts]


class EnrolledFace(BaseModel):
    """A face of a person."""

    face_id: int
    uid: str
    source: str | None = Field(description="Name of the picture")
    bbox: tuple[float, ...] | None = Field(description="x1, y1, x2, y2 in pixels of the picture")
    det_score: float | None
    quality: dict[str, float] = Field(
        description="face_size in pixels, sharpness (variance of the Laplacian), frontality "
        "(1 is frontal), roll in degrees: those that were measured"
    )
    created: str
    crop: bool = Field(description="Whether there is a thumbnail")


class PersonDetail(BaseModel):
    """A person with all faces, in the order of enrolment."""

    person_id: int
    name: str
    created: str
    faces: list[EnrolledFace]


class EnrolledPicture(BaseModel):
    """The picture of an enrolled face, how many faces it has, and which was used."""

    file: str
    faces: int
    bbox: tuple[float, ...] | None


class SimilarPerson(BaseModel):
    """A new face that is similar to another person."""

    file: str
    name: str
    similarity: float


class Enrolled(BaseModel):
    """What was enrolled; as ``mobileface gallery add --json``, with the person's ID."""

    person_id: int
    name: str
    faces: list[int] = Field(description="IDs of the new faces")
    known: list[str] = Field(description="Pictures that were enrolled before")
    refused: list[str] = Field(description="Why pictures were refused")
    images: list[EnrolledPicture]
    lookalikes: list[SimilarPerson]


class Removed(BaseModel):
    """What was removed; ``erased`` is false while it is still in the log, see docs/gallery.md."""

    name: str
    faces: int
    erased: bool


class NewName(BaseModel):
    """A new name."""

    name: Name


class Target(BaseModel):
    """The person who gets the faces."""

    into: Annotated[int, Field(ge=1, le=2**63 - 1)]


@router.get("", responses=errors(404))
async def list_people(service: TheService) -> People:
    """All people of the gallery, sorted by name."""
    return People.model_validate(await service.run(people.list_people, service))


@router.post("", status_code=201, responses=errors(404))
async def enrol_person(
    service: TheService,
    name: Annotated[str, Form(max_length=1000)],
    files: Annotated[Pictures, Field(min_length=1, max_length=_MOST_FILES)],
    face: Choice = None,
) -> Enrolled:
    """Enrols up to 20 pictures of a person, who is created if needed, in one transaction.

    Pictures that cannot be enrolled are listed in ``refused``; if none can, the first reason is
    the answer, with status 400.
    """
    pictures = await _read_all(files)
    done = await service.run(people.enrol, service, name, pictures, face)
    return Enrolled.model_validate(done)


@router.get("/{person_id}", responses=errors(404))
async def person_detail(service: TheService, person_id: Number) -> PersonDetail:
    """A person with all faces and their measured quality."""
    return _person(await service.run(people.person_detail, service, person_id))


@router.patch("/{person_id}", responses=errors(404, 409))
async def rename_person(service: TheService, person_id: Number, given: NewName) -> PersonDetail:
    """Renames a person; 409 if another person has the name."""
    return _person(await service.run(people.rename_person, service, person_id, given.name))


@router.delete("/{person_id}", responses=errors(404))
async def remove_person(service: TheService, person_id: Number) -> Removed:
    """Erases a person with all faces."""
    return Removed.model_validate(await service.run(people.remove_person, service, person_id))


@router.post("/{person_id}/merge", responses=errors(404))
async def merge_person(service: TheService, person_id: Number, given: Target) -> PersonDetail:
    """Moves all faces to another person, who is the answer, and erases this one."""
    return _person(await service.run(people.merge_people, service, person_id, given.into))


@router.post("/{person_id}/faces", status_code=201, responses=errors(404))
async def add_faces(
    service: TheService,
    person_id: Number,
    files: Annotated[Pictures, Field(min_length=1, max_length=_MOST_FILES)],
    face: Choice = None,
) -> Enrolled:
    """Enrols up to 20 more pictures of a person."""
    pictures = await _read_all(files)
    done = await service.run(people.add_faces, service, person_id, pictures, face)
    return Enrolled.model_validate(done)


@router.delete("/{person_id}/faces/{face_id}", responses=errors(404))
async def remove_face(service: TheService, person_id: Number, face_id: Number) -> Removed:
    """Erases one face of a person."""
    done = await service.run(people.remove_face, service, person_id, face_id)
    return Removed.model_validate(done)


_PICTURE = errors(404, media=["image/jpeg"])


@router.get("/{person_id}/thumbnail", response_class=Response, responses=_PICTURE)
async def person_thumbnail(service: TheService, person_id: Number) -> Response:
    """The stored crop of the person's first face; 404 if the gallery keeps no crops."""
    return _jpeg(await service.run(people.thumbnail, service, person_id))


@router.get("/{person_id}/faces/{face_id}/thumbnail", response_class=Response, responses=_PICTURE)
async def face_thumbnail(service: TheService, person_id: Number, face_id: Number) -> Response:
    """The stored crop of a face; 404 if the gallery keeps no crops."""
    return _jpeg(await service.run(people.thumbnail, service, person_id, face_id))


async def _read_all(files: Pictures) -> list[Picture]:
    return [await read_picture(file) for file in files]


def _person(found: dict[str, Any]) -> PersonDetail:
    return PersonDetail.model_validate(found)


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg")

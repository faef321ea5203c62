"""The face routes of DeepStack and CodeProject.AI, without FastAPI.

The fields are those of DeepStack (https://github.com/johnolafenwa/DeepStack) and of the API
reference of CodeProject.AI; how ours differ stands in docs/compatibility.md. Confidences of names
and similarities are on the scale of `similarity_scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..gallery.entries import check_name
from ..tasks.face_choice import NoFaceError
from ..types import Face
from ..vision.image import Image
from .client_faces import detector_score, face_box, seen_faces
from .people import enrol
from .picture_analysis import Picture, open_picture, require_embedder
from .service import Service
from .similarity_scale import scale_of

__all__ = [
    "UNKNOWN",
    "delete_userid",
    "list_userids",
    "match_faces",
    "predict_faces",
    "predict_userids",
    "register_face",
]

UNKNOWN = "unknown"
"""The userid of a face that is nobody's."""


def predict_faces(service: Service, picture: Picture, least: float) -> dict[str, Any]:
    """The answer of ``/v1/vision/face``.

    Args:
        service: The service.
        picture: The picture.
        least: Lowest detection score.
    """
    image = open_picture(service, picture)
    faces = seen_faces(service, image, least)
    return _predictions(
        [{"confidence": detector_score(face), **face_box(face, image)} for face in faces]
    )


def predict_userids(service: Service, picture: Picture, least: float) -> dict[str, Any]:
    """The answer of ``/v1/vision/face/recognize``.

    A face gets a name if our default decision accepts the match and its similarity is ``least`` or
    more; all others are "unknown" with confidence 0.

    Raises:
        NoGalleryError: If there is no gallery.
        ModelNotFoundError: If there is no identification model, or no calibration of it.
    """
    require_embedder(service)
    scale = scale_of(service)
    image, faces = _embedded(service, picture)
    rows = [face.embedding for face in faces if face.embedding is not None]
    with service.gallery() as gallery:
        found = iter(gallery.search(np.stack(rows), top=1) if rows else ())
    predictions = []
    for face in faces:
        name, confidence = UNKNOWN, 0.0
        identity = None if face.embedding is None else next(found)
        if identity is not None and identity.name is not None:
            similarity = scale(identity.matches[0].similarity)
            if similarity >= least:
                name, confidence = identity.name, similarity
        box = face_box(face, image)
        predictions.append({"confidence": confidence, "userid": name, **box})
    return _predictions(predictions)


def register_face(service: Service, name: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    """The answer of ``/v1/vision/face/register``.

    Pictures that cannot be enrolled are left out and listed, unless none can be.

    Raises:
        InputError: As `enrol`, or if the name stands for unknown faces.
        NoGalleryError: If there is no gallery.
    """
    name = check_name(name)
    if name.lower() == UNKNOWN:
        raise InputError(f"'{name}' stands for faces that are nobody's", hint="use another userid")
    refused = enrol(service, name, pictures, option="")["refused"]
    answer: dict[str, Any] = {"success": True, "message": "face added"}
    return {**answer, "refused": refused} if refused else answer


def list_userids(service: Service) -> dict[str, Any]:
    """The answer of ``/v1/vision/face/list``: names of people who have faces."""
    with service.gallery() as gallery:
        names = [person.name for person in gallery.people() if person.faces]
    return {"success": True, "faces": names}


def delete_userid(service: Service, name: str) -> dict[str, Any]:
    """The answer of ``/v1/vision/face/delete``; as in DeepStack, nobody has to have the name."""
    name = check_name(name)
    with service.gallery() as gallery:
        if gallery.find(name) is not None:
            gallery.remove(name)
    service.live.forget(name)
    return {"success": True}


def match_faces(service: Service, pictures: tuple[Picture, Picture]) -> dict[str, Any]:
    """The answer of ``/v1/vision/face/match``: the similarity of the largest faces.

    Raises:
        NoFaceError: If a picture has no face.
    """
    require_embedder(service)
    scale = scale_of(service)
    chosen = []
    for picture in pictures:
        _, faces = _embedded(service, picture, most=1)
        if not faces or faces[0].embedding is None:
            raise NoFaceError("no face found", where=picture[1])
        chosen.append(faces[0])
    return {"success": True, "similarity": scale(chosen[0].similarity(chosen[1]))}


def _embedded(
    service: Service, picture: Picture, most: int | None = None
) -> tuple[Image, list[Face]]:
    """A picture and its faces with embeddings, largest first."""
    image = open_picture(service, picture)
    faces = seen_faces(service, image)[:most]
    return image, service.analyzer.describe(image, faces, ("embedding",))


def _predictions(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    count = len(predictions)
    message = f"{count} face{'' if count == 1 else 's'} found" if count else "no faces found"
    return {"success": True, "message": message, "count": count, "predictions": predictions}

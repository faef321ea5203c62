"""What the routes for clients of other face services share: faces of pictures, enrolment."""

from __future__ import annotations

import hashlib

from ..errors import InputError
from ..gallery.entries import check_name
from ..gallery.face_lists import find_source
from ..tasks.face_choice import NoFaceError, SeveralFacesError
from ..types import Face
from ..vision.image import Image
from .people import enrol
from .picture_analysis import Picture
from .service import Service

__all__ = ["detector_score", "enrol_example", "face_box", "only_one", "seen_faces"]


def seen_faces(service: Service, image: Image, least: float = 0.0) -> list[Face]:
    """The faces of an image whose detection score is ``least`` or more, largest first.

    The detector's own limit holds as well: a lower ``least`` finds no more.
    """
    found = service.analyzer.detect(image)
    service.metrics.faces.inc(len(found))
    kept = [face for face in found if face.det_score >= least]
    return sorted(kept, key=_area, reverse=True)


def only_one(faces: list[Face], where: str) -> Face:
    """The only face.

    Raises:
        NoFaceError: If there is none.
        SeveralFacesError: If there are several.
    """
    if not faces:
        raise NoFaceError("no face found", where=where)
    if len(faces) > 1:
        raise SeveralFacesError(
            f"{len(faces)} faces found", where=where, hint="use a picture with exactly one face"
        )
    return faces[0]


def face_box(face: Face, image: Image) -> dict[str, int]:
    """The box of a face in whole pixels, cut off at the edges of the image."""
    height, width = image.shape[:2]
    left, top, right, bottom = (round(float(value)) for value in face.bbox)
    return {
        "x_min": min(max(left, 0), width),
        "y_min": min(max(top, 0), height),
        "x_max": min(max(right, 0), width),
        "y_max": min(max(bottom, 0), height),
    }


def enrol_example(service: Service, name: str, picture: Picture, least: float = 0.0) -> str:
    """Enrols the only face of a picture; returns its uid, in hexadecimal.

    A file that is already enrolled for the person is not enrolled again: its face's uid is given.

    Args:
        service: The service.
        name: Name of the person, who is created if needed.
        picture: The picture.
        least: Lowest detection score of a face that counts.

    Raises:
        NoFaceError: If there is no face.
        SeveralFacesError: If there are several.
        InputError: As `enrol`, or if another client removes the face at once.
        NoGalleryError: If there is no gallery.
    """
    name = check_name(name)
    enrol(service, name, [picture], min_score=least, option="")
    with service.gallery() as gallery:
        face = find_source(gallery, name, hashlib.sha256(picture[0]).hexdigest())
    if face is None:
        raise InputError("the face is not enrolled any more", where=picture[1])
    return face.uid


def detector_score(face: Face) -> float:
    """The detection score of a face, within 0 and 1."""
    return min(max(float(face.det_score), 0.0), 1.0)


def _area(face: Face) -> float:
    left, top, right, bottom = map(float, face.bbox)
    return (right - left) * (bottom - top)

"""What the routes for clients of other face services share: faces of pictures, enrolment."""

from __future__ import annotations

import dataclasses
import hashlib

from ..errors import ImageError
from ..gallery.enrol import Enroller
from ..gallery.entries import check_name
from ..gallery.stamp import new_uid
from ..gallery.subjects import find_source
from ..types import Face
from ..vision.image import Image
from .picture_analysis import Picture, open_picture
from .service import Service

__all__ = [
    "NoFaceError",
    "SeveralFacesError",
    "enrol_example",
    "face_box",
    "only_one",
    "seen_faces",
]


class NoFaceError(ImageError):
    """A picture has no face."""


class SeveralFacesError(ImageError):
    """A picture has several faces, and only one is wanted."""


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
        InputError: If the name is invalid.
        NoFaceError: If there is no face.
        SeveralFacesError: If there are several.
        ImageError: If it is not a picture, or the face does not meet the quality limits.
        NoGalleryError: If there is no gallery.
    """
    name, (data, source) = check_name(name), picture
    digest = hashlib.sha256(data).hexdigest()
    with service.gallery() as gallery:
        enroller = Enroller(gallery, service.analyzer)
        known = find_source(gallery, name, digest)
    if known is not None:
        return known.uid
    image = open_picture(service, picture)
    face = only_one(seen_faces(service, image, least), source)
    left, top, right, bottom = map(float, face.bbox)
    point = f"{(left + right) / 2:.2f},{(top + bottom) / 2:.2f}"
    new = enroller.examine(image, source, digest, face=point)
    new = dataclasses.replace(new, uid=new_uid())
    with service.gallery() as gallery:
        known = find_source(gallery, name, digest)  # enrolled while we were looking
        if known is not None:
            return known.uid
        gallery.add(name, [new])
    return new.uid


def _area(face: Face) -> float:
    left, top, right, bottom = map(float, face.bbox)
    return (right - left) * (bottom - top)

"""What the service computes from pictures: the documents of the commands, from bytes.

All functions run on a worker's thread and raise the errors of `mobileface.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import shortest
from ..errors import ImageError, ModelNotFoundError
from ..matching.decisions import decision_rule, verdict
from ..matching.embeddings import EmbeddingSet
from ..tasks.embedding import Embedder
from ..tasks.face_choice import choose_face
from ..tasks.records import face_record, face_values
from ..tasks.table import require_tasks, with_needs
from ..types import Face
from ..vision.image import Image
from ..vision.picture_files import decode_image
from .service import Service

__all__ = [
    "Picture",
    "analyze_picture",
    "compare_pictures",
    "embed_picture",
    "embedded_faces",
    "open_picture",
    "search_picture",
]

Picture = tuple[bytes, str]
"""The content of a picture file, and its name for messages."""


def open_picture(service: Service, picture: Picture) -> Image:
    """Decodes a picture, uint8 (H, W, 3) BGR.

    Raises:
        ImageError: If it is not a picture, or has more pixels than `Limits.pixels`.
    """
    data, name = picture
    return decode_image(data, name, max_pixels=service.settings.limits.pixels)


def analyze_picture(
    service: Service,
    picture: Picture,
    tasks: Sequence[str] | None = None,
    *,
    embeddings: bool = False,
) -> dict[str, Any]:
    """The document of ``mobileface analyze --json``.

    Args:
        service: The service.
        picture: The picture.
        tasks: Tasks to run, with all that they need; None for all that run without being asked.
        embeddings: Include the embeddings.

    Raises:
        ImageError: As `open_picture`.
        InputError: If a task is unknown.
        ModelNotFoundError: If a task has no model.
    """
    analyzer = service.analyzer
    names = None
    if tasks is not None:
        require_tasks(tasks)
        wanted = {need for task in tasks for need in with_needs(task)}
        analyzer = service.posed if "pose" in wanted else analyzer
        for task in sorted(wanted - set(analyzer.tasks)):
            raise ModelNotFoundError(analyzer.missing[task], where=f"task '{task}'")
        names = sorted(wanted - {"detection"})
    image = open_picture(service, picture)
    faces = analyzer.detect(image)
    if names is None or names:
        faces = analyzer.describe(image, faces, names)
    service.metrics.faces.inc(len(faces))
    return face_record(picture[1], image, faces, embeddings)


def embedded_faces(service: Service, image: Image) -> tuple[list[Face], Embedder]:
    """The faces of an image with their embeddings, sorted by score, highest first.

    Raises:
        ModelNotFoundError: If there is no identification model.
    """
    embedder = require_embedder(service)
    faces = service.analyzer.describe(image, service.analyzer.detect(image), ("embedding",))
    service.metrics.faces.inc(len(faces))
    return faces, embedder


def require_embedder(service: Service) -> Embedder:
    """The identification model.

    Raises:
        ModelNotFoundError: If there is none.
    """
    if service.analyzer.embedder is None:
        reason = service.analyzer.missing.get("embedding", "no identification model")
        raise ModelNotFoundError(reason)
    return service.analyzer.embedder


def embed_picture(service: Service, picture: Picture) -> dict[str, Any]:
    """The document of ``mobileface embed --json``, for one picture."""
    faces, embedder = embedded_faces(service, open_picture(service, picture))
    known = [face for face in faces if face.embedding is not None]
    rows = [face.embedding for face in known if face.embedding is not None]
    vectors = np.array(rows, np.float32).reshape(-1, embedder.size)
    return {
        "model": embedder.identity,
        "files": [picture[1]] * len(known),
        "embeddings": shortest(vectors),
        "bboxes": [[float(value) for value in face.bbox] for face in known],
        "without_face": [] if known else [picture[1]],
    }


def compare_pictures(
    service: Service,
    pictures: tuple[Picture, Picture],
    choices: tuple[str, str] = ("largest", "largest"),
    *,
    threshold: float | None = None,
    fmr: float | None = None,
) -> dict[str, Any]:
    """The document of ``mobileface compare --json``, for two photos.

    Args:
        service: The service.
        pictures: The two photos.
        choices: The face of each, see `mobileface.tasks.face_choice`.
        threshold: See `decision_rule`.
        fmr: See `decision_rule`.

    Raises:
        ImageError: As `open_picture`, or if a photo has no face.
        InputError: If a choice fits no face, or a threshold or rate is out of range.
    """
    embedder = require_embedder(service)
    sets, chosen = [], []
    for picture, choice in zip(pictures, choices, strict=True):
        image = open_picture(service, picture)
        found = service.analyzer.detect(image)
        service.metrics.faces.inc(len(found))
        if not found:
            raise ImageError("no face found", where=picture[1])
        face = choose_face(found, choice, picture[1])
        (face,) = service.analyzer.describe(image, [face], ("embedding",))
        if face.embedding is None:
            raise ImageError("the face's landmarks allow no crop", where=picture[1])
        sets.append(EmbeddingSet(embedder.identity, face.embedding[None], (picture[1],)))
        bbox = [float(value) for value in face.bbox]
        chosen.append({"file": picture[1], "found": len(found), "bbox": bbox})
    similarity = float(sets[0].similarity(sets[1])[0, 0])
    calibration = service.calibration
    rule = decision_rule(calibration, threshold=threshold, fmr=fmr, model=embedder.identity)
    return {
        "model": embedder.identity,
        "files": [picture[1] for picture in pictures],
        "similarity": similarity,
        "decision": verdict(similarity, rule, calibration).to_dict(),
        "faces": chosen,
    }


def search_picture(
    service: Service, picture: Picture, *, top: int = 5, **wanted: Any
) -> dict[str, Any]:
    """The document of ``mobileface gallery search --json``, for one photo.

    Args:
        service: The service.
        picture: The photo.
        top: Most people per face.
        wanted: ``threshold``, ``fmr`` or ``fpir``, see `Gallery.search`.

    Raises:
        ImageError: As `open_picture`.
        InputError: As `Gallery.search`.
        NoGalleryError: If there is no gallery.
    """
    image = open_picture(service, picture)
    faces, _ = embedded_faces(service, image)
    rows = [face.embedding for face in faces if face.embedding is not None]
    with service.gallery() as gallery:
        results = iter(gallery.search(np.stack(rows), top=top, **wanted) if rows else ())
    records = []
    for face in faces:
        identity = None if face.embedding is None else next(results).to_dict()
        records.append({**face_values(face, False), "identity": identity})
    height, width = image.shape[:2]
    return {"file": picture[1], "width": width, "height": height, "faces": records}

"""CompreFace's recognition, detection and verification, without FastAPI.

The fields are those of CompreFace's REST API
(https://github.com/exadel-inc/CompreFace/blob/master/docs/Rest-API-description.md); how ours differ
stands in docs/compatibility.md. Similarities are on the scale of `similarity_scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..gallery.entries import check_embedding
from ..gallery.face_lists import read_face
from ..tasks.age_range import age_range, class_years
from ..tasks.face_choice import NoFaceError
from ..types import Face, FloatArray
from ..vision.image import Image
from .client_faces import detector_score, face_box, only_one, seen_faces
from .compreface_subjects import CompreFaceError, require_face
from .picture_analysis import Picture, open_picture, require_embedder
from .service import Service
from .similarity_scale import scale_of

__all__ = [
    "PLUGINS",
    "Wishes",
    "detect_faces",
    "recognize_embeddings",
    "recognize_faces",
    "verify_embeddings",
    "verify_example",
    "verify_example_embeddings",
    "verify_pictures",
]

PLUGINS = ("age", "gender", "landmarks", "calculator", "pose")
"""Plugins that add something; others, such as "mask", are left out."""

_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks for.

    Attributes:
        limit: Most faces, largest first; 0 for all.
        least: Lowest detection score.
        plugins: Names of plugins.
        status: Add the times and the models.
    """

    limit: int = 0
    least: float = 0.0
    plugins: tuple[str, ...] = ()
    status: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The faces of a picture, with the times in milliseconds."""

    image: Image
    faces: list[Face]
    times: dict[str, float]


def detect_faces(service: Service, picture: Picture, wishes: Wishes) -> dict[str, Any]:
    """The answer of ``/detection/detect``.

    Raises:
        NoFaceError: If there is no face.
        ImageError: If it is not a picture.
    """
    seen = _look(service, picture, wishes, "calculator" in wishes.plugins)
    return _answer(service, wishes, [_face(service, seen, face, wishes) for face in seen.faces])


def recognize_faces(
    service: Service, picture: Picture, wishes: Wishes, predictions: int = 1
) -> dict[str, Any]:
    """The answer of ``/recognition/recognize``: the most similar subjects of each face.

    Args:
        service: The service.
        picture: The picture.
        wishes: What is asked for.
        predictions: Most subjects of each face.

    Raises:
        NoFaceError: If there is no face.
        NoGalleryError: If there is no gallery.
        ModelNotFoundError: If there is no identification model, or no calibration of it.
    """
    seen = _look(service, picture, wishes)
    rows = [face.embedding for face in seen.faces if face.embedding is not None]
    found = iter(_subjects(service, rows, predictions))
    results = []
    for face in seen.faces:
        subjects = [] if face.embedding is None else next(found)
        results.append({**_face(service, seen, face, wishes), "subjects": subjects})
    return _answer(service, wishes, results)


def verify_example(
    service: Service, image_id: str, picture: Picture, wishes: Wishes
) -> dict[str, Any]:
    """The answer of ``/recognition/faces/{image_id}/verify``.

    Raises:
        CompreFaceError: If there is no such example.
        NoFaceError: If there is no face.
    """
    stored = _stored(service, image_id)
    seen = _look(service, picture, wishes)
    matches = _matches(service, seen, stored, wishes)
    return _answer(service, wishes, matches)


def verify_pictures(
    service: Service, pictures: tuple[Picture, Picture], wishes: Wishes
) -> dict[str, Any]:
    """The answer of ``/verification/verify``: one face of the first picture, all of the second.

    Raises:
        NoFaceError: If a picture has no face.
        SeveralFacesError: If the first has several.
    """
    first, second = pictures
    source = _look(service, first, wishes)
    face = only_one(source.faces, first[1])
    target = _look(service, second, wishes)
    result = {
        "source_image_face": _face(service, source, face, wishes),
        "face_matches": _matches(service, target, face.embedding, wishes),
    }
    return {"result": [_answer(service, wishes, result, name=None)]}


def recognize_embeddings(
    service: Service, embeddings: Sequence[Sequence[float]], predictions: int = 1
) -> dict[str, Any]:
    """The answer of ``/recognition/embeddings/recognize``.

    Raises:
        CompreFaceError: If an embedding is not one of the service's model.
    """
    vectors = [_vector(service, row) for row in embeddings]
    found = _subjects(service, vectors, predictions)
    return {
        "result": [
            {"embedding": list(row), "similarities": subjects}
            for row, subjects in zip(embeddings, found, strict=True)
        ]
    }


def verify_example_embeddings(
    service: Service, image_id: str, embeddings: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """The answer of ``/recognition/embeddings/faces/{image_id}/verify``."""
    return _compared(service, _stored(service, image_id), embeddings)


def verify_embeddings(
    service: Service, source: Sequence[float], targets: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """The answer of ``/verification/embeddings/verify``."""
    return _compared(service, _vector(service, source), targets)


def _look(service: Service, picture: Picture, wishes: Wishes, embed: bool = True) -> _Seen:
    """Finds the faces and what is asked for of them."""
    analyzer, tasks = service.analyzer, list[str]()
    if embed:
        require_embedder(service)
        tasks.append("embedding")
    if {"age", "gender"} & set(wishes.plugins):
        tasks.append("attributes")
    if "pose" in wishes.plugins:
        analyzer = service.posed
        tasks.append("pose")
    image = open_picture(service, picture)
    start = perf_counter()
    faces = seen_faces(service, image, wishes.least)
    if not faces:
        raise NoFaceError("no face found", where=picture[1])
    between = perf_counter()
    faces = faces[: wishes.limit or None]
    if tasks:
        faces = analyzer.describe(image, faces, tasks)
    end = perf_counter()
    times = {"detector": _milliseconds(between - start)}
    if tasks:
        times["calculator"] = _milliseconds(end - between)
    return _Seen(image, faces, times)


def _face(service: Service, seen: _Seen, face: Face, wishes: Wishes) -> dict[str, Any]:
    """One face: its box and the plugins' results."""
    box = {"probability": detector_score(face), **face_box(face, seen.image)}
    result: dict[str, Any] = {"box": box}
    known = face.attributes
    for plugin in wishes.plugins:
        value: Any = None
        if plugin == "age" and known is not None:
            value = _age(service.analyzer, known.age_probs)
        elif plugin == "gender" and known is not None and known.gender_probs is not None:
            value = {"value": known.gender, "probability": float(known.gender_probs.max())}
        elif plugin == "landmarks" and face.landmarks is not None:
            points = face.landmarks.select(_POINTS)
            value = None if points is None else np.rint(points).astype(int).tolist()
        elif plugin == "calculator" and face.embedding is not None:
            plugin, value = "embedding", [float(number) for number in face.embedding]
        elif plugin == "pose" and face.pose is not None and face.pose.degrees:
            pose = face.pose
            value = {"pitch": float(pose.pitch), "roll": float(pose.roll), "yaw": float(pose.yaw)}
        if value is not None:
            result[plugin] = value
    if wishes.status:
        result["execution_time"] = seen.times
    return result


def _answer(
    service: Service, wishes: Wishes, result: Any, name: str | None = "result"
) -> dict[str, Any]:
    """A result, with the models if they are asked for."""
    answer: dict[str, Any] = dict(result) if name is None else {name: result}
    if wishes.status:
        models = service.analyzer.models
        names = {"detector": "detection", "calculator": "embedding", "age": "attributes"}
        answer["plugins_versions"] = {
            plugin: ", ".join(models[task]) for plugin, task in names.items() if task in models
        }
    return answer


def _subjects(
    service: Service, vectors: Sequence[FloatArray], predictions: int
) -> list[list[dict[str, Any]]]:
    """The most similar subjects of each embedding."""
    scale = scale_of(service)
    with service.gallery() as gallery:
        found = gallery.search(np.stack(vectors), top=predictions) if vectors else []
    return [
        [
            {"subject": match.name, "similarity": scale(match.similarity)}
            for match in identification.matches
        ]
        for identification in found
    ]


def _matches(
    service: Service, seen: _Seen, reference: FloatArray | None, wishes: Wishes
) -> list[dict[str, Any]]:
    """The faces of a picture with their similarity to an embedding."""
    scale = scale_of(service)
    matches = []
    for face in seen.faces:
        similarity = 0.0
        if face.embedding is not None and reference is not None:
            similarity = scale(_cosine(face.embedding, reference))
        matches.append({**_face(service, seen, face, wishes), "similarity": similarity})
    return sorted(matches, key=lambda match: -float(match["similarity"]))


def _compared(
    service: Service, reference: FloatArray, embeddings: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """Each embedding with its similarity to another one."""
    scale = scale_of(service)
    return {
        "result": [
            {
                "embedding": list(row),
                "similarity": scale(_cosine(_vector(service, row), reference)),
            }
            for row in embeddings
        ]
    }


def _stored(service: Service, image_id: str) -> FloatArray:
    """The embedding of an example."""
    with service.gallery() as gallery:
        return read_face(gallery, require_face(gallery, image_id)).face.embedding


def _vector(service: Service, row: Sequence[float]) -> FloatArray:
    """A given embedding, checked and normalized."""
    try:
        return check_embedding(list(row), require_embedder(service).size)
    except InputError as error:
        raise CompreFaceError(error.what, number=37) from error


def _cosine(a: FloatArray, b: FloatArray) -> float:
    return float(np.clip(a @ b, -1, 1))


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _age(analyzer: FaceAnalyzer, shares: FloatArray | None) -> dict[str, Any] | None:
    """The range of an age in whole years; None if the model tells none."""
    years = class_years(analyzer.sessions.get("attributes", ()))
    if shares is None or len(years) != len(shares):
        return None
    low, high, share = age_range(shares, years)
    return {"low": round(low), "high": round(high), "probability": share}

"""CompreFace's recognition, detection and verification."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from ..compreface import (
    Wishes,
    detect_faces,
    recognize_embeddings,
    recognize_faces,
    verify_embeddings,
    verify_example,
    verify_example_embeddings,
    verify_pictures,
)
from ..compreface_subjects import CompreFaceError
from .answers import TheService
from .client_forms import CompreFaceRoute
from .client_pictures import read_json, read_parts

__all__ = ["Least", "router"]

router = APIRouter(prefix="/api/v1", route_class=CompreFaceRoute, include_in_schema=False)

Least = Annotated[float, Query(ge=0, le=1, alias="det_prob_threshold")]
_MOST_ROWS, _ALL = 1000, 10_000


def _wishes(
    limit: Annotated[int, Query(ge=0, le=100_000)] = 0,
    least: Least = 0.0,
    face_plugins: Annotated[str, Query(max_length=500)] = "",
    status: bool = False,
) -> Wishes:
    plugins = tuple(dict.fromkeys(name.strip() for name in face_plugins.split(",")))
    return Wishes(limit, least, plugins, status)


def _predictions(prediction_count: Annotated[int, Query(ge=-1, le=_ALL)] = 1) -> int:
    if prediction_count == 0:
        raise CompreFaceError("prediction_count must be positive, or -1 for all", number=12)
    return _ALL if prediction_count < 0 else prediction_count


def _whole_pictures(detect_faces: bool = True) -> None:
    if not detect_faces:
        raise CompreFaceError("detect_faces=false is not supported: faces are detected", number=26)


TheWishes = Annotated[Wishes, Depends(_wishes)]
Predictions = Annotated[int, Depends(_predictions)]
_DETECTS = [Depends(_whole_pictures)]


@router.post("/detection/detect")
async def detect(service: TheService, request: Request, wishes: TheWishes) -> dict[str, Any]:
    """Faces with what the plugins say of them."""
    (picture,) = await read_parts(request, "file")
    return await service.run(detect_faces, service, picture, wishes)


@router.post("/recognition/recognize", dependencies=_DETECTS)
async def recognize(
    service: TheService, request: Request, wishes: TheWishes, predictions: Predictions
) -> dict[str, Any]:
    """The most similar subjects of each face."""
    (picture,) = await read_parts(request, "file")
    return await service.run(recognize_faces, service, picture, wishes, predictions)


@router.post("/recognition/faces/{image_id}/verify", dependencies=_DETECTS)
async def verify_stored(
    service: TheService, request: Request, image_id: str, wishes: TheWishes
) -> dict[str, Any]:
    """The similarity of each face to an example."""
    (picture,) = await read_parts(request, "file")
    return await service.run(verify_example, service, image_id, picture, wishes)


@router.post("/verification/verify", dependencies=_DETECTS)
async def verify(service: TheService, request: Request, wishes: TheWishes) -> dict[str, Any]:
    """The similarity of the face of one picture to each of another."""
    first, second = await read_parts(request, "source_image", "target_image")
    return await service.run(verify_pictures, service, (first, second), wishes)


@router.post("/recognition/embeddings/recognize")
async def recognize_vectors(
    service: TheService, request: Request, predictions: Predictions
) -> dict[str, Any]:
    """The most similar subjects of each embedding."""
    rows = _rows(await read_json(request), "embeddings")
    return await service.run(recognize_embeddings, service, rows, predictions)


@router.post("/recognition/embeddings/faces/{image_id}/verify")
async def verify_stored_vectors(
    service: TheService, request: Request, image_id: str
) -> dict[str, Any]:
    """The similarity of each embedding to an example."""
    rows = _rows(await read_json(request), "embeddings")
    return await service.run(verify_example_embeddings, service, image_id, rows)


@router.post("/verification/embeddings/verify")
async def verify_vectors(service: TheService, request: Request) -> dict[str, Any]:
    """The similarity of one embedding to each of others."""
    body = await read_json(request)
    targets = _rows(body, "targets")
    source = _row(body.get("source"), "source")
    return await service.run(verify_embeddings, service, source, targets)


def _rows(body: Any, name: str) -> list[list[float]]:
    """Embeddings of a JSON body."""
    rows = body.get(name) if isinstance(body, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= _MOST_ROWS:
        raise CompreFaceError(f"'{name}' must be 1 to {_MOST_ROWS} embeddings", number=26)
    return [_row(row, name) for row in rows]


def _row(row: Any, name: str) -> list[float]:
    """An embedding of a JSON body."""
    if not isinstance(row, list) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
        for value in row
    ):
        raise CompreFaceError(f"'{name}' must be an embedding: a list of numbers", number=26)
    return [float(value) for value in row]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False

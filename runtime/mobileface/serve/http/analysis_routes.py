"""Pictures: analyze, detect, embed, compare, search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Response, UploadFile

from ..picture_analysis import (
    analyze_picture,
    compare_pictures,
    embed_picture,
    search_picture,
)
from .answers import TheService, document, errors, read_picture
from .document_models import Analysis, Comparison, Embeddings, SearchResult

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["pictures"])

Tasks = Annotated[
    list[str] | None, Query(max_length=10, description="Tasks to run; default: all available")
]
Share = Annotated[float | None, Form(gt=0, le=1)]
Cosine = Annotated[float | None, Form(ge=-1, le=1)]


@router.post("/analyze", responses=errors(answer=Analysis))
async def analyze(
    service: TheService, file: UploadFile, tasks: Tasks = None, embeddings: bool = False
) -> Response:
    """Detects faces and runs all tasks; answers as ``mobileface analyze --json``."""
    picture = await read_picture(file)
    return document(
        await service.run(analyze_picture, service, picture, tasks, embeddings=embeddings)
    )


@router.post("/detect", responses=errors(answer=Analysis))
async def detect(service: TheService, file: UploadFile) -> Response:
    """Detects faces; answers as ``mobileface detect --json``."""
    picture = await read_picture(file)
    return document(await service.run(analyze_picture, service, picture, ("detection",)))


@router.post("/embed", responses=errors(answer=Embeddings))
async def embed(service: TheService, file: UploadFile) -> Response:
    """Computes the embedding of each face; answers as ``mobileface embed --json``."""
    picture = await read_picture(file)
    return document(await service.run(embed_picture, service, picture))


@router.post("/compare", responses=errors(answer=Comparison))
async def compare(
    service: TheService,
    a: UploadFile,
    b: UploadFile,
    face_a: Annotated[str, Form(max_length=50)] = "largest",
    face_b: Annotated[str, Form(max_length=50)] = "largest",
    threshold: Cosine = None,
    fmr: Share = None,
) -> Response:
    """Compares one face of each of two photos; answers as ``mobileface compare --json``."""
    pictures = (await read_picture(a), await read_picture(b))
    return document(
        await service.run(
            compare_pictures, service, pictures, (face_a, face_b), threshold=threshold, fmr=fmr
        )
    )


@router.post("/search", responses=errors(404, answer=SearchResult))
async def search(
    service: TheService,
    file: UploadFile,
    top: Annotated[int, Form(ge=1, le=100)] = 5,
    threshold: Cosine = None,
    fmr: Share = None,
    fpir: Share = None,
) -> Response:
    """Says who is in a photo; answers as ``mobileface gallery search --json``."""
    picture = await read_picture(file)
    wanted = {"threshold": threshold, "fmr": fmr, "fpir": fpir}
    return document(await service.run(search_picture, service, picture, top=top, **wanted))

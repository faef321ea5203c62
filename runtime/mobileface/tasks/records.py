"""Faces as JSON types, as every command and the HTTP service give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..types import Face
from ..vision.image import Image
from .table import TASKS

__all__ = ["face_record", "face_values"]


def face_record(
    path: str | Path, image: Image, faces: Sequence[Face], embeddings: bool
) -> dict[str, Any]:
    """One image as JSON types: file, width, height and faces.

    Args:
        path: The image file, or its name.
        image: uint8 (H, W, 3) or (H, W).
        faces: The faces of the image.
        embeddings: Include the embeddings.
    """
    height, width = image.shape[:2]
    records = [face_values(face, embeddings) for face in faces]
    return {"file": str(path), "width": width, "height": height, "faces": records}


def face_values(face: Face, embeddings: bool) -> dict[str, Any]:
    """A face as JSON types, with the results of each task.

    Args:
        face: The face.
        embeddings: Include the embedding.
    """
    record: dict[str, Any] = {}
    for task in TASKS:
        record |= task.to_json(face, embeddings)
    return record

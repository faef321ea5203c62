"""Embedding as a task of the analyzer.

This module is separate from `mobileface.tasks.embedding` because embedding aligned crops needs
neither landmarks nor OpenCV.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import shortest
from ..errors import ModelNotFoundError
from ..models.lookup import list_models
from ..types import Face
from ..vision.image import ChannelOrder, Image
from .base import Request, Stage, Task
from .embedding import Embedder
from .face_crops import face_crops, require_crop
from .loading import load_embedder

__all__ = ["TASK", "EmbeddingStage"]


class EmbeddingStage(Stage):
    """Adds embeddings.

    Args:
        embedder: The embedding model.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.models = [embedder]

    @classmethod
    def load(cls, request: Request) -> EmbeddingStage:
        """Creates the stage with the selected model.

        By default, selects the preferred model whose crop the landmarks allow. If the caller's
        folder contains embedding models, only these are considered.

        Raises:
            ModelNotFoundError: If no model is found, or the landmarks do not allow its crop.
        """
        choice = request.choice
        if choice is not None:
            embedder = choice
            if isinstance(choice, str):
                embedder = load_embedder(choice, **request.loading)
            require_crop(request, embedder)
            return cls(embedder)
        own = [] if request.models is None else list_models(request.models, "embedding")
        refusal: ModelNotFoundError | None = None
        for candidate in own or list_models(None, "embedding"):
            try:
                embedder = load_embedder(candidate.name, **request.loading)
                require_crop(request, embedder)
            except ModelNotFoundError as error:
                refusal = refusal or error
            else:
                return cls(embedder)
        raise refusal or ModelNotFoundError("no model for task 'embedding'")

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds embeddings; skips faces whose landmarks allow no crop (all on a line)."""
        spec = self.embedder.image
        crops = face_crops(image, faces, self.embedder.crop, (spec.height, spec.width))
        vectors = self.embedder.embed(list(crops.values()), color=color)
        described = list(faces)
        for number, vector in zip(crops, vectors, strict=True):
            described[number] = dataclasses.replace(
                faces[number], embedding=vector, embedding_model=self.embedder.identity
            )
        return described


def _to_json(face: Face, full: bool) -> dict[str, Any]:
    if face.embedding is None or not full:
        return {}
    return {"embedding": shortest(face.embedding), "embedding_model": face.embedding_model}


def _problem(first: Face, second: Face) -> str:
    one, other = first.embedding, second.embedding
    if one is None or other is None or not np.isfinite(one).all():
        return "the embedding is missing or not finite"
    if not np.isclose(float(one @ other), 1, atol=1e-5):
        return f"two runs on the same face have a cosine of {float(one @ other):.6f}, not 1"
    return ""


TASK = Task(
    name="embedding",
    command=None,
    help="compute face embeddings",
    needs=("detection", "landmarks"),
    argument="embedder",
    input="crop",
    load=EmbeddingStage.load,
    to_json=_to_json,
    to_text=lambda face: [],
    problem=_problem,
)

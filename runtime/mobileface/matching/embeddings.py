"""Sets of embeddings, labelled with the model that computed them, and their file format.

The file is an ``.npz`` with ``embeddings`` (N, D) float32, ``files`` (N,), ``model`` and, for faces
detected in photos, ``bboxes`` (N, 4).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..host.files import reason, replacing
from ..host.outputs import written_through
from ..types import FloatArray, require_same_model
from .similarity import cosine_similarity

__all__ = ["EmbeddingSet", "require_suffix"]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSet:
    """Embeddings of one model.

    Attributes:
        model: `Embedder.identity` of the model that computed them.
        embeddings: float32 (N, D), each row L2-normalized.
        files: (N,) the image file of each embedding.
        bboxes: float32 (N, 4): x1, y1, x2, y2 of each face in its image; None for face crops.
    """

    model: str
    embeddings: FloatArray
    files: tuple[str, ...]
    bboxes: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def similarity(self, other: EmbeddingSet) -> FloatArray:
        """Cosine similarity between each embedding of this set and each of another set.

        Returns:
            float32 (N, M), −1 to 1.

        Raises:
            InputError: If the sets belong to different models; the error names both.
        """
        require_same_model(self.model, other.model)
        return cosine_similarity(self.embeddings, other.embeddings)

    def save(self, path: Path, *, private: bool = False, **more: npt.NDArray[Any]) -> None:
        """Writes the file.

        Args:
            path: The file.
            private: Make the file readable by its owner only.
            more: Additional arrays to write.

        Raises:
            InputError: If the file name does not end in .npz; that of a pipe or device may.
            OutputError: If the file cannot be written.
        """
        require_suffix(path)
        boxes = {} if self.bboxes is None else {"bboxes": np.asarray(self.bboxes, np.float32)}
        with replacing(path, private=private) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                embeddings=self.embeddings,
                files=np.array(self.files, dtype=np.str_),
                model=np.array(self.model),
                **boxes,
                **more,
            )

    @classmethod
    def load(cls, path: Path) -> EmbeddingSet:
        """Reads the file.

        Raises:
            InputError: If the file cannot be read or is not an embeddings file.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
            text = f"not an embeddings file ({reason(error)})"
            raise InputError(text, where=str(path)) from error
        missing = [name for name in ("embeddings", "files", "model") if name not in arrays]
        if missing:
            raise InputError(f"not an embeddings file: '{missing[0]}' is missing", where=str(path))
        vectors, files, boxes = arrays["embeddings"], arrays["files"], arrays.get("bboxes")
        if (
            vectors.ndim != 2
            or vectors.dtype != np.float32
            or not np.isfinite(vectors).all()
            or files.shape != (len(vectors),)
            or arrays["model"].shape != ()
            or (boxes is not None and boxes.shape != (len(vectors), 4))
        ):
            raise InputError(
                "not an embeddings file: an array has the wrong shape or type, or is not finite",
                where=str(path),
            )
        names = tuple(str(name) for name in files)
        return cls(str(arrays["model"]), vectors, names, boxes)


def require_suffix(path: Path) -> None:
    """Checks the name of a file of embeddings; pipes and devices may have any name.

    Raises:
        InputError: If it does not end in .npz.
    """
    if path.suffix != ".npz" and not written_through(path):
        raise InputError("does not end in .npz", where=str(path))

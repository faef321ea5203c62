"""Sets of embeddings, labelled with the model that computed them, and their file format.

The file is an ``.npz`` with ``embeddings`` (N, D) float32, ``files`` (N,), ``model`` and, for faces
detected in photos, ``bboxes`` (N, 4).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..host.array_files import load_arrays
from ..host.files import replacing
from ..host.outputs import written_through
from ..types import FloatArray, require_same_model
from .similarity import cosine_similarity

__all__ = ["EmbeddingSet", "require_suffix", "require_unit_rows"]

_ROWS, _LENGTH_ERROR = 65536, 1e-2


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
        # In memory first: a zip file that cannot be closed, on a full disk, prints a traceback.
        content = io.BytesIO()
        np.savez(
            content,
            embeddings=self.embeddings,
            files=np.array(self.files, dtype=np.str_),
            model=np.array(self.model),
            **boxes,
            **more,
        )
        with replacing(path, private=private) as temporary:
            temporary.write_bytes(content.getbuffer())

    @classmethod
    def load(cls, path: Path) -> EmbeddingSet:
        """Reads the file.

        Raises:
            InputError: If the file cannot be read or is not an embeddings file.
        """
        return cls.from_arrays(load_arrays(path, "an embeddings file"), path)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> EmbeddingSet:
        """Checks the arrays of a file.

        Args:
            arrays: As `mobileface.host.array_files.load_arrays` gives them.
            path: The file, for error messages.

        Raises:
            InputError: If one is missing, has the wrong shape or type, or if a row is not of unit
                length within one percent.
        """
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
            or not {files.dtype.kind, arrays["model"].dtype.kind} <= {"U"}
            or (boxes is not None and not _are_boxes(boxes, len(vectors)))
        ):
            raise InputError(
                "not an embeddings file: an array has the wrong shape or type, or is not finite",
                where=str(path),
            )
        require_unit_rows(vectors, path)
        names = tuple(str(name) for name in files)
        return cls(str(arrays["model"]), vectors, names, boxes)


def _are_boxes(boxes: npt.NDArray[Any], count: int) -> bool:
    return (
        boxes.shape == (count, 4) and boxes.dtype.kind in "fiu" and bool(np.isfinite(boxes).all())
    )


def require_unit_rows(vectors: npt.NDArray[np.float32], path: Path) -> None:
    """Checks that all rows of a matrix have unit length, in parts, so that it may be mapped.

    Args:
        vectors: float32 (N, D).
        path: The file, for error messages.

    Raises:
        InputError: If a row differs by more than one percent, or is not finite.
    """
    for start in range(0, len(vectors), _ROWS):
        lengths = np.linalg.norm(vectors[start : start + _ROWS].astype(np.float64), axis=1)
        wrong = ~(np.abs(lengths - 1) <= _LENGTH_ERROR)  # true for nan
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"row {start + row} has length {lengths[row]:.4g}, not 1",
                where=str(path),
                hint="divide each row by its length",
            )


def require_suffix(path: Path) -> None:
    """Checks the name of a file of embeddings; pipes and devices may have any name.

    Raises:
        InputError: If it does not end in .npz.
    """
    if path.suffix != ".npz" and not written_through(path):
        raise InputError("does not end in .npz", where=str(path))

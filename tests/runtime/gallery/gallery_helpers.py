"""Galleries of synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.gallery import Gallery, NewFace, Stamp
from mobileface.matching.calibration import Calibration
from mobileface.matching.error_rates import Basis, RateCurve

SIZE = 64
MODEL = "invented@0123456789ab"

FloatArray = npt.NDArray[np.float32]


def stamp(size: int = SIZE, **changes: Any) -> Stamp:
    values: dict[str, Any] = {
        "model": MODEL,
        "model_sha256": "0" * 64,
        "size": size,
        "crop": "arcface",
        "height": 112,
        "width": 112,
        "color": "rgb",
        "gallery": "feedfeedfeedfeed",
        "created": "2026-11-26T00:00:00+00:00",
        "software": "tests",
    }
    return Stamp(**{**values, **changes})


def vectors(count: int, size: int = SIZE, seed: int = 0) -> FloatArray:
    """Random unit vectors, float32 (N, D)."""
    found = np.random.RandomState(seed).standard_normal((count, size)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def fill(gallery: Gallery, embeddings: FloatArray, people: int | None = None) -> list[str]:
    """Enrols embeddings in one transaction; returns the name of each."""
    count = len(embeddings) if people is None else people
    names = [f"person {number % count}" for number in range(len(embeddings))]
    with gallery.database.write():
        for name, vector in zip(names, embeddings, strict=True):
            gallery.add(name, [NewFace(vector)])
    return names


def made(path: Path, embeddings: FloatArray | None = None, **changes: Any) -> Gallery:
    """A gallery with one person per embedding."""
    size = changes.pop("size", SIZE) if embeddings is None else embeddings.shape[1]
    gallery = Gallery.create(path, stamp(size, **changes))
    if embeddings is not None:
        fill(gallery, embeddings)
    return gallery


def names(gallery: Gallery) -> list[str]:
    return [person.name for person in gallery.people()]


def calibration() -> Calibration:
    """The false match rate is 1 up to similarity 0, falls tenfold per 0.1, and is 1e-6 at 1."""
    similarity = (-1.0, 0.0, *(round(0.1 * step, 1) for step in range(1, 7)), 1.0)
    rates = (1.0, 1.0, *(10.0**-step for step in range(1, 7)), 1e-6)
    curve = RateCurve(rates, rates, rates)
    zero = (0.0,) * len(similarity)
    basis = Basis("invented", 1000, 2000, 1000, 1_000_000, "2026-11-26")
    return Calibration(MODEL, basis, similarity, curve, RateCurve(zero, zero, zero), 1e-6)


def everything_in(folder: Path) -> bytes:
    """The concatenated bytes of all files of a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())

"""Pictures to quantise by, and what the accuracy of embeddings is measured with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu

from mobileface.models.probes import make_probes

__all__ = ["copy_files", "invented_faces", "pair_auc", "row_cosines"]

FloatArray = npt.NDArray[np.float32]


def invented_faces(folder: Path, count: int, size: int = 112, seed: int = 0) -> Path:
    """Smooth pictures that every machine makes alike, as PNG files; not faces, but pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(make_probes(2 * count, size, size, 3, seed)[1::2]):
        data = cv2.imencode(".png", picture)[1].tobytes()
        (folder / f"{number:03d}.png").write_bytes(data)
    return folder


def copy_files(paths: Sequence[Path], folder: Path) -> Path:
    """The files in one folder, in their order."""
    folder.mkdir(parents=True)
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / f"{number:03d}{path.suffix}")
    return folder


def row_cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """Cosine of each row of one array with the same row of another."""
    x, y = (v.astype(np.float64) for v in (a, b))
    products: npt.NDArray[np.float64] = (x * y).sum(axis=1)
    return products / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))


def pair_auc(embeddings: FloatArray, people: Sequence[str]) -> float:
    """Probability that two pictures of one person are more similar than two of different people.

    All pairs; the area under the ROC curve, by scipy's Mann-Whitney statistic.
    """
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = np.triu_indices(len(units), 1)
    similarity = (units[first] * units[second]).sum(axis=1)
    names = np.array(people)
    same = names[first] == names[second]
    statistic = mannwhitneyu(similarity[same], similarity[~same]).statistic
    return float(statistic / (same.sum() * (~same).sum()))

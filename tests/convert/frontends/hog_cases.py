"""What the tests of the gradient histogram detector share.

An independent evaluator in float64, written straight from the paper's description; a small
detector and the writer of its file; fixtures for dlib and the pictures.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface_convert.frontends.hog_detector import HogDetector
from tests.conftest import SOURCE, unavailable

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]


def require_dlib() -> ModuleType:
    try:
        import dlib
    except ImportError:
        unavailable("no dlib: pip install dlib-bin")
    module: ModuleType = dlib
    return module


def require_source(name: str) -> Path:
    """A file or folder of a MobileFace checkout."""
    path = SOURCE / name
    if not path.exists():
        unavailable(f"no {name} of MobileFace: set MOBILEFACE_SOURCE to a checkout")
    return path


def small_detector(seed: int = 0) -> HogDetector:
    """Two filters of 3 rows and 4 columns."""
    generator = np.random.default_rng(seed)
    return HogDetector(
        window_width=32,
        window_height=24,
        cell_size=8,
        padding=0,
        max_pyramid_levels=1000,
        min_layer_width=24,
        min_layer_height=24,
        nuclear_norm_strength=1.5,
        overlap_threshold=0.375,
        covered_threshold=0.75,
        filters=generator.normal(0, 0.1, (2, 31, 3, 4)),
        thresholds=np.array([0.25, -0.5]),
    )


def write_integer(value: int) -> bytes:
    magnitude = abs(value)
    size = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(size, "little")


def write_float(value: float) -> bytes:
    mantissa, exponent = math.frexp(value)
    return write_integer(int(mantissa * 2**53)) + write_integer(exponent - 53)


def write_detector(detector: HogDetector, **changes: int | float) -> bytes:
    """The file of a detector; `changes` replaces header fields by name."""
    weights = detector.filters[0].size
    header: dict[str, int | float] = {
        "detector version": 2,
        "scanner version": 1,
        "feature extractor state": 0,
        "feature extractor size": 0,
        "cell size": detector.cell_size,
        "padding": detector.padding,
        "window width": detector.window_width,
        "window height": detector.window_height,
        "pyramid levels": detector.max_pyramid_levels,
        "layer width": detector.min_layer_width,
        "layer height": detector.min_layer_height,
        "nuclear norm strength": float(detector.nuclear_norm_strength),
        "number of weights": weights,
        "overlap threshold": float(detector.overlap_threshold),
        "covered threshold": float(detector.covered_threshold),
        "number of filters": len(detector.filters),
    }
    header.update(changes)
    parts = [
        write_float(value) if isinstance(value, float) else write_integer(value)
        for value in header.values()
    ]
    for planes, threshold in zip(detector.filters, detector.thresholds, strict=True):
        parts += [write_integer(-(weights + 1)), write_integer(-1)]
        parts += [write_float(value) for value in (*planes.ravel(), threshold)]
    return b"".join(parts)


def evaluate_scores(planes: UInt8Array, detector: HogDetector) -> FloatArray:
    """Scores of one level, float64 (K, rows, columns), one step after the other."""
    features = _features(_histograms(planes, detector.cell_size))
    _, _, rows, columns = detector.filters.shape
    top, left = (rows - 1) // 2, (columns - 1) // 2
    padding = ((0, 0), (top, rows - 1 - top), (left, columns - 1 - left))
    padded = np.pad(features, padding)
    windows: FloatArray = np.lib.stride_tricks.sliding_window_view(padded, (31, rows, columns))[0]
    responses = np.einsum("fpij,rcpij->frc", detector.filters, windows)
    scores: FloatArray = responses - detector.thresholds[:, None, None]
    return scores


def _histograms(planes: UInt8Array, cell: int) -> FloatArray:
    """Bilinear sums, float64 (rows, columns, 18)."""
    values = planes.astype(np.float64)
    rows, columns = (int(side / cell + 0.5) for side in planes.shape[1:])
    height, width = min(rows * cell, planes.shape[1]), min(columns * cell, planes.shape[2])
    histograms = np.zeros((rows + 2, columns + 2, 18))
    angles = np.arange(18) * np.pi / 9
    directions = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1), 4)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            dx = values[:, y, x + 1] - values[:, y, x - 1]
            dy = values[:, y + 1, x] - values[:, y - 1, x]
            squares = dx**2 + dy**2
            channel = len(squares) - 1 - int(np.argmax(squares[::-1]))
            projections = directions @ (dx[channel], dy[channel])
            # Unsigned directions in order, each before its opposite.
            order = np.arange(18).reshape(2, 9).T.ravel()
            orientation = order[np.argmax(projections[order])]
            magnitude = math.sqrt(squares[channel])
            row, column = (y + 0.5) / cell + 0.5, (x + 0.5) / cell + 0.5
            above, before = int(row), int(column)
            for i, row_part in ((above, 1 - row + above), (above + 1, row - above)):
                for j, part in ((before, 1 - column + before), (before + 1, column - before)):
                    histograms[i, j, orientation] += magnitude * row_part * part
    return histograms[1:-1, 1:-1]


def _features(histograms: FloatArray) -> FloatArray:
    """Normalized and clipped, float64 (31, rows - 2, columns - 2)."""
    rows, columns, _ = histograms.shape
    unsigned = histograms[:, :, :9] + histograms[:, :, 9:]
    energy = (unsigned**2).sum(axis=2)
    features = np.zeros((31, rows - 2, columns - 2))
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            textures = []
            total = np.zeros(27)
            cell = np.concatenate([histograms[row, column], unsigned[row, column]])
            # The square of four cells to the lower right first, then by columns.
            for left in (column, column - 1):
                for top in (row, row - 1):
                    square = energy[top : top + 2, left : left + 2].sum()
                    clipped = np.minimum(cell / math.sqrt(square + 1e-4), 0.2)
                    total += clipped
                    textures.append(0.2357 * clipped[:18].sum())
            features[:, row - 1, column - 1] = np.concatenate([total / 2, textures])
    return features


def session_run(model: bytes) -> Any:
    """The run function of a model in ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(planes: UInt8Array) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = session.run(None, {"image": planes})[0]
        return scores

    return run

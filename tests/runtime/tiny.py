"""The tiny networks once more, in float64 numpy, from their weights before conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

WEIGHTS = Path(__file__).resolve().parents[1] / "models" / "weights.npz"
UNIT = 64  # weights.npz counts in 64ths
EPSILON = 1e-3


def evaluate(name: str, tensor: npt.NDArray[Any]) -> FloatArray:
    """Unit vectors for a network input (N, C, H, W)."""
    with np.load(WEIGHTS) as data:
        weights = {
            key.removeprefix(f"{name}_"): data[key] / UNIT
            for key in data.files
            if key.startswith(f"{name}_")
        }
    filters = weights["conv_weight"]
    count, channels, height, width = tensor.shape
    size = filters.shape[-1]
    cells = (count, channels, height // size, size, width // size, size)
    patches = tensor.astype(np.float64).reshape(cells)
    x = np.einsum("nchiwj,fcij->nfhw", patches, filters)
    gamma, beta, mean, variance = (row.reshape(-1, 1, 1) for row in weights["bn"])
    x = np.maximum((x - mean) / np.sqrt(variance + EPSILON) * gamma + beta, 0)
    x = x.reshape(count, -1) @ weights["fc_weight"].T + weights["fc_bias"]
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float64)


def gray_tensor(pictures: npt.NDArray[np.uint8]) -> FloatArray:
    """The input of tiny_gray for gray pictures (N, 20, 20)."""
    return (pictures[:, None].astype(np.float64) - 127.5) / 128


def color_tensor(pictures: npt.NDArray[np.uint8]) -> FloatArray:
    """The input of tiny_color for RGB pictures (N, 24, 24, 3)."""
    scaled = (pictures.astype(np.float64) - [120, 110.5, 100.25]) / [60, 50.5, 40.25]
    return scaled.transpose(0, 3, 1, 2)


def head_weights(seed: int, inputs: int, classes: int) -> tuple[FloatArray, FloatArray]:
    """Weights (inputs, classes) and biases of the tiny attribute heads, in 64ths."""
    random = np.random.RandomState(seed)
    weights = random.randint(-16, 17, (inputs, classes)) / UNIT
    return weights, random.randint(-32, 33, classes) / UNIT


def probabilities(logits: npt.NDArray[Any]) -> FloatArray:
    """Softmax of each row, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def max_error(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """The largest difference; printed, so that a failing test shows it."""
    assert found.shape == expected.shape
    error = float(np.abs(found.astype(np.float64) - expected).max(initial=0))
    print(f"largest difference {error:.3g}")
    return error

"""Writes dlib's integer stream, and random shape predictors in it: parity tests without downloads.

dlib itself loads what is written here, so the oracle does not depend on our reader.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mobileface_convert.frontends.shape_predictor import ShapePredictor

__all__ = [
    "float_integers",
    "integer_bytes",
    "random_shape_predictor",
    "shape_predictor_bytes",
    "shape_predictor_integers",
    "stream_bytes",
    "tiny_shape_predictor",
]

_FLOAT32_DIGITS = 24
_LONGEST_MANTISSA = 8


def integer_bytes(value: int) -> bytes:
    """One integer: control byte and magnitude."""
    magnitude = abs(value)
    size = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(size, "little")


def stream_bytes(values: list[int]) -> bytes:
    """A whole stream."""
    return b"".join(map(integer_bytes, values))


def float_integers(value: float) -> list[int]:
    """Mantissa and exponent of a finite float32, with trailing zero bytes dropped as dlib does."""
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(fraction * 2**_FLOAT32_DIGITS), exponent - _FLOAT32_DIGITS
    for _ in range(_LONGEST_MANTISSA):
        if mantissa & 0xFF:
            break
        mantissa, exponent = mantissa >> 8, exponent + 8
    return [mantissa, exponent]


def shape_predictor_integers(model: ShapePredictor) -> list[int]:
    """All integers of the file of a shape predictor."""
    values = [1, *_column(model.initial_shape), model.cascades]
    for cascade in range(model.cascades):
        values.append(model.trees)
        for tree in range(model.trees):
            values.append(model.splits)
            for split in range(model.splits):
                values.append(int(model.first_pixels[cascade, tree, split]))
                values.append(int(model.second_pixels[cascade, tree, split]))
                values += float_integers(float(model.thresholds[cascade, tree, split]))
            values.append(model.splits + 1)
            for leaf in model.leaves[cascade, tree]:
                values += _column(leaf)
    values.append(model.cascades)
    for row in model.anchors:
        values += [len(row), *map(int, row)]
    values.append(model.cascades)
    for offsets in model.deltas:
        values.append(len(offsets))
        values += _floats(offsets)
    return values


def shape_predictor_bytes(model: ShapePredictor) -> bytes:
    """The file of a shape predictor."""
    return stream_bytes(shape_predictor_integers(model))


def random_shape_predictor(
    seed: int, points: int, cascades: int, trees: int, depth: int, pool: int
) -> ShapePredictor:
    """A predictor with random numbers of the size that trained ones have.

    Args:
        seed: Of the random numbers.
        points: Landmarks, P.
        cascades: Rounds, C.
        trees: Trees a cascade, T.
        depth: Splits from root to leaf.
        pool: Pixels a cascade, F.
    """
    random = np.random.default_rng(seed)
    splits = 2**depth - 1
    spread = 0.25 / math.sqrt(trees * cascades)

    def normal(*shape: int, scale: float) -> npt.NDArray[np.float32]:
        return (scale * random.standard_normal(shape)).astype(np.float32)

    return ShapePredictor(
        initial_shape=random.uniform(0.1, 0.9, (points, 2)).astype(np.float32),
        anchors=random.integers(0, points, (cascades, pool)),
        deltas=normal(cascades, pool, 2, scale=0.25),
        first_pixels=random.integers(0, pool, (cascades, trees, splits)),
        second_pixels=random.integers(0, pool, (cascades, trees, splits)),
        thresholds=normal(cascades, trees, splits, scale=40),
        leaves=normal(cascades, trees, splits + 1, points, 2, scale=spread),
    )


def tiny_shape_predictor(
    seed: int, points: int, cascades: int, trees: int, depth: int, pool: int
) -> bytes:
    """The file of a random predictor; arguments as in `random_shape_predictor`."""
    model = random_shape_predictor(seed, points, cascades, trees, depth, pool)
    return shape_predictor_bytes(model)


def _column(values: npt.NDArray[np.float32]) -> list[int]:
    return [-values.size, -1, *_floats(values)]


def _floats(values: npt.NDArray[np.float32]) -> list[int]:
    return [part for value in values.ravel().tolist() for part in float_integers(value)]

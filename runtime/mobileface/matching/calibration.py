"""Calibrations: the measured error rates of one model by similarity, with their uncertainty.

A calibration is a file ``NAME.calibration.json``, written by ``mobileface-eval calibrate``::

    {"schema": 1,
     "model": "identification_v2@0123456789ab",
     "confidence": 0.95,
     "basis": {"data": "…", "identities": 100, "faces": 200, "genuine_pairs": 100,
               "impostor_pairs": 19800, "date": "2026-11-26", "note": "…"},
     "lowest_false_match_rate": 0.0012,
     "similarity": [-1, …, 1],
     "false_match_rate": {"value": […], "low": […], "high": […]},
     "false_non_match_rate": {"value": […], "low": […], "high": […]}}

``similarity`` is strictly increasing from −1 to 1, and all lists have the same length. At a
similarity s, the false match rate (FMR) is the share of impostor pairs (different people) with a
cosine of s or more; the false non-match rate (FNMR) is the share of genuine pairs (same person)
with a smaller cosine. Rates between two similarities are interpolated linearly. ``low`` and
``high`` are the limits of the confidence interval.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import fields
from ..errors import CalibrationError, InputError, ModelNotFoundError, SpecError
from ..host.files import is_plain_name, reason, write_aside
from ..models.lookup import search_folders
from .error_rates import Basis, Rate, RateCurve, check_basis, check_curve, check_share

__all__ = ["Basis", "Calibration", "Rate", "RateCurve", "find_calibration"]

SCHEMA = 1
"""Version of the JSON form; newer versions are rejected."""

SUFFIX = ".calibration.json"

_MAX_FILE_BYTES = 1 << 22
_MAX_GALLERY_SIZE = 10**12
_DIGITS = 6
"""Number of significant digits stored."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The error rates of one model by similarity.

    Attributes:
        model: `Embedder.identity` of the model, "name@fingerprint".
        basis: The data that the rates were measured on.
        similarity: Cosines, strictly increasing from −1 to 1.
        false_match_curve: False match rate at each similarity.
        false_non_match_curve: False non-match rate at each similarity.
        lowest_false_match_rate: The lowest false match rate that the data support.
        confidence: Confidence level of the intervals, 0 to 1.
    """

    model: str
    basis: Basis
    similarity: tuple[float, ...]
    false_match_curve: RateCurve
    false_non_match_curve: RateCurve
    lowest_false_match_rate: float
    confidence: float = 0.95

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Reads a calibration file.

        Raises:
            CalibrationError: If the file cannot be read or is not a calibration; the error names
                the invalid field.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            content = path.read_bytes() if size <= _MAX_FILE_BYTES else b""
        except (OSError, ValueError) as error:  # ValueError: an invalid file name
            raise CalibrationError(f"cannot be read ({reason(error)})", where=str(path)) from error
        if size > _MAX_FILE_BYTES:
            raise CalibrationError(f"too large for a calibration ({size} bytes)", where=str(path))
        try:
            data = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(f"not JSON ({error})", where=str(path)) from error
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str = "calibration") -> Calibration:
        """Reads the output of `to_dict`.

        Args:
            data: JSON types.
            where: Location for error messages.

        Raises:
            CalibrationError: If ``data`` is not a calibration; the error names the invalid field.
        """
        try:
            return _from_dict(data, where)
        except SpecError as error:
            raise CalibrationError(error.what, where=error.where, hint=error.hint) from error

    def save(self, path: str | Path) -> None:
        """Writes a calibration file, rounded to six significant digits.

        Raises:
            CalibrationError: If the calibration is invalid.
            OutputError: If the file cannot be written.
        """
        document = self.to_dict()
        self.from_dict(document, str(path))
        write_aside(Path(path), json.dumps(document, allow_nan=False) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The content of the file as JSON types."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "confidence": self.confidence,
            "basis": fields.plain(self.basis),
            "lowest_false_match_rate": _rounded(self.lowest_false_match_rate),
            "similarity": [_rounded(value) for value in self.similarity],
            "false_match_rate": _curve_dict(self.false_match_curve),
            "false_non_match_rate": _curve_dict(self.false_non_match_curve),
        }

    def false_match_rate(self, similarity: float) -> Rate:
        """False match rate: share of impostor pairs at or above a similarity.

        Raises:
            InputError: If ``similarity`` is not a cosine between −1 and 1.
        """
        return self._rate(self.false_match_curve, similarity)

    def false_non_match_rate(self, similarity: float) -> Rate:
        """False non-match rate: share of genuine pairs below a similarity.

        Raises:
            InputError: If ``similarity`` is not a cosine between −1 and 1.
        """
        return self._rate(self.false_non_match_curve, similarity)

    def false_identification_rate(self, similarity: float, gallery_size: int) -> Rate:
        """False positive identification rate: how often a non-mated search reaches a similarity.

        A non-mated search is one for a person who is not enrolled. The rate is 1 − (1 − FMR)^N for
        N independent comparisons. Comparisons with several faces of one person, or with similar
        people, are not independent: then the true rate is lower. The errors of a probe that is
        similar to many people ("wolf") occur together: fewer searches fail, but with more false
        matches each.

        Args:
            similarity: The cosine found.
            gallery_size: N, the number of faces compared.

        Raises:
            InputError: If ``similarity`` is not a cosine between −1 and 1, or ``gallery_size`` is
                negative or above 10¹².
        """
        if not 0 <= gallery_size <= _MAX_GALLERY_SIZE:
            raise InputError(
                f"gallery_size must be from 0 to {_MAX_GALLERY_SIZE}, not {gallery_size}"
            )
        single = self.false_match_rate(similarity)
        return Rate(*(_any_of(p, gallery_size) for p in (single.value, single.low, single.high)))

    def threshold(self, false_match_rate: float) -> float:
        """The lowest similarity whose false match rate is not above the given rate.

        Args:
            false_match_rate: The requested rate, e.g. 0.001.

        Returns:
            Similarity threshold (cosine): pairs at or above it are considered the same person.

        Raises:
            InputError: If the rate is not between 0 and 1, or is lower than the data support; the
                error gives the lowest supported rate.
        """
        if not 0 < false_match_rate < 1:  # false for nan
            raise InputError(f"false match rate {false_match_rate} is not between 0 and 1")
        lowest = max(self.lowest_false_match_rate, self.false_match_curve.value[-1])
        if false_match_rate < lowest:
            raise InputError(
                f"a false match rate of {false_match_rate:g} cannot be estimated from "
                f"{self.basis.impostor_pairs:,} pairs of {self.basis.identities:,} people "
                f"({self.basis.data})",
                where=self.model,
                hint=f"the lowest it supports is {lowest:.2g}; "
                "calibrate on more people with 'mobileface-eval calibrate'",
            )
        # np.interp needs ascending rates; of equal rates it uses the last, here the lowest cosine.
        rates = np.array(self.false_match_curve.value[::-1])
        return float(np.interp(false_match_rate, rates, self.similarity[::-1]))

    def _rate(self, curve: RateCurve, similarity: float) -> Rate:
        # The float32 cosine of a face with itself may slightly exceed 1.
        if not -1.001 <= similarity <= 1.001:  # false for nan
            raise InputError(f"similarity {similarity} is not a cosine between -1 and 1")
        limits = (curve.value, curve.low, curve.high)
        return Rate(*(float(np.interp(similarity, self.similarity, row)) for row in limits))


def find_calibration(identity: str, models: str | Path | None = None) -> Calibration:
    """Finds the calibration of a model: the user's own next to the model, or a bundled one.

    The folders of `mobileface.models.lookup` are searched first, then the calibrations bundled with
    the package. A file with the right name but another fingerprint is skipped.

    Args:
        identity: `Embedder.identity`, "name@fingerprint".
        models: An additional folder, which is searched first.

    Raises:
        ModelNotFoundError: If no calibration of the model is found.
        CalibrationError: If a calibration file cannot be read.
    """
    name = identity.partition("@")[0]  # a file of embeddings may say anything
    file = name + SUFFIX
    others = []
    for folder in (
        ()
        if not is_plain_name(name)
        else (*search_folders(models), Path(__file__).parent / "calibrations")
    ):
        if (folder / file).is_file():
            found = Calibration.load(folder / file)
            if found.model == identity:
                return found
            others.append(found.model)
    raise ModelNotFoundError(
        f"no calibration of {identity}" + (f", only of {', '.join(others)}" if others else ""),
        hint="create one with 'mobileface-eval calibrate'",
    )


def _any_of(probability: float, count: int) -> float:
    """Probability that at least one of ``count`` independent trials succeeds."""
    if probability >= 1:
        return 1.0 if count else 0.0
    return -math.expm1(count * math.log1p(-probability))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _curve_dict(curve: RateCurve) -> dict[str, list[float]]:
    return {
        name: [_rounded(value) for value in getattr(curve, name)]
        for name in ("value", "low", "high")
    }


def _from_dict(data: Any, where: str) -> Calibration:
    """Reads the output of `Calibration.to_dict`; raises a SpecError that names the field."""
    given = dict(fields.mapping(data, where))
    schema = fields.integer(1)(given.pop("schema", None), f"{where}, schema")
    if schema > SCHEMA:
        raise SpecError(
            f"schema {schema} is newer than {SCHEMA}", where=where, hint="upgrade mobileface"
        )
    names = {
        "false_match_rate": "false_match_curve",
        "false_non_match_rate": "false_non_match_curve",
    }
    calibration = fields.build(
        Calibration,
        {names.get(key, key): value for key, value in given.items()},
        where,
        {
            "model": fields.text,
            "confidence": check_share,
            "basis": check_basis,
            "lowest_false_match_rate": check_share,
            "similarity": fields.list_of(fields.number),
            **dict.fromkeys(names.values(), check_curve),
        },
    )
    places = np.array(calibration.similarity)
    if len(places) < 2 or places[0] != -1 or places[-1] != 1 or (np.diff(places) <= 0).any():
        raise SpecError("must increase strictly from -1 to 1", where=f"{where}, similarity")
    for curve, name, sign in (
        (calibration.false_match_curve, "false_match_rate", -1),
        (calibration.false_non_match_curve, "false_non_match_rate", 1),
    ):
        if len(curve.value) != len(places):
            raise SpecError(
                f"{len(curve.value)} values for {len(places)} similarities",
                where=f"{where}, {name}",
            )
        if (sign * np.diff(curve.value) < 0).any():
            raise SpecError(
                f"must not {'decrease' if sign > 0 else 'increase'} with the similarity",
                where=f"{where}, {name}",
            )
    return calibration

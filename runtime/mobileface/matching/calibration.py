"""What a similarity means: the error rates of one model, measured, with their uncertainty.

A calibration is a file ``NAME.calibration.json`` that ``mobileface-eval calibrate`` writes::

    {"schema": 1,
     "model": "identification_v2@0123456789ab",
     "confidence": 0.95,
     "basis": {"data": "…", "identities": 100, "faces": 200, "genuine_pairs": 100,
               "impostor_pairs": 19800, "date": "2026-11-26", "note": "…"},
     "lowest_false_match_rate": 0.0012,
     "similarity": [-1, …, 1],
     "false_match_rate": {"value": […], "low": […], "high": […]},
     "false_non_match_rate": {"value": […], "low": […], "high": […]}}

``similarity`` grows strictly from −1 to 1; each list has as many numbers. At a similarity s the
false match rate (FMR) is the share of pairs of different people with a cosine of s or more, the
false non-match rate (FNMR) the share of pairs of one person with less. Between two similarities
the rates are interpolated linearly. ``low`` and ``high`` are the limits of a confidence interval.
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
from ..host.files import reason, write_aside
from ..models.lookup import search_folders
from .error_rates import Basis, Decision, Rate, RateCurve, check_basis, check_curve, check_share

__all__ = ["Basis", "Calibration", "Decision", "Rate", "RateCurve", "find_calibration"]

SCHEMA = 1
"""Version of the JSON form; a runtime refuses a newer one."""

SUFFIX = ".calibration.json"

_LARGEST_FILE = 1 << 22
_LARGEST_GALLERY = 10**12
_DIGITS = 6
"""Significant digits that are stored."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The error rates of one model by similarity.

    Attributes:
        model: `Embedder.identity` of the model, "name@fingerprint".
        basis: What the rates were measured on.
        similarity: Cosines, strictly ascending from −1 to 1.
        false_match_curve: The false match rate at each.
        false_non_match_curve: The false non-match rate at each.
        lowest_false_match_rate: The lowest rate that the data can support.
        confidence: Of the intervals.
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
            CalibrationError: It is absent or no calibration; names the field.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            content = path.read_bytes() if size <= _LARGEST_FILE else b""
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise CalibrationError(f"cannot be read ({reason(error)})", where=str(path)) from error
        if size > _LARGEST_FILE:
            raise CalibrationError(f"{size} bytes are too many for a calibration", where=str(path))
        try:
            data = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(f"not JSON ({error})", where=str(path)) from error
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str = "calibration") -> Calibration:
        """Reads what `to_dict` gave.

        Args:
            data: JSON types.
            where: What error messages call it.

        Raises:
            CalibrationError: It is no calibration; names the field.
        """
        try:
            return _from_dict(data, where)
        except SpecError as error:
            raise CalibrationError(error.what, where=error.where, hint=error.hint) from error

    def save(self, path: str | Path) -> None:
        """Writes a calibration file, rounded to six significant digits.

        Raises:
            CalibrationError: Its numbers make no sense.
            OutputError: It cannot be written.
        """
        document = self.to_dict()
        self.from_dict(document, str(path))
        write_aside(Path(path), json.dumps(document, allow_nan=False) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The file's content as JSON types."""
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
        """How often two different people are at least so similar.

        Raises:
            InputError: ``similarity`` is no cosine.
        """
        return self._rate(self.false_match_curve, similarity)

    def false_non_match_rate(self, similarity: float) -> Rate:
        """How often two pictures of one person are less similar.

        Raises:
            InputError: ``similarity`` is no cosine.
        """
        return self._rate(self.false_non_match_curve, similarity)

    def false_identification_rate(self, similarity: float, gallery_size: int) -> Rate:
        """How often somebody who is not enrolled is at least so similar to any of N enrolled faces.

        It is 1 − (1 − FMR)^N, as if the N comparisons were independent. Comparisons with several
        faces of one person, or with people who are alike, are not: then the true rate is lower. A
        person who is like everybody ("wolf") makes errors in series: fewer searches err, each more
        often.

        Args:
            similarity: The cosine found.
            gallery_size: N, the faces that were compared.

        Raises:
            InputError: ``similarity`` is no cosine or ``gallery_size`` below 0.
        """
        if not 0 <= gallery_size <= _LARGEST_GALLERY:
            raise InputError(f"a gallery of {gallery_size} faces cannot be")
        single = self.false_match_rate(similarity)
        return Rate(*(_any_of(p, gallery_size) for p in (single.value, single.low, single.high)))

    def threshold(self, false_match_rate: float) -> float:
        """The lowest similarity whose false match rate is no more than asked for.

        Args:
            false_match_rate: E.g. 0.001.

        Returns:
            Cosine: pairs of at least this similarity are taken for one person.

        Raises:
            InputError: The rate is not between 0 and 1, or lower than the data can support; says
                which rate it supports.
        """
        if not 0 < false_match_rate < 1:  # false for nan
            raise InputError(f"a false match rate of {false_match_rate} is not between 0 and 1")
        lowest = max(self.lowest_false_match_rate, self.false_match_curve.value[-1])
        if false_match_rate < lowest:
            raise InputError(
                f"a false match rate of {false_match_rate:g} cannot be told from "
                f"{self.basis.impostor_pairs:,} pairs of {self.basis.identities:,} people "
                f"({self.basis.data})",
                where=self.model,
                hint=f"the lowest it supports is {lowest:.2g}; "
                "calibrate on more people with 'mobileface-eval calibrate'",
            )
        # np.interp wants ascending rates; of equal rates it takes the last, here the lowest cosine.
        rates = np.array(self.false_match_curve.value[::-1])
        return float(np.interp(false_match_rate, rates, self.similarity[::-1]))

    def decide(self, similarity: float, fmr: float) -> Decision:
        """Whether a similarity is one person's.

        Args:
            similarity: Cosine of two embeddings.
            fmr: The false match rate that can be borne, e.g. 0.001.

        Raises:
            InputError: ``similarity`` is no cosine, or the data cannot support the rate.
        """
        threshold = self.threshold(fmr)
        return Decision(
            similarity >= threshold,
            similarity,
            threshold,
            self.false_match_rate(threshold),
            self.false_non_match_rate(threshold),
            self.false_match_rate(similarity),
            self.basis,
        )

    def _rate(self, curve: RateCurve, similarity: float) -> Rate:
        # A float32 cosine of a face with itself may be a little over 1.
        if not -1.001 <= similarity <= 1.001:  # false for nan
            raise InputError(f"a similarity of {similarity} is no cosine")
        limits = (curve.value, curve.low, curve.high)
        return Rate(*(float(np.interp(similarity, self.similarity, row)) for row in limits))


def find_calibration(identity: str, models: str | Path | None = None) -> Calibration:
    """The calibration of a model: the user's own beside the model, or one from the package.

    Searched are the folders of `mobileface.models.lookup`, and then what came with the package. A
    file of the right name for another fingerprint is passed over.

    Args:
        identity: `Embedder.identity`, "name@fingerprint".
        models: The caller's own folder, which comes first.

    Raises:
        ModelNotFoundError: There is none.
        CalibrationError: The file found cannot be read.
    """
    file = identity.partition("@")[0] + SUFFIX
    others = []
    for folder in (*search_folders(models), Path(__file__).parent / "calibrations"):
        if (folder / file).is_file():
            found = Calibration.load(folder / file)
            if found.model == identity:
                return found
            others.append(found.model)
    raise ModelNotFoundError(
        f"no calibration of {identity}" + (f", only of {', '.join(others)}" if others else ""),
        hint="make one with 'mobileface-eval calibrate'",
    )


def _any_of(probability: float, count: int) -> float:
    """Probability that at least one of so many independent trials succeeds."""
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
    """Reads what `Calibration.to_dict` wrote; raises SpecError that names the field."""
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
    made = fields.build(
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
    places = np.array(made.similarity)
    if len(places) < 2 or places[0] != -1 or places[-1] != 1 or (np.diff(places) <= 0).any():
        raise SpecError("does not grow strictly from -1 to 1", where=f"{where}, similarity")
    for curve, name, sign in (
        (made.false_match_curve, "false_match_rate", -1),
        (made.false_non_match_curve, "false_non_match_rate", 1),
    ):
        if len(curve.value) != len(places):
            raise SpecError(
                f"{len(curve.value)} values for {len(places)} similarities",
                where=f"{where}, {name}",
            )
        if (sign * np.diff(curve.value) < 0).any():
            raise SpecError(
                f"must not {'fall' if sign > 0 else 'rise'} with the similarity",
                where=f"{where}, {name}",
            )
    return made

"""Records of a model's outputs, so that any machine can check that it reproduces them.

Each variant's certificate contains a record::

    "record": {"schema": 1,
               "inputs": {"generator": "probes", "seed": 20200229},
               "rows": 4, "columns": 256, "float32": "…",
               "bounds": {"max_abs_error": 5e-5, "min_cosine": 0.9999999, "mean_cosine": -1.0},
               "platform": {"machine": "x86_64", "cpu": "…", "system": "Linux",
                            "onnxruntime": "1.32.0"}}

The inputs are not stored, because every machine can generate the same ones
(`mobileface.models.probes`). The model's kind defines how, and what a row of outputs is (`probes`
and `rows` of `mobileface.models.kinds.base.Kind`). ``float32`` contains the outputs, rows ×
columns, little endian, in base64.

The bounds are those of the recipe: the tolerance for another machine's arithmetic.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import fields
from ..errors import ModelIntegrityError, SpecError
from ..host.machine import Machine, this_machine
from .agreement import Agreement, Bounds, FloatArray, compare_outputs
from .kinds.base import PROBE_SEED, Feed
from .session import Session, runtime_version

__all__ = [
    "Feeds",
    "make_record",
    "output_rows",
    "platform_of",
    "replay",
]

Feeds = Iterable[Feed]
"""Inputs of a network, one mapping per run."""

_SCHEMA = 1
_MAX_NUMBERS = 1 << 20
"""Maximum number of values in a record, so that a corrupt file cannot cause a huge allocation."""


def make_record(session: Session, bounds: Bounds) -> dict[str, Any]:
    """Runs a model on its probes and returns the record as JSON types.

    Args:
        session: The model.
        bounds: Tolerances of a replay.
    """
    rows = output_rows(session)
    return {
        "schema": _SCHEMA,
        "inputs": {"generator": "probes", "seed": PROBE_SEED},
        "rows": len(rows),
        "columns": rows.shape[1],
        "float32": base64.b64encode(rows.astype("<f4").tobytes()).decode("ascii"),
        "bounds": dataclasses.asdict(bounds),
        "platform": platform_of(this_machine()),
    }


def replay(session: Session, record: object, where: str) -> tuple[Agreement, Bounds]:
    """Runs a model on its probes and compares the outputs with a record.

    Args:
        session: The model.
        record: The field ``record`` of the certificate.
        where: Name of the certificate in error messages.

    Raises:
        ModelIntegrityError: If the record is invalid, or of another version.
        ModelError: If the model cannot be run.
    """
    expected, bounds = _read_record(record, where)
    found = session.spec.kind.pair(output_rows(session), expected)
    if found.shape != expected.shape:
        raise ModelIntegrityError(
            f"the record has {expected.shape[0]}×{expected.shape[1]} numbers, the model outputs "
            f"{found.shape[0]}×{found.shape[1]}",
            where=where,
            hint="the certificate may belong to another file",
        )
    return compare_outputs(found, expected, "its record"), bounds


def platform_of(machine: Machine) -> dict[str, str]:
    """Description of a machine and its software, for a certificate."""
    return {
        "machine": machine.name,
        "cpu": machine.cpu,
        "system": platform.system(),
        "onnxruntime": runtime_version(),
    }


def output_rows(session: Session, feeds: Feeds | None = None) -> FloatArray:
    """Runs a network and returns its outputs as rows, float32 (N, D), as its kind defines them.

    Args:
        session: The network.
        feeds: Inputs; None for its probes.

    Raises:
        SpecError: If the spec lists no outputs of a network.
        ModelError: If the network cannot be run.
    """
    spec = session.spec
    given = spec.kind.probes(spec) if feeds is None else feeds
    parts = [spec.kind.rows(spec, fed, session.run(fed)) for fed in given]
    return np.asarray(np.concatenate(parts), np.float32)


_BOUNDS = dict.fromkeys(("max_abs_error", "min_cosine", "mean_cosine"), fields.number)


def _read_record(record: object, where: str) -> tuple[FloatArray, Bounds]:
    """Reads the values and tolerances of a record.

    Raises:
        ModelIntegrityError: If the record is invalid.
    """
    try:
        given = fields.mapping(record, "record")
        if given.get("schema") != _SCHEMA or given.get("inputs") != {
            "generator": "probes",
            "seed": PROBE_SEED,
        }:
            raise SpecError("the record is of another version")
        rows, columns = (fields.integer(1)(given.get(n), n) for n in ("rows", "columns"))
        text = fields.text(given.get("float32"), "float32")
        bounds = fields.build(Bounds, given.get("bounds"), "bounds", _BOUNDS)
        size = 4 * math.prod((rows, columns))
        if size > 4 * _MAX_NUMBERS or len(text) > 2 * size + 4:
            raise SpecError(f"{rows}×{columns} numbers in {len(text)} characters")
        data = base64.b64decode(text, validate=True)
        if len(data) != size:
            raise SpecError(f"expected {size} bytes, got {len(data)}")
    except (SpecError, binascii.Error) as error:
        raise ModelIntegrityError(
            f"the record cannot be used ({error})", where=where, hint="convert the model again"
        ) from error
    return np.frombuffer(data, "<f4").reshape(rows, columns).astype(np.float32), bounds

"""What a model gave when it was certified, so that any machine can see whether it gives the same.

A record is a part of each variant's certificate::

    "record": {"schema": 1,
               "inputs": {"generator": "probes", "seed": 20200229},
               "rows": 4, "columns": 256, "float32": "…",
               "bounds": {"max_abs_error": 5e-5, "min_cosine": 0.9999999, "mean_cosine": -1.0},
               "platform": {"machine": "x86_64", "cpu": "…", "system": "Linux",
                            "onnxruntime": "1.32.0"}}

The inputs are not stored: every machine makes the same ones (`mobileface.models.probes`), as the
model's kind says, which also says what a row of outputs is (`probes` and `rows` of
`mobileface.models.kinds.base.Kind`). ``float32`` holds the outputs, rows × columns, little endian,
base64.

The bounds are those of the recipe: what another machine's arithmetic may change.
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
"""Inputs of a network, one mapping for each run."""

_SCHEMA = 1
_LARGEST = 1 << 20
"""Numbers in a record, at most: nothing is allocated for a size that a damaged file claims."""


def make_record(session: Session, bounds: Bounds) -> dict[str, Any]:
    """Runs a model on its probes and keeps what it gives, as JSON types.

    Args:
        session: The model.
        bounds: What a replay must keep.
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
    """Runs a model on its probes and compares with what it gave when it was certified.

    Args:
        session: The model.
        record: The part ``record`` of its certificate.
        where: The certificate, for messages.

    Raises:
        ModelIntegrityError: It is no record, or one of another version.
        ModelError: The model cannot be run.
    """
    expected, bounds = _read_record(record, where)
    found = session.spec.kind.pair(output_rows(session), expected)
    if found.shape != expected.shape:
        raise ModelIntegrityError(
            f"a record of {expected.shape[0]}×{expected.shape[1]} numbers, the model gives "
            f"{found.shape[0]}×{found.shape[1]}",
            where=where,
            hint="the certificate belongs to another file",
        )
    return compare_outputs(found, expected, "its record"), bounds


def platform_of(machine: Machine) -> dict[str, str]:
    """Where something was run, for a certificate."""
    return {
        "machine": machine.name,
        "cpu": machine.cpu,
        "system": platform.system(),
        "onnxruntime": runtime_version(),
    }


def output_rows(session: Session, feeds: Feeds | None = None) -> FloatArray:
    """What a network gives, in one row for each thing that it tells of; float32 (N, D).

    Args:
        session: The network.
        feeds: What it is fed; None: its probes.

    Raises:
        SpecError: The spec names no outputs of a network.
        ModelError: The network cannot be run.
    """
    spec = session.spec
    given = spec.kind.probes(spec) if feeds is None else feeds
    parts = [spec.kind.rows(spec, fed, session.run(fed)) for fed in given]
    return np.asarray(np.concatenate(parts), np.float32)


_BOUNDS = dict.fromkeys(("max_abs_error", "min_cosine", "mean_cosine"), fields.number)


def _read_record(record: object, where: str) -> tuple[FloatArray, Bounds]:
    """The numbers and bounds of a record.

    Raises:
        ModelIntegrityError: It is none.
    """
    try:
        given = fields.mapping(record, "record")
        if given.get("schema") != _SCHEMA or given.get("inputs") != {
            "generator": "probes",
            "seed": PROBE_SEED,
        }:
            raise SpecError("a record of another version")
        rows, columns = (fields.integer(1)(given.get(n), n) for n in ("rows", "columns"))
        text = fields.text(given.get("float32"), "float32")
        bounds = fields.build(Bounds, given.get("bounds"), "bounds", _BOUNDS)
        size = 4 * math.prod((rows, columns))
        if size > 4 * _LARGEST or len(text) > 2 * size + 4:
            raise SpecError(f"{rows}×{columns} numbers in {len(text)} characters")
        data = base64.b64decode(text, validate=True)
        if len(data) != size:
            raise SpecError(f"{len(data)} bytes instead of {size}")
    except (SpecError, binascii.Error) as error:
        raise ModelIntegrityError(
            f"its record cannot be used ({error})", where=where, hint="convert the model anew"
        ) from error
    return np.frombuffer(data, "<f4").reshape(rows, columns).astype(np.float32), bounds

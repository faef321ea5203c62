"""Do models give on this machine what they gave where they were certified?

Each variant's certificate holds a record of what it gave for inputs that every machine makes alike
(`mobileface.models.replay`). Replaying it here shows what this CPU and this ONNX Runtime change,
beside what the recipe allows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, ModelIntegrityError
from ..host.files import check_sha256, reason
from ..host.machine import Machine, this_machine
from ..models.agreement import Agreement, Bounds
from ..models.lookup import StoredModel, StoredVariant
from ..models.replay import replay
from ..models.session import Session

__all__ = ["BROKEN", "FAILED", "HELD", "LEFT_OUT", "Verdict", "certify"]

HELD, BROKEN, LEFT_OUT, FAILED = "held", "broken", "left out", "failed"
"""What can come of a replay; left out is a variant that this machine does not run."""

_LARGEST = 16 << 20
"""Bytes of a certificate, at most."""


@dataclass(frozen=True)
class Verdict:
    """What came of replaying one variant.

    Attributes:
        stored: The variant.
        state: `HELD`, `BROKEN`, `LEFT_OUT` or `FAILED`.
        reason: Why, where it was not replayed; what was seen, where a bound is broken.
        agreement: How it compares with its record, where it was replayed.
        bounds: What the record allows.
        certificate: The certificate, as JSON types; empty if it cannot be read.
    """

    stored: StoredVariant
    state: str
    reason: str = ""
    agreement: Agreement | None = None
    bounds: Bounds | None = None
    certificate: Mapping[str, Any] | None = None

    @property
    def certified_on(self) -> Mapping[str, Any]:
        """The machine, CPU, system and ONNX Runtime that the record was made with."""
        record = (self.certificate or {}).get("record")
        made_on = record.get("platform") if isinstance(record, dict) else None
        return made_on if isinstance(made_on, dict) else {}


def certify(
    models: Sequence[StoredModel],
    machine: Machine | None = None,
    step: Callable[[], None] = lambda: None,
) -> list[Verdict]:
    """Replays the record of every variant of some models, on one thread.

    Args:
        models: What `mobileface.list_models` gives.
        machine: What machine this is; None: it is looked at.
        step: Called after each variant.
    """
    machine = machine or this_machine()
    verdicts = []
    for model in models:
        for stored in model.variants:
            verdicts.append(_verdict(stored, machine))
            step()
    return verdicts


def _verdict(stored: StoredVariant, machine: Machine) -> Verdict:
    document: Mapping[str, Any] | None = None
    try:
        check_sha256(stored.path, stored.variant.sha256)
        document = _read(stored)
        refusal = stored.variant.condition.refusal(machine)
        if refusal:
            return Verdict(stored, LEFT_OUT, refusal, certificate=document)
        if stored.path.suffix == ".json":
            return Verdict(
                stored, HELD, "no network: its file is as promised", None, None, document
            )
        if "record" not in document:
            raise ModelIntegrityError(
                "it has no record to replay",
                where=str(stored.certificate),
                hint="convert the model anew",
            )
        session = Session(stored.path, intra_op_num_threads=1, variant=stored.variant)
        agreement, bounds = replay(session, document["record"], str(stored.certificate))
    except ModelError as error:
        return Verdict(stored, FAILED, str(error), certificate=document)
    if agreement.within(bounds):
        return Verdict(stored, HELD, "", agreement, bounds, document)
    return Verdict(stored, BROKEN, agreement.failure(bounds), agreement, bounds, document)


def _read(stored: StoredVariant) -> Mapping[str, Any]:
    """The certificate of a variant, if it is that of its file.

    Raises:
        ModelIntegrityError: It is not.
    """
    path = stored.certificate
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelIntegrityError("too large for a certificate", where=str(path))
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelIntegrityError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if not isinstance(document, dict) or document.get("sha256") != stored.variant.sha256:
        raise ModelIntegrityError(
            f"not the certificate of {Path(stored.path).name}",
            where=str(path),
            hint="convert the model anew",
        )
    return document

"""Certification: checks that models return the same results here as where they were certified.

The certificate of each variant contains a record of its outputs for reproducible inputs
(`mobileface.models.replay`). Replaying the record shows the deviation caused by this CPU and this
version of ONNX Runtime, which is compared with the tolerance of the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError, ModelIntegrityError
from ..host.files import check_sha256
from ..host.machine import Machine, this_machine
from ..models.agreement import Agreement, Bounds
from ..models.lookup import StoredModel, StoredVariant
from ..models.replay import replay
from ..models.sealed import read_certificate
from ..models.session import Session

__all__ = ["BROKEN", "FAILED", "HELD", "LEFT_OUT", "Verdict", "certify"]

HELD, BROKEN, LEFT_OUT, FAILED = "held", "broken", "left out", "failed"
"""States of a verdict: within the tolerance, outside it, skipped because this machine does not run
the variant, or not replayable."""


@dataclass(frozen=True)
class Verdict:
    """The result of replaying one variant.

    Attributes:
        stored: The variant.
        state: `HELD`, `BROKEN`, `LEFT_OUT` or `FAILED`.
        reason: Why the variant was not replayed, or by how much it is outside the tolerance.
        agreement: The comparison with the record; None if the variant was not replayed.
        bounds: The tolerance in the record; None if the variant was not replayed.
        certificate: The certificate as JSON types; None if it cannot be read.
    """

    stored: StoredVariant
    state: str
    reason: str = ""
    agreement: Agreement | None = None
    bounds: Bounds | None = None
    certificate: Mapping[str, Any] | None = None

    @property
    def certified_on(self) -> Mapping[str, Any]:
        """Machine, CPU, system and ONNX Runtime version on which the record was created."""
        record = (self.certificate or {}).get("record")
        made_on = record.get("platform") if isinstance(record, dict) else None
        return made_on if isinstance(made_on, dict) else {}


def certify(
    models: Sequence[StoredModel],
    machine: Machine | None = None,
    step: Callable[[], None] = lambda: None,
) -> list[Verdict]:
    """Replays the records of all variants of the given models, with one thread.

    Args:
        models: Models, as returned by `mobileface.list_models`.
        machine: The machine; None detects it.
        step: Progress callback, called after each variant.
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
                stored, HELD, "not a network: its file is unchanged", None, None, document
            )
        if "record" not in document:
            raise ModelIntegrityError(
                "has no record to replay",
                where=str(stored.certificate),
                hint="convert the model again",
            )
        session = Session(stored.path, intra_op_num_threads=1, variant=stored.variant)
        agreement, bounds = replay(session, document["record"], str(stored.certificate))
    except ModelError as error:
        return Verdict(stored, FAILED, str(error), certificate=document)
    if agreement.within(bounds):
        return Verdict(stored, HELD, "", agreement, bounds, document)
    return Verdict(stored, BROKEN, agreement.failure(bounds), agreement, bounds, document)


def _read(stored: StoredVariant) -> Mapping[str, Any]:
    """Reads the certificate of a variant.

    Raises:
        ModelIntegrityError: If the certificate cannot be read, or belongs to another model file.
    """
    document = read_certificate(stored.certificate)
    if document.get("sha256") != stored.variant.sha256:
        raise ModelIntegrityError(
            f"not the certificate of {stored.path.name}",
            where=str(stored.certificate),
            hint="convert the model again",
        )
    return document

"""The installed models: which is the default and why, which variants run here.

The document is that of ``mobileface models --json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ModelError
from ..host.files import check_sha256
from ..host.machine import this_machine
from ..models.lookup import StoredModel, StoredVariant
from ..models.stored_spec import read_stored_spec

__all__ = ["Refused", "is_default", "models_document", "picked", "refusal"]

Refused = Mapping[StoredVariant, ModelError | None]
"""Why files are rejected, None for intact ones; only those that were checked."""


def models_document(found: Sequence[StoredModel], refused: Refused) -> dict[str, Any]:
    """All models with their variants, as JSON types.

    Args:
        found: The models.
        refused: Files that were checked, and why they are rejected.
    """
    return {"models": [_record(model, refused, found) for model in found]}


def refusal(stored: StoredVariant) -> ModelError | None:
    """The error that a file is rejected with; None if it is intact."""
    try:
        check_sha256(stored.path, stored.variant.sha256)
    except ModelError as error:
        return error
    return None


def picked(model: StoredModel, stored: StoredVariant) -> tuple[bool, str]:
    """Whether a variant is the one that runs here in its precision, and why."""
    why = stored.variant.condition.refusal(this_machine())
    if why:
        return False, why
    precision = stored.variant.precision
    chosen = model.choose(precision)
    if chosen != stored:
        return False, f"{chosen.variant.name} is preferred"
    default = " and by default" if precision == model.entry.precision else ""
    return True, f"runs here in {precision}{default}"


def is_default(model: StoredModel, found: Sequence[StoredModel]) -> bool:
    """Whether the model is used for its task if none is named; models may share a task."""
    rivals = [other.entry.preference for other in found if other.entry.task == model.entry.task]
    return model.entry.preference == max(rivals)


def _record(
    model: StoredModel, refused: Refused, found: Sequence[StoredModel]
) -> dict[str, object]:
    own = model.variants[-1]
    return {
        "name": model.name,
        "task": model.entry.task,
        "license": _license(model),
        **_file(own, refused),
        "precision": model.entry.precision,
        "default": model.choose().variant.name,
        "preferred": is_default(model, found),
        "reason": model.entry.reason or None,
        "variants": [_variant_record(model, stored, refused) for stored in model.variants],
    }


def _license(model: StoredModel) -> str | None:
    """SPDX identifier of the licence in the spec; None if that cannot be read."""
    try:
        return read_stored_spec(model.path).license.name
    except ModelError:
        return None


def _variant_record(
    model: StoredModel, stored: StoredVariant, refused: Refused
) -> dict[str, object]:
    runs, reason = picked(model, stored)
    return {
        "name": stored.variant.name,
        "precision": stored.variant.precision,
        **_file(stored, refused),
        "condition": str(stored.variant.condition),
        "picked": runs,
        "reason": reason,
    }


def _file(stored: StoredVariant, refused: Refused) -> dict[str, object]:
    """Path, size and hash of a file; with ``--check``, also whether it is intact."""
    variant = stored.variant
    facts: dict[str, object] = {
        "path": str(stored.path),
        "bytes": variant.bytes,
        "sha256": variant.sha256,
    }
    if stored in refused:
        facts["intact"] = refused[stored] is None
    return facts

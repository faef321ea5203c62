"""``mobileface models``: lists the models, which is the default and why, and checks their files.

Under each model stands what its preference rests on, and which variants run here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import ModelError
from ..host.files import check_sha256
from ..host.machine import this_machine
from ..models.lookup import StoredModel, StoredVariant, list_models
from .options import add_json, add_models_folder
from .output import print_json, print_text

__all__ = ["add_models"]

_Refused = dict[StoredVariant, ModelError | None]


def add_models(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface models``."""
    add_models_folder(parser)
    parser.add_argument(
        "--check", action="store_true", help="verify the SHA-256 of each file; exit code 2 on error"
    )
    add_json(parser, "print one JSON object")
    parser.set_defaults(run=run_models)


def run_models(options: argparse.Namespace) -> int:
    """Lists models and their variants; with ``--check``, verifies the hash of each file."""
    found = list_models(options.models)
    refused: _Refused = {}
    if options.check:
        refused = {variant: _refusal(variant) for model in found for variant in model.variants}
    for error in filter(None, refused.values()):
        print(f"mobileface: error: {error}", file=sys.stderr)
    if options.json:
        print_json({"models": [_record(model, refused, found) for model in found]})
    else:
        for model in found:
            print_text(_row(model, refused))
            if text := _standing(model, found):
                print_text(f"{'':<15}{text}")
            if len(model.variants) > 1:
                for variant in model.variants:
                    print_text(_variant_row(model, variant, refused))
    if not found:
        print("no models found; convert some with 'mobileface-convert all'", file=sys.stderr)
    return 2 if any(refused.values()) else 0


def _refusal(stored: StoredVariant) -> ModelError | None:
    """The error that a file is rejected with; None if it is intact."""
    try:
        check_sha256(stored.path, stored.variant.sha256)
    except ModelError as error:
        return error
    return None


def _picked(model: StoredModel, stored: StoredVariant) -> tuple[bool, str]:
    """Whether a variant is the one that runs here in its precision, and why."""
    refusal = stored.variant.condition.refusal(this_machine())
    if refusal:
        return False, refusal
    precision = stored.variant.precision
    chosen = model.choose(precision)
    if chosen != stored:
        return False, f"{chosen.variant.name} is preferred"
    default = " and by default" if precision == model.entry.precision else ""
    return True, f"runs here in {precision}{default}"


def _row(model: StoredModel, refused: _Refused) -> str:
    """The row of the model's own file."""
    state = _state(model.variants[-1], refused)
    return (
        f"{model.entry.task:<12} {model.name:<22} {_size(model.entry.bytes)}  {state}{model.path}"
    )


def _variant_row(model: StoredModel, stored: StoredVariant, refused: _Refused) -> str:
    variant = stored.variant
    state = _state(stored, refused)
    return f"{'':<15}{variant.name:<20}{_size(variant.bytes)}  {state}{_picked(model, stored)[1]}"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB".rjust(9)


def _state(stored: StoredVariant, refused: _Refused) -> str:
    """Whether a file is intact; empty if it was not checked."""
    if stored not in refused:
        return ""
    return "damaged  " if refused[stored] else "ok       "


def _is_default(model: StoredModel, found: Sequence[StoredModel]) -> bool:
    """Whether the model is used for its task if none is named; models may share a task."""
    rivals = [other.entry.preference for other in found if other.entry.task == model.entry.task]
    return model.entry.preference == max(rivals)


def _standing(model: StoredModel, found: Sequence[StoredModel]) -> str:
    """Whether a model with rivals is the default, and what that rests on.

    Empty if no model of the task was measured.
    """
    rivals = [other for other in found if other.entry.task == model.entry.task]
    if not any(other.entry.reason for other in rivals):
        return ""
    if all(_is_default(other, found) for other in rivals):
        return model.entry.reason
    default = "the default" if _is_default(model, found) else "not the default"
    return f"{default}: {model.entry.reason or 'not measured against the others'}"


def _record(
    model: StoredModel, refused: _Refused, found: Sequence[StoredModel]
) -> dict[str, object]:
    own = model.variants[-1]
    return {
        "name": model.name,
        "task": model.entry.task,
        **_file(own, refused),
        "precision": model.entry.precision,
        "default": model.choose().variant.name,
        "preferred": _is_default(model, found),
        "reason": model.entry.reason or None,
        "variants": [_variant_record(model, stored, refused) for stored in model.variants],
    }


def _variant_record(
    model: StoredModel, stored: StoredVariant, refused: _Refused
) -> dict[str, object]:
    picked, reason = _picked(model, stored)
    return {
        "name": stored.variant.name,
        "precision": stored.variant.precision,
        **_file(stored, refused),
        "condition": str(stored.variant.condition),
        "picked": picked,
        "reason": reason,
    }


def _file(stored: StoredVariant, refused: _Refused) -> dict[str, object]:
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

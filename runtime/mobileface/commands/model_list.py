"""``mobileface models``: lists the models, which is the default and why, and checks their files.

Under each model stands what its preference rests on, and which variants run here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..diagnostics.model_listing import Refused, is_default, models_document, picked, refusal
from ..models.lookup import StoredModel, StoredVariant, list_models
from .options import add_json, add_models_folder
from .output import print_json, print_text

__all__ = ["add_models"]


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
    refused: Refused = {}
    if options.check:
        refused = {variant: refusal(variant) for model in found for variant in model.variants}
    for error in filter(None, refused.values()):
        print(f"mobileface: error: {error}", file=sys.stderr)
    if options.json:
        print_json(models_document(found, refused))
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


def _row(model: StoredModel, refused: Refused) -> str:
    """The row of the model's own file."""
    state = _state(model.variants[-1], refused)
    return (
        f"{model.entry.task:<12} {model.name:<22} {_size(model.entry.bytes)}  {state}{model.path}"
    )


def _variant_row(model: StoredModel, stored: StoredVariant, refused: Refused) -> str:
    variant = stored.variant
    state = _state(stored, refused)
    return f"{'':<15}{variant.name:<20}{_size(variant.bytes)}  {state}{picked(model, stored)[1]}"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB".rjust(9)


def _state(stored: StoredVariant, refused: Refused) -> str:
    """Whether a file is intact; empty if it was not checked."""
    if stored not in refused:
        return ""
    return "damaged  " if refused[stored] else "ok       "


def _standing(model: StoredModel, found: Sequence[StoredModel]) -> str:
    """Whether a model with rivals is the default, and what that rests on.

    Empty if no model of the task was measured.
    """
    rivals = [other for other in found if other.entry.task == model.entry.task]
    if not any(other.entry.reason for other in rivals):
        return ""
    if all(is_default(other, found) for other in rivals):
        return model.entry.reason
    default = "the default" if is_default(model, found) else "not the default"
    return f"{default}: {model.entry.reason or 'not measured against the others'}"

"""``mobileface models``: which models are found, and whether their files are intact."""

from __future__ import annotations

import argparse
import sys

from ..errors import ModelError
from ..files import check_sha256
from ..store import StoredModel, list_models
from .output import print_json, print_text

__all__ = ["run_models"]


def run_models(options: argparse.Namespace) -> int:
    """Lists models; with ``--check``, compares each file with its hash."""
    found = list_models(options.models)
    refused = {model.name: _refusal(model) for model in found} if options.check else {}
    for error in filter(None, refused.values()):
        print(f"mobileface: error: {error}", file=sys.stderr)
    if options.json:
        print_json({"models": [_record(model, refused) for model in found]})
    else:
        for model in found:
            size = f"{model.entry.bytes / 1e6:.2f} MB"
            state = ""
            if options.check:
                state = "damaged  " if refused[model.name] else "ok       "
            row = f"{model.entry.task:<12} {model.name:<22} {size:>9}  {state}{model.path}"
            print_text(row)
    if not found:
        print("no models; convert some with 'mobileface-convert all'", file=sys.stderr)
    return 2 if any(refused.values()) else 0


def _refusal(model: StoredModel) -> ModelError | None:
    """Why a model's file is refused; None if it is intact."""
    try:
        check_sha256(model.path, model.entry.sha256)
    except ModelError as error:
        return error
    return None


def _record(model: StoredModel, refused: dict[str, ModelError | None]) -> dict[str, object]:
    record: dict[str, object] = {
        "name": model.name,
        "task": model.entry.task,
        "path": str(model.path),
        "bytes": model.entry.bytes,
        "sha256": model.entry.sha256,
    }
    if refused:
        record["intact"] = refused[model.name] is None
    return record

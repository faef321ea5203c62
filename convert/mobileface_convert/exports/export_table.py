"""The table in docs/export.md: which models can be exported, with size and accuracy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobileface.errors import SourceFormatError
from mobileface.host.files import reason

from ..recipes.recipe import Recipe, load_recipe, recipe_names
from .caffe_export import why_not_caffe
from .sidecar import ENGINES, SCHEMA, why_not_exported

__all__ = ["cell", "export_table"]

_COLUMNS = {
    "ncnn": ("ncnn", "float32"),
    "ncnn, float16": ("ncnn", "float16"),
    "FeatherCNN": ("feathercnn", "float32"),
    "Caffe": ("caffe", "float32"),
}
_NO = "no: "
_MEGA = 1e6


def export_table(folders: Sequence[Path]) -> str:
    """A Markdown table of all recipes and targets.

    Args:
        folders: Folders with exports; models without an export there are "not measured".

    Raises:
        SourceFormatError: If a sidecar cannot be read.
    """
    found = {}
    for folder in folders:
        for target in ENGINES:
            for path in sorted(folder.glob(f"*.{target}.json")):
                document = _read(path)
                found[document["model"], target, document["weights"]] = document
    lines = [f"| model | {' | '.join(_COLUMNS)} |", "|---|" + "---|" * len(_COLUMNS)]
    for name in recipe_names():
        recipe = load_recipe(name)
        cells = [
            _why_not(recipe, target) or cell(found.get((name, target, weights)))
            for target, weights in _COLUMNS.values()
        ]
        if cells[0].startswith(_NO):  # give the reason only once
            cells[1:] = ["no"] * len(cells[1:])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(document: dict[str, Any] | None) -> str:
    """A table cell: size of the files, largest error and output, and smallest cosine.

    Args:
        document: A sidecar; None for a model that is not exported.
    """
    if document is None:
        return "not measured"
    size = sum(file["bytes"] for file in document["files"].values()) / _MEGA
    proof = document["certificate"]["verification"]
    return (
        f"{size:.2f} MB; {proof['max_abs_error']:.1g} of {proof['scale']:.3g}; "
        f"1 − {1 - proof['min_cosine']:.0e}"
    )


def _why_not(recipe: Recipe, target: str) -> str:
    """Why a model cannot be exported to a target; empty if it can."""
    if target == "caffe":
        why = why_not_caffe(recipe)
    else:
        why = why_not_exported(recipe.spec, ENGINES[target])
    why = why or recipe.options.get("no_export", {}).get(target, "")
    return f"{_NO}{why}" if why else ""


def _read(path: Path) -> dict[str, Any]:
    """Reads a sidecar.

    Raises:
        SourceFormatError: If the file is not a sidecar of the supported schema.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] == SCHEMA:
            cell(document)
            return {**document, "model": str(document["model"])}
        why = f"schema {document['schema']}"
    except OSError as error:
        why = reason(error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = str(error)
    raise SourceFormatError(f"not the sidecar of an export ({why})", where=str(path))

"""Figures in documents come from measurements: ``python -m benchmarks.figures [--check]``.

A figure stands between two comments that Markdown does not show and that say where it comes from::

    It takes <!--ratio "identification_v3, batch 1" mobileface mxnet-->0.16<!--/--> of the time

=========================== ===============================================================
``ratio GROUP A B``         median of engine A over that of B in one group of the report
``ms GROUP ENGINE``         median in milliseconds
``mb MODEL``                size of a model's own file in the report, in megabytes
``models``                  the table of the models in ``models_onnx``, from their certificates
``variants``                the table of the variants' sizes and accuracies in the report
``calibrations``            the table of the calibrations in the package
=========================== ===============================================================

Times and accuracies are those of ``benchmarks/results/reference.json``. Without ``--check`` the
documents are rewritten; with it, documents that are out of date are named and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.results import medians
from mobileface.matching.calibration import SUFFIX, Calibration
from mobileface_convert.recipes.recipe import load_recipe

__all__ = ["DOCUMENTS", "ROOT", "refreshed"]

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    "README.md",
    "docs/convert.md",
    "docs/evaluation.md",
    "docs/models.md",
    "docs/variants.md",
)

_PLACE = re.compile(
    r"<!--(ratio|ms|mb|models|variants|calibrations)( [^>]*?)?-->(.*?)<!--/-->", re.DOTALL
)

_LARGEST_EXACT = 1e-9
"""Errors up to this are called equal in the table."""


def refreshed(text: str, report: Mapping[str, Any], models: Path) -> str:
    """A document with all its figures taken anew from where they come from.

    Args:
        text: The document.
        report: The benchmark report, JSON types.
        models: Folder of the starter set.

    Raises:
        KeyError: If a figure names a group or an engine that the report does not have.
    """
    times = medians(report)

    def value(match: re.Match[str]) -> str:
        verb, arguments = match[1], shlex.split(match[2] or "")
        if verb == "models":
            found = f"\n{_table(models)}\n"
        elif verb == "variants":
            found = f"\n{_variants(report)}\n"
        elif verb == "calibrations":
            found = f"\n{_calibrations()}\n"
        elif verb == "mb":
            found = f"{_bytes(report, arguments[0]) / 1e6:.2f}"
        elif verb == "ratio":
            group, one, other = arguments
            found = f"{times[group][one] / times[group][other]:.2f}"
        else:
            group, engine = arguments
            found = _milliseconds(times[group][engine])
        return f"<!--{verb}{match[2] or ''}-->{found}<!--/-->"

    return _PLACE.sub(value, text)


def _bytes(report: Mapping[str, Any], model: str) -> int:
    """Size of a model's own file."""
    sizes: dict[str, int] = {
        fact["model"]: fact["bytes"] for fact in report["facts"] if fact.get("variant") == "fp32"
    }
    return sizes[model]


def _milliseconds(seconds: float) -> str:
    """Two significant digits."""
    value = 1e3 * seconds
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _table(models: Path) -> str:
    """The models of the starter set."""
    index = json.loads((models / "index.json").read_text(encoding="utf-8"))["models"]
    rows = [
        "| model | task | licence | size | conversion error, against |",
        "|---|---|---|---|---|",
    ]
    for name, entry in index.items():
        certificate = json.loads((models / entry["certificate"]).read_text(encoding="utf-8"))
        found = certificate["verification"]
        error = found["max_abs_error"]
        words = "equal" if error <= _LARGEST_EXACT else f"{error:.0e} of {found['scale']:.3g}"
        size = f"{entry['bytes'] / 1e6:.2f} MB"
        if entry["precision"] != "fp32":
            size += f" ({entry['precision']})"
        licence = load_recipe(name).spec.license.name
        rows.append(
            f"| [{name}](models_onnx/{name}.md) | {entry['task']} | {licence} | {size} "
            f"| {words}, {found['oracle'].partition(',')[0]} |"
        )
    return "\n".join(rows)


def _variants(report: Mapping[str, Any]) -> str:
    """The variants for any machine: size, agreement with fp32, and accuracy."""
    facts = [fact for fact in report["facts"] if fact["fact"] == "accuracy"]
    rows = [
        "| | size / fp32 | mean cosine to fp32 | minimum cosine | ROC AUC over pairs |",
        "|---|---|---|---|---|",
    ]
    for fact in facts:
        if fact["variant"] != fact["precision"]:
            continue
        whole = next(f for f in facts if f["model"] == fact["model"] and f["variant"] == "fp32")
        low, high = fact["auc_interval"]
        rows.append(
            f"| {fact['model'].removeprefix('identification_').upper()} {fact['variant']} "
            f"| {fact['bytes'] / whole['bytes']:.2f} | {fact['mean_cosine']:.6f} "
            f"| {fact['min_cosine']:.6f} | {fact['auc']:.4f} ({low:.3f} to {high:.3f}) |"
        )
    return "\n".join(rows)


def _calibrations() -> str:
    """The calibrations in the package, at a false match rate of 0.01."""
    rows = [
        "| model | people | genuine pairs, impostor pairs | lowest FMR | threshold at FMR 0.01 "
        "| FNMR at that threshold |",
        "|---|---|---|---|---|---|",
    ]
    folder = ROOT / "runtime/mobileface/matching/calibrations"
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        found = Calibration.load(path)
        basis, threshold = found.basis, found.threshold(0.01)
        rows.append(
            f"| {found.model.partition('@')[0]} | {basis.identities} | {basis.genuine_pairs}, "
            f"{basis.impostor_pairs:,} | {found.lowest_false_match_rate:.2g} | {threshold:.3f} "
            f"| {found.false_non_match_rate(threshold)} |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    options = parser.parse_args()
    report = json.loads((ROOT / "benchmarks/results/reference.json").read_text(encoding="utf-8"))
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        fresh = refreshed(text, report, ROOT / "models_onnx")
        if fresh != text:
            stale.append(name)
            if not options.check:
                path.write_text(fresh, encoding="utf-8")
    print(f"{'out of date' if options.check else 'rewritten'}: {', '.join(stale) or 'none'}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())

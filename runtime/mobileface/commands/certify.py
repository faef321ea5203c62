"""``mobileface certify``: replays the recorded outputs of certificates on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from ..diagnostics.certification import BROKEN, FAILED, Verdict, certify
from ..errors import shown
from ..host.machine import this_machine
from ..models.lookup import list_models
from ..models.replay import platform_of
from .output import print_json, print_text
from .progress import Progress

__all__ = ["add_certify"]

_NUMBERS = ("max_abs_error", "min_cosine", "mean_cosine")


def add_certify(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface certify``."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to search for models")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Compares every variant with the record in its certificate.

    Returns:
        0 if all variants are within their tolerances, 1 if one is not, 2 if one could not be
        replayed.
    """
    models = list_models(options.models)
    progress = Progress(sum(len(model.variants) for model in models), "variants")
    verdicts = certify(models, step=progress.step)
    progress.end()
    here = platform_of(this_machine())
    for verdict in verdicts:
        if verdict.state == FAILED:
            print(f"mobileface: error: {shown(verdict.reason)}", file=sys.stderr)
    if options.json:
        print_json({"schema": 1, "platform": here, "variants": [_record(v) for v in verdicts]})
    else:
        print_text(f"here: {_platform(here)}")
        for verdict in verdicts:
            print_text(_line(verdict))
    if not verdicts:
        print("no models found; convert some with 'mobileface-convert all'", file=sys.stderr)
    states = {verdict.state for verdict in verdicts}
    return 1 if BROKEN in states else 2 if FAILED in states or not verdicts else 0


def _line(verdict: Verdict) -> str:
    """The human-readable line for one variant."""
    stored = verdict.stored
    text = f"{stored.model:<20} {stored.variant.name:<9} {verdict.state:<9}"
    found, allowed = verdict.agreement, verdict.bounds
    if found is None or allowed is None:
        return f"{text} {verdict.reason}"
    text += (
        f" max abs error {found.max_abs_error:.2g} of {found.scale:.3g}"
        f" (allowed {allowed.max_abs_error:.2g}), min cosine {found.min_cosine:.8f}"
        f" ({allowed.min_cosine:.7g})"
    )
    if allowed.mean_cosine > -1:
        text += f", mean cosine {found.mean_cosine:.6f} ({allowed.mean_cosine:g})"
    made_on = verdict.certified_on
    return f"{text}; certified on {_platform(made_on)}" if made_on else text


def _platform(platform: Any) -> str:
    """A one-line description of a platform."""
    cpu = platform.get("cpu") or "unknown CPU"
    return (
        f"{platform.get('machine')} ({cpu}), {platform.get('system')}, "
        f"ONNX Runtime {platform.get('onnxruntime')}"
    )


def _record(verdict: Verdict) -> dict[str, Any]:
    """One variant as JSON types."""
    stored, found = verdict.stored, verdict.agreement
    document = verdict.certificate or {}
    return {
        "model": stored.model,
        "variant": stored.variant.name,
        "precision": stored.variant.precision,
        "path": str(stored.path),
        "state": verdict.state,
        "reason": verdict.reason,
        "seen": None if found is None else {name: getattr(found, name) for name in _NUMBERS},
        "bounds": None if verdict.bounds is None else dataclasses.asdict(verdict.bounds),
        "certified_on": dict(verdict.certified_on),
        "verification": document.get("verification"),
        "verification_fp32": document.get("verification_fp32"),
    }

"""``mobileface doctor``: checks that everything needed is installed and works.

``--json`` prints one object::

    {"schema": 1, "version": "0.1.0", "healthy": true,
     "findings": [{"area": "tasks", "name": "detection", "state": "ok",
                   "text": "12.3 ms; detection_hog; 1 found", "hint": "",
                   "data": {"median_ms": 12.3, "models": ["detection_hog"]}}, …]}

``area`` is "python", "packages", "machine", "models" or "tasks"; ``state`` is "ok", "note"
(information), "missing" (not available, but everything else works) or "failed"; ``data`` depends on
the check. If a check failed, ``healthy`` is false and the exit code is 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..diagnostics.findings import FAILED, Finding, findings_document
from ..diagnostics.health import examine
from .output import print_json, print_text

__all__ = ["add_doctor"]


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface doctor``."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="check only this model folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Prints the findings; returns 0, or 1 if a check failed."""
    findings: list[Finding] = []
    for finding in examine(options.models):
        if not options.json:
            said = any(finding.hint == before.hint for before in findings)
            print_text(*_lines(finding, "" if said else finding.hint))
        findings.append(finding)
    failed = [finding for finding in findings if finding.state == FAILED]
    if options.json:
        print_json(findings_document(findings))
    else:
        print_text(f"{len(failed)} failed" if failed else "healthy")
    return 1 if failed else 0


def _lines(finding: Finding, hint: str) -> list[str]:
    line = f"{finding.state:<8}{finding.area:<10}{finding.name:<24}{finding.text}"
    return [line, f"{'':<42}-> {hint}"] if hint else [line]

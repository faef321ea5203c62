"""Prints text and JSON in whatever encoding the terminal has."""

from __future__ import annotations

import json
import sys

__all__ = ["INTERRUPTED", "print_json", "print_text", "say_interrupted"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def print_text(text: str) -> None:
    """Prints text; characters that the terminal cannot show are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def print_json(document: object) -> None:
    """Prints a JSON document as one line of ASCII, which works on every terminal."""
    print(json.dumps(document, allow_nan=False), flush=True)


def say_interrupted() -> None:
    """Prints that Ctrl-C ended a video early and that the output so far is saved."""
    print("mobileface: interrupted; the output so far is saved", file=sys.stderr)

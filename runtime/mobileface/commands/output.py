"""Printing for people and for programs, whatever the terminal can show."""

from __future__ import annotations

import json
import sys

__all__ = ["INTERRUPTED", "print_json", "print_text", "say_interrupted"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def print_text(text: str) -> None:
    """Prints lines; characters that the terminal cannot show come as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def print_json(document: object) -> None:
    """Prints one JSON document as one line of ASCII, which every terminal and reader takes."""
    print(json.dumps(document, allow_nan=False), flush=True)


def say_interrupted() -> None:
    """Says that Ctrl-C ended a video early, and that its files are complete so far."""
    print("mobileface: interrupted; what was done is written", file=sys.stderr)

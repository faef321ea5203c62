"""Printing for people and for programs, whatever the terminal can show."""

from __future__ import annotations

import json
import sys

from ..host.ending import exit_code, sentence

__all__ = ["print_json", "print_text", "say_interrupted"]


def print_text(text: str) -> None:
    """Prints lines; characters that the terminal cannot show come as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def print_json(document: object) -> None:
    """Prints one JSON document as one line of ASCII, which every terminal and reader takes."""
    print(json.dumps(document, allow_nan=False), flush=True)


def say_interrupted(error: KeyboardInterrupt) -> int:
    """Says that a signal ended a command early, and that its files are complete so far.

    Returns:
        The exit code.
    """
    print(f"mobileface: {sentence(error, 'what was done is written')}", file=sys.stderr)
    return exit_code(error)

"""Prints text and JSON in whatever encoding the terminal has."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from ..errors import shown
from ..host.ending import exit_code, sentence
from ..tasks.face_choice import describe_box

__all__ = ["print_json", "print_text", "say_chosen", "say_interrupted"]


def print_text(*lines: str) -> None:
    """Prints lines; control characters and what the terminal cannot show are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    text = "\n".join(map(shown, lines))
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def print_json(document: object) -> None:
    """Prints a JSON document as one line of ASCII, which works on every terminal."""
    print(json.dumps(document, allow_nan=False), flush=True)


def say_chosen(file: str, count: int, bbox: Sequence[float], how: str = "") -> None:
    """Says which of several faces of a photo was used: its box in pixels."""
    which = f"{how} one" if how else "one"
    print(
        f"mobileface: {shown(file)}: {count} faces found; used the {which} at {describe_box(bbox)}",
        file=sys.stderr,
    )


def say_interrupted(error: KeyboardInterrupt) -> int:
    """Says that a signal ended a command early, and that its files are complete so far.

    Returns:
        The exit code.
    """
    print(f"mobileface: {sentence(error, 'the output so far is saved')}", file=sys.stderr)
    return exit_code(error)

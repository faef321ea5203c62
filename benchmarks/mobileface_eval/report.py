"""Writes the results of a command: a plot, the numbers, and a summary."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from mobileface import __version__
from mobileface.commands.output import print_text
from mobileface.host.files import write_together

__all__ = ["report_files", "table", "write_report"]

SCHEMA = 1
"""Version of the JSON schema."""

_DOTS_PER_INCH = 200


def report_files(folder: Path, name: str) -> list[Path]:
    """The files that `write_report` will write."""
    return [folder / f"{name}{suffix}" for suffix in (".png", ".svg", ".json", ".md")]


def write_report(
    folder: Path, name: str, figure: Figure, numbers: dict[str, Any], summary: Sequence[str]
) -> None:
    """Writes ``name.png``, ``.svg``, ``.json`` and ``.md`` to a folder and prints the summary.

    Args:
        folder: The folder; created if it does not exist.
        name: File name without suffix.
        figure: The plot.
        numbers: Content of the JSON file, in addition to schema, command, version and time.
        summary: Lines of the Markdown file below its title.

    Raises:
        OutputError: If a file cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "command": name,
        "mobileface": __version__,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **numbers,
    }
    text = json.dumps(document, allow_nan=False, indent=1)
    files: list[tuple[Path, bytes | str]] = []
    # The same numbers produce the same SVG file: no date, no random IDs.
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        for kind, metadata in (("png", None), ("svg", {"Date": None})):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
            files.append((folder / f"{name}.{kind}", drawn.getvalue()))
    lines = [f"# {name}", "", *summary, "", f"![{name}]({name}.svg)", ""]
    files += [(folder / f"{name}.json", f"{text}\n"), (folder / f"{name}.md", "\n".join(lines))]
    write_together(files)
    print_text(*summary)
    print_text(f"written: {folder / name}.png, .svg, .json, .md")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, the first column left-aligned, the others right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]

"""What the tests share of ``mobileface-convert adopt``."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from mobileface_convert.commands.main import main

FACTS = ["--task", "embedding", "--crop", "arcface", "--color", "rgb"]
SCALING = ["--mean", "127.5", "--std", "127.5"]


def adopt(*arguments: object, ratio: float | None = 1.0) -> int:
    """Runs the command.

    Args:
        arguments: Its arguments.
        ratio: What a network for x86-64 is said to take of the portable one's time, so that the
            written files do not depend on times; None measures it.
    """
    command = ["adopt", *map(str, arguments)]
    if ratio is None:
        return main(command)
    with patch("mobileface_convert.build.variants.time_ratio", return_value=ratio):
        return main(command)


def written(folder: Path) -> list[str]:
    """All files in a folder and below, but for what locks it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name[0] != ".")


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    said = capsys.readouterr().err.strip()
    assert said.startswith("mobileface-convert: error: ")
    assert "\n" not in said
    return said

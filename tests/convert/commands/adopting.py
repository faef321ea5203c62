"""What the tests share of ``mobileface-convert adopt``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobileface_convert.commands.main import main

FACTS = ["--task", "embedding", "--crop", "arcface", "--color", "rgb"]
SCALING = ["--mean", "127.5", "--std", "127.5"]


def adopt(*arguments: object) -> int:
    return main(["adopt", *map(str, arguments)])


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

"""Runs ``mobileface-convert inspect`` for tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mobileface_convert.commands.main import main

KEYS = {
    *("format", "layers", "operators", "inputs", "outputs", "shapes", "dtypes", "size"),
    *("parameters", "weight_bytes", "weight_dtypes", "macs", "macs_reason", "macs_not_counted"),
    *("fixed_batch", "batch_can_be_freed", "convertible", "unsupported", "refused", "model"),
    "next",
}


def inspected(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What the command says of files that it can read."""
    capsys.readouterr()
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(found) == KEYS
    return found


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["inspect", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence that the command ends with."""
    capsys.readouterr()
    assert main(["inspect", *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    print(output.err)
    return output.err

"""File names with control characters in the converter's messages."""

from __future__ import annotations

from pathlib import Path

from tests.runtime.host.test_terminal import check


def test_the_converter(tmp_path: Path) -> None:
    check("mobileface_convert", "inspect", tmp_path)

"""File names with control characters in the converter's messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.host.test_terminal import check


@pytest.mark.slow
def test_the_converter(tmp_path: Path) -> None:
    check("mobileface_convert", "inspect", tmp_path)

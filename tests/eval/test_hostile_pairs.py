"""Lists of pairs with numbers that are none, too long, or lead out of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobileface.errors import InputError
from mobileface_eval.datasets.face_sets import read_pairs

LINES = [
    f"A {'9' * 5000} 2",
    f"A 1 B {'9' * 5000}",
    "A ² ³",
    "A ١ ٢",
    "A -1 2",
    "A 1e9 2",
    "../A 1 2",
    "/etc 1 2",
    "../a.jpg b.jpg 1",
    "A\x1b[31m 1 2 3 4",
    "A",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("first", ["", "10 300\n", f"{'9' * 5000}\n"])
def test_one_error(first: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"{first}{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_pairs(path, tmp_path)
    print(str(caught.value)[:200])
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)

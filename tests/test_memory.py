"""Memory does not grow with the number of images, of any size, or with the length of a video."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "memory_growth.py"
LARGEST_SLOPE = 100
"""Bytes per image or frame, after a warm-up."""

CEILING = 256
"""Peak memory allowed with the starter set, in MB: the amount that doctor requires."""


@pytest.mark.endurance
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measured on Linux only")
@pytest.mark.parametrize(
    "options",
    [["--images", "10000", "--sizes", "200", "--largest", "200"], ["--video", "--images", "5000"]],
    ids=["images of 200 sizes", "video"],
)
def test_memory_does_not_grow(options: list[str]) -> None:
    command = [sys.executable, str(SCRIPT), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    print(found)
    assert found["images"] == int(options[options.index("--images") + 1])
    assert found["faces"] > found["images"] / 10
    assert found["bytes_an_image"] <= LARGEST_SLOPE
    assert found["peak_mb"] <= CEILING

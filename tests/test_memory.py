"""Memory does not grow with the number of images or the length of a video."""

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


LARGE = """
import json, resource, sys
import cv2, numpy as np
from mobileface import FaceAnalyzer, read_image
path, megapixels, *tasks = sys.argv[1:]
analyzer = FaceAnalyzer(tasks=tasks or None)
small = read_image(path)
analyzer(small)
height = round((float(megapixels) * 750000) ** 0.5)
image = np.empty((height, height * 4 // 3, 3), np.uint8)
cv2.resize(small, image.shape[1::-1], dst=image)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
faces = analyzer(image)
print(json.dumps({"faces": len(faces), "added_mb": peak() - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")
@pytest.mark.parametrize("megapixels", [50, 144])
@pytest.mark.parametrize(
    ("tasks", "most"), [(["detection"], 120), ([], 450)], ids=["detection", "all tasks"]
)
def test_large_photos(megapixels: int, tasks: list[str], most: int, portrait: Path) -> None:
    """What the default models need besides the photo, with a face of a sixth of its width."""
    command = [sys.executable, "-c", LARGE, str(portrait), str(megapixels), *tasks]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    print(f"{megapixels} megapixels, {tasks or 'all tasks'}: {found}")
    assert found["faces"] == 1
    assert found["added_mb"] <= most

"""Tiny models, and images of synthetic people: each person is a pattern, each image adds noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.conftest import MODELS, clean_environment

__all__ = ["clean_environment"]

PEOPLE = 12
IMAGES = 3
SIDE = 24


@pytest.fixture(scope="session")
def models() -> Path:
    return MODELS


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps tests from reading or writing the user's cache."""
    monkeypatch.setenv("MOBILEFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def synthetic() -> dict[str, list[bytes]]:
    """Encoded images by person, the same as in the folder of `people`."""
    random = np.random.default_rng(12)
    found = {}
    for person in range(PEOPLE):
        pattern = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        large = cv2.resize(pattern, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(float)
        noise = random.normal(0, 25, (IMAGES, SIDE, SIDE, 3))
        images = np.clip(large + noise, 0, 255).astype(np.uint8)
        found[f"person{person:02d}"] = [cv2.imencode(".png", p)[1].tobytes() for p in images]
    return found


@pytest.fixture
def people(tmp_path: Path, synthetic: dict[str, list[bytes]]) -> Path:
    """A folder with one subfolder per person; tests may modify it."""
    folder = tmp_path / "people"
    for name, contents in synthetic.items():
        (folder / name).mkdir(parents=True)
        for number, content in enumerate(contents, 1):
            (folder / name / f"{name}_{number:04d}.png").write_bytes(content)
    return folder

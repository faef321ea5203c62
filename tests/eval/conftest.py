"""Tiny models and sets of invented people: each a pattern, their pictures that with noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.conftest import MODELS, clean_environment

__all__ = ["clean_environment"]

PEOPLE = 12
PICTURES = 3
SIDE = 24


@pytest.fixture(scope="session")
def models() -> Path:
    return MODELS


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("MOBILEFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def invented() -> dict[str, list[bytes]]:
    """Encoded pictures by person: what the folders below hold."""
    random = np.random.default_rng(12)
    found = {}
    for person in range(PEOPLE):
        pattern = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        large = cv2.resize(pattern, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(float)
        noise = random.normal(0, 25, (PICTURES, SIDE, SIDE, 3))
        pictures = np.clip(large + noise, 0, 255).astype(np.uint8)
        found[f"person{person:02d}"] = [cv2.imencode(".png", p)[1].tobytes() for p in pictures]
    return found


@pytest.fixture
def people(tmp_path: Path, invented: dict[str, list[bytes]]) -> Path:
    """A folder with a folder for each person, which a test may change."""
    folder = tmp_path / "people"
    for name, contents in invented.items():
        (folder / name).mkdir(parents=True)
        for number, content in enumerate(contents, 1):
            (folder / name / f"{name}_{number:04d}.png").write_bytes(content)
    return folder

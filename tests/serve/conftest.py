from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Running, serving

PORTRAIT = Path(__file__).parents[2] / "docs" / "astronaut.jpg"


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server without keys, with an empty gallery; tests leave the gallery as they found it."""
    folder = tmp_path_factory.mktemp("serve")
    with serving(gallery=folder / "people.gallery") as server:
        yield server


@pytest.fixture(scope="session")
def portrait() -> bytes:
    return PORTRAIT.read_bytes()

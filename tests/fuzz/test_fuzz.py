"""Every reader on files that are not damaged, and on damaged ones with fixed seeds."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .mutations import STRANGE, damage, damage_json
from .reader import Reader
from .readers import READERS
from .run import Count, one

SEEDS = 300


def reader_id(reader: Reader) -> str:
    return reader.name


@pytest.mark.parametrize("reader", READERS, ids=reader_id)
def test_good_files_are_read(reader: Reader, tmp_path: Path) -> None:
    """Otherwise the damaged ones are refused for another reason."""
    for number, content in enumerate(reader.good):
        path = tmp_path / f"good{number}{reader.suffix}"
        path.write_bytes(content)
        reader.read(path)


def test_damage_is_seeded_and_does_something() -> None:
    data = bytes(range(256)) * 4
    document = {"a": [1, {"b": "c"}], "d": {"e": None}}
    made = [damage(data, random.Random(seed)) for seed in range(200)]
    assert made == [damage(data, random.Random(seed)) for seed in range(200)]
    assert sum(one != data for one in made) > 190
    found = [repr(damage_json(document, random.Random(seed))) for seed in range(500)]
    assert len(set(found)) > 200
    assert document == {"a": [1, {"b": "c"}], "d": {"e": None}}
    assert len(STRANGE) > 20


@pytest.mark.endurance
@pytest.mark.parametrize("reader", READERS, ids=reader_id)
def test_damaged_files(reader: Reader, tmp_path: Path) -> None:
    """Each is read or refused by an error of the project, in one line."""
    if not reader.good:
        assert not os.environ.get("CI"), "in CI every reader is fuzzed"
        pytest.skip("what writes its files is not installed")
    count = Count()
    for seed in range(SEEDS):
        one(reader, 10**6 + seed, tmp_path, count)
    print(reader.name, count)
    assert not count.found
    assert count.read + count.refused == SEEDS

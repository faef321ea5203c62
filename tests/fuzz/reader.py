"""What a reader of files is to the fuzzer."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .mutations import damage, damage_json

__all__ = ["Reader"]


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        name: Its name.
        seeds: The content of good files.
        read: Reads a file; what it raises is judged by the caller.
        suffix: Suffix of the file.
        is_json: Files are also damaged by their structure.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path], object]
    suffix: str = ".bin"
    is_json: bool = False

    def mutant(self, chance: random.Random) -> bytes:
        """A damaged file."""
        data = chance.choice(self.good)
        if self.is_json and chance.random() < 0.7:
            return json.dumps(damage_json(json.loads(data), chance)).encode()
        return damage(data, chance)

    @functools.cached_property
    def good(self) -> Sequence[bytes]:
        """The good files."""
        return self.seeds()

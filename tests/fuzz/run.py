"""``python -m tests.fuzz.run --minutes 10``: damaged files for every reader, until time is up.

A reader may refuse a file with an error of `mobileface.errors`, or read it. Anything else is a
finding: the file is kept, and its reader, seed and error are printed. If the process dies, the file
that killed it is the one named ``current`` in the folder.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from mobileface.errors import MobileFaceError

from .reader import Reader
from .readers import READERS

__all__ = ["Count", "TooSlowError", "main", "one"]

_SECONDS, _BYTES = 20, 6 << 30
_ROUND = 20
"""Files for one reader before the next has its turn."""


class TooSlowError(Exception):
    """A reader took longer than it may."""


class Count:
    """What became of the files of one reader."""

    def __init__(self) -> None:
        self.read = self.refused = 0
        self.found: list[str] = []

    def __str__(self) -> str:
        return f"{self.read} read, {self.refused} refused, {len(self.found)} found"


def one(reader: Reader, seed: int, folder: Path, count: Count) -> None:
    """Reads one damaged file.

    Args:
        reader: The reader.
        seed: Determines the damage.
        folder: Where the file is written, and kept if it is a finding.
        count: Is added to.
    """
    data = reader.mutant(random.Random(f"{reader.name} {seed}"))
    path = folder / f"current{reader.suffix}"
    path.write_bytes(data)
    signal.alarm(_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about the damage
            reader.read(path)
        count.read += 1
    except MobileFaceError as error:
        if "\n" in str(error) or "\x1b" in str(error):
            _keep(reader, seed, folder, data, error, count)
        count.refused += 1
    except Exception as error:
        _keep(reader, seed, folder, data, error, count)
    finally:
        signal.alarm(0)


def _keep(
    reader: Reader, seed: int, folder: Path, data: bytes, error: Exception, count: Count
) -> None:
    kept = folder / f"{reader.name}_{seed}{reader.suffix}"
    kept.write_bytes(data)
    text = f"{reader.name} seed {seed}: {type(error).__name__}: {str(error)[:300]!r}; {kept}"
    count.found.append(text)
    print(text, flush=True)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError(f"more than {_SECONDS} seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="first seed; default: %(default)s")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--only", nargs="+", choices=[reader.name for reader in READERS])
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _too_slow)
    chosen = [r for r in READERS if options.only is None or r.name in options.only]
    chosen = [reader for reader in chosen if reader.good]
    counts = {reader.name: Count() for reader in chosen}
    end, seed = time.monotonic() + 60 * options.minutes, options.seed
    while time.monotonic() < end:
        for reader in chosen:
            for number in range(seed, seed + _ROUND):
                one(reader, number, options.folder, counts[reader.name])
        seed += _ROUND
    for name, count in counts.items():
        print(f"{name:<18} {count}")
    print(f"seeds {options.seed} to {seed - 1}")
    return int(any(count.found for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())

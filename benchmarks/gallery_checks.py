"""What the checks of a gallery's matrix file cost beside loading and searching it; prints JSON.

    python benchmarks/gallery_checks.py FOLDER [--rows 200000]

All in one process, interleaved, medians in seconds. ``load`` opens the gallery and maps the file,
checks included; ``check`` is what they take of it, ``crc32`` what zlib's CRC-32 takes for the same
bytes on as many threads. ``first_search`` includes ``load``, ``search`` is a later one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import numpy as np

from benchmarks.gallery_million import TOP, block, fill
from mobileface.gallery import Gallery, matrix_file
from mobileface.host.threads import default_threads

TURNS, PART = 21, 1 << 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    path = options.folder / f"{options.rows}.gallery"
    if not path.exists():
        fill(path, options.rows)
    print(json.dumps({"rows": options.rows, **measure(path)}))


def measure(path: Path) -> dict[str, float]:
    probe = block(0)[:1]
    with Gallery.open(path) as kept:
        kept.search(probe, top=TOP)  # makes the file
        content = np.fromfile(kept.refreshed_matrix().path, np.uint8)

        def load() -> None:
            with Gallery.open(path) as gallery:
                gallery.refreshed_matrix()

        def first_search() -> None:
            with Gallery.open(path) as gallery:
                gallery.search(probe, top=TOP)

        ways: dict[str, Callable[[], object]] = {
            "load": load,
            "check": lambda: in_parts(content, matrix_file.page_sums),
            "crc32": lambda: in_parts(content, crc32),
            "first_search": first_search,
            "search": lambda: kept.search(probe, top=TOP),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                spent[name].append(time.perf_counter() - start)
    seconds = {name: float(np.median(times)) for name, times in spent.items()}
    pairs = (("check", "crc32"), ("check", "load"), ("check", "search"), ("check", "first_search"))
    ratios = {f"{a}/{b}": round(seconds[a] / seconds[b], 3) for a, b in pairs}
    return {"bytes": len(content), **seconds, **ratios}


def in_parts(content: np.ndarray, check: Callable[[np.ndarray], object]) -> list[object]:  # type: ignore[type-arg]
    """What a check gives for each part, on all CPUs."""
    parts = (content[start : start + PART] for start in range(0, len(content), PART))
    with ThreadPoolExecutor(default_threads()) as pool:
        return list(pool.map(check, parts))


if __name__ == "__main__":
    main()

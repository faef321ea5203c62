"""Compares a gallery of a million people with faiss-cpu's flat index in one process; prints JSON.

    python benchmarks/gallery_million.py FOLDER [--rows 1000000]

The gallery (random 256-d unit vectors, stored as float16) is created in the folder if it does not
exist. Peak memory covers writing the matrix file and searching, before faiss gets its own copy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.gallery import Gallery, NewFace, Stamp
from mobileface.host.measure import peak_memory

SIZE, BLOCK, PROBES, TOP = 256, 10_000, 100, 5
TURNS = {1: 15, PROBES: 3}

Vectors = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    path = options.folder / f"{options.rows}.gallery"
    if not path.exists():
        fill(path, options.rows)
    path.with_name(f"{path.name}-matrix").unlink(missing_ok=True)
    with Gallery.open(path) as gallery:
        print(json.dumps(measure(gallery, options.rows)))


def block(number: int) -> Vectors:
    """Ten thousand random unit vectors."""
    random = np.random.default_rng(number)
    return unit(random.standard_normal((BLOCK, SIZE), dtype=np.float32))


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def fill(path: Path, rows: int) -> None:
    stamp = Stamp(
        "invented@0123456789ab", "0" * 64, SIZE, "arcface", 112, 112, "rgb", storage="float16"
    )
    with Gallery.create(path, stamp) as gallery:
        for number in range(rows // BLOCK):
            with gallery.database.write():
                for place, vector in enumerate(block(number), number * BLOCK):
                    gallery.add(f"person {place}", [NewFace(vector)])


def measure(gallery: Gallery, rows: int) -> dict[str, object]:
    picked = np.concatenate([block(number)[:1] for number in range(min(PROBES, rows // BLOCK))])
    noise = np.random.default_rng(5).standard_normal(picked.shape, dtype=np.float32)
    probes = unit(np.resize(picked + 0.02 * noise, (PROBES, SIZE)))
    start = time.perf_counter()
    gallery.search(probes[:1], top=TOP)
    first = time.perf_counter() - start
    found = gallery.search(probes, top=TOP)
    peak = peak_memory()
    import faiss  # imported late so that its copy of the matrix is not measured

    index = faiss.IndexFlatIP(SIZE)
    for number in range(rows // BLOCK):
        index.add(block(number).astype(np.float16).astype(np.float32))
    _, expected = index.search(probes, TOP)
    same = [
        [match.name for match in result.matches] == [f"person {row}" for row in order]
        for result, order in zip(found, expected, strict=True)
    ]
    seconds = {}
    for count, turns in TURNS.items():
        some = probes[:count]
        seconds[count] = interleaved(
            lambda some=some: gallery.search(some, top=TOP),  # type: ignore[misc]
            lambda some=some: index.search(some, TOP),  # type: ignore[misc]
            turns,
        )
    return {
        "rows": rows,
        "first_search_seconds": first,
        "peak_bytes": peak,
        "equal": sum(same) / len(same),
        **{f"seconds_{count}": pair[0] for count, pair in seconds.items()},
        **{f"faiss_seconds_{count}": pair[1] for count, pair in seconds.items()},
    }


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], turns: int
) -> tuple[float, float]:
    """Median seconds of both functions, runs interleaved."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for run, spent in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            run()
            spent.append(time.perf_counter() - start)
    return float(np.median(times[0])), float(np.median(times[1]))


if __name__ == "__main__":
    main()

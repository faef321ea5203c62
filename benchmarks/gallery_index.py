"""Measures recall and speed of usearch in a large gallery; prints JSON.

    python benchmarks/gallery_index.py FOLDER [--rows 1000000]

Face embeddings vary in few directions, and so do these synthetic ones: people are random in a
32-dimensional subspace of 256 dimensions, five images of each person vary in the same subspace and
a little in all dimensions, and the probes are sixth images. (Vectors that are random in all 256
dimensions have no near neighbours.)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.gallery import Gallery, NewFace, Stamp, measure_recall
from mobileface.gallery.usearch_engine import UsearchEngine

SIZE, DIRECTIONS, IMAGES, PEOPLE, PROBES = 256, 32, 5, 2000, 1000
EXPANSIONS = (64, 128, 256)

Vectors = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    path = options.folder / f"people-{options.rows}.gallery"
    random = np.random.default_rng(0)
    mixing = random.standard_normal((DIRECTIONS, SIZE), dtype=np.float32) / DIRECTIONS**0.5
    if not path.exists():
        fill(path, options.rows, mixing)
    with Gallery.open(path) as gallery:
        probes = images(people(0, mixing)[:PROBES], mixing, np.random.default_rng(99))
        for expansion in EXPANSIONS:
            engine = UsearchEngine(expansion_search=expansion)
            start = time.perf_counter()
            gallery.search(probes[:1], engine=engine)
            record = {"rows": options.rows, "expansion_search": expansion}
            record["first_search_seconds"] = time.perf_counter() - start
            print(json.dumps(record | dataclasses.asdict(measure_recall(gallery, engine, probes))))


def people(block: int, mixing: Vectors) -> Vectors:
    """float32 (PEOPLE, SIZE): the centres of a block of people."""
    random = np.random.default_rng((1, block))
    found = random.standard_normal((PEOPLE, DIRECTIONS), dtype=np.float32) @ mixing
    return np.asarray(found, np.float32)


def images(of: Vectors, mixing: Vectors, random: np.random.Generator) -> Vectors:
    """The L2-normalised embedding of one image of each person."""
    within = random.standard_normal((len(of), DIRECTIONS), dtype=np.float32) @ mixing
    found = of + 0.35 * within + 0.15 * random.standard_normal(of.shape, dtype=np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def fill(path: Path, rows: int, mixing: Vectors) -> None:
    stamp = Stamp(
        "invented@0123456789ab", "0" * 64, SIZE, "arcface", 112, 112, "rgb", storage="float16"
    )
    with Gallery.create(path, stamp) as gallery:
        for block in range(rows // (PEOPLE * IMAGES)):
            random = np.random.default_rng((2, block))
            centres = people(block, mixing)
            taken = [images(centres, mixing, random) for _ in range(IMAGES)]
            with gallery.database.write():
                for number, faces in enumerate(zip(*taken, strict=True), block * PEOPLE):
                    gallery.add(f"person {number}", [NewFace(face) for face in faces])


if __name__ == "__main__":
    main()

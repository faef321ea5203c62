"""Converts the identification models and compares real faces with each of them.

    python examples/demo.py [--source DIR_OR_URL] [--models DIR]

The faces are pairs of LFW-Aligned-100Pair in the source: crops that are aligned already.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from mobileface import list_models, load, read_image
from mobileface.errors import MobileFaceError
from mobileface_convert.cli import main as convert

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 100
SHOWN = 4


def main() -> int:
    options = parse_arguments()
    print("Converting (offline stage, no MXNet needed)", flush=True)
    arguments = ["all", "--output", str(options.models)]
    if options.source:
        arguments += ["--source", options.source]
    code = convert(arguments)
    if code:
        print("Without MobileFace's files: set MOBILEFACE_SOURCE to a checkout of them.")
        return code
    pairs = find_pairs(options.source)
    if not pairs:
        print("The source holds no LFW-Aligned-100Pair, so there are no faces to compare.")
        return 0
    for model in list_models(options.models, task="embedding"):
        compare(model.name, options.models, pairs)
    return 0


def parse_arguments() -> argparse.Namespace:
    beside = ROOT.parent / "shared" / "mobileface"
    default = os.environ.get("MOBILEFACE_SOURCE") or (str(beside) if beside.is_dir() else None)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default=default, help="folder or address of MobileFace's files")
    parser.add_argument("--models", type=Path, default=ROOT / "models_onnx", help="models folder")
    return parser.parse_args()


def find_pairs(source: str | None) -> list[tuple[Path, Path]]:
    """Two crops of each person."""
    folder = Path(source or "") / "data" / "LFW-Aligned-100Pair"
    people = sorted(path for path in folder.glob("*") if path.is_dir())
    crops = [sorted(person.glob("*.jpg"))[:2] for person in people[:PEOPLE]]
    return [(pair[0], pair[1]) for pair in crops if len(pair) == 2]


def compare(name: str, models: Path, pairs: list[tuple[Path, Path]]) -> None:
    """Prints similarities of some pairs, and how well all pairs are told apart."""
    embedder = load(name, models=models)
    first, second = (embedder.embed([read_image(pair[side]) for pair in pairs]) for side in (0, 1))
    similarity = first @ second.T
    print(f"\n{name}: cosine similarity")
    for index in range(min(SHOWN, len(pairs))):
        a, b = pairs[index][0].parent.name, pairs[index - 1][0].parent.name
        print(f"  {similarity[index, index]:6.3f}  same       {a}")
        print(f"  {similarity[index, index - 1]:6.3f}  different  {a} / {b}")
    others = similarity[~np.eye(len(pairs), dtype=bool)]
    print(
        f"  mean of {len(pairs)} same-person pairs {similarity.diagonal().mean():.3f}, "
        f"of {others.size} different-person pairs {others.mean():.3f}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MobileFaceError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        sys.exit(2)

"""Converts the models, compares real faces with each identification model, analyses a photo.

    python examples/demo.py [--source DIR_OR_URL] [--models DIR] [--output DIR]

The faces are pairs of LFW-Aligned-100Pair in the source: crops that are aligned already, in the way
of V1; V2 and V3 want another crop, which the analysis of the photo makes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from mobileface import FaceAnalyzer, draw_faces, list_models, load_embedder, read_image
from mobileface.commands.faces import write_picture
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
    for model in list_models(options.models, task="embedding"):
        if pairs:
            compare(model.name, options.models, pairs)
    photo = Path(options.source or "") / "example" / "friends.jpg"
    if photo.is_file() and list_models(options.models, task="detection"):
        analyse(photo, options.models, options.output)
    return 0


def parse_arguments() -> argparse.Namespace:
    beside = ROOT.parent / "shared" / "mobileface"
    default = os.environ.get("MOBILEFACE_SOURCE") or (str(beside) if beside.is_dir() else None)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default=default, help="folder or address of MobileFace's files")
    parser.add_argument("--models", type=Path, default=ROOT / "models_onnx", help="models folder")
    parser.add_argument("--output", type=Path, default=ROOT / "output", help="for pictures")
    return parser.parse_args()


def analyse(photo: Path, models: Path, folder: Path) -> None:
    """Finds the faces of a photo, prints them and writes the annotated picture."""
    analyzer = FaceAnalyzer(models)
    image = read_image(photo)
    faces = analyzer(image)
    print(f"\n{photo.name}: {len(faces)} faces; tasks: {', '.join(analyzer.tasks)}")
    for task, reason in analyzer.missing.items():
        print(f"  not run: {task} ({reason})")
    for face in faces:
        x1, y1, x2, y2 = face.bbox
        print(f"  score {face.det_score:.2f}  box ({x1:.0f}, {y1:.0f})-({x2:.0f}, {y2:.0f})")
    target = folder / "friends.png"
    write_picture(target, draw_faces(image, faces))
    print(f"annotated picture: {target}")


def find_pairs(source: str | None) -> list[tuple[Path, Path]]:
    """Two crops of each person."""
    folder = Path(source or "") / "data" / "LFW-Aligned-100Pair"
    people = sorted(path for path in folder.glob("*") if path.is_dir())
    crops = [sorted(person.glob("*.jpg"))[:2] for person in people[:PEOPLE]]
    return [(pair[0], pair[1]) for pair in crops if len(pair) == 2]


def compare(name: str, models: Path, pairs: list[tuple[Path, Path]]) -> None:
    """Prints similarities of some pairs, and how well all pairs are told apart."""
    embedder = load_embedder(name, models=models)
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

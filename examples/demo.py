"""Analyses a portrait with the bundled models, compares faces, and shows MobileFace's own models.

    python examples/demo.py [PHOTO ...] [--source DIR_OR_URL] [--output DIR]

The demo always uses the portrait of Eileen Collins that is included in scikit-image (NASA, public
domain). It also analyses your own photos and compares all faces with each other. If MobileFace's
files are available (``--source``, ``MOBILEFACE_SOURCE``, or ``../shared/mobileface``), it converts
their models to OUTPUT/models and shows them too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

import cv2
import numpy as np

from mobileface import (
    Backdrop,
    FaceAnalyzer,
    FaceSwapper,
    MakeupTransfer,
    align,
    anonymize,
    change_background,
    draw_faces,
    draw_portrait,
    enhance,
    list_models,
    load,
    load_embedder,
    makeup,
    read_image,
)
from mobileface.commands.faces import write_picture
from mobileface.commands.main import main as mobileface_command
from mobileface.effects.mesh_regions import region_mask
from mobileface.errors import InputError, MobileFaceError
from mobileface.tasks.table import TASKS
from mobileface.types import Face
from mobileface.vision.image import Image
from mobileface_convert.commands.main import main as convert

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 100
SHOWN = 4


def main() -> int:
    options = parse_arguments()
    analyzer = FaceAnalyzer()
    print(f"Models: {', '.join(name for names in analyzer.models.values() for name in names)}")
    for task, reason in analyzer.missing.items():
        print(f"Not run: {task} ({reason})")
    portrait = find_portrait()
    compare_variants(analyzer, portrait, options.output)
    retouch(analyzer, portrait, options.output)
    show_effects(portrait, options.output)
    identify(portrait, options.output)
    found = [(portrait, analyse(analyzer, portrait, options.output)[0])]
    for path in options.photos:
        found += [(path, face) for face in analyse(analyzer, path, options.output)]
    compare_faces(found)
    if not options.source:
        print("\nMobileFace's own models: mobileface-convert all --output DIR, then --models DIR")
        return 0
    return show_own_models(options.source, options.output)


def parse_arguments() -> argparse.Namespace:
    shared = ROOT.parent / "shared" / "mobileface"
    default = os.environ.get("MOBILEFACE_SOURCE") or (str(shared) if shared.is_dir() else None)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    parser.add_argument("--source", default=default, help="folder or URL of MobileFace's files")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "output", help="folder for all results"
    )
    return parser.parse_args()


def find_portrait() -> Path:
    """The portrait in the installed scikit-image package; the package is not imported."""
    found = importlib.util.find_spec("skimage")
    places = list(found.submodule_search_locations or ()) if found else []
    path = Path(places[0]) / "data" / "astronaut.png" if places else Path("astronaut.png")
    if not path.is_file():
        raise InputError("scikit-image is not installed", hint="pip install -e '.[demo]'")
    return path


def analyse(analyzer: FaceAnalyzer, path: Path, folder: Path) -> list[Face]:
    """Detects the faces of a photo, prints them and writes the annotated photo."""
    image = read_image(path)
    faces = analyzer(image)
    print(f"\n{path.name}: {len(faces)} face{'' if len(faces) == 1 else 's'}")
    for face in faces:
        for task in TASKS:
            if words := task.to_text(face):
                print(f"  {task.name}: {', '.join(words)}")
    target = folder / f"{path.stem}.png"
    write_picture(target, draw_faces(image, faces))
    print(f"  annotated photo: {target}")
    return faces


def variants(image: Image) -> dict[str, Image]:
    """The same face under different conditions."""
    dark = (255 * (image / 255.0) ** 2.2).astype(np.uint8)
    side = np.linspace(0.35, 1.3, image.shape[1])[None, :, None]
    return {
        "unchanged": image,
        "darker": dark,
        "lit from the right": np.clip(image * side, 0, 255).astype(np.uint8),
        "half the size": cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        "three times as large": cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC),
        "mirrored": np.ascontiguousarray(image[:, ::-1]),
    }


def compare_variants(analyzer: FaceAnalyzer, path: Path, folder: Path) -> None:
    """Prints how similar a face is to itself under different conditions, and writes the crops."""
    assert analyzer.embedder is not None
    embedder, first, tiles = analyzer.embedder, None, []
    print(f"\n{path.name}, compared with itself by {embedder.name} (cosine, 1 is equal)")
    for name, image in variants(read_image(path)).items():
        faces = analyzer(image)
        if not faces or faces[0].landmarks is None:
            print(f"  no face   {name}")
            continue
        first = first or faces[0]
        similarity = first.similarity(faces[0])
        print(f"  {similarity:.3f}     {name}")
        tile = align(image, faces[0].landmarks, crop=embedder.crop, size=150)
        cv2.putText(tile, f"{similarity:.3f}", (6, 142), 0, 0.6, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, f"{similarity:.3f}", (6, 142), 0, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    target = folder / f"{path.stem}_variants.png"
    write_picture(target, np.hstack(tiles))
    print(f"  as an image: {target}")


def compare_faces(found: list[tuple[Path, Face]]) -> None:
    """Prints the similarity of each pair of faces."""
    known = [(path, face) for path, face in found if face.embedding is not None]
    if len(known) > 1:
        print("\nThe faces, compared with each other")
    for number, (path, face) in enumerate(known):
        for other_path, other in known[number + 1 :]:
            print(f"  {face.similarity(other):.3f}  {path.name} / {other_path.name}")


def show_own_models(source: str, folder: Path) -> int:
    """Converts MobileFace's models and shows their results."""
    models = folder / "models"
    print("\nMobileFace's own models (converted offline, without MXNet)", flush=True)
    code = convert(["all", "--source", source, "--output", str(models)])
    if code:
        return code
    pairs = find_pairs(source)
    if not pairs:
        print("The source has no LFW-Aligned-100Pair data set, so no pairs are compared.")
    for model in list_models(models, task="embedding"):
        if pairs and model.name.startswith("identification"):
            compare_pairs(model.name, models, pairs)
    photo = Path(source) / "example" / "friends.jpg"
    if photo.is_file():
        analyzer = FaceAnalyzer(models)  # the bundled models complete the set
        print(f"\nModels: {', '.join(n for names in analyzer.models.values() for n in names)}")
        analyse(analyzer, photo, folder)
    video = Path(source) / "example" / "friends1.mp4"
    return follow(video, folder) if video.is_file() else 0


def retouch(analyzer: FaceAnalyzer, path: Path, folder: Path) -> None:
    """Writes images before and after enhancement of a dark image, makeup and blur of a face."""
    part = read_image(path)[30:290, 90:350]
    image = np.asarray(cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    dark = (image * 0.3).astype(np.uint8)
    faces = analyzer(image)
    pairs = {
        "enhancement": (dark, enhance(dark)),
        "makeup": (image, makeup(image, faces, whiten_rate=0.2)),
        "anonymization": (image, anonymize(image, faces)),
    }
    print()
    for name, (before, after) in pairs.items():
        target = folder / f"{path.stem}_{name}.png"
        write_picture(target, np.hstack([before, after]))
        print(f"{name}, before and after: {target}")


def show_effects(path: Path, folder: Path) -> None:
    """Writes the portrait with each effect, side by side."""
    image = read_image(path)
    analyzer = FaceAnalyzer(tasks=("detection", "landmarks"), landmarks="landmark_mesh")
    mask = load("segmentation_selfie")(image)
    faces = analyzer(image)
    painted = paint(image, faces[0])
    other = (255 * (image[:, ::-1] / 255.0) ** [1.5, 1.2, 1.1]).astype(np.uint8)
    drawing = draw_portrait(image, faces, mask, enlarge=False)
    tiles = {
        "unchanged": image,
        "painted": painted,
        "makeup --like it": MakeupTransfer(painted, faces[0])(image, faces),
        "anonymize": anonymize(image, faces, method="pixelate"),
        "background": change_background(image, mask, Backdrop(blur=2)),
        "portrait": cv2.cvtColor(drawing, cv2.COLOR_GRAY2BGR),
        "another picture": other,
        "swap": FaceSwapper(image, faces[0])(other, analyzer(other)),
    }
    shown = []
    for name, tile in tiles.items():
        part = tile[:, ::-1][:300, 60:360][:, ::-1] if name in ("another picture", "swap") else None
        cut = np.ascontiguousarray(tile[:300, 60:360] if part is None else part)
        cv2.rectangle(cut, (0, 276), (300, 300), (255, 255, 255), -1)
        cv2.putText(cut, name, (8, 293), 0, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        shown.append(cut)
    target = folder / f"{path.stem}_effects.png"
    write_picture(target, np.vstack([np.hstack(shown[:4]), np.hstack(shown[4:])]))
    print(f"effects: {target}")


def paint(image: Image, face: Face) -> Image:
    """The picture with lipstick and eye shadow, for want of a photo of somebody with makeup."""
    assert face.mesh is not None
    result = image.astype(np.float32)
    for region, color in (("lips", (50, 15, 150)), ("shadow", (150, 80, 50))):
        light = result.mean(axis=2, keepdims=True) / 110
        weight = 0.7 * region_mask(image.shape, face.mesh.points, region, feather=1.5)[..., None]
        result += weight * (light * np.array(color, np.float32) - result)
    return np.clip(result, 0, 255).astype(np.uint8)


def follow(video: Path, folder: Path) -> int:
    """Tracks the faces of a video with the bundled models; embeddings keep the identities."""
    target = folder / f"{video.stem}.mp4"
    print(f"\nTracking {video.name}: detection when needed, embeddings keep the identities")
    lines = folder / f"{video.stem}.jsonl"
    options = ["--detect-every", "auto", "--same-person", "0.93", "--embedder", "embedding_dlib"]
    command = ["track", str(video), "--output", str(target), "--tracks", str(lines), *options]
    return mobileface_command(command)


def identify(path: Path, folder: Path) -> None:
    """Enrols people from one folder per person, and identifies the face in another image."""
    people, gallery, search = folder / "people", folder / "people.gallery", folder / "search"
    portrait = read_image(path)
    face = portrait[30:250, 110:340]
    made = variants(face)
    for number, name in enumerate(("unchanged", "darker", "three times as large")):
        write_picture(people / "Eileen Collins" / f"{number}.png", made[name])
    write_picture(search / "another_picture.png", made["lit from the right"])
    print("\nA gallery: people/NAME/*.png are enrolled, another image is identified", flush=True)
    gallery.unlink(missing_ok=True)
    common = ["--gallery", str(gallery)]
    for command in (
        ["create", "--embedder", "embedding_dlib"],
        ["add-folder", str(people)],
        ["list"],
        ["search", str(search), "--fmr", "0.01"],
    ):
        mobileface_command(["gallery", *command, *common])


def find_pairs(source: str) -> list[tuple[Path, Path]]:
    """Two crops of each person, already aligned for V1."""
    folder = Path(source) / "data" / "LFW-Aligned-100Pair"
    people = sorted(path for path in folder.glob("*") if path.is_dir())
    crops = [sorted(person.glob("*.jpg"))[:2] for person in people[:PEOPLE]]
    return [(pair[0], pair[1]) for pair in crops if len(pair) == 2]


def compare_pairs(name: str, models: Path, pairs: list[tuple[Path, Path]]) -> None:
    """Prints similarities of some pairs, and mean similarities of all pairs."""
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

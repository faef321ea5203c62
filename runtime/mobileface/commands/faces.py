"""``mobileface detect | landmarks | pose | attributes | align | analyze``: photos in, faces out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from ..analyzer import FaceAnalyzer
from ..errors import InputError, ModelNotFoundError, OutputError
from ..host.files import write_aside
from ..tasks.align import align, allows_crop
from ..types import Attributes, Face
from ..vision.crops import CROPS
from ..vision.draw import draw_faces
from ..vision.image import Image
from .inputs import Pictures, find_pictures
from .output import print_json, print_text

__all__ = [
    "face_record",
    "face_values",
    "report_damaged",
    "run_align",
    "run_faces",
    "unique_stem",
    "write_picture",
]

_TASKS: dict[str, Sequence[str] | None] = {
    "detect": ("detection",),
    "landmarks": ("detection", "landmarks"),
    "pose": ("detection", "landmarks", "pose"),
    "attributes": ("detection", "landmarks", "attributes"),
    "align": ("detection", "landmarks"),
    "analyze": None,
}


def run_faces(options: argparse.Namespace) -> int:
    """Finds faces in every picture and writes what is known of them."""
    paths = find_pictures(options.images)
    if options.draw is not None and len(paths) != 1:
        raise InputError(f"--draw is for one picture, not {len(paths)}", hint="use --output DIR")
    analyzer = _analyzer(options)
    pictures = Pictures(paths)
    for path, image in pictures:
        faces = analyzer(image)
        if options.json:
            print_json(face_record(path, image, faces, options.embeddings))
        else:
            print_text(_text(path, faces))
        if options.draw is not None:
            write_picture(options.draw, draw_faces(image, faces))
        if options.output is not None:
            target = options.output / f"{unique_stem(path, paths)}.png"
            write_picture(target, draw_faces(image, faces))
    return 2 if pictures.failed else 0


def run_align(options: argparse.Namespace) -> int:
    """Writes each face as an upright crop."""
    paths = find_pictures(options.images)
    analyzer = _analyzer(options, crops=[options.crop] if options.crop else [])
    crop = options.crop or _first_crop(analyzer)
    pictures = Pictures(paths)
    for path, image in pictures:
        for number, face in enumerate(analyzer(image)):
            assert face.landmarks is not None
            chip = align(image, face.landmarks, crop=crop, size=options.size)
            target = options.output / f"{unique_stem(path, paths)}_{number}.png"
            write_picture(target, chip)
            if options.json:
                record = {"file": str(path), "face": number, "crop": str(target), "template": crop}
                print_json(record)
            else:
                print_text(str(target))
    return 2 if pictures.failed else 0


def face_record(
    path: Path, image: Image, faces: Sequence[Face], embeddings: bool
) -> dict[str, Any]:
    """One picture as JSON types: file, width, height and its faces."""
    height, width = image.shape[:2]
    records = [face_values(face, embeddings) for face in faces]
    return {"file": str(path), "width": width, "height": height, "faces": records}


def write_picture(path: Path, image: Image) -> None:
    """Writes a picture in the format of its suffix.

    Raises:
        OutputError: OpenCV knows no such format, or the file cannot be written.
    """
    try:
        done, data = cv2.imencode(path.suffix or ".png", image)
    except cv2.error as error:
        raise OutputError(f"no picture format '{path.suffix}'", where=str(path)) from error
    if not done:
        raise OutputError("the picture cannot be encoded", where=str(path))
    write_aside(path, data.tobytes())


def _first_crop(analyzer: FaceAnalyzer) -> str:
    """The first of the known crops that the landmarks allow."""
    allowed = [crop for crop in CROPS if allows_crop(analyzer.point_names, crop)]
    if not allowed:
        raise ModelNotFoundError(
            f"no crop is possible with the landmarks {', '.join(analyzer.point_names)}"
        )
    return allowed[0]


def _analyzer(options: argparse.Namespace, crops: Sequence[str] = ()) -> FaceAnalyzer:
    """The analysis that the options ask for; says which models were refused."""
    tasks = _TASKS[options.command]
    if options.command == "analyze" and options.tasks:
        tasks = options.tasks
    analyzer = FaceAnalyzer(
        options.models,
        tasks,
        crops=crops,
        detector=options.detector,
        embedder=getattr(options, "embedder", None),
        score_threshold=options.score_threshold,
        iou_threshold=options.iou_threshold,
        topk=options.topk,
        short_side=options.short_side,
        min_face_size=options.min_face_size,
        upsample=options.upsample,
        precision=options.precision,
    )
    report_damaged(analyzer)
    return analyzer


def report_damaged(analyzer: FaceAnalyzer) -> None:
    """Says which tasks do not run because their model was refused."""
    for task in analyzer.damaged:
        print(f"mobileface: {task} left out: {analyzer.missing[task]}", file=sys.stderr)


def face_values(face: Face, embeddings: bool) -> dict[str, Any]:
    """A face as JSON types."""
    record: dict[str, Any] = {
        "bbox": [round(float(value), 2) for value in face.bbox],
        "det_score": round(face.det_score, 4),
    }
    if face.landmarks is not None:
        record["kps"] = [[round(float(v), 2) for v in point] for point in face.landmarks.points]
        record["kps_names"] = list(face.landmarks.names)
    if face.pose is not None:
        pose = face.pose
        angles = {"pitch": pose.pitch, "roll": pose.roll, "yaw": pose.yaw}
        record["pose"] = {name: round(value, 2) for name, value in angles.items()}
    if face.attributes is not None:
        record["attributes"] = _attributes(face.attributes)
    if embeddings and face.embedding is not None:
        record["embedding"] = face.embedding.tolist()
        record["embedding_model"] = face.embedding_model
    return record


def _attributes(found: Attributes) -> dict[str, Any]:
    """Attributes as JSON types; probabilities in the order of the classes in the model's spec."""
    return {
        "gender": found.gender,
        "gender_probs": [round(float(value), 4) for value in found.gender_probs],
        "age": round(found.age, 2),
        "age_published": found.age_published,
        "age_probs": [round(float(value), 4) for value in found.age_probs],
        "expressions": list(found.expressions),
        "expression_probs": [round(float(value), 4) for value in found.expression_probs],
    }


def _text(path: Path, faces: Sequence[Face]) -> str:
    """One picture for people."""
    lines = [f"{path}: {len(faces)} face{'' if len(faces) == 1 else 's'}"]
    for face in faces:
        x1, y1, x2, y2 = face.bbox
        parts = [f"({x1:.0f}, {y1:.0f})-({x2:.0f}, {y2:.0f})", f"score {face.det_score:.2f}"]
        if face.landmarks is not None:
            points = zip(face.landmarks.names, face.landmarks.points, strict=True)
            parts += [f"{name} ({x:.0f}, {y:.0f})" for name, (x, y) in points]
        if face.pose is not None:
            pose = face.pose
            parts.append(f"pitch {pose.pitch:.1f} roll {pose.roll:.1f} yaw {pose.yaw:.1f}")
        if face.attributes is not None:
            found = face.attributes
            parts.append(f"{found.gender}, {found.age:.0f} years, {'/'.join(found.expressions)}")
        lines.append("  " + "  ".join(parts))
    return "\n".join(lines)


def unique_stem(path: Path, paths: Sequence[Path]) -> str:
    """The file's name without its suffix, with its place in the list where names repeat."""
    same = [other for other in paths if other.stem == path.stem]
    return path.stem if len(same) == 1 else f"{path.stem}_{paths.index(path)}"

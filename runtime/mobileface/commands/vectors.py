"""``mobileface embed | compare``: computes and compares embeddings of the faces in images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..arrays import shortest
from ..errors import ImageError, InputError, ModelNotFoundError, shown
from ..host.output_options import OutputFile
from ..host.outputs import check_outputs
from ..matching.calibration import Calibration, find_calibration
from ..matching.decisions import (
    SAME,
    Answer,
    DecisionRule,
    Verdict,
    decision_rule,
    no_rule,
    verdict,
)
from ..matching.embeddings import EmbeddingSet, require_suffix
from ..tasks.face_choice import choose_face
from ..tasks.loading import load_embedder
from ..types import Face, FloatArray
from ..vision.picture_files import read_image
from .inputs import ImageFiles, find_pictures
from .options import (
    add_face_choice,
    add_images,
    add_json,
    add_model_choice,
    add_models_folder,
    add_precision,
    add_thresholds,
    thresholds_given,
)
from .output import print_json, print_text, say_chosen

__all__ = ["add_compare", "add_embed"]


_SUFFIX = ".npz"


@dataclass(frozen=True)
class _Row:
    """An embedding and its origin."""

    file: str
    vector: FloatArray
    bbox: list[float] | None = None
    found: int = 1
    """Number of faces in the image."""


def add_embed(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface embed``."""
    add_images(parser)
    _add_identification(parser)
    add_json(parser, "print one JSON object")
    parser.add_argument(
        "--output",
        action=OutputFile,
        metavar="OUT.npz",
        help="write the embeddings to this file",
    )
    parser.set_defaults(run=run_embed)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface compare``."""
    for name in ("a", "b"):
        parser.add_argument(
            name, type=Path, metavar=name.upper(), help="image file, or .npz file from embed"
        )
    _add_identification(parser)
    add_thresholds(parser.add_argument, "threshold", "fmr")
    more = "the largest; if it is passed twice, the second choice is for B"
    add_face_choice(parser.add_argument, more, action="append")
    add_json(parser, "print one JSON object")
    parser.set_defaults(run=run_compare)


def _add_identification(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crops",
        action="store_true",
        help="the images are aligned face crops of any size; do not detect faces",
    )
    add_precision(parser)
    add_models_folder(parser)
    add_model_choice(parser, "detector", "embedder")


def run_embed(options: argparse.Namespace) -> int:
    """Embeds aligned crops, or every face of photos."""
    if not options.json and options.output is None:
        raise InputError("no output specified", hint="pass --json, --output OUT.npz or both")
    if options.output is not None:
        require_suffix(options.output)
    paths = find_pictures(options.images)
    check_outputs([options.output], paths)
    files = ImageFiles(paths)
    source = _source(options)
    rows: list[_Row] = []
    without_face = []
    for path, image in files:
        some = list(source.rows(path, image))
        rows += some
        if not some:
            without_face.append(str(path))
            print(f"mobileface: {shown(path)}: no face found", file=sys.stderr)
    if files.failed:  # the output would be incomplete
        return 2
    found = _gather(rows, source)
    if options.output is not None:
        found.save(options.output)
    if options.json:
        document = {
            "model": found.model,
            "files": list(found.files),
            "embeddings": shortest(found.embeddings),
        }
        if not options.crops:
            document["bboxes"] = [row.bbox for row in rows]
            document["without_face"] = without_face
        print_json(document)
    else:
        text = f"{len(found)} × {source.size} from {found.model}: {options.output}"
        if without_face:
            text += f"; {len(without_face)} of {len(paths)} without a face"
        print_text(text)
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Compares two crops, one face of each of two photos, or sets of embeddings."""
    paths = (options.a, options.b)
    choices = _choices(options)
    source: _Source | None = None
    sets, chosen = [], []
    for path, choice in zip(paths, choices, strict=True):
        if path.suffix == _SUFFIX:
            sets.append(EmbeddingSet.load(path))
            continue
        source = source or _source(options)
        image = read_image(path)
        if isinstance(source, _Crops):
            row = next(source.rows(path, image))
        else:
            row = source.chosen(path, image, choice)
        sets.append(_gather([row], source))
        chosen.append((row, choice))
    for row, choice in chosen:
        if row.found > 1 and row.bbox is not None:
            how = "largest" if choice is None else ""
            say_chosen(row.file, row.found, row.bbox, how)
    similarity = sets[0].similarity(sets[1])
    calibration = _calibration(sets[0].model, options)
    rule = decision_rule(calibration, **thresholds_given(options), model=sets[0].model)
    if rule is None:
        print(f"mobileface: {no_rule(sets[0].model)}", file=sys.stderr)
    single = len(chosen) == len(paths)
    found = verdict(float(similarity.flat[0]) if similarity.size else 0.0, rule, calibration)
    if options.json:
        document = {
            "model": sets[0].model,
            "files": [s.files[0] for s in sets] if single else [list(s.files) for s in sets],
            "similarity": float(similarity[0, 0]) if single else similarity.tolist(),
            "decision": found.to_dict() if single else _decisions(similarity, found),
        }
        if chosen and not options.crops:
            document["faces"] = [
                {"file": row.file, "found": row.found, "bbox": row.bbox} for row, _ in chosen
            ]
        print_json(document)
    elif similarity.size == 1:
        print_text(str(found))
    else:
        if rule is not None:
            print_text(str(rule))
        answers = _answers(similarity, rule)
        for name, row, some in zip(sets[0].files, similarity, answers, strict=True):
            for other, value, answer in zip(sets[1].files, row, some, strict=True):
                print_text(f"{float(value):7.4f}  {answer:<11}  {name}  {other}")
    return 0


def _choices(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """The choice of a face for each of the two photos."""
    given = options.face or [None]
    if options.crops and options.face:
        raise InputError("--face is for photos; with --crops each image is one face")
    if len(given) > 2:
        raise InputError(f"--face was passed {len(given)} times for two photos")
    return given[0], given[-1]


def _calibration(model: str, options: argparse.Namespace) -> Calibration | None:
    """The calibration of the model; None if there is none and no rate was requested."""
    try:
        return find_calibration(model, options.models)
    except ModelNotFoundError:
        if options.fmr is not None:
            raise
        return None


def _answers(similarity: FloatArray, rule: DecisionRule | None) -> list[list[Answer]]:
    """The answer for each pair of two sets of embeddings."""
    if rule is None:
        return [["cannot tell"] * len(row) for row in similarity]
    return [[rule.answer(value) for value in row] for row in similarity.tolist()]


def _decisions(similarity: FloatArray, found: Verdict) -> dict[str, Any]:
    """The answers for two sets of embeddings, with what holds for all of them, as JSON types."""
    answers = _answers(similarity, found.rule)
    of_one = {"similarity", "as_similar"}
    return {
        **{name: value for name, value in found.to_dict().items() if name not in of_one},
        "answer": answers,
        "same": [[SAME.get(answer) for answer in row] for row in answers],
    }


def _gather(rows: Sequence[_Row], source: _Source) -> EmbeddingSet:
    vectors = np.array([row.vector for row in rows], np.float32).reshape(-1, source.size)
    boxes = [row.bbox for row in rows if row.bbox is not None]
    return EmbeddingSet(
        source.model,
        vectors,
        tuple(row.file for row in rows),
        np.array(boxes, np.float32).reshape(-1, 4) if isinstance(source, _Photos) else None,
    )


class _Crops:
    """Embeds images that are aligned face crops."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._embedder = load_embedder(
            options.embedder, models=options.models, precision=options.precision
        )
        self.model, self.size = self._embedder.identity, self._embedder.size

    def rows(self, path: Path, image: np.ndarray) -> Iterator[_Row]:  # type: ignore[type-arg]
        """The embedding of a crop."""
        yield _Row(str(path), self._embedder.embed(image)[0])


class _Photos:
    """Embeds the faces that are detected in photos."""

    def __init__(self, options: argparse.Namespace) -> None:
        tasks = ("detection", "landmarks", "embedding")
        self._analyzer = FaceAnalyzer(
            options.models,
            tasks,
            detector=options.detector,
            embedder=options.embedder,
            precision=options.precision,
        )
        embedder = self._analyzer.embedder
        assert embedder is not None
        self.model, self.size = embedder.identity, embedder.size

    def rows(self, path: Path, image: np.ndarray) -> Iterator[_Row]:  # type: ignore[type-arg]
        """The embeddings of all faces of a photo, sorted by score, highest first."""
        faces = self._analyzer(image)
        for face in faces:
            if face.embedding is not None:
                yield _Row(str(path), face.embedding, _box(face), len(faces))

    def chosen(self, path: Path, image: np.ndarray, choice: str | None) -> _Row:  # type: ignore[type-arg]
        """The embedding of one face of a photo, by default the largest.

        Raises:
            ImageError: If the photo has no face, or the chosen face cannot be embedded.
            InputError: If the choice fits no face.
        """
        found = self._analyzer.detect(image)
        if not found:
            raise ImageError("no face found", where=str(path))
        face = choose_face(found, choice or "largest", str(path))
        (face,) = self._analyzer.describe(image, [face], ("embedding",))
        if face.embedding is None:
            raise ImageError("the face's landmarks are not sufficient for a crop", where=str(path))
        return _Row(str(path), face.embedding, _box(face), len(found))


def _box(face: Face) -> list[float]:
    return [float(value) for value in face.bbox]


_Source = _Crops | _Photos


def _source(options: argparse.Namespace) -> _Source:
    """The source of embeddings that the options select."""
    return _Crops(options) if options.crops else _Photos(options)

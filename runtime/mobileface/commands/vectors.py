"""``mobileface embed | compare``: computes and compares embeddings of the faces in images."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import ImageError, InputError
from ..fields import plain
from ..matching.calibration import Calibration, find_calibration
from ..matching.embeddings import EmbeddingSet
from ..tasks.loading import load_embedder
from ..types import FloatArray
from ..vision.image import read_image
from .inputs import ImageFiles, find_pictures
from .options import (
    add_fmr,
    add_images,
    add_json,
    add_model_choice,
    add_models_folder,
    add_precision,
)
from .output import print_json, print_text

__all__ = ["add_compare", "add_embed"]


_SUFFIX = ".npz"


@dataclass(frozen=True)
class _Row:
    """An embedding and its origin."""

    file: str
    vector: FloatArray
    bbox: list[float] | None = None


def add_embed(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface embed``."""
    add_images(parser)
    _add_identification(parser)
    add_json(parser, "print one JSON object")
    parser.add_argument(
        "--output", type=Path, metavar="OUT.npz", help="write the embeddings to this file"
    )
    parser.set_defaults(run=run_embed)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface compare``."""
    for name in ("a", "b"):
        parser.add_argument(
            name, type=Path, metavar=name.upper(), help="image file, or .npz file from embed"
        )
    _add_identification(parser)
    add_fmr(parser)
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
    if options.output is not None and options.output.suffix != _SUFFIX:
        raise InputError(f"--output must end in .npz, not '{options.output}'")
    files = ImageFiles(find_pictures(options.images))
    source = _source(options)
    rows = [row for path, image in files for row in source.rows(path, image)]
    if files.failed:  # the output would be incomplete
        return 2
    found = _gather(rows, source)
    if options.output is not None:
        found.save(options.output)
    if options.json:
        document = {
            "model": found.model,
            "files": list(found.files),
            "embeddings": found.embeddings.tolist(),
        }
        if not options.crops:
            document["bboxes"] = [row.bbox for row in rows]
        print_json(document)
    else:
        print_text(f"{len(found)} × {source.size} from {found.model}: {options.output}")
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Compares two crops, the highest-scoring faces of two photos, or sets of embeddings."""
    paths = (options.a, options.b)
    source: _Source | None = None
    sets = []
    for path in paths:
        if path.suffix == _SUFFIX:
            sets.append(EmbeddingSet.load(path))
            continue
        source = source or _source(options)
        rows = list(source.rows(path, read_image(path)))
        if not rows:
            raise ImageError("no face found", where=str(path))
        sets.append(_gather(rows[:1], source))
    similarity = sets[0].similarity(sets[1])
    calibration = None
    if options.fmr is not None:
        calibration = find_calibration(sets[0].model, options.models)
    if options.json:
        single = not any(path.suffix == _SUFFIX for path in paths)
        document = {
            "model": sets[0].model,
            "files": [s.files[0] for s in sets] if single else [list(s.files) for s in sets],
            "similarity": float(similarity[0, 0]) if single else similarity.tolist(),
        }
        if calibration is not None:
            document["decision"] = _decision(calibration, options.fmr, similarity, single)
        print_json(document)
    elif similarity.size == 1 and calibration is not None:
        print_text(str(calibration.decide(float(similarity[0, 0]), options.fmr)))
    elif similarity.size == 1:
        print_text(f"{float(similarity[0, 0]):.4f}")
    else:
        least = None if calibration is None else calibration.threshold(options.fmr)
        for name, row in zip(sets[0].files, similarity, strict=True):
            for other, value in zip(sets[1].files, row, strict=True):
                answer = (
                    "" if least is None else ("same       " if value >= least else "different  ")
                )
                print_text(f"{float(value):7.4f}  {answer}{name}  {other}")
    return 0


def _decision(
    calibration: Calibration, fmr: float, similarity: FloatArray, single: bool
) -> dict[str, Any]:
    """Verification decisions as JSON types; for a single pair also how rare its similarity is."""
    decision = calibration.decide(float(similarity.flat[0]) if single else 0.0, fmr)
    record = {
        "fmr": fmr,
        "same": decision.same if single else (similarity >= decision.threshold).tolist(),
        "threshold": decision.threshold,
        "false_match_rate": dataclasses.asdict(decision.false_match_rate),
        "false_non_match_rate": dataclasses.asdict(decision.false_non_match_rate),
        "basis": plain(decision.basis),
    }
    if single:
        record["as_similar"] = dataclasses.asdict(decision.as_similar)
    return record


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
        for face in self._analyzer(image):
            if face.embedding is not None:
                yield _Row(str(path), face.embedding, [float(value) for value in face.bbox])


_Source = _Crops | _Photos


def _source(options: argparse.Namespace) -> _Source:
    """The source of embeddings that the options select."""
    return _Crops(options) if options.crops else _Photos(options)

"""``mobileface embed | compare``: pictures in, embeddings and similarities out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import ImageError, InputError
from ..files import replacing
from ..image import read_image
from ..loading import load_embedder
from ..tasks.embed import cosine_similarity
from ..types import FloatArray
from .output import print_json, print_text
from .pictures import Pictures, find_pictures

__all__ = ["run_compare", "run_embed"]


@dataclass(frozen=True)
class _Row:
    """An embedding and where it comes from."""

    file: str
    vector: FloatArray
    bbox: list[float] | None = None


def run_embed(options: argparse.Namespace) -> int:
    """Embeds crops, or every face of photos."""
    if not options.json and options.output is None:
        raise InputError("nothing to write to", hint="give --json, --output OUT.npz or both")
    if options.output is not None and options.output.suffix != ".npz":
        raise InputError(f"--output '{options.output}' does not end in .npz")
    pictures = Pictures(find_pictures(options.images))
    source = _Crops(options) if options.crops else _Photos(options)
    rows = [row for path, image in pictures for row in source.rows(path, image)]
    if pictures.failed:  # rows would be missing from the one file that is asked for
        return 2
    files = [row.file for row in rows]
    embeddings = np.array([row.vector for row in rows], np.float32).reshape(-1, source.size)
    if options.output is not None:
        with replacing(options.output) as temporary, temporary.open("wb") as stream:
            boxes = {} if options.crops else {"bboxes": [row.bbox for row in rows]}
            np.savez(
                stream,
                embeddings=embeddings,
                files=np.array(files, dtype=np.str_),
                model=source.model,
                **{name: np.array(values, np.float32) for name, values in boxes.items()},
            )
    if options.json:
        document = {"model": source.model, "files": files, "embeddings": embeddings.tolist()}
        if not options.crops:
            document["bboxes"] = [row.bbox for row in rows]
        print_json(document)
    else:
        print_text(f"{len(files)} × {source.size} from {source.model}: {options.output}")
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Similarity of two crops, or of the surest face of each of two photos."""
    source = _Crops(options) if options.crops else _Photos(options)
    vectors = []
    for path in (options.a, options.b):
        rows = list(source.rows(path, read_image(path)))
        if not rows:
            raise ImageError("no face found", where=str(path))
        vectors.append(rows[0].vector[None])
    similarity = float(cosine_similarity(vectors[0], vectors[1])[0, 0])
    if options.json:
        files = [str(options.a), str(options.b)]
        print_json({"model": source.model, "files": files, "similarity": similarity})
    else:
        print_text(f"{similarity:.4f}")
    return 0


class _Crops:
    """Each picture is a face."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._embedder = load_embedder(options.embedder, models=options.models)
        self.model, self.size = self._embedder.spec.name, self._embedder.size

    def rows(self, path: Path, image: np.ndarray) -> Iterator[_Row]:  # type: ignore[type-arg]
        """The one embedding of a crop."""
        yield _Row(str(path), self._embedder.embed(image)[0])


class _Photos:
    """Each picture is searched for faces."""

    def __init__(self, options: argparse.Namespace) -> None:
        tasks = ("detection", "landmarks", "embedding")
        self._analyzer = FaceAnalyzer(
            options.models, tasks, detector=options.detector, embedder=options.embedder
        )
        embedder = self._analyzer.embedder
        assert embedder is not None
        self.model, self.size = embedder.spec.name, embedder.size

    def rows(self, path: Path, image: np.ndarray) -> Iterator[_Row]:  # type: ignore[type-arg]
        """The embeddings of all faces of a photo, the surest first."""
        for face in self._analyzer(image):
            if face.embedding is not None:
                yield _Row(str(path), face.embedding, [float(value) for value in face.bbox])

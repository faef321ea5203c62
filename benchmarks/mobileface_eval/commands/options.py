"""Options that several commands share, and the sets and models they select."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobileface.errors import InputError
from mobileface.host.output_options import OutputFolder
from mobileface.host.places import default_cache_dir
from mobileface.matching.embeddings import EmbeddingSet

from ..cluster import RayEngine
from ..datasets.face_sets import FaceImage, FaceSet, read_folder
from ..embedding import Embedded, Engine, FaceSource, embed_here, embed_set

__all__ = [
    "add_common",
    "add_embedders",
    "add_output",
    "add_people",
    "data_numbers",
    "embed",
    "embedded_sets",
    "read_vectors",
    "sources",
]

VECTORS = ".npz"
"""Suffix of embedding files."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the options of commands that embed images."""
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR", help="folder to search for models")
    add("--detector", metavar="NAME", help="detector to use")
    add(
        "--crops",
        action="store_true",
        help="all images are aligned face crops; by default only images of the model's size are, "
        "and faces are detected in the others",
    )
    add(
        "--allow-missing",
        action="store_true",
        help="skip images that cannot be read, show no face or belong to two people",
    )
    add("--cache", type=Path, metavar="DIR", help="folder for computed embeddings")
    add("--no-cache", action="store_true", help="compute all embeddings and store none")
    add_output(parser)
    add(
        "--cluster",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="embed with Ray on this cluster; without ADDRESS, on a local one",
    )
    add(
        "--workers",
        type=int,
        default=2,
        metavar="N",
        help="number of workers, with --cluster; default: %(default)s",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the folder of the report."""
    parser.add_argument(
        "--output",
        action=OutputFolder,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder for plot, numbers and summary; default: %(default)s",
    )


def add_people(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Adds the options of commands that compare all people in a folder."""
    add = parser.add_argument
    add(
        "folder",
        type=Path,
        help="folder with one subfolder per person, or .npz file of embeddings",
    )
    add("--people", type=int, metavar="N", help="use only the first N people")
    add("--flip", action="store_true", help="add the embedding of the mirror image")
    add_embedders(parser, several=several)
    add_common(parser)


def add_embedders(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Adds the option that selects the model, or the models to compare."""
    text = "identification model: a name, NAME:VARIANT (fp16, int8, fp32_x86 …), or an ONNX file"
    if several:
        text += "; pass several to compare them"
    parser.add_argument(
        "--embedder", nargs="+" if several else 1, default=[None], metavar="NAME", help=text
    )


def sources(options: argparse.Namespace) -> list[FaceSource]:
    """The models that the options select.

    Raises:
        InputError: If a model is selected twice.
    """
    found = [
        FaceSource(name, options.models, options.detector, options.crops)
        for name in options.embedder
    ]
    labels = [source.label for source in found]
    if len(set(labels)) < len(labels):
        raise InputError(f"a model is listed twice: {', '.join(labels)}")
    return found


def embed(
    options: argparse.Namespace, source: FaceSource, face_set: FaceSet, *, flip: bool = False
) -> Embedded:
    """Embeds a set with the selected cache, engine and settings."""
    cache = None if options.no_cache else (options.cache or default_cache_dir())
    engine: Engine = embed_here
    if options.cluster is not None:
        if options.workers < 1:
            raise InputError(f"--workers must be at least 1, not {options.workers}")
        engine = RayEngine(options.cluster or None, options.workers)
    return embed_set(
        source,
        face_set,
        cache=cache,
        flip=flip,
        allow_missing=options.allow_missing,
        engine=engine,
    )


def embedded_sets(
    options: argparse.Namespace, place: Path, *, people: int | None = None, flip: bool = False
) -> Iterator[tuple[str, Embedded]]:
    """Yields label and embeddings of a folder for each selected model, or of one embedding file.

    Raises:
        InputError: If the folder or file does not exist, or images cannot be used.
    """
    if place.suffix == VECTORS:
        found = read_vectors(place)
        yield found.model.partition("@")[0], found
        return
    face_set = read_folder(place, people)
    for source in sources(options):
        yield source.label, embed(options, source, face_set, flip=flip)


def read_vectors(path: Path) -> Embedded:
    """Reads embeddings from a file; the person of each is the folder name of its image.

    Raises:
        InputError: If the file is not an embedding file, is empty, or its vectors are not
            L2-normalised.
    """
    found = EmbeddingSet.load(path)
    if not len(found):
        raise InputError("no embeddings found", where=str(path))
    norms = np.linalg.norm(found.embeddings, axis=1)
    if (np.abs(norms - 1) > 1e-3).any():
        raise InputError("the embeddings are not L2-normalised", where=str(path))
    people = tuple(Path(file).parent.name for file in found.files)
    images = tuple(FaceImage(file) for file in found.files)
    return Embedded(found.model, FaceSet(path.stem, images, people), found.embeddings)


def data_numbers(embedded: Embedded) -> dict[str, Any]:
    """The report's entry about a set, as a JSON object."""
    people = embedded.set.people
    return {
        "name": embedded.set.name,
        "pictures": len(embedded.set.images),
        "people": None if people is None else len(set(people)),
        "left_out": [{"picture": i.name, "reason": i.reason} for i in embedded.skipped],
    }

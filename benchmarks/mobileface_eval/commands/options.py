"""What the commands share: their options, and the sets and models that these name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobileface.errors import InputError
from mobileface.host.places import default_cache_dir
from mobileface.matching.embeddings import EmbeddingSet

from ..cluster import RayEngine
from ..datasets.face_sets import Picture, PictureSet, read_folder
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
"""Suffix of a file of embeddings."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the options of commands that embed pictures."""
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR", help="folder to look for models in")
    add("--detector", metavar="NAME", help="detector to use")
    add(
        "--crops",
        action="store_true",
        help="all pictures are aligned face crops; else those of the model's size are, and in "
        "others a face is searched for",
    )
    add(
        "--allow-missing",
        action="store_true",
        help="leave out pictures that cannot be read, show no face or stand under two people",
    )
    add("--cache", type=Path, metavar="DIR", help="folder for embeddings that were computed")
    add("--no-cache", action="store_true", help="compute all embeddings and keep none")
    add_output(parser)
    add(
        "--cluster",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="embed with Ray on this cluster; without an address with a local one",
    )
    add("--workers", type=int, default=2, metavar="N", help="with --cluster; default: %(default)s")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the folder of the report."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder for plot, numbers and summary; default: %(default)s",
    )


def add_people(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Adds the options of commands that look at everybody in a folder."""
    add = parser.add_argument
    add("folder", type=Path, help="folder with a folder for each person, or .npz of embeddings")
    add("--people", type=int, metavar="N", help="take so many people only")
    add("--flip", action="store_true", help="add the embedding of the mirror image")
    add_embedders(parser, several=several)
    add_common(parser)


def add_embedders(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Adds the option that names the model, or the models to compare."""
    text = "identification model: a name, NAME:VARIANT (fp16, int8, fp32_x86 …), or an ONNX file"
    if several:
        text += "; several are compared"
    parser.add_argument(
        "--embedder", nargs="+" if several else 1, default=[None], metavar="NAME", help=text
    )


def sources(options: argparse.Namespace) -> list[FaceSource]:
    """The models that the options name.

    Raises:
        InputError: One is named twice.
    """
    found = [
        FaceSource(name, options.models, options.detector, options.crops)
        for name in options.embedder
    ]
    labels = [source.label for source in found]
    if len(set(labels)) < len(labels):
        raise InputError(f"a model is named twice: {', '.join(labels)}")
    return found


def embed(
    options: argparse.Namespace, source: FaceSource, pictures: PictureSet, *, flip: bool = False
) -> Embedded:
    """Embeds a set as the options say."""
    cache = None if options.no_cache else (options.cache or default_cache_dir())
    engine: Engine = embed_here
    if options.cluster is not None:
        if options.workers < 1:
            raise InputError(f"--workers {options.workers} is below 1")
        engine = RayEngine(options.cluster or None, options.workers)
    return embed_set(
        source,
        pictures,
        cache=cache,
        flip=flip,
        allow_missing=options.allow_missing,
        engine=engine,
    )


def embedded_sets(
    options: argparse.Namespace, place: Path, *, people: int | None = None, flip: bool = False
) -> Iterator[tuple[str, Embedded]]:
    """The labelled embeddings of a folder by each model that is named, or of one file.

    Raises:
        InputError: No such folder or file, or pictures that cannot be used.
    """
    if place.suffix == VECTORS:
        found = read_vectors(place)
        yield found.model.partition("@")[0], found
        return
    pictures = read_folder(place, people)
    for source in sources(options):
        yield source.label, embed(options, source, pictures, flip=flip)


def read_vectors(path: Path) -> Embedded:
    """Embeddings from a file; the person of each is the folder of its picture.

    Raises:
        InputError: No file of embeddings, or one of vectors that are not of unit length.
    """
    found = EmbeddingSet.load(path)
    if not len(found):
        raise InputError("no embeddings in it", where=str(path))
    lengths = np.linalg.norm(found.embeddings, axis=1)
    if (np.abs(lengths - 1) > 1e-3).any():
        raise InputError("its vectors are not of unit length", where=str(path))
    people = tuple(Path(file).parent.name for file in found.files)
    pictures = tuple(Picture(file) for file in found.files)
    return Embedded(found.model, PictureSet(path.stem, pictures, people), found.embeddings)


def data_numbers(embedded: Embedded) -> dict[str, Any]:
    """What the report says of a set."""
    people = embedded.set.people
    return {
        "name": embedded.set.name,
        "pictures": len(embedded.set.pictures),
        "people": None if people is None else len(set(people)),
        "left_out": [{"picture": i.picture, "reason": i.reason} for i in embedded.left_out],
    }

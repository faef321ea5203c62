"""Opens the gallery, model and search engine that the options of a command select."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..analyzer import FaceAnalyzer
from ..errors import InputError, ModelNotFoundError
from ..gallery import Gallery
from ..gallery.engine import SearchEngine
from ..gallery.passphrase import read_passphrase
from ..matching.calibration import Calibration, find_calibration
from ..models.lookup import list_models
from ..tasks.embedding import Embedder
from ..tasks.loading import load_embedder
from .faces import report_damaged
from .progress import Progress

__all__ = [
    "Steps",
    "calibration_of",
    "engine_of",
    "gallery_path",
    "make_analyzer",
    "make_worker",
    "open_gallery",
    "read_key",
]


def gallery_path(options: argparse.Namespace) -> Path:
    """The path of the gallery.

    Raises:
        InputError: If neither an option nor the environment specifies one.
    """
    named = options.gallery or os.environ.get("MOBILEFACE_GALLERY")
    if not named:
        raise InputError(
            "no gallery specified", hint="pass --gallery FILE, or set MOBILEFACE_GALLERY"
        )
    return Path(named)


def read_key(options: argparse.Namespace) -> str | None:
    """The passphrase, from a file or the environment; see `read_passphrase`."""
    return read_passphrase(options.key_file)


@contextlib.contextmanager
def open_gallery(options: argparse.Namespace) -> Iterator[Gallery]:
    """Opens the gallery that the options select, and closes it at the end."""
    with Gallery.open(gallery_path(options), key=read_key(options)) as gallery:
        yield gallery


def make_analyzer(
    options: argparse.Namespace,
    gallery: Gallery | None = None,
    *,
    tasks: bool = True,
    crops: bool | None = None,
) -> FaceAnalyzer | Embedder:
    """An analyzer that detects and embeds faces, or an embedder if the images are aligned crops.

    Without ``--embedder``, it uses the model of the gallery.

    Args:
        options: Options with ``models``, ``detector``, ``embedder`` and optionally ``crops``.
        gallery: The gallery to use it with; None selects the preferred model by default.
        tasks: True runs only detection, landmarks and embedding, as enrolment needs; False runs
            all tasks.
        crops: True if the images are aligned crops; None asks the options.

    Raises:
        ModelNotFoundError: If the gallery's model is not available.
    """
    name = options.embedder
    if name is None and gallery is not None:
        name = gallery.stamp.model.partition("@")[0]
        there = [model.name for model in list_models(None, "embedding")]
        if options.models is not None:
            there += [model.name for model in list_models(options.models, "embedding")]
        if name not in there:
            raise ModelNotFoundError(
                f"the gallery's model {gallery.stamp.model} is not available; "
                f"available: {', '.join(there) or 'none'}",
                where=str(gallery.path),
                hint="specify its folder with --models, or migrate the gallery",
            )
    if crops if crops is not None else getattr(options, "crops", False):
        return load_embedder(name, models=options.models)
    analyzer = FaceAnalyzer(
        options.models,
        ("detection", "landmarks", "embedding") if tasks else None,
        detector=options.detector,
        embedder=name,
    )
    report_damaged(analyzer)
    return analyzer


def make_worker(
    options: argparse.Namespace, gallery: Gallery, *, same: bool = True
) -> FaceAnalyzer | Embedder:
    """What embeds a gallery's stored crops again: an embedder, with landmarks if it has photos.

    Args:
        options: Options with ``models``, ``detector`` and ``embedder``.
        gallery: The gallery.
        same: Use the gallery's model, unless the options name one.
    """
    query = "SELECT EXISTS (SELECT 1 FROM crop WHERE bbox IS NOT NULL)"
    photos = bool(gallery.database.value(query))
    return make_analyzer(options, gallery if same else None, crops=not photos)


def calibration_of(identity: str, options: argparse.Namespace) -> Calibration | None:
    """The calibration that the options specify, or the model's; None if not available."""
    if getattr(options, "calibration", None) is not None:
        return Calibration.load(options.calibration)
    try:
        return find_calibration(identity, options.models)
    except ModelNotFoundError:
        return None


def engine_of(options: argparse.Namespace) -> SearchEngine | None:
    """The search engine that the options select; None for exact search."""
    if options.usearch and options.milvus:
        raise InputError("--usearch and --milvus cannot be combined")
    if options.usearch:
        from ..gallery.usearch_engine import UsearchEngine

        return UsearchEngine(step=Steps("faces indexed"))
    if options.milvus:
        from ..gallery.milvus_engine import MilvusEngine

        return MilvusEngine(options.milvus, token=os.environ.get("MOBILEFACE_MILVUS_TOKEN", ""))
    return None


class Steps:
    """Shows progress that is reported as completed and total steps.

    Args:
        unit: Name of the steps, in the plural.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._progress: Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        """Updates the progress line."""
        if self._progress is None:
            self._progress = Progress(total, self._unit)
        self._progress.done = done - 1
        self._progress.step()
        if done >= total:
            self._progress.end()

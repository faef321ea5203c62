"""Embeds a set of images in batches and caches the results for the next run."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.analyzer import FaceAnalyzer
from mobileface.commands.progress import Progress
from mobileface.errors import ImageError, InputError, shown
from mobileface.host.files import sha256
from mobileface.models.index import PRECISIONS
from mobileface.models.lookup import Prefer, find_model
from mobileface.tasks.align import align
from mobileface.tasks.embedding import Embedder
from mobileface.tasks.loading import load_embedder
from mobileface.types import Face
from mobileface.vision.image import Image

from .datasets.face_sets import FaceImage, FaceSet
from .vector_cache import VectorCache, Vectors

__all__ = ["BATCH", "Embedded", "FaceSource", "SkippedImage", "embed_set", "open_embedder"]

BATCH = 64
"""Number of images that are embedded and cached at once."""

Floats = npt.NDArray[np.float32]


_CROPPING = "three views"
"""How the runtime finds crops; changed whenever the same models cut the same photo differently."""


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """An image that could not be used.

    Attributes:
        name: Name of the image.
        reason: Why it could not be used.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of a set.

    Attributes:
        model: `Embedder.identity`.
        set: The embedded images, in order.
        vectors: float32 (N, D), rows L2-normalised.
        skipped: The skipped images.
        computed: Number of images that were not in the cache.
    """

    model: str
    set: FaceSet
    vectors: Floats
    skipped: tuple[SkippedImage, ...] = ()
    computed: int = 0

    def only(self, names: Collection[str]) -> Embedded:
        """The part whose images have these names.

        Raises:
            InputError: If no image remains.
        """
        images = self.set.images
        dropped = {number for number, image in enumerate(images) if image.name not in names}
        if not dropped:
            return self
        kept = [number for number in range(len(images)) if number not in dropped]
        rest = self.set.without(dropped)
        return dataclasses.replace(self, set=rest, vectors=self.vectors[kept])


@dataclass(frozen=True)
class FaceSource:
    """The models and settings for embedding images; can be pickled.

    Attributes:
        embedder: The model, as for `open_embedder`.
        models: Folder to search for models.
        detector: Name of the detector; None: the preferred one.
        crops: Whether all images are aligned face crops. If False, only images that the set marks
            as crops and images of exactly the model's size are; faces are detected in the others.
    """

    embedder: str | None = None
    models: Path | None = None
    detector: str | None = None
    crops: bool = False

    @cached_property
    def model(self) -> Embedder:
        """The identification model."""
        return open_embedder(self.embedder, self.models)

    @cached_property
    def _analyzer(self) -> FaceAnalyzer:
        tasks = ("detection", "landmarks")
        crops = (self.model.crop,)
        return FaceAnalyzer(
            self.models, tasks, crops=crops, detector=self.detector, precision=PRECISIONS[0]
        )

    def __getstate__(self) -> dict[str, object]:
        """Only the settings; sessions of ONNX Runtime cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @cached_property
    def label(self) -> str:
        """Label in tables: the model's name, or the file name if the embedder is a file."""
        named = self.embedder or self.model.name
        return Path(named).stem if named.endswith(".onnx") else named

    def key(self, photos: bool) -> str:
        """Cache key of everything that the embeddings of images depend on.

        Args:
            photos: Whether faces are detected in the images.
        """
        parts = [self.model.identity, sha256(self.model.session.path)]
        if photos:
            parts.append(_CROPPING)
            for task in ("detection", "landmarks"):
                # A detector may give all points that the crop needs.
                for name in self._analyzer.models.get(task, ()):
                    parts.append(find_model(name, models=self.models).entry.sha256)
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"{self.model.name}-{'photos' if photos else 'crops'}-{digest[:16]}"

    def takes_as_crop(self, face_image: FaceImage, image: Image) -> bool:
        """Whether an image is embedded unchanged, without face detection."""
        spec = self.model.image
        return self.crops or face_image.crop or image.shape[:2] == (spec.height, spec.width)

    def embed(self, images: Sequence[FaceImage]) -> list[Vectors]:
        """Embeds images and their mirror images.

        Returns:
            For each image, float32 (2, D) as the network outputs them, or the reason why it cannot
            be embedded.
        """
        faces = [self._face(face_image) for face_image in images]
        found = [face for face in faces if not isinstance(face, str)]
        plain = self.model.embed(found, normalize=False)
        mirrored = [np.ascontiguousarray(face[:, ::-1]) for face in found]
        both = iter(np.stack([plain, self.model.embed(mirrored, normalize=False)], axis=1))
        return [face if isinstance(face, str) else next(both) for face in faces]

    def _face(self, face_image: FaceImage) -> Image | str:
        """The aligned face crop of an image, or the reason why there is none."""
        try:
            image = face_image.image()
            if self.takes_as_crop(face_image, image):
                return image
            faces = [face for face in self._analyzer(image) if face.landmarks is not None]
            if not faces:
                return "no face found"
            spec = self.model.image
            marks = _middle(faces, image).landmarks
            assert marks is not None
            return align(image, marks, crop=self.model.crop, size=(spec.height, spec.width))
        except (ImageError, InputError) as error:
            return error.what


def open_embedder(name: str | None, models: Path | None, **session_options: Any) -> Embedder:
    """Loads an identification model for measurements: in fp32 if available, regardless of tuning.

    Args:
        name: Name of the model, or NAME:VARIANT with one of its precisions or variants, or path of
            an ONNX file; None: the preferred model.
        models: Folder to search for models.
        session_options: As for `mobileface.load`.

    Raises:
        ModelNotFoundError: If there is no such model or variant.
    """
    if name is not None and not Path(name).is_file():
        name, _, variant = name.partition(":")
        if variant in PRECISIONS:
            return load_embedder(name, models=models, precision=variant, **session_options)
        if variant:
            return load_embedder(name, models=models, variant=variant, **session_options)
    return load_embedder(name, models=models, precision=Prefer(PRECISIONS[0]), **session_options)


def _middle(faces: Sequence[Face], image: Image) -> Face:
    """The most likely subject of an image of one person: a large face near the centre."""
    middle = np.array(image.shape[1::-1]) / 2

    def weight(face: Face) -> float:
        x1, y1, x2, y2 = (float(value) for value in face.bbox)
        offset = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - middle
        return (x2 - x1) * (y2 - y1) - 2 * float(offset @ offset)

    return max(faces, key=weight)


Engine = Callable[[FaceSource, Sequence[Sequence[FaceImage]]], Iterator[list[Vectors]]]
"""Embeds batches and returns the results in the same order."""


def embed_here(
    source: FaceSource, batches: Sequence[Sequence[FaceImage]]
) -> Iterator[list[Vectors]]:
    """Embeds batches in this process."""
    return (source.embed(batch) for batch in batches)


def embed_set(
    source: FaceSource,
    face_set: FaceSet,
    *,
    cache: Path | None = None,
    flip: bool = False,
    allow_missing: bool = False,
    engine: Engine = embed_here,
) -> Embedded:
    """Embeds a set of images.

    Args:
        source: The models and settings.
        face_set: The set.
        cache: Folder of the embedding cache; None: no cache.
        flip: Whether to add the embedding of the mirror image before normalisation, as published
            for LFW.
        allow_missing: Whether to skip unusable images; if False, they are an error.
        engine: Runs the network.

    Returns:
        The embeddings of the usable images.

    Raises:
        InputError: If the set is empty or images cannot be used; all of these are listed on
            stderr.
    """
    if not face_set.images:
        raise InputError("no images found", where=face_set.name)
    contents, refused = _hash_all(face_set)
    photos = not source.crops and not all(face_image.crop for face_image in face_set.images)
    kept = VectorCache(cache, source.key(photos))
    known = kept.read(sorted(set(contents.values())))
    # Identical files are embedded once.
    first = {digest: number for number, digest in reversed(contents.items())}
    wanted = [number for digest, number in first.items() if digest not in known]
    wanted.sort()
    progress = Progress(len(wanted), "images")
    groups = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    batches = [[face_set.images[number] for number in group] for group in groups]
    for group, results in zip(groups, engine(source, batches), strict=True):
        fresh = {contents[number]: vectors for number, vectors in zip(group, results, strict=True)}
        kept.write(fresh)
        known.update(fresh)
        progress.advance(len(group))
    progress.end()
    for number, digest in contents.items():
        vectors = known[digest]
        if isinstance(vectors, str):
            refused[number] = vectors
    refused.update(_duplicates(face_set, contents))
    skipped = _report(face_set, refused, allow_missing)
    rest = face_set.without(set(refused)) if refused else face_set
    rows = [known[contents[n]] for n in range(len(face_set.images)) if n not in refused]
    return Embedded(
        source.model.identity, rest, _normalized(rows, flip, face_set.name), skipped, len(wanted)
    )


def _hash_all(face_set: FaceSet) -> tuple[dict[int, str], dict[int, str]]:
    """SHA-256 of each readable image by its number, and the error of each unreadable one."""
    contents, refused = {}, {}
    for number, face_image in enumerate(face_set.images):
        try:
            contents[number] = hashlib.sha256(face_image.content()).hexdigest()
        except ImageError as error:
            refused[number] = error.what
    return contents, refused


def _duplicates(face_set: FaceSet, contents: dict[int, str]) -> dict[int, str]:
    """Identical files in a set whose images are all compared, with the reason to skip each.

    A further copy of the same person's image is skipped; an image under two people is rejected.
    """
    if face_set.people is None or face_set.pairs is not None:
        return {}
    seen: dict[str, int] = {}
    found: dict[int, str] = {}
    for number, digest in contents.items():
        other = seen.setdefault(digest, number)
        if other == number:
            continue
        name = face_set.images[other].name
        if face_set.people[other] == face_set.people[number]:
            found[number] = f"{_COPY} {name}"
        else:
            found[number] = f"identical to {name}, of another person"
            found[other] = f"identical to {face_set.images[number].name}, of another person"
    return found


_COPY = "a copy of"


def _report(
    face_set: FaceSet, refused: dict[int, str], allow_missing: bool
) -> tuple[SkippedImage, ...]:
    """Lists skipped images on stderr; raises unless that is allowed or all of them are copies."""
    found = tuple(SkippedImage(face_set.images[n].name, refused[n]) for n in sorted(refused))
    for item in found:
        print(
            f"mobileface-eval: skipped: {shown(item.name)}: {shown(item.reason)}", file=sys.stderr
        )
    harmful = [item for item in found if not item.reason.startswith(_COPY)]
    if harmful and not allow_missing:
        raise InputError(
            f"{len(harmful)} of {len(face_set.images)} images cannot be used, "
            f"the first is {harmful[0].name} ({harmful[0].reason})",
            where=face_set.name,
            hint="fix the set, or skip them with --allow-missing",
        )
    return found


def _normalized(rows: Sequence[Vectors], flip: bool, where: str) -> Floats:
    """L2-normalised embeddings (N, D) of images, or of the sums with their mirror images."""
    both = np.stack([row for row in rows if not isinstance(row, str)])
    chosen = both.sum(axis=1) if flip else both[:, 0]
    norms = np.linalg.norm(chosen, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise InputError("an embedding is not finite or is zero", where=where)
    return np.asarray(chosen / norms, np.float32)

"""From a set of pictures to embeddings: once, in batches, and kept for the next run."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.analyzer import FaceAnalyzer
from mobileface.commands.progress import Progress
from mobileface.errors import ImageError, InputError
from mobileface.host.files import sha256
from mobileface.models.index import PRECISIONS
from mobileface.models.lookup import Prefer, find_model
from mobileface.tasks.align import align
from mobileface.tasks.embedding import Embedder
from mobileface.tasks.loading import load_embedder
from mobileface.types import Face
from mobileface.vision.image import Image

from .datasets.face_sets import Picture, PictureSet
from .vector_cache import VectorCache, Vectors

__all__ = ["BATCH", "Embedded", "FaceSource", "LeftOut", "embed_set", "open_embedder"]

BATCH = 64
"""Pictures that are embedded and kept at once."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture that could not be used.

    Attributes:
        picture: Its name.
        reason: Why.
    """

    picture: str
    reason: str


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of a set.

    Attributes:
        model: `Embedder.identity`.
        set: The pictures that are embedded, in order.
        vectors: float32 (N, D), each row of unit length.
        left_out: The others.
        computed: How many were computed and not taken from the cache.
    """

    model: str
    set: PictureSet
    vectors: Floats
    left_out: tuple[LeftOut, ...] = ()
    computed: int = 0


@dataclass(frozen=True)
class FaceSource:
    """How pictures become embeddings; can be sent to other processes.

    Attributes:
        embedder: The model, as `open_embedder` takes it.
        models: Folder to look for models in.
        detector: Name of the detector; None: the preferred one.
        crops: All pictures are aligned crops; else those that the set says are, and those of
            exactly the model's size. In the others a face is searched for.
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
        """The settings alone: sessions of ONNX Runtime stay where they are."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @cached_property
    def label(self) -> str:
        """What tables call it: the model's name, or the file's where one was given."""
        named = self.embedder or self.model.name
        return Path(named).stem if named.endswith(".onnx") else named

    def key(self, photos: bool) -> str:
        """Names everything that the embeddings of pictures depend on.

        Args:
            photos: A face is searched for.
        """
        parts = [self.model.identity, sha256(self.model.session.path)]
        if photos:
            for task in ("detection", "landmarks"):
                for name in self._analyzer.models[task]:
                    parts.append(find_model(name, models=self.models).entry.sha256)
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"{self.model.name}-{'photos' if photos else 'crops'}-{digest[:16]}"

    def takes_as_crop(self, picture: Picture, image: Image) -> bool:
        """Whether a picture is embedded as it is."""
        spec = self.model.image
        return self.crops or picture.crop or image.shape[:2] == (spec.height, spec.width)

    def embed(self, pictures: Sequence[Picture]) -> list[Vectors]:
        """Embeds pictures and their mirror images.

        Returns:
            For each float32 (2, D), as the network gives them, or why there is none.
        """
        faces = [self._face(picture) for picture in pictures]
        found = [face for face in faces if not isinstance(face, str)]
        plain = self.model.embed(found, normalize=False)
        mirrored = [np.ascontiguousarray(face[:, ::-1]) for face in found]
        both = iter(np.stack([plain, self.model.embed(mirrored, normalize=False)], axis=1))
        return [face if isinstance(face, str) else next(both) for face in faces]

    def _face(self, picture: Picture) -> Image | str:
        """The crop of a picture's face, or why there is none."""
        try:
            image = picture.image()
            if self.takes_as_crop(picture, image):
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
    """An identification model for measurements: in fp32 where it has that, however it was tuned.

    Args:
        name: Name of the model, or NAME:VARIANT with a precision or a variant of it, or path of an
            ONNX file; None: the preferred one.
        models: Folder to look for models in.
        session_options: As `mobileface.load` takes them.

    Raises:
        ModelNotFoundError: No such model or variant.
    """
    if name is not None and not Path(name).is_file():
        name, _, variant = name.partition(":")
        if variant in PRECISIONS:
            return load_embedder(name, models=models, precision=variant, **session_options)
        if variant:
            return load_embedder(name, models=models, variant=variant, **session_options)
    return load_embedder(name, models=models, precision=Prefer(PRECISIONS[0]), **session_options)


def _middle(faces: Sequence[Face], image: Image) -> Face:
    """The face that a picture of one person shows: large and near the middle."""
    middle = np.array(image.shape[1::-1]) / 2

    def weight(face: Face) -> float:
        x1, y1, x2, y2 = (float(value) for value in face.bbox)
        offset = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - middle
        return (x2 - x1) * (y2 - y1) - 2 * float(offset @ offset)

    return max(faces, key=weight)


Engine = Callable[[FaceSource, Sequence[Sequence[Picture]]], Iterator[list[Vectors]]]
"""Embeds batches, in their order."""


def embed_here(source: FaceSource, batches: Sequence[Sequence[Picture]]) -> Iterator[list[Vectors]]:
    """Embeds batches in this process."""
    return (source.embed(batch) for batch in batches)


def embed_set(
    source: FaceSource,
    pictures: PictureSet,
    *,
    cache: Path | None = None,
    flip: bool = False,
    allow_missing: bool = False,
    engine: Engine = embed_here,
) -> Embedded:
    """Embeds a set of pictures.

    Args:
        source: How.
        pictures: The set.
        cache: Folder of embeddings that were computed before.
        flip: Add the embedding of the mirror image before scaling, as published for LFW.
        allow_missing: Leave out pictures that cannot be used; else they are an error.
        engine: What runs the network.

    Returns:
        The embeddings of what is left.

    Raises:
        InputError: The set is empty, or pictures cannot be used; all are named on stderr.
    """
    if not pictures.pictures:
        raise InputError("no pictures in it", where=pictures.name)
    contents, refused = _hash_all(pictures)
    photos = not source.crops and not all(picture.crop for picture in pictures.pictures)
    kept = VectorCache(cache, source.key(photos))
    known = kept.read(sorted(set(contents.values())))
    # Every content once, whoever has it.
    first = {digest: number for number, digest in reversed(contents.items())}
    wanted = [number for digest, number in first.items() if digest not in known]
    wanted.sort()
    progress = Progress(len(wanted), "pictures")
    groups = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    batches = [[pictures.pictures[number] for number in group] for group in groups]
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
    refused.update(_duplicates(pictures, contents))
    left_out = _report(pictures, refused, allow_missing)
    rest = pictures.without(set(refused)) if refused else pictures
    rows = [known[contents[n]] for n in range(len(pictures.pictures)) if n not in refused]
    return Embedded(
        source.model.identity, rest, _scaled(rows, flip, pictures.name), left_out, len(wanted)
    )


def _hash_all(pictures: PictureSet) -> tuple[dict[int, str], dict[int, str]]:
    """SHA-256 of each picture's content by its number, and why others cannot be read."""
    contents, refused = {}, {}
    for number, picture in enumerate(pictures.pictures):
        try:
            contents[number] = hashlib.sha256(picture.content()).hexdigest()
        except ImageError as error:
            refused[number] = error.what
    return contents, refused


def _duplicates(pictures: PictureSet, contents: dict[int, str]) -> dict[int, str]:
    """Files that say nothing new, or nothing true, in a set where everybody is compared.

    A second copy of one person's picture is left out; a picture of two people is refused.
    """
    if pictures.people is None or pictures.pairs is not None:
        return {}
    seen: dict[str, int] = {}
    found: dict[int, str] = {}
    for number, digest in contents.items():
        other = seen.setdefault(digest, number)
        if other == number:
            continue
        name = pictures.pictures[other].name
        if pictures.people[other] == pictures.people[number]:
            found[number] = f"{_COPY} {name}"
        else:
            found[number] = f"the same picture as {name}, of another person"
            found[other] = (
                f"the same picture as {pictures.pictures[number].name}, of another person"
            )
    return found


_COPY = "a copy of"


def _report(
    pictures: PictureSet, refused: dict[int, str], allow_missing: bool
) -> tuple[LeftOut, ...]:
    """Says on stderr what is left out; raises unless that is allowed, or only copies are."""
    found = tuple(LeftOut(pictures.pictures[n].name, refused[n]) for n in sorted(refused))
    for item in found:
        print(f"mobileface-eval: left out: {item.picture}: {item.reason}", file=sys.stderr)
    harmful = [item for item in found if not item.reason.startswith(_COPY)]
    if harmful and not allow_missing:
        raise InputError(
            f"{len(harmful)} of {len(pictures.pictures)} pictures cannot be used, "
            f"the first is {harmful[0].picture} ({harmful[0].reason})",
            where=pictures.name,
            hint="mend the set, or leave them out with --allow-missing",
        )
    return found


def _scaled(rows: Sequence[Vectors], flip: bool, where: str) -> Floats:
    """Unit vectors (N, D) of pictures, or of the sums with their mirror images."""
    both = np.stack([row for row in rows if not isinstance(row, str)])
    chosen = both.sum(axis=1) if flip else both[:, 0]
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise InputError("an embedding is not finite or has no length", where=where)
    return np.asarray(chosen / lengths, np.float32)

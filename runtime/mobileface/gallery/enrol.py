"""Enrolment: detects, checks and embeds faces in images, and adds them to a gallery."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import ImageError, InputError, MobileFaceError, ModelNotFoundError
from ..host.files import sha256
from ..matching.decisions import DEFAULT_FMR, supported_fmr
from ..tasks.align import align
from ..tasks.embedding import Embedder
from ..tasks.face_choice import CHOICES, check_choice, choose_face
from ..types import Face
from ..vision.image import Image
from ..vision.picture_files import read_image
from .enclosing import Enclosing, enclose, encode
from .entries import NewFace, check_name
from .gallery import Gallery
from .quality import QualityLimits, measure, require_quality

__all__ = ["EnrolledImage", "Enroller", "Enrolment", "Lookalike"]


_EQUAL = 1 - 1e-6
"""Cosine of an embedding with itself, less what float32 rounds off."""


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A new face that is similar to another person who is already enrolled.

    Attributes:
        file: The image file of the new face.
        name: Name of the other person.
        similarity: Cosine similarity to that person's most similar face.
    """

    file: str
    name: str
    similarity: float

    def __str__(self) -> str:
        return f"{self.file}: looks like '{self.name}' (similarity {self.similarity:.3f})"


@dataclass(frozen=True, slots=True)
class EnrolledImage:
    """The image of an enrolled face, and which of its faces it was.

    Attributes:
        file: The image file.
        faces: Number of faces that were found in it; 1 for an aligned crop.
        bbox: x1, y1, x2, y2 of the enrolled face in pixels of the image; None for an aligned crop.
    """

    file: str
    faces: int
    bbox: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The result of enrolling images of one person.

    Attributes:
        name: Name of the person.
        faces: IDs of the faces that were added.
        known: Files that were already enrolled.
        refused: One error for each rejected file.
        lookalikes: Added faces that are similar to another person.
        images: The image of each added face.
    """

    name: str
    faces: tuple[int, ...]
    known: tuple[str, ...]
    refused: tuple[MobileFaceError, ...]
    lookalikes: tuple[Lookalike, ...]
    images: tuple[EnrolledImage, ...] = ()


class Enroller:
    """Enrols faces in a gallery.

    Args:
        gallery: The gallery.
        analyzer: Detects and embeds faces. Pass an embedder if the images are aligned face crops.
        limits: Minimum quality of a face; None uses the defaults, which only check the sharpness
            of aligned crops.
        lookalike_fmr: False match rate of the similarity at which a new face is reported as similar
            to another person; the lowest rate that the calibration supports is used if it is
            higher. Without a calibration, a face is reported if it is more similar to another
            person than to the other faces of the same person.

    Raises:
        InputError: If the gallery belongs to another model; the error names both models.
        ModelNotFoundError: If the analyzer has no embedder.
    """

    def __init__(
        self,
        gallery: Gallery,
        analyzer: FaceAnalyzer | Embedder,
        *,
        limits: QualityLimits | None = None,
        lookalike_fmr: float = DEFAULT_FMR,
    ) -> None:
        self.gallery = gallery
        self._analyzer = analyzer if isinstance(analyzer, FaceAnalyzer) else None
        embedder = analyzer.embedder if isinstance(analyzer, FaceAnalyzer) else analyzer
        if embedder is None:
            raise ModelNotFoundError("enrolment needs an identification model")
        self.embedder = embedder
        gallery.stamp.require(embedder.identity, str(gallery.path))
        self._limits = limits or QualityLimits(**({} if self._analyzer else {"face_size": 0.0}))
        self._lookalike = self._lookalike_threshold(lookalike_fmr)

    def enrol(
        self, name: str, paths: Sequence[str | Path], *, face: str | int | None = None
    ) -> Enrolment:
        """Enrols the images of one person that meet the quality limits, in one transaction.

        Images that are already enrolled for this person are skipped, so an interrupted enrolment
        can be run again. Two processes may enrol the same images: each is stored once.

        Args:
            name: Name of the person.
            paths: Image files.
            face: Which face of an image to enrol, see `mobileface.tasks.face_choice`; None rejects
                images with several faces.

        Raises:
            InputError: If the name or the choice is invalid.
            OutputError: If the gallery cannot be written.
        """
        name = check_name(name)
        if face is not None:
            face = check_choice(face)
        faces: list[NewFace] = []
        images: list[EnrolledImage] = []
        known: list[str] = []
        refused: list[MobileFaceError] = []
        before = self._hashes(name)
        hashes = set(before)
        for path in map(Path, paths):
            try:
                image = read_image(path)
                digest = sha256(path)
                if digest in hashes:
                    known.append(str(path))
                    continue
                hashes.add(digest)
                new, count = self._examine(image, str(path), digest, face)
                faces.append(new)
                images.append(EnrolledImage(str(path), count, new.bbox))
            except InputError as error:
                refused.append(error)
        lookalikes = tuple(self._lookalikes(name, faces)) if faces else ()
        with self.gallery.database.write() if faces else contextlib.nullcontext():
            others = self._hashes(name) - before  # by another process, while we were looking
            late = {face.source for face in faces if face.source_sha256 in others}
            faces = [face for face in faces if face.source not in late]
            added = tuple(self.gallery.add(name, faces)) if faces else ()
        if late:
            known += [file for file in map(str, paths) if file in late]
            images = [image for image in images if image.file not in late]
            lookalikes = tuple(other for other in lookalikes if other.file not in late)
        return Enrolment(name, added, tuple(known), tuple(refused), lookalikes, tuple(images))

    def examine(
        self,
        image: Image,
        source: str = "image",
        digest: str | None = None,
        *,
        face: str | int | None = None,
    ) -> NewFace:
        """Detects, checks and embeds the only face in an image, or the chosen one.

        Args:
            image: uint8 (H, W, 3) BGR or (H, W).
            source: The image file.
            digest: SHA-256 of the file.
            face: Which face to enrol, see `mobileface.tasks.face_choice`; None rejects an image
                with several faces.

        Raises:
            ImageError: If the image has no face, or several and none is chosen, or if the face does
                not meet the quality limits; the error lists the measured values.
            InputError: If the choice is invalid or fits no face.
        """
        return self._examine(image, source, digest, face)[0]

    def _examine(
        self, image: Image, source: str, digest: str | None, choice: str | int | None
    ) -> tuple[NewFace, int]:
        """The face to enrol, and the number of faces in the image."""
        if self._analyzer is None:
            values = measure(None, image)
            require_quality(values, self._limits, source)
            crop = encode(image) if self.gallery.stamp.keeps_crops else None
            vector = self.embedder.embed(image)[0]
            return NewFace(vector, source, digest, quality=values, crop=crop), 1
        found = self._analyzer.detect(image)
        face = self._chosen_face(found, choice, source)
        face = self._analyzer.describe(image, [face], ("embedding",))[0]
        if face.embedding is None or face.landmarks is None:
            raise ImageError("the face's landmarks are not sufficient for a crop", where=source)
        spec = self.embedder.image
        size = (spec.height, spec.width)
        values = measure(face, align(image, face.landmarks, crop=self.embedder.crop, size=size))
        require_quality(values, self._limits, source)
        stored: Enclosing | None = None
        if self.gallery.stamp.keeps_crops:
            stored = enclose(image, face, self.embedder.crop, max(size))
        points = zip(face.landmarks.names, face.landmarks.points, strict=True)
        new = NewFace(
            face.embedding,
            source,
            digest,
            tuple(round(float(value), 2) for value in face.bbox),
            face.det_score,
            {name: (round(float(x), 2), round(float(y), 2)) for name, (x, y) in points},
            values,
            None if stored is None else encode(stored.image),
            None if stored is None else stored.bbox,
            None if stored is None else stored.kps,
        )
        return new, len(found)

    @staticmethod
    def _chosen_face(found: Sequence[Face], choice: str | int | None, source: str) -> Face:
        if not found:
            raise ImageError("no face found", where=source, hint="use an image with one face")
        if choice is not None:
            return choose_face(found, choice, source)
        if len(found) > 1:
            sizes = ", ".join(f"{face.bbox[2] - face.bbox[0]:.0f}" for face in found[:5])
            raise ImageError(
                f"{len(found)} faces found ({sizes} pixels wide)",
                where=source,
                hint=f"use an image with exactly one face, or choose one with --face: {CHOICES}",
            )
        return found[0]

    def _hashes(self, name: str) -> set[str]:
        """Hashes of the files that are already enrolled for a person."""
        query = (
            "SELECT source_sha256 FROM face JOIN person ON person.id = face.person "
            "WHERE name = ? AND source_sha256 IS NOT NULL"
        )
        return {digest for (digest,) in self.gallery.database.rows(query, (name,))}

    def _lookalike_threshold(self, rate: float) -> float | None:
        calibration = self.gallery.stamp.calibration
        if calibration is None:
            return None
        return calibration.threshold(supported_fmr(calibration, rate))

    def _lookalikes(self, name: str, faces: Sequence[NewFace]) -> Iterator[Lookalike]:
        """New faces that are similar to another person."""
        vectors = np.stack([face.embedding for face in faces])
        among = vectors @ vectors.T
        np.fill_diagonal(among, -1)
        for face, own, found in zip(
            faces, among.max(axis=1), self.gallery.search(vectors, top=2), strict=True
        ):
            same = [match.similarity for match in found.matches if match.name == name]
            other = next((match for match in found.matches if match.name != name), None)
            if other is None:
                continue
            threshold = self._lookalike
            if threshold is None:
                # Without a calibration, compare with the other images of the same person.
                same_person = max([float(own), *same])
                threshold = same_person if len(faces) > 1 or same else _EQUAL
            if other.similarity >= threshold:
                yield Lookalike(face.source or "image", other.name, other.similarity)

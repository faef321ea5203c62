"""Enrolment: detects, checks and embeds faces in images, and adds them to a gallery."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import ImageError, InputError, ModelNotFoundError
from ..host.files import sha256
from ..matching.decisions import DEFAULT_FMR, supported_fmr
from ..tasks.align import align
from ..tasks.embedding import Embedder
from ..tasks.face_choice import (
    CHOICES,
    NoFaceError,
    SeveralFacesError,
    check_choice,
    choose_face,
)
from ..types import Face
from ..vision.image import Image
from ..vision.picture_files import decode_image, read_image
from ..vision.written_pictures import encode_jpeg
from .enclosing import CROP_QUALITY, Enclosing, enclose
from .enrolment import EnrolledImage, Enrolment, Examined, Lookalike
from .entries import NewFace, check_name
from .gallery import Gallery
from .quality import QualityLimits, measure, require_quality

__all__ = ["Enroller"]

_Reader = tuple[str, Callable[[], tuple[Image, str]]]
"""The name of an image file, and what reads it: the image and the file's SHA-256."""

_EQUAL = 1 - 1e-6
"""Cosine of an embedding with itself, less what float32 rounds off."""

_MOST_SIZES = 5
"""Sizes of faces that an error lists."""


class Enroller:
    """Enrols faces in a gallery.

    Args:
        gallery: The gallery.
        analyzer: Detects and embeds faces. Pass an embedder if the images are aligned face crops.
        limits: Minimum quality of a face; None uses the defaults, which only check the sharpness
            of aligned crops, and errors do not suggest to relax them.
        lookalike_fmr: False match rate of the similarity at which a new face is reported as similar
            to another person; the lowest rate that the calibration supports is used if it is
            higher. Without a calibration, a face is reported if it is more similar to another
            person than to the other faces of the same person.
        min_score: Lowest detection score of a face that counts; the detector's own limit holds as
            well.
        option: What the user chooses a face with, for hints, e.g. "--face"; "" if nothing does.

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
        min_score: float = -math.inf,
        option: str = "face",
    ) -> None:
        self.gallery = gallery
        self._analyzer = analyzer if isinstance(analyzer, FaceAnalyzer) else None
        embedder = analyzer.embedder if isinstance(analyzer, FaceAnalyzer) else analyzer
        if embedder is None:
            raise ModelNotFoundError("enrolment needs an identification model")
        self.embedder = embedder
        gallery.stamp.require(embedder.identity, str(gallery.path))
        self._adjustable = limits is not None
        self._limits = limits or QualityLimits(**({} if self._analyzer else {"face_size": 0.0}))
        self._lookalike = self._lookalike_threshold(lookalike_fmr)
        self._min_score, self._option = min_score, option

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
        pictures = map(_read, map(Path, paths))
        return self.store(name, self._examine_all(pictures, face, self.known(name)))

    def known(self, name: str) -> set[str]:
        """SHA-256 of the files that are already enrolled for a person, in hexadecimal."""
        query = (
            "SELECT source_sha256 FROM face JOIN person ON person.id = face.person "
            "WHERE name = ? AND source_sha256 IS NOT NULL"
        )
        found = self.gallery.database.rows(query, (check_name(name),))
        return {digest for (digest,) in found}

    def examine_contents(
        self,
        pictures: Iterable[tuple[bytes, str]],
        *,
        face: str | int | None = None,
        known: Collection[str] = (),
        max_pixels: int | None = None,
    ) -> Examined:
        """Detects, checks and embeds the faces of one person's images, without the gallery.

        Args:
            pictures: The content of each image file, and its name.
            face: Which face of an image to enrol, see `enrol`.
            known: SHA-256 of files to skip, see `known`.
            max_pixels: Refuse larger images, see `mobileface.vision.picture_files.decode_image`.

        Returns:
            What `store` adds to the gallery.

        Raises:
            InputError: If the choice is invalid.
        """
        read = (_decoder(*picture, max_pixels) for picture in pictures)
        return self._examine_all(read, face, known)

    def store(self, name: str, examined: Examined) -> Enrolment:
        """Enrols examined faces, in one transaction.

        Faces of files that were enrolled for the person meanwhile are skipped.

        Args:
            name: Name of the person.
            examined: The faces, see `examine_contents`.

        Raises:
            InputError: If the name is invalid.
            OutputError: If the gallery cannot be written.
            GalleryError: If another process does not finish writing within the timeout.
        """
        name = check_name(name)
        faces, known = examined.faces, list(examined.known)
        similar = self._lookalikes(name, faces) if faces else []
        added: Sequence[int] = ()
        with self.gallery.database.write() if faces else contextlib.nullcontext():
            late = self.known(name)  # by another process, while we were looking
            kept = [face.source_sha256 not in late for face in faces]
            if any(kept):
                added = self.gallery.add(name, list(compress(faces, kept)))
        known += [image.file for image, new in zip(examined.images, kept, strict=True) if not new]
        return Enrolment(
            name,
            tuple(added),
            tuple(known),
            examined.refused,
            tuple(filter(None, compress(similar, kept))),
            tuple(compress(examined.images, kept)),
        )

    def _examine_all(
        self, pictures: Iterable[_Reader], face: str | int | None, known: Collection[str]
    ) -> Examined:
        """Examines images, which are read one by one; those with known hashes are skipped."""
        if face is not None:
            face = check_choice(face)
        faces: list[NewFace] = []
        images: list[EnrolledImage] = []
        skipped: list[str] = []
        refused: list[InputError] = []
        hashes = set(known)
        for source, read in pictures:
            try:
                image, digest = read()
                if digest in hashes:
                    skipped.append(source)
                    continue
                hashes.add(digest)
                new, count = self._examine(image, source, digest, face)
                faces.append(new)
                images.append(EnrolledImage(source, count, new.bbox))
            except InputError as error:
                refused.append(error)
        return Examined(tuple(faces), tuple(images), tuple(skipped), tuple(refused))

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
            self._require_quality(values, source)
            crop = encode_jpeg(image, CROP_QUALITY) if self.gallery.stamp.keeps_crops else None
            vector = self.embedder.embed(image)[0]
            return NewFace(vector, source, digest, quality=values, crop=crop), 1
        found = [face for face in self._analyzer.detect(image) if face.det_score >= self._min_score]
        face = self._chosen_face(found, choice, source)
        face = self._analyzer.describe(image, [face], ("embedding",))[0]
        if face.embedding is None or face.landmarks is None:
            raise ImageError("the face's landmarks are not sufficient for a crop", where=source)
        spec = self.embedder.image
        size = (spec.height, spec.width)
        values = measure(face, align(image, face.landmarks, crop=self.embedder.crop, size=size))
        self._require_quality(values, source)
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
            None if stored is None else encode_jpeg(stored.image, CROP_QUALITY),
            None if stored is None else stored.bbox,
            None if stored is None else stored.kps,
        )
        return new, len(found)

    def _require_quality(self, values: dict[str, float], source: str) -> None:
        require_quality(values, self._limits, source, adjustable=self._adjustable)

    def _chosen_face(self, found: Sequence[Face], choice: str | int | None, source: str) -> Face:
        if not found:
            raise NoFaceError("no face found", where=source, hint="use an image with one face")
        if choice is not None:
            return choose_face(found, choice, source)
        if len(found) > 1:
            sizes = ", ".join(f"{face.bbox[2] - face.bbox[0]:.0f}" for face in found[:_MOST_SIZES])
            if len(found) > _MOST_SIZES:
                sizes += ", …"
            hint = "use an image with exactly one face"
            if self._option:
                hint += f", or choose one with {self._option}: {CHOICES}"
            raise SeveralFacesError(
                f"{len(found)} faces found ({sizes} pixels wide)", where=source, hint=hint
            )
        return found[0]

    def _lookalike_threshold(self, rate: float) -> float | None:
        calibration = self.gallery.stamp.calibration
        if calibration is None:
            return None
        return calibration.threshold(supported_fmr(calibration, rate))

    def _lookalikes(self, name: str, faces: Sequence[NewFace]) -> list[Lookalike | None]:
        """For each new face, the other person it is similar to."""
        similar: list[Lookalike | None] = []
        vectors = np.stack([face.embedding for face in faces])
        among = vectors @ vectors.T
        np.fill_diagonal(among, -1)
        for face, own, found in zip(
            faces, among.max(axis=1), self.gallery.search(vectors, top=2), strict=True
        ):
            same = [match.similarity for match in found.matches if match.name == name]
            other = next((match for match in found.matches if match.name != name), None)
            similar.append(None)
            if other is None:
                continue
            threshold = self._lookalike
            if threshold is None:
                # Without a calibration, compare with the other images of the same person.
                same_person = max([float(own), *same])
                threshold = same_person if len(faces) > 1 or same else _EQUAL
            if other.similarity >= threshold:
                similar[-1] = Lookalike(face.source or "image", other.name, other.similarity)
        return similar


def _read(path: Path) -> _Reader:
    """Reads an image file and its hash when it is called."""
    return str(path), lambda: (read_image(path), sha256(path))


def _decoder(data: bytes, source: str, max_pixels: int | None) -> _Reader:
    """Decodes the content of an image file when it is called."""

    def read() -> tuple[Image, str]:
        image = decode_image(data, source, max_pixels=max_pixels)
        return image, hashlib.sha256(data).hexdigest()

    return source, read

"""Images to calibrate a quantised network, and images to evaluate it.

The images of a folder are sorted by path and split: the first two thirds are for calibration, the
rest for evaluation. Thus neighbours by name (images of one person, frames of one video) mostly stay
together. Files with the same content count once, so that none is in both parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mobileface.errors import ConversionError
from mobileface.host.files import reason, sha256
from mobileface.models.spec import ModelSpec
from mobileface.vision.picture_files import is_picture, may_be_file, read_image

__all__ = ["ImageSet", "Samples", "read_samples"]

_MIN_IMAGES = 24
"""Minimum number of images in a folder; ranges from fewer images would be unreliable."""

_MAX_IMAGES = 900
"""Maximum number of images used, evenly spaced over the folder; more only take longer."""


@dataclass(frozen=True)
class ImageSet:
    """A set of image files.

    Attributes:
        paths: The files.
        sha256: Hash of the files' hashes in order; independent of their names.
    """

    paths: tuple[Path, ...]
    sha256: str

    def feeds(self, spec: ModelSpec) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """Yields the inputs of a network for the images, as the runtime prepares them.

        Args:
            spec: Spec of the network.

        Raises:
            ImageError: If a file is not an image.
            SpecError: If the network has inputs other than an image.
        """
        for path in self.paths:
            yield spec.kind.feed(spec, read_image(path))

    def to_dict(self) -> dict[str, Any]:
        """The entry in a certificate: number of files and hash."""
        return {"files": len(self.paths), "sha256": self.sha256}


@dataclass(frozen=True)
class Samples:
    """The images of a folder, split in two sets.

    Attributes:
        calibration: Images that activation ranges are measured on.
        evaluation: Other images, for comparing the quantised network.
    """

    calibration: ImageSet
    evaluation: ImageSet


def read_samples(folder: Path) -> Samples:
    """Finds and splits the images of a folder and its subfolders.

    Raises:
        ConversionError: If there are too few images, or a file cannot be read.
    """
    found = sorted(p for p in folder.rglob("*") if is_picture(p) and may_be_file(p))
    step = max(1, -(-len(found) // _MAX_IMAGES))
    try:
        hashes = {sha256(path): path for path in reversed(found[::step])}
    except OSError as error:
        raise ConversionError(f"cannot be read ({reason(error)})", where=str(folder)) from error
    pairs = sorted((path, digest) for digest, path in hashes.items())
    if len(pairs) < _MIN_IMAGES:
        raise ConversionError(
            f"{len(pairs)} calibration images, at least {_MIN_IMAGES} are needed",
            where=str(folder),
            hint="200 aligned face crops of different people are a good choice",
        )
    split = len(pairs) * 2 // 3
    return Samples(_set(pairs[:split]), _set(pairs[split:]))


def _set(pairs: Sequence[tuple[Path, str]]) -> ImageSet:
    digest = hashlib.sha256("".join(value for _, value in pairs).encode()).hexdigest()
    return ImageSet(tuple(path for path, _ in pairs), digest)

"""Pictures to quantise a network by, and others to see what that cost.

A folder's pictures, sorted by path, are parted once: the first two thirds calibrate, the rest is
what the result is compared on. Neighbours by name (two pictures of one person, two frames of one
video) mostly stay on one side so. Files of the same content count once, so that none is on both.
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
from mobileface.vision.image import PICTURE_SUFFIXES, read_image

__all__ = ["PictureSet", "Samples", "read_samples"]

_LEAST = 24
"""Pictures that a folder must have: with fewer, ranges are a matter of luck."""

_MOST = 900
"""Pictures that are used of a folder, evenly spread over it; more change nothing but the time."""


@dataclass(frozen=True)
class PictureSet:
    """Some picture files.

    Attributes:
        paths: The files.
        sha256: Hash of the hashes of their contents, in order: names do not count.
    """

    paths: tuple[Path, ...]
    sha256: str

    def feeds(self, spec: ModelSpec) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """The pictures as the runtime would feed them to a network, one by one.

        Args:
            spec: The network.

        Raises:
            ImageError: A file is no picture.
            SpecError: The network is not fed with images alone.
        """
        for path in self.paths:
            yield spec.kind.feed(spec, read_image(path))

    def to_dict(self) -> dict[str, Any]:
        """What a certificate says of them."""
        return {"files": len(self.paths), "sha256": self.sha256}


@dataclass(frozen=True)
class Samples:
    """A folder's pictures, parted.

    Attributes:
        calibration: What ranges are taken from.
        evaluation: Others, on which the result is compared.
    """

    calibration: PictureSet
    evaluation: PictureSet


def read_samples(folder: Path) -> Samples:
    """Finds and parts the pictures of a folder and its subfolders.

    Raises:
        ConversionError: It has too few, or one cannot be read.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    step = max(1, -(-len(found) // _MOST))
    try:
        hashes = {sha256(path): path for path in reversed(found[::step])}
    except OSError as error:
        raise ConversionError(f"cannot be read ({reason(error)})", where=str(folder)) from error
    pairs = sorted((path, digest) for digest, path in hashes.items())
    if len(pairs) < _LEAST:
        raise ConversionError(
            f"{len(pairs)} pictures to calibrate with, {_LEAST} are needed",
            where=str(folder),
            hint="200 aligned faces of different people are a good number",
        )
    border = len(pairs) * 2 // 3
    return Samples(_set(pairs[:border]), _set(pairs[border:]))


def _set(pairs: Sequence[tuple[Path, str]]) -> PictureSet:
    digest = hashlib.sha256("".join(value for _, value in pairs).encode()).hexdigest()
    return PictureSet(tuple(path for path, _ in pairs), digest)

"""Sets of face images: one folder per person, a list of pairs, or a single verification file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.commands.inputs import find_pictures
from mobileface.errors import ImageError, InputError
from mobileface.host.files import reason
from mobileface.vision.image import Image
from mobileface.vision.picture_files import decode_image

from .bin_set import read_bin

__all__ = ["FaceImage", "FaceSet", "read_folder", "read_pairs", "read_verification_set"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class FaceImage:
    """One image of a set.

    Attributes:
        name: Name in reports.
        path: The image file; None if the image is part of the set's file.
        data: The encoded image; None if it has its own file.
        crop: Whether the image is known to be an aligned face crop.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    crop: bool = False

    def content(self) -> bytes:
        """The encoded image.

        Raises:
            ImageError: If the file cannot be read.
        """
        if self.data is not None:
            return self.data
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot be read ({reason(error)})", where=self.name) from error

    def image(self) -> Image:
        """The decoded image, uint8 (H, W, 3), BGR.

        Raises:
            ImageError: If the image cannot be read or decoded.
        """
        return decode_image(self.content(), self.name)


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Images with the people they show, or with the pairs to compare.

    Attributes:
        name: Name of the set.
        images: The N images.
        people: (N,) name of the person in each image; None: unknown.
        pairs: int64 (P, 2): image indices of each pair; None: compare all pairs.
        same: bool (P,): whether a pair shows the same person.
    """

    name: str
    images: tuple[FaceImage, ...]
    people: tuple[str, ...] | None = None
    pairs: npt.NDArray[np.int64] | None = None
    same: npt.NDArray[np.bool_] | None = None

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 (N,): the index of each image's person, in alphabetical order.

        Raises:
            InputError: If the people are unknown.
        """
        if self.people is None:
            raise InputError(
                "the set has no person labels",
                where=self.name,
                hint="use a folder with one subfolder per person, or a list of pairs with names",
            )
        return np.asarray(np.unique(np.array(self.people), return_inverse=True)[1], np.int64)

    def without(self, skipped: set[int]) -> FaceSet:
        """The set without some images and without their pairs.

        Raises:
            InputError: If no image remains.
        """
        kept = [number for number in range(len(self.images)) if number not in skipped]
        if not kept:
            raise InputError("no usable images", where=self.name)
        people = None if self.people is None else tuple(self.people[number] for number in kept)
        images = tuple(self.images[number] for number in kept)
        if self.pairs is None or self.same is None:
            return FaceSet(self.name, images, people)
        renumbered = np.full(len(self.images), -1)
        renumbered[kept] = np.arange(len(kept))
        pairs = renumbered[self.pairs]
        whole = (pairs >= 0).all(axis=1)
        return FaceSet(self.name, images, people, pairs[whole], self.same[whole])


def read_folder(folder: Path, people: int | None = None) -> FaceSet:
    """Reads a folder that has one subfolder per person.

    Args:
        folder: The folder.
        people: Maximum number of people, in alphabetical order; None: all.

    Raises:
        InputError: If the folder does not exist, contains no images, or contains images that are
            not in a subfolder.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    paths = find_pictures([str(folder)])
    unlabelled = [path for path in paths if path.parent == folder]
    if unlabelled:
        raise InputError(
            f"'{unlabelled[0].name}' is not in the folder of a person",
            where=str(folder),
            hint="put the images of each person into a subfolder",
        )
    names = sorted({path.relative_to(folder).parts[0] for path in paths})[:people]
    known = set(names)
    found = [(path.relative_to(folder), path) for path in paths]
    found = [(inside, path) for inside, path in found if inside.parts[0] in known]
    return FaceSet(
        folder.resolve().name,
        tuple(FaceImage(inside.as_posix(), path) for inside, path in found),
        tuple(inside.parts[0] for inside, _ in found),
    )


def read_verification_set(path: Path) -> FaceSet:
    """Reads lfw.bin or another set in the same format; its images are aligned face crops.

    Raises:
        InputError: If the file is not such a set; see `read_bin`.
    """
    contents, same = read_bin(path)
    images = tuple(
        FaceImage(f"{path.stem}[{number}]", data=data, crop=True)
        for number, data in enumerate(contents)
    )
    pairs = np.arange(len(contents)).reshape(-1, 2)
    return FaceSet(path.stem, images, None, pairs, same)


def read_pairs(path: Path, folder: Path) -> FaceSet:
    """Reads a list of pairs in the format of LFW's pairs.txt.

    After an optional line of counts, a line is ``NAME I J`` (two images of one person) or
    ``NAME I OTHER J``; image I of NAME is ``NAME/NAME_000I.jpg``, or .png and others. A line
    ``FILE FILE 0|1`` names two files below the folder; the person is the name of a file's folder.

    Args:
        path: The list.
        folder: The folder with one subfolder per person.

    Raises:
        InputError: If the list cannot be read, contains no pairs, or a line is invalid; the error
            names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error
    numbers: dict[Path, int] = {}
    pairs, same = [], []
    for count, line in enumerate(lines, 1):
        fields = line.split("\t") if "\t" in line else line.split()
        if not fields or (count == 1 and len(fields) <= 2 and all(map(_is_number, fields))):
            continue
        files, matches = _pair(fields, f"{path}, line {count}")
        pairs.append([numbers.setdefault(_existing(folder, file), len(numbers)) for file in files])
        same.append(matches)
    if not pairs:
        raise InputError("no pairs found", where=str(path))
    images = tuple(FaceImage(file.as_posix(), folder / file) for file in numbers)
    people = tuple(file.parent.name for file in numbers)
    return FaceSet(folder.resolve().name, images, people, np.array(pairs), np.array(same, np.bool_))


def _pair(fields: Sequence[str], where: str) -> tuple[list[Path], bool]:
    """The two files of a line, in LFW's form without a suffix, and whether they match."""
    if len(fields) == 3 and fields[2] in ("0", "1") and not _is_number(fields[1]):
        files, matches = [Path(fields[0]), Path(fields[1])], fields[2] == "1"
    elif len(fields) == 3 and _is_number(fields[1]) and _is_number(fields[2]):
        files, matches = [_lfw_file(fields[0], number) for number in fields[1:]], True
    elif len(fields) == 4 and _is_number(fields[1]) and _is_number(fields[3]):
        files, matches = [_lfw_file(*fields[:2]), _lfw_file(*fields[2:])], False
    else:
        raise InputError(f"not a pair: {' '.join(fields)[:80]!r}", where=where)
    for file in files:
        if file.is_absolute() or ".." in file.parts:
            raise InputError(f"'{file}' is outside the folder", where=where)
    return files, matches


def _is_number(text: str) -> bool:
    """True for whole numbers of up to nine digits."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def _lfw_file(name: str, number: str) -> Path:
    return Path(name, f"{name}_{int(number):04d}")


def _existing(folder: Path, file: Path) -> Path:
    """The file with the suffix of the existing file; ``.jpg`` if no such file exists."""
    if file.suffix.lower() in _SUFFIXES or (folder / file).is_file():
        return file
    for suffix in _SUFFIXES:
        candidate = file.with_name(file.name + suffix)
        if (folder / candidate).is_file():
            return candidate
    return file.with_name(file.name + _SUFFIXES[0])

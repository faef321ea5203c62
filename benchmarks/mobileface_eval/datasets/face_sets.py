"""Sets of face pictures: a folder a person, a list of pairs, or a verification set in one file."""

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
from mobileface.vision.image import Image, decode_image

from .bin_set import read_bin

__all__ = ["Picture", "PictureSet", "read_folder", "read_pairs", "read_verification_set"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class Picture:
    """One picture of a set.

    Attributes:
        name: What reports call it.
        path: Its file; None if it is in the set's own file.
        data: Its encoded content; None if it is in a file of its own.
        crop: It is an aligned face crop for sure.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    crop: bool = False

    def content(self) -> bytes:
        """The encoded picture.

        Raises:
            ImageError: It cannot be read.
        """
        if self.data is not None:
            return self.data
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot be read ({reason(error)})", where=self.name) from error

    def image(self) -> Image:
        """The picture, uint8 (H, W, 3), BGR.

        Raises:
            ImageError: It cannot be read or decoded.
        """
        return decode_image(self.content(), self.name)


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures, and who is in them or which pairs to compare.

    Attributes:
        name: Of the set.
        pictures: N pictures.
        people: (N,) who is in each; None: not known.
        pairs: int (P, 2): numbers of the pictures of each pair; None: every two pictures.
        same: bool (P,): whether a pair shows one person.
    """

    name: str
    pictures: tuple[Picture, ...]
    people: tuple[str, ...] | None = None
    pairs: npt.NDArray[np.int64] | None = None
    same: npt.NDArray[np.bool_] | None = None

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """int (N,): the number of each picture's person, in the order of their names."""
        if self.people is None:
            raise InputError(
                "it does not say who is in its pictures",
                where=self.name,
                hint="take a folder with a folder for each person, or a list of pairs with names",
            )
        return np.asarray(np.unique(np.array(self.people), return_inverse=True)[1], np.int64)

    def without(self, left_out: set[int]) -> PictureSet:
        """The set without some pictures, and without their pairs.

        Raises:
            InputError: Nothing is left.
        """
        kept = [number for number in range(len(self.pictures)) if number not in left_out]
        if not kept:
            raise InputError("no picture is left", where=self.name)
        people = None if self.people is None else tuple(self.people[number] for number in kept)
        pictures = tuple(self.pictures[number] for number in kept)
        if self.pairs is None or self.same is None:
            return PictureSet(self.name, pictures, people)
        renumbered = np.full(len(self.pictures), -1)
        renumbered[kept] = np.arange(len(kept))
        pairs = renumbered[self.pairs]
        whole = (pairs >= 0).all(axis=1)
        return PictureSet(self.name, pictures, people, pairs[whole], self.same[whole])


def read_folder(folder: Path, people: int | None = None) -> PictureSet:
    """Reads a folder that has a folder for each person.

    Args:
        folder: The folder.
        people: Take so many people only, the first by name.

    Raises:
        InputError: It is no folder, has no folders with pictures, or has pictures beside them.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    paths = find_pictures([str(folder)])
    beside = [path for path in paths if path.parent == folder]
    if beside:
        raise InputError(
            f"'{beside[0].name}' lies beside the folders of people",
            where=str(folder),
            hint="each person's pictures belong into a folder of their own",
        )
    names = sorted({path.relative_to(folder).parts[0] for path in paths})[:people]
    known = set(names)
    found = [(path.relative_to(folder), path) for path in paths]
    found = [(inside, path) for inside, path in found if inside.parts[0] in known]
    return PictureSet(
        folder.resolve().name,
        tuple(Picture(inside.as_posix(), path) for inside, path in found),
        tuple(inside.parts[0] for inside, _ in found),
    )


def read_verification_set(path: Path) -> PictureSet:
    """Reads lfw.bin or another set of its form; its pictures are crops.

    Raises:
        InputError: It is none; see `read_bin`.
    """
    contents, same = read_bin(path)
    pictures = tuple(
        Picture(f"{path.stem}[{number}]", data=data, crop=True)
        for number, data in enumerate(contents)
    )
    pairs = np.arange(len(contents)).reshape(-1, 2)
    return PictureSet(path.stem, pictures, None, pairs, same)


def read_pairs(path: Path, folder: Path) -> PictureSet:
    """Reads a list of pairs in the form of LFW's pairs.txt.

    After an optional line of counts, a line is ``NAME I J`` (two pictures of one person) or
    ``NAME I OTHER J``; picture I of NAME is ``NAME/NAME_000I.jpg``, or .png and others. A line
    ``FILE FILE 0|1`` names two files below the folder; who is in them is their folder's name.

    Args:
        path: The list.
        folder: The folder with a folder for each person.

    Raises:
        InputError: It cannot be read, or a line is none of these; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error
    numbers: dict[Path, int] = {}
    pairs, same = [], []
    for count, line in enumerate(lines, 1):
        fields = line.split("\t") if "\t" in line else line.split()
        if not fields or (count == 1 and len(fields) <= 2 and all(f.isdigit() for f in fields)):
            continue
        files, alike = _pair(fields, f"{path}, line {count}")
        pairs.append([numbers.setdefault(_existing(folder, file), len(numbers)) for file in files])
        same.append(alike)
    if not pairs:
        raise InputError("no pairs in it", where=str(path))
    pictures = tuple(Picture(file.as_posix(), folder / file) for file in numbers)
    people = tuple(file.parent.name for file in numbers)
    return PictureSet(
        folder.resolve().name, pictures, people, np.array(pairs), np.array(same, np.bool_)
    )


def _pair(fields: Sequence[str], where: str) -> tuple[list[Path], bool]:
    """The two files of a line, without a suffix where the form has none, and whether they match."""
    if len(fields) == 3 and fields[2] in ("0", "1") and not fields[1].isdigit():
        files, alike = [Path(fields[0]), Path(fields[1])], fields[2] == "1"
    elif len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
        files, alike = [_lfw_file(fields[0], number) for number in fields[1:]], True
    elif len(fields) == 4 and fields[1].isdigit() and fields[3].isdigit():
        files, alike = [_lfw_file(*fields[:2]), _lfw_file(*fields[2:])], False
    else:
        raise InputError(f"no pair: {' '.join(fields)[:80]!r}", where=where)
    for file in files:
        if file.is_absolute() or ".." in file.parts:
            raise InputError(f"'{file}' leads out of the folder", where=where)
    return files, alike


def _lfw_file(name: str, number: str) -> Path:
    return Path(name, f"{name}_{int(number):04d}")


def _existing(folder: Path, file: Path) -> Path:
    """The file with the suffix that it has; ``.jpg`` if there is none."""
    if file.suffix.lower() in _SUFFIXES:
        return file
    for suffix in _SUFFIXES:
        candidate = file.with_name(file.name + suffix)
        if (folder / candidate).is_file():
            return candidate
    return file.with_name(file.name + _SUFFIXES[0])

"""Sections of a spec that all kinds of models share. Uses only the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from ..fields import (
    OMIT_AT_DEFAULT,
    Identifier,
    NonNegative,
    Number,
    Sha1,
    Sha256,
    Text,
    list_of,
    nested,
)

__all__ = ["LandmarkBox", "License", "SourceFileSpec", "SourceSpec"]


@dataclass(frozen=True, slots=True)
class License:
    """Terms of use of a model.

    Attributes:
        name: SPDX identifier, e.g. "MIT".
        url: Address of the text.
        text: Name of the file with the text; None if it is the identifier. Works of several holders
            may be under "MIT", each with its own notice.
    """

    name: Text
    url: Text
    text: Identifier | None = None

    @property
    def text_name(self) -> str:
        """Name of the file with the text, without its suffix."""
        return self.text or self.name


@dataclass(frozen=True, slots=True)
class SourceFileSpec:
    """A file that the model was converted from.

    Attributes:
        path: Path in the upstream repository, with forward slashes.
        git_blob_sha1: Git blob hash of the content, 40 hexadecimal digits.
        bytes: Size of the file, if known.
        sha256: SHA-256 of the content, 64 hexadecimal digits, if it was pinned.
    """

    path: Text
    git_blob_sha1: Sha1
    bytes: NonNegative | None = None
    sha256: Sha256 | None = field(default=None, metadata=OMIT_AT_DEFAULT)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Origin of a model.

    Attributes:
        repository: Address of the upstream repository.
        files: The source files; empty for weights from an installed package.
        commit: Commit that the file hashes belong to.
        package: Installed package that the weights come from.
    """

    repository: Text
    files: Annotated[tuple[SourceFileSpec, ...], list_of(nested(SourceFileSpec), empty=True)] = ()
    commit: Sha1 | None = None
    package: Text | None = None


@dataclass(frozen=True, slots=True)
class LandmarkBox:
    """The square, relative to a detected box, that landmark models were trained on.

    Attributes:
        side: Side of the square, in heights of the box.
        shift_down: Downward shift of the centre, in heights of the box.
    """

    side: Number
    shift_down: Number

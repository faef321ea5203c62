"""Silence for tools of ONNX Runtime that talk to people who run them by hand."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnxruntime

__all__ = ["quiet"]

_WARNINGS, _ERRORS = 2, 3
"""Severities of ONNX Runtime's own log; the first is what it starts with."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what is printed and logged up to warnings; errors still come as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(_ERRORS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # such as files that are left to be closed
            yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(_WARNINGS)

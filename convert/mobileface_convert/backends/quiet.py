"""Suppresses the console output of ONNX Runtime's tools."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnxruntime

__all__ = ["quiet"]

_WARNINGS, _ERRORS = 2, 3
"""Severities of ONNX Runtime's log; warnings are the default."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses standard output, warnings and log messages below errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(_ERRORS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # such as unclosed files
            yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(_WARNINGS)

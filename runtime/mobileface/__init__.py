"""mobileface: face tasks on small machines, on ONNX Runtime and OpenCV alone.

>>> import mobileface
>>> embedder = mobileface.load()                       # doctest: +SKIP
>>> embedder.embed([crop_a, crop_b]).shape             # doctest: +SKIP
(2, 256)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import MobileFaceError
    from .image import read_image
    from .loading import load
    from .session import Session
    from .spec import ModelSpec
    from .store import find_model, list_models
    from .tasks.embed import Embedder, cosine_similarity

__all__ = [
    "Embedder",
    "MobileFaceError",
    "ModelSpec",
    "Session",
    "__version__",
    "cosine_similarity",
    "find_model",
    "list_models",
    "load",
    "read_image",
]

__version__ = "0.1.0"

_HOMES = {
    "Embedder": "tasks.embed",
    "MobileFaceError": "errors",
    "ModelSpec": "spec",
    "Session": "session",
    "cosine_similarity": "tasks.embed",
    "find_model": "store",
    "list_models": "store",
    "load": "loading",
    "read_image": "image",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: reading a spec needs no ONNX Runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""From a model's name to the object that runs its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .session import Session
from .store import find_model
from .tasks.embed import Embedder

__all__ = ["load"]


def load(
    name: str | None = None, *, models: str | Path | None = None, **session_options: Any
) -> Embedder:
    """Loads a model and the task around it.

    Args:
        name: Name of a stored model, or path of an ONNX file with a spec; by default the
            preferred identification model.
        models: Folder to look in; by default those of `mobileface.store`.
        session_options: ``providers``, ``provider_options``, ``sess_options``,
            ``intra_op_num_threads``; see `mobileface.Session`.

    Raises:
        ModelNotFoundError: No such model.
        ModelIntegrityError: The file is not what its index promises.
        ModelError: It cannot be loaded.
    """
    if name is not None and name.endswith(".onnx"):
        return Embedder(Session(name, **session_options))
    stored = find_model(name, task="embedding", models=models)
    return Embedder(Session(stored.path, expected_sha256=stored.entry.sha256, **session_options))

"""Where models are found.

Searched in this order, and the first folder that has the model wins:

1. the folder given by the caller (then it is the only one);
2. ``MOBILEFACE_HOME``;
3. the user's data folder (``~/.local/share/mobileface/models`` on Linux);
4. the folder ``models_onnx`` that came with the package, or lies in the source checkout.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelNotFoundError
from .index import INDEX_FILE, IndexEntry, read_index

__all__ = ["HOME_VARIABLE", "StoredModel", "find_model", "list_models", "search_folders"]

HOME_VARIABLE = "MOBILEFACE_HOME"
_HINT = "convert models with 'mobileface-convert all', or name their folder with --models"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that an index lists.

    Attributes:
        name: Its name.
        path: The ONNX file.
        certificate: The certificate file.
        entry: What the index says.
    """

    name: str
    path: Path
    certificate: Path
    entry: IndexEntry


def search_folders(models: str | Path | None = None) -> tuple[Path, ...]:
    """The folders in which models are looked for, in order.

    Args:
        models: The caller's own folder; then no other is searched.
    """
    if models is not None:
        return (Path(models),)
    folders = [Path(os.environ[HOME_VARIABLE])] if os.environ.get(HOME_VARIABLE) else []
    data = _user_data()
    if data is not None:
        folders.append(data / "mobileface" / "models")
    package = Path(__file__).resolve().parent
    folders += [package / "models_onnx", package.parents[1] / "models_onnx"]
    return tuple(folders)


def list_models(models: str | Path | None = None, task: str | None = None) -> list[StoredModel]:
    """All models, the preferred one of each task first.

    Args:
        models: The caller's own folder; see `search_folders`.
        task: Only models for this task.

    Raises:
        ModelNotFoundError: The caller's folder has no index.
        ModelIntegrityError: An index cannot be read.
    """
    if models is not None and not (Path(models) / INDEX_FILE).is_file():
        raise ModelNotFoundError(f"no {INDEX_FILE} in it", where=str(models), hint=_HINT)
    found: dict[str, StoredModel] = {}
    for folder in search_folders(models):
        for name, entry in read_index(folder).items():
            if name not in found and task in (None, entry.task):
                found[name] = StoredModel(
                    name, folder / entry.file, folder / entry.certificate, entry
                )
    return sorted(found.values(), key=lambda m: (m.entry.task, -m.entry.preference, m.name))


def find_model(
    name: str | None = None, *, task: str | None = None, models: str | Path | None = None
) -> StoredModel:
    """One model by name, or the preferred one for a task.

    Args:
        name: Its name; None: the preferred one.
        task: What it must do.
        models: The caller's own folder; see `search_folders`.

    Raises:
        ModelNotFoundError: There is none; says what there is and where was searched.
    """
    candidates = list_models(models, task)
    for model in candidates:
        if name in (None, model.name):
            return model
    wanted = f"model '{name}'" if name else "model"
    purpose = f" for task '{task}'" if task else ""
    there = ", ".join(model.name for model in candidates)
    raise ModelNotFoundError(
        f"no {wanted}{purpose}" + (f"; there are: {there}" if there else ""),
        where=os.pathsep.join(map(str, search_folders(models))),
        hint=_HINT,
    )


def _user_data() -> Path | None:
    """The folder for a user's data by the custom of the system; None for a user without a home."""
    variable, below = "XDG_DATA_HOME", ".local/share"
    if os.name == "nt":
        variable, below = "LOCALAPPDATA", "AppData/Local"
    elif sys.platform == "darwin":
        variable, below = "", "Library/Application Support"
    if os.environ.get(variable):
        return Path(os.environ[variable])
    try:
        return Path.home() / below
    except RuntimeError:
        return None

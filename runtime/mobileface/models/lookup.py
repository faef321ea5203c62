"""Finds models in folders, by name or task.

These folders are searched, and the first one that has a model with the name is used:

1. the folder given by the caller;
2. ``MOBILEFACE_HOME``;
3. the user's data folder (``~/.local/share/mobileface/models`` on Linux);
4. an installed wheel of models, the package ``mobileface_models``;
5. the starter set: the folder ``models_onnx`` in the package or in the source checkout.

Without a name, models in the caller's folder are preferred over those of the other folders. Within
each of these two groups, the model with the highest preference for the task is used. The preference
is a fact of the model's recipe and follows measured accuracy (`IndexEntry.reason`), whichever model
was converted last.

A model is one network in one or more files, its variants (`mobileface.models.index`).
`StoredModel.choose` selects the variant to run by the requested precision and the machine:

- The default precision is that of the model's own file: fp32, unless its recipe stores another.
- Of the variants with the precision, the first whose condition this machine meets is selected.

A model's own file has no condition, so its precision is available on every machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, ModelNotFoundError
from ..host.machine import Machine, this_machine
from ..host.places import HOME_VARIABLE, installed_models, user_models
from .index import INDEX_FILE, PRECISIONS, IndexEntry, Variant, read_index

__all__ = [
    "HOME_VARIABLE",
    "Prefer",
    "StoredModel",
    "StoredVariant",
    "candidate_models",
    "find_model",
    "list_models",
    "search_folders",
]

_HINT = "convert models with 'mobileface-convert all', or specify their folder with --models"


@dataclass(frozen=True, slots=True)
class Prefer:
    """A preferred precision; models that do not have it run in their own precision.

    Attributes:
        precision: One of `mobileface.models.index.PRECISIONS`.
    """

    precision: str


Precision = str | Prefer | None


@dataclass(frozen=True, slots=True)
class StoredVariant:
    """One file of a model in an index.

    Attributes:
        model: Name of the model.
        path: The ONNX file.
        certificate: The certificate file.
        variant: The entry in the index.
    """

    model: str
    path: Path
    certificate: Path
    variant: Variant


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in an index.

    Attributes:
        name: Name of the model.
        path: The model's own ONNX file, the variant that runs on every machine.
        certificate: Certificate of that file.
        entry: The entry in the index.
    """

    name: str
    path: Path
    certificate: Path
    entry: IndexEntry

    @property
    def variants(self) -> tuple[StoredVariant, ...]:
        """All variants in the order in which they are considered; the model's own file is last."""
        folder = self.path.parent
        return tuple(
            StoredVariant(self.name, folder / variant.file, folder / variant.certificate, variant)
            for variant in self.entry.all_variants
        )

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of all variants, including those for other machines."""
        found = {variant.precision for variant in self.entry.all_variants}
        return tuple(word for word in PRECISIONS if word in found)

    def choose(
        self,
        precision: Precision = None,
        *,
        variant: str | None = None,
        machine: Machine | None = None,
    ) -> StoredVariant:
        """Selects the variant to run.

        Args:
            precision: One of `mobileface.models.index.PRECISIONS`; None for that of the model's
                own file.
            variant: Name of the variant, regardless of precision and machine.
            machine: The machine it will run on; None for this one.

        Raises:
            InputError: If the precision is unknown.
            ModelNotFoundError: If the model has no such variant for the machine.
        """
        wish = precision.precision if isinstance(precision, Prefer) else precision
        if wish is not None and wish not in PRECISIONS:
            raise InputError(
                f"unknown precision '{wish}'", hint=f"available: {', '.join(PRECISIONS)}"
            )
        if variant is not None:
            return self._named(variant)
        machine = machine or this_machine()
        wanted = wish or self.entry.precision
        candidates = [item for item in self.variants if item.variant.precision == wanted]
        refusals = {item: item.variant.condition.refusal(machine) for item in candidates}
        for item, refusal in refusals.items():
            if not refusal:
                return item
        if isinstance(precision, Prefer):
            return self.choose(machine=machine)
        reasons = [f"{item.variant.name}: {refusal}" for item, refusal in refusals.items()]
        raise ModelNotFoundError(
            f"{self.name} has no {wanted} variant"
            + (f" for this machine ({'; '.join(reasons)})" if reasons else "")
            + f"; available: {', '.join(item.name for item in self.entry.all_variants)}",
            where=str(self.path.parent),
            hint="int8 needs 'mobileface-convert all --calibrate DIR'" if wanted == "int8" else "",
        )

    def _named(self, name: str) -> StoredVariant:
        for item in self.variants:
            if item.variant.name == name:
                return item
        raise ModelNotFoundError(
            f"{self.name} has no variant '{name}'; "
            f"available: {', '.join(item.name for item in self.entry.all_variants)}",
            where=str(self.path.parent),
        )


def search_folders(models: str | Path | None = None) -> tuple[Path, ...]:
    """The folders that are searched for models, in order.

    Args:
        models: The caller's own folder, which is searched first.
    """
    own_folders = () if models is None else (Path(models),)
    return (*own_folders, *_common_folders())


def _common_folders() -> tuple[Path, ...]:
    """The folders that are always searched."""
    folders = [Path(os.environ[HOME_VARIABLE])] if os.environ.get(HOME_VARIABLE) else []
    folders += [place for place in (user_models(), installed_models()) if place is not None]
    package = Path(__file__).resolve().parents[1]
    folders += [package / "models_onnx", package.parents[1] / "models_onnx"]
    return tuple(folders)


def list_models(models: str | Path | None = None, task: str | None = None) -> list[StoredModel]:
    """Lists the models of a folder, or of all default folders, sorted by task and preference.

    Args:
        models: List only the models of this folder; None lists those of the default folders.
        task: List only models for this task.

    Raises:
        ModelNotFoundError: If the caller's folder has no index.
        ModelIntegrityError: If an index cannot be read.
    """
    if models is not None and not (Path(models) / INDEX_FILE).is_file():
        raise ModelNotFoundError(f"no {INDEX_FILE} found", where=str(models), hint=_HINT)
    found: dict[str, StoredModel] = {}
    for folder in _common_folders() if models is None else (Path(models),):
        for name, entry in read_index(folder).items():
            if name not in found and task in (None, entry.task):
                found[name] = StoredModel(
                    name, folder / entry.file, folder / entry.certificate, entry
                )
    return sorted(found.values(), key=lambda m: (m.entry.task, -m.entry.preference, m.name))


def candidate_models(
    models: str | Path | None = None, task: str | None = None
) -> list[StoredModel]:
    """All available models, in order of preference.

    Args:
        models: The caller's own folder, whose models come first.
        task: Only models for this task.

    Raises:
        ModelNotFoundError: If the caller's folder has no index.
        ModelIntegrityError: If an index cannot be read.
    """
    own = [] if models is None else list_models(models, task)
    names = {model.name for model in own}
    return [*own, *(model for model in list_models(None, task) if model.name not in names)]


def find_model(
    name: str | None = None, *, task: str | None = None, models: str | Path | None = None
) -> StoredModel:
    """Finds a model by name, or the preferred one for a task.

    Args:
        name: Name of the model; None for the preferred one.
        task: Required task of the model.
        models: The caller's own folder; see `search_folders`.

    Raises:
        ModelNotFoundError: If no such model is found.
    """
    candidates = candidate_models(models, task)
    for model in candidates:
        if name in (None, model.name):
            return model
    wanted = f"model '{name}'" if name else "model"
    purpose = f" for task '{task}'" if task else ""
    there = ", ".join(model.name for model in candidates)
    raise ModelNotFoundError(
        f"no {wanted}{purpose}" + (f"; available: {there}" if there else ""),
        where=os.pathsep.join(map(str, search_folders(models))),
        hint=_HINT,
    )

"""Where models are found.

Searched in this order, and the first folder that has a model of the name wins:

1. the folder given by the caller;
2. ``MOBILEFACE_HOME``;
3. the user's data folder (``~/.local/share/mobileface/models`` on Linux);
4. an installed wheel of models, the package ``mobileface_models``;
5. the starter set: the folder ``models_onnx`` that came with the package, or lies in the source
   checkout.

Without a name, a model that the caller's folder has for the task is taken before those of the other
folders, and of these together the one with the highest preference: MobileFace's own, once they are
converted, before those of the starter set.

A model is one network in one or more files, its variants (`mobileface.models.index`). Which one
runs is decided by `StoredModel.choose`, from the precision that is asked for and the machine:

- no precision asked for: that of the model's own file, fp32 unless its recipe stores it otherwise;
- of the variants with that precision the first whose condition this machine fulfils.

A model's own file has no condition, so there always is one for its precision.
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

_HINT = "convert models with 'mobileface-convert all', or name their folder with --models"


@dataclass(frozen=True, slots=True)
class Prefer:
    """A precision to take where a model has it; a model that has not runs in its own.

    Attributes:
        precision: One of `mobileface.models.index.PRECISIONS`.
    """

    precision: str


Precision = str | Prefer | None


@dataclass(frozen=True, slots=True)
class StoredVariant:
    """One file of a model that an index lists.

    Attributes:
        model: Name of the model.
        path: The ONNX file.
        certificate: The certificate file.
        variant: What the index says.
    """

    model: str
    path: Path
    certificate: Path
    variant: Variant


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that an index lists.

    Attributes:
        name: Its name.
        path: Its own ONNX file, the variant that runs everywhere.
        certificate: The certificate of that file.
        entry: What the index says.
    """

    name: str
    path: Path
    certificate: Path
    entry: IndexEntry

    @property
    def variants(self) -> tuple[StoredVariant, ...]:
        """All its files in the order in which they are considered, its own last."""
        folder = self.path.parent
        return tuple(
            StoredVariant(self.name, folder / variant.file, folder / variant.certificate, variant)
            for variant in self.entry.all_variants
        )

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that it has files for, on whatever machine."""
        found = {variant.precision for variant in self.entry.all_variants}
        return tuple(word for word in PRECISIONS if word in found)

    def choose(
        self,
        precision: Precision = None,
        *,
        variant: str | None = None,
        machine: Machine | None = None,
    ) -> StoredVariant:
        """The file to run.

        Args:
            precision: One of `mobileface.models.index.PRECISIONS`; None: that of its own file.
            variant: Name of the variant to take, whatever the precision and the machine.
            machine: Where it will run; None: here.

        Raises:
            InputError: There is no such precision at all.
            ModelNotFoundError: The model has no such variant for this machine; says which it has.
        """
        wish = precision.precision if isinstance(precision, Prefer) else precision
        if wish is not None and wish not in PRECISIONS:
            raise InputError(f"no precision '{wish}'", hint=f"there are: {', '.join(PRECISIONS)}")
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
            + f"; there are: {', '.join(item.name for item in self.entry.all_variants)}",
            where=str(self.path.parent),
            hint="int8 needs 'mobileface-convert all --calibrate DIR'" if wanted == "int8" else "",
        )

    def _named(self, name: str) -> StoredVariant:
        for item in self.variants:
            if item.variant.name == name:
                return item
        raise ModelNotFoundError(
            f"{self.name} has no variant '{name}'; "
            f"there are: {', '.join(item.name for item in self.entry.all_variants)}",
            where=str(self.path.parent),
        )


def search_folders(models: str | Path | None = None) -> tuple[Path, ...]:
    """The folders in which models are looked for, in order.

    Args:
        models: The caller's own folder, which comes first.
    """
    own_folders = () if models is None else (Path(models),)
    return (*own_folders, *_common_folders())


def _common_folders() -> tuple[Path, ...]:
    """The folders that need not be named."""
    folders = [Path(os.environ[HOME_VARIABLE])] if os.environ.get(HOME_VARIABLE) else []
    folders += [place for place in (user_models(), installed_models()) if place is not None]
    package = Path(__file__).resolve().parents[1]
    folders += [package / "models_onnx", package.parents[1] / "models_onnx"]
    return tuple(folders)


def list_models(models: str | Path | None = None, task: str | None = None) -> list[StoredModel]:
    """The models of a folder, or all that need no folder named, the preferred one of a task first.

    Args:
        models: The caller's own folder; then its models alone.
        task: Only models for this task.

    Raises:
        ModelNotFoundError: The caller's folder has no index.
        ModelIntegrityError: An index cannot be read.
    """
    if models is not None and not (Path(models) / INDEX_FILE).is_file():
        raise ModelNotFoundError(f"no {INDEX_FILE} in it", where=str(models), hint=_HINT)
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
    """All models that could be taken, in the order in which they are.

    Args:
        models: The caller's own folder, whose models come first.
        task: Only models for this task.

    Raises:
        ModelNotFoundError: The caller's folder has no index.
        ModelIntegrityError: An index cannot be read.
    """
    own = [] if models is None else list_models(models, task)
    names = {model.name for model in own}
    return [*own, *(model for model in list_models(None, task) if model.name not in names)]


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
    candidates = candidate_models(models, task)
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

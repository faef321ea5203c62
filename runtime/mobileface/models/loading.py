"""From a model's name to the object that runs its task.

Each task is imported when a model for it is loaded: an embedding needs neither the detectors nor,
for a crop of the right size, OpenCV, which are a quarter of the memory of a small process.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelNotFoundError
from ..host.files import check_sha256
from ..host.places import tuning_file
from ..vision.crops import CROPS
from .lookup import Precision, StoredModel, candidate_models, find_model
from .session import Session, runtime_version
from .spec import ModelSpec

if TYPE_CHECKING:
    from ..diagnostics.tuning import Setting
    from ..tasks.attributes import AttributePredictor
    from ..tasks.detection import Detector
    from ..tasks.embedding import Embedder
    from ..tasks.landmarks import LandmarkPredictor
    from ..tasks.pose import PoseEstimator

    Task = AttributePredictor | Detector | Embedder | LandmarkPredictor | PoseEstimator

__all__ = [
    "load",
    "load_attributes",
    "load_detector",
    "load_embedder",
    "load_landmarks",
    "load_pose",
    "require_precision",
]

_ONE_SIZE = ("embedding", "attributes")
"""Tasks whose networks read pictures of one size."""

Folder = str | Path | None

_SPEC_ONLY = ".json"
"""Suffix of a model that is nothing but its spec: a linear model needs no graph."""

_FILES = (".onnx", ".ort")
"""Suffixes of files that are loaded by their path."""

_TASKS = {
    "attributes": ("attributes", "AttributePredictor"),
    "detection": ("detection", "Detector"),
    "embedding": ("embedding", "Embedder"),
    "landmarks": ("landmarks", "LandmarkPredictor"),
}
"""Module and class of the tasks that run a network."""


def load(
    name: str | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **session_options: Any,
) -> Task:
    """Loads a model and the task around it.

    Args:
        name: Name of a stored model, or path of an ONNX file with a spec; by default the
            preferred identification model.
        models: Folder to look in; by default those of `mobileface.models.lookup`.
        precision: "fp32", "fp16" or "int8": which of the model's variants to run, of several the
            one for this machine; by default that of its own file, fp32 as a rule.
        variant: Name of the variant itself, as ``mobileface models`` lists it.
        session_options: ``providers``, ``provider_options``, ``sess_options``,
            ``intra_op_num_threads``; see `mobileface.Session`.

    Returns:
        The object for the model's task: `Embedder`, `Detector`, `LandmarkPredictor`,
        `AttributePredictor` or `PoseEstimator`.

    Raises:
        ModelNotFoundError: No such model, or it has no such variant; says which there are.
        ModelIntegrityError: The file is not what its index promises.
        ModelError: It cannot be loaded.
        InputError: No such precision, or one for the path of a file.
    """
    if name is None:
        return load_embedder(models=models, precision=precision, variant=variant, **session_options)
    if name.endswith(_FILES):
        return _task(_open_file(name, precision, variant, session_options))
    stored = find_model(name, models=models)
    if stored.path.suffix == _SPEC_ONLY:
        stored.choose(precision, variant=variant)
        from ..tasks.pose import PoseEstimator

        return PoseEstimator(_read_spec(stored))
    return _task(_open(stored, session_options, precision, variant))


def load_embedder(
    name: str | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **session_options: Any,
) -> Embedder:
    """The identification model of that name, or the preferred one; see `load`."""
    from ..tasks.embedding import Embedder

    if name is not None and name.endswith(_FILES):
        return Embedder(_open_file(name, precision, variant, session_options))
    stored = find_model(name, task="embedding", models=models)
    return Embedder(_open(stored, session_options, precision, variant))


def load_detector(
    name: str | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **session_options: Any,
) -> Detector:
    """The detector of that name, or the preferred one; see `load`."""
    from ..tasks.detection import Detector

    stored = find_model(name, task="detection", models=models)
    return Detector(_open(stored, session_options, precision, variant))


def load_attributes(
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **session_options: Any,
) -> AttributePredictor:
    """The preferred attribute model; see `load`."""
    from ..tasks.attributes import AttributePredictor

    stored = find_model(task="attributes", models=models)
    return AttributePredictor(_open(stored, session_options, precision, variant))


def load_landmarks(
    *,
    models: Folder = None,
    crop: str | None = None,
    precision: Precision = None,
    **session_options: Any,
) -> list[LandmarkPredictor]:
    """The preferred landmark model, or all that share its preference: they complete each other.

    Args:
        models: As `load` takes it.
        crop: Only models whose points suffice for this crop, a name in `mobileface.vision.crops`.
        precision: As `load` takes it.
        session_options: As `load` takes them.

    Raises:
        ModelNotFoundError: There is none.
        ModelIntegrityError: A file is not what its index promises.
    """
    from ..tasks.align import allows_crop
    from ..tasks.landmarks import LandmarkPredictor, merged_names

    find_model(task="landmarks", models=models)  # raises if there is none at all
    own = None if models is None else Path(models)
    groups: dict[tuple[bool, int], list[StoredModel]] = {}
    for stored in candidate_models(models, "landmarks"):
        key = (stored.path.parent == own, stored.entry.preference)
        groups.setdefault(key, []).append(stored)
    seen: list[str] = []
    for group in groups.values():  # the preferred first
        found = [LandmarkPredictor(_open(item, session_options, precision)) for item in group]
        names = merged_names(found)
        if crop is None or allows_crop(names, crop):
            return found
        seen += names
    raise ModelNotFoundError(
        f"the crop '{crop}' needs the landmarks {', '.join(CROPS[str(crop)].points)}; "
        f"there are: {', '.join(seen)}",
        hint="convert a landmark model that gives them",
    )


def load_pose(models: Folder = None) -> PoseEstimator:
    """The preferred pose model.

    Raises:
        ModelNotFoundError: There is none.
        ModelIntegrityError: The file is not what its index promises.
    """
    from ..tasks.pose import PoseEstimator

    return PoseEstimator(_read_spec(find_model(task="pose", models=models)))


def require_precision(precision: str, sessions: Sequence[Session]) -> None:
    """One of several networks at least runs in the precision that was asked for.

    Raises:
        ModelNotFoundError: None does; says what they run as.
    """
    running = [session.variant for session in sessions]
    if not any(variant is not None and variant.precision == precision for variant in running):
        pairs = zip(sessions, running, strict=True)
        there = (f"{s.spec.name} as {v.name if v else s.path.name}" for s, v in pairs)
        raise ModelNotFoundError(
            f"none of the models has a variant in {precision} for this machine; "
            f"there are: {', '.join(there)}",
            hint="'mobileface models' lists the variants",
        )


def _open(
    stored: StoredModel,
    options: dict[str, Any],
    precision: Precision = None,
    variant: str | None = None,
) -> Session:
    """A session on the file of a model that is to run here, as it was tuned for this machine.

    A caller who asks for anything of it himself gets what he asked for, and the defaults.
    """
    asked = {"precision": precision, "variant": variant, **options}
    if not any(value is not None for name, value in asked.items() if name != "stream"):
        setting = _tuned(stored)
        if setting is not None:
            variant, options = setting.variant, setting.session_options
    chosen = stored.choose(precision, variant=variant)
    return Session(
        chosen.path,
        expected_sha256=chosen.variant.sha256,
        variant=chosen.variant,
        **{"one_size": stored.entry.task in _ONE_SIZE, **options},
    )


def _tuned(stored: StoredModel) -> Setting | None:
    """What ``mobileface tune`` found for a model; most machines have not been tuned."""
    path = tuning_file()
    if path is None or not path.is_file():
        return None
    from ..diagnostics.tuning import setting_for

    return setting_for(stored, runtime_version())


def _open_file(
    path: str, precision: Precision, variant: str | None, options: dict[str, Any]
) -> Session:
    """A session on a file that no index lists.

    Raises:
        InputError: A variant is asked for, which only an index could name.
    """
    if isinstance(precision, str) or variant is not None:
        raise InputError(
            "a file is what it is: precision and variant choose among stored models", where=path
        )
    return Session(path, **options)


def _task(session: Session) -> Task:
    """The object for a session's task."""
    if session.spec.task not in _TASKS:
        raise ModelNotFoundError(f"no task '{session.spec.task}'", where=str(session.path))
    module, name = _TASKS[session.spec.task]
    made: Task = getattr(importlib.import_module(f"mobileface.tasks.{module}"), name)(session)
    return made


def _read_spec(stored: StoredModel) -> ModelSpec:
    """A spec that is a file of its own."""
    check_sha256(stored.path, stored.entry.sha256)
    content = stored.path.read_bytes()
    return ModelSpec.from_json(content.decode("utf-8", "replace"), where=str(stored.path))

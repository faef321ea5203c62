"""From a model's name or path to the object that runs it.

A task's module is imported when a model for it is loaded: an embedding needs neither the detectors
nor, for a crop of the right size, OpenCV, which are a quarter of the memory of a small process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelError, ModelNotFoundError
from ..host.files import check_sha256
from ..host.places import tuning_file
from ..models.kinds import kinds_for
from ..models.lookup import Precision, StoredModel, candidate_models, find_model
from ..models.session import Session, runtime_version
from ..models.spec import ModelSpec
from ..vision.crops import CROPS

if TYPE_CHECKING:
    from ..models.tuning import Setting
    from .attribute_set import AttributeSet
    from .detection import Detector
    from .embedding import Embedder
    from .landmarks import LandmarkSet
    from .pose import PoseEstimator

__all__ = [
    "SESSION_OPTIONS",
    "load",
    "load_attributes",
    "load_detector",
    "load_embedder",
    "load_landmarks",
    "load_pose",
    "require_precision",
]

Folder = str | Path | None

_SPEC_ONLY = ".json"
"""Suffix of a model that is nothing but its spec: a linear model needs no graph."""

_FILES = (".onnx", ".ort", _SPEC_ONLY)
"""Suffixes of files that are loaded by their path."""

SESSION_OPTIONS = frozenset(Session.__init__.__kwdefaults__ or ()) - {"expected_sha256", "variant"}
"""Keywords of the loaders that go to `Session`; all others are options of the model's kind."""


def load(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    task: str | None = None,
    **options: Any,
) -> Any:
    """Loads a model and returns the object that runs it.

    Args:
        name: Name of a stored model, or path of an ONNX file with a spec; by default the
            preferred model for the task.
        models: Folder to look in; by default those of `mobileface.models.lookup`.
        precision: "fp32", "fp16" or "int8": which of the model's variants to run, of several the
            one for this machine; by default that of its own file, usually fp32.
        variant: Name of the variant itself, as ``mobileface models`` lists it.
        task: What the model must do; by default any task, and "embedding" without a name.
        options: ``providers``, ``provider_options``, ``sess_options``, ``intra_op_num_threads``
            and other keywords of `mobileface.Session`; and the options of the model's kind, e.g.
            ``score_threshold`` of a detector.

    Returns:
        The object for the model's kind: an `Embedder`, a `Detector`, a `LandmarkPredictor`, an
        `AttributePredictor`, a `HeadPredictor` or a `PoseEstimator`.

    Raises:
        ModelNotFoundError: If there is no such model or variant; lists those that exist.
        ModelIntegrityError: If the file does not match its index.
        ModelError: If it cannot be loaded.
        InputError: If the precision is unknown or asked for a file's path, or if the model's kind
            has no such option.
    """
    in_session = {key: value for key, value in options.items() if key in SESSION_OPTIONS}
    of_kind = {key: value for key, value in options.items() if key not in SESSION_OPTIONS}
    text = None if name is None else os.fspath(name)
    if text is not None and text.endswith(_FILES):
        return _run(_open_file(Path(text), precision, variant, in_session), task, of_kind)
    wanted = task or ("embedding" if text is None else None)
    stored = find_model(text, task=wanted, models=models)
    return _run(_open(stored, in_session, precision, variant), task, of_kind)


def load_embedder(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **options: Any,
) -> Embedder:
    """The identification model of that name or path, or the preferred one; see `load`."""
    found: Embedder = load(
        name, models=models, precision=precision, variant=variant, task="embedding", **options
    )
    return found


def load_detector(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **options: Any,
) -> Detector:
    """The detector of that name or path, or the preferred one; see `load`.

    Each kind of detector has its own options, see `HogDetector` and `YoloDetector`; an option that
    the model's kind does not have is refused by name.
    """
    found: Detector = load(
        name, models=models, precision=precision, variant=variant, task="detection", **options
    )
    return found


def load_attributes(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **options: Any,
) -> AttributeSet:
    """The attribute model of that name or path, or all that share the highest preference.

    Models of one preference complete each other: together they fill `mobileface.types.Attributes`.
    The arguments are those of `load`.

    Without a name, models that cannot be loaded are left out; `AttributeSet.refused` says why.

    Raises:
        ModelNotFoundError: If there is no such model.
        ModelError: If none can be loaded; as `ModelIntegrityError` if a file does not match its
            index.
    """
    from .attribute_set import AttributeSet

    choice: dict[str, Any] = {"precision": precision, "variant": variant}
    if name is not None:
        return AttributeSet([load(name, task="attributes", models=models, **choice, **options)])
    group = next(iter(_by_preference("attributes", models)))
    found, refused = [], dict[str, ModelError]()
    for item in group:
        try:
            found.append(_run(_open(item, options, **choice), "attributes", {}))
        except ModelError as error:
            refused[item.name] = error
    if not found:
        raise next(iter(refused.values()))
    return AttributeSet(found, {name: str(error) for name, error in refused.items()})


def load_pose(
    name: str | Path | None = None, *, models: Folder = None, **options: Any
) -> PoseEstimator:
    """The pose model of that name or path, or the preferred one; see `load`."""
    found: PoseEstimator = load(name, models=models, task="pose", **options)
    return found


def load_landmarks(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    crop: str | None = None,
    precision: Precision = None,
    variant: str | None = None,
    **options: Any,
) -> LandmarkSet:
    """The landmark model of that name or path, or all that share the highest preference.

    Models of one preference complete each other: their points are merged.

    Args:
        name: As `load` takes it.
        models: As `load` takes it.
        crop: Only models whose points suffice for this crop, a name in
            `mobileface.vision.crops`.
        precision: As `load` takes it.
        variant: As `load` takes it.
        options: As `load` takes them.

    Raises:
        ModelNotFoundError: If there is no such model.
        ModelIntegrityError: If a file does not match its index.
    """
    from .align import allows_crop
    from .landmarks import LandmarkSet

    if name is not None:
        choice: dict[str, Any] = {"models": models, "precision": precision, "variant": variant}
        return LandmarkSet([load(name, task="landmarks", **choice, **options)])
    seen: list[str] = []
    for group in _by_preference("landmarks", models):
        opened = [_open(item, options, precision, variant) for item in group]
        found = LandmarkSet([_run(model, "landmarks", {}) for model in opened])
        if crop is None or allows_crop(found.point_names, crop):
            return found
        seen += found.point_names
    raise ModelNotFoundError(
        f"the crop '{crop}' needs the landmarks {', '.join(CROPS[str(crop)].points)}; "
        f"there are: {', '.join(seen)}",
        hint="convert a landmark model that gives them",
    )


def _by_preference(task: str, models: Folder) -> list[list[StoredModel]]:
    """The models for a task that share a folder's rank and a preference, the preferred first.

    Raises:
        ModelNotFoundError: If there is none at all.
    """
    find_model(task=task, models=models)
    own = None if models is None else Path(models)
    groups: dict[tuple[bool, int], list[StoredModel]] = {}
    for stored in candidate_models(models, task):
        key = (stored.path.parent == own, stored.entry.preference)
        groups.setdefault(key, []).append(stored)
    return list(groups.values())


def require_precision(precision: str, sessions: Sequence[Session]) -> None:
    """Checks that at least one of several networks runs in the precision that was asked for.

    Raises:
        ModelNotFoundError: If none does; says what they run as.
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


def _run(opened: Session | ModelSpec, task: str | None, options: Mapping[str, Any]) -> Any:
    """The object that runs a model.

    Raises:
        ModelError: If the model does something else.
        InputError: If its kind has no such option.
    """
    spec = opened.spec if isinstance(opened, Session) else opened
    if task is not None and spec.task != task:
        where = str(opened.path) if isinstance(opened, Session) else spec.name
        raise ModelError(f"its task is '{spec.task}', not '{task}'", where=where)
    given = {name: value for name, value in options.items() if value is not None}
    known = [option.name for option in spec.kind.options]
    for name in given:
        if name not in known:
            raise InputError(
                f"'{spec.name}' has no option {name}",
                hint=f"its options: {', '.join(known) or 'none'}",
            )
    return spec.kind.runner_class()(opened, **given)


def _open(
    stored: StoredModel,
    options: Mapping[str, Any],
    precision: Precision = None,
    variant: str | None = None,
) -> Session | ModelSpec:
    """A session on the file of a model that is to run here, as it was tuned for this machine.

    Tuned settings hold only if the caller asks for nothing else. A model without a network is its
    spec.
    """
    if stored.path.suffix == _SPEC_ONLY:
        stored.choose(precision, variant=variant)
        check_sha256(stored.path, stored.entry.sha256)
        return _read_spec(stored.path)
    chosen_options = dict(options)
    asked = {"precision": precision, "variant": variant, **options}
    if not any(value is not None for name, value in asked.items() if name != "stream"):
        setting = _tuned(stored)
        if setting is not None:
            variant, chosen_options = setting.variant, dict(setting.session_options)
    chosen = stored.choose(precision, variant=variant)
    return Session(
        chosen.path,
        expected_sha256=chosen.variant.sha256,
        variant=chosen.variant,
        **{"one_size": _reads_one_size(stored.entry.task), **chosen_options},
    )


def _reads_one_size(task: str) -> bool:
    """Whether every network for a task reads images of one size only."""
    return all(kind.one_size for kind in kinds_for(task))


def _tuned(stored: StoredModel) -> Setting | None:
    """What ``mobileface tune`` found for a model; most machines have not been tuned."""
    path = tuning_file()
    if path is None or not path.is_file():
        return None
    from ..models.tuning import setting_for

    return setting_for(stored, runtime_version())


def _open_file(
    path: Path, precision: Precision, variant: str | None, options: Mapping[str, Any]
) -> Session | ModelSpec:
    """A session on a file that no index lists.

    Raises:
        InputError: If a variant is asked for, which only an index could name.
    """
    if isinstance(precision, str) or variant is not None:
        raise InputError(
            "precision and variant choose among stored models, not for the path of a file",
            where=str(path),
        )
    return _read_spec(path) if path.suffix == _SPEC_ONLY else Session(path, **options)


def _read_spec(path: Path) -> ModelSpec:
    """A spec that is a file of its own."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return ModelSpec.from_json(content.decode("utf-8", "replace"), where=str(path))

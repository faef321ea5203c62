"""Loads models by name or path.

A task's module is imported only when one of its models is loaded: embedding needs neither the
detectors nor, for crops of the right size, OpenCV, which use a quarter of a small process's memory.
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
from ..models.stored_spec import SPEC_ONLY, read_stored_spec
from ..vision.crops import CROPS

if TYPE_CHECKING:
    from ..models.tuning import Setting
    from .attribute_set import AttributeSet
    from .detection import Detector
    from .embedding import Embedder
    from .landmarks import LandmarkSet
    from .pose import PoseModel

__all__ = [
    "SESSION_OPTIONS",
    "load",
    "load_attributes",
    "load_detector",
    "load_embedder",
    "load_landmarks",
    "load_pose",
    "load_thorough_detector",
    "require_precision",
]

Folder = str | Path | None

_FILES = (".onnx", ".ort", SPEC_ONLY)
"""Suffixes of names that are file paths."""

SESSION_OPTIONS = frozenset(Session.__init__.__kwdefaults__ or ()) - {"expected_sha256", "variant"}
"""Keyword arguments of the loaders that are passed to `Session`; others are model options."""


def load(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    task: str | None = None,
    **options: Any,
) -> Any:
    """Loads a model.

    Args:
        name: Name of a stored model, or path of an ONNX file with a spec; by default the
            preferred model for the task.
        models: Folder to search first; by default only those of `mobileface.models.lookup`.
        precision: "fp32", "fp16" or "int8": precision of the variant to run; if several variants
            have it, the best one for this machine is selected. By default the precision of the
            model's own file, usually fp32.
        variant: Name of a variant, as ``mobileface models`` lists it.
        task: Required task of the model; by default any task, or "embedding" without a name.
        options: ``providers``, ``provider_options``, ``sess_options``, ``intra_op_num_threads``
            and other keyword arguments of `mobileface.Session`; and the options of the model's
            kind, e.g. ``score_threshold`` of a detector.

    Returns:
        The loaded model: an `Embedder`, a `Detector`, a `LandmarkPredictor`, a
        `PointPredictor`, a `MeshPredictor`, an `AttributePredictor`, a `HeadPredictor`, a
        `PoseEstimator`, a `MeshPoseEstimator`, an `IrisPredictor` or a `PersonSegmenter`.

    Raises:
        ModelNotFoundError: If the model or the variant is not found.
        ModelIntegrityError: If the file does not match its index.
        ModelError: If the model cannot be loaded.
        InputError: If the precision is unknown, if a precision or variant is requested for a file
            path, or if the model has no such option.
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
    """Loads an identification model by name or path, or the preferred one; see `load`."""
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
    """Loads a detector by name or path, or the preferred one; see `load`.

    Each kind of detector has its own options, see `HogDetector` and `YoloDetector`; an unknown
    option raises an error.
    """
    found: Detector = load(
        name, models=models, precision=precision, variant=variant, task="detection", **options
    )
    return found


def load_thorough_detector(
    name: str | Path | None = None, *, models: Folder = None, **options: Any
) -> Detector:
    """Loads a detector like `load_detector`, for uses in which a missed face is the worst.

    Options of its kind that are not passed get their thorough values
    (`mobileface.models.kinds.base.Option`), with which it misses fewer faces.
    """
    found = load_detector(name, models=models, **options)
    thorough = {
        option.name: option.thorough
        for option in found.spec.kind.options
        if option.thorough is not None
    }
    given = {key: value for key, value in options.items() if key not in SESSION_OPTIONS}
    detector: Detector = found.spec.kind.runner_class()(found.session, **{**thorough, **given})
    return detector


def load_attributes(
    name: str | Path | None = None,
    *,
    models: Folder = None,
    precision: Precision = None,
    variant: str | None = None,
    **options: Any,
) -> AttributeSet:
    """Loads an attribute model by name or path, or all models with the highest preference.

    Models with the same preference complement each other: together they fill
    `mobileface.types.Attributes`. The arguments are those of `load`.

    Without a name, skips models that cannot be loaded; `AttributeSet.refused` lists the reasons.

    Raises:
        ModelNotFoundError: If no such model is found.
        ModelError: If no model can be loaded; `ModelIntegrityError` if a file does not match its
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
) -> PoseModel:
    """Loads a pose model by name or path, or the preferred one; see `load`."""
    found: PoseModel = load(name, models=models, task="pose", **options)
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
    """Loads a landmark model by name or path, or all models with the highest preference.

    Models with the same preference complement each other: their landmarks are merged.

    Args:
        name: Name or path; see `load`.
        models: Folder to search first; see `load`.
        crop: Load only models whose landmarks suffice for this crop, a name in
            `mobileface.vision.crops`.
        precision: Precision of the variants to run; see `load`.
        variant: Name of a variant; see `load`.
        options: Keyword arguments of `mobileface.Session`; see `load`.

    Raises:
        ModelNotFoundError: If no such model is found.
        ModelIntegrityError: If a file does not match its index.
        ModelError: If the model has a mesh, which `load` loads: its points are not merged.
    """
    from .align import allows_crop
    from .landmarks import LandmarkSet
    from .mesh_predictor import MeshPredictor

    if name is not None:
        choice: dict[str, Any] = {"models": models, "precision": precision, "variant": variant}
        chosen = load(name, task="landmarks", **choice, **options)
        if isinstance(chosen, MeshPredictor):
            raise ModelError(
                "its points are a mesh and no landmarks to merge",
                where=chosen.name,
                hint="load it with mobileface.load()",
            )
        return LandmarkSet([chosen])
    seen: list[str] = []
    for group in _by_preference("landmarks", models):  # the preferred group first
        opened = [_open(item, options, precision, variant) for item in group]
        ready = [_run(model, "landmarks", {}) for model in opened if not _on_request(model)]
        if not ready:
            continue
        found = LandmarkSet(ready)
        if crop is None or allows_crop(found.point_names, crop):
            return found
        seen += found.point_names
    if crop is None:
        raise ModelNotFoundError("no landmark model that runs without being asked for")
    raise ModelNotFoundError(
        f"the crop '{crop}' needs the landmarks {', '.join(CROPS[crop].points)}; "
        f"available: {', '.join(seen)}",
        hint="convert a landmark model that outputs them",
    )


def _on_request(opened: Session | ModelSpec) -> bool:
    """Whether a model runs only when it is asked for."""
    spec = opened.spec if isinstance(opened, Session) else opened
    return spec.kind.on_request


def _by_preference(task: str, models: Folder) -> list[list[StoredModel]]:
    """The models for a task, grouped by folder and preference; the preferred group is first.

    Raises:
        ModelNotFoundError: If no model is found.
    """
    find_model(task=task, models=models)  # raises if there are no models
    own = None if models is None else Path(models)
    groups: dict[tuple[bool, int], list[StoredModel]] = {}
    for stored in candidate_models(models, task):
        key = (stored.path.parent == own, stored.entry.preference)
        groups.setdefault(key, []).append(stored)
    return list(groups.values())


def require_precision(precision: str, sessions: Sequence[Session]) -> None:
    """Checks that at least one of several networks runs in the requested precision.

    Raises:
        ModelNotFoundError: If none does.
    """
    running = [session.variant for session in sessions]
    if not any(variant is not None and variant.precision == precision for variant in running):
        pairs = zip(sessions, running, strict=True)
        there = (f"{s.spec.name} as {v.name if v else s.path.name}" for s, v in pairs)
        raise ModelNotFoundError(
            f"none of the models has a variant in {precision} for this machine; "
            f"available: {', '.join(there)}",
            hint="'mobileface models' lists the variants",
        )


def _run(opened: Session | ModelSpec, task: str | None, options: Mapping[str, Any]) -> Any:
    """Creates the object that runs an opened model.

    Raises:
        ModelError: If the model has another task.
        InputError: If the model has no such option.
    """
    spec = opened.spec if isinstance(opened, Session) else opened
    if task is not None and spec.task != task:
        where = str(opened.path) if isinstance(opened, Session) else spec.name
        raise ModelError(f"the model's task is '{spec.task}', not '{task}'", where=where)
    given = {name: value for name, value in options.items() if value is not None}
    known = [option.name for option in spec.kind.options]
    for name in given:
        if name not in known:
            raise InputError(
                f"'{spec.name}' has no option {name}",
                hint=f"available: {', '.join(known) or 'none'}",
            )
    return spec.kind.runner_class()(opened, **given)


def _open(
    stored: StoredModel,
    options: Mapping[str, Any],
    precision: Precision = None,
    variant: str | None = None,
) -> Session | ModelSpec:
    """Opens the variant of a stored model that runs here, with the tuned settings if there are any.

    Tuned settings are used only if the caller passes no precision, variant or session option. For a
    model without a network, returns its spec.
    """
    if stored.path.suffix == SPEC_ONLY:
        stored.choose(precision, variant=variant)
        check_sha256(stored.path, stored.entry.sha256)
        return read_stored_spec(stored.path)
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
    """Whether all kinds of models for a task have inputs of a fixed size."""
    return all(kind.one_size for kind in kinds_for(task))


def _tuned(stored: StoredModel) -> Setting | None:
    """The settings that ``mobileface tune`` stored for a model; None if there are none."""
    path = tuning_file()
    if path is None or not path.is_file():
        return None
    from ..models.tuning import setting_for

    return setting_for(stored, runtime_version())


def _open_file(
    path: Path, precision: Precision, variant: str | None, options: Mapping[str, Any]
) -> Session | ModelSpec:
    """Opens a file by its path, without an index.

    Raises:
        InputError: If a precision or variant is requested, which only an index can list.
    """
    if isinstance(precision, str) or variant is not None:
        raise InputError(
            "precision and variant cannot be used with the path of a file, only with stored models",
            where=str(path),
        )
    return read_stored_spec(path) if path.suffix == SPEC_ONLY else Session(path, **options)

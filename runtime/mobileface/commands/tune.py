"""``mobileface tune``: finds each model's fastest variant, threads and batch size on this machine.

``--json`` prints one object::

    {"schema": 1, "machine": "…", "file": "…/tuning.json",
     "settings": [{"model": "identification_v2", "variant": "fp32", "sha256": "…", "threads": 2,
                   "spinning": true, "batch": 8, "median_ms": 0.61, "default_ms": 0.95}, …],
     "refused": [{"model": "…", "variant": "int8", "reason": "…"}]}

``median_ms`` and ``default_ms`` are times per face, for detectors per image. ``--show`` prints the
same object for the stored settings.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..diagnostics.workloads import Scene, takes_batches, work_of
from ..errors import MobileFaceError, ModelNotFoundError
from ..host.measure import measure_within
from ..host.places import tuning_file
from ..host.threads import available_cpus, default_threads, spins
from ..models.lookup import StoredModel, StoredVariant
from ..models.replay import replay
from ..models.sealed import read_certificate
from ..models.session import Session, runtime_version
from ..models.tuning import Setting, machine_key, read_tuning, remove_tuning, store_tuning
from ..tasks.loading import load
from .measuring import add_common, check_seconds, pipeline_of, scenes_from, wanted_models
from .output import print_json, print_text, say_interrupted
from .progress import Progress

__all__ = ["add_tune", "run_tune"]

_SECONDS = 60.0
_MAX_SHARE = 0.97
"""Maximum time of a setting relative to the default's; smaller gains are within the noise."""

_CLOSE = 1.25
"""Candidates slower than the best by this factor are dropped after the first measurement."""

_BATCHES = (1, 2, 4, 8, 16, 32)
_SAME = 1.03
"""Maximum time per face, relative to the best batch size, of the batch size that is selected.

The smallest such batch size is selected, because larger batches need more memory.
"""

_MIN_SECONDS = 0.5
"""Minimum time per model, so that medians are meaningful."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a model."""

    variant: StoredVariant
    threads: int
    spinning: bool

    @property
    def options(self) -> dict[str, Any]:
        """The session options."""
        return {"intra_op_num_threads": self.threads, "spinning": self.spinning}

    def __str__(self) -> str:
        return f"{self.variant.variant.name} {self.threads} {self.spinning}"


@dataclass(slots=True)
class _Result:
    settings: dict[str, Setting] = field(default_factory=dict)
    refused: list[dict[str, str]] = field(default_factory=list)
    ended: KeyboardInterrupt | None = None


def add_tune(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface tune``."""
    add_common(parser, _SECONDS, "tune only these models")
    add = parser.add_argument
    add("--exact", action="store_true", help="do not use variants of lower precision")
    add("--show", action="store_true", help="print the stored settings and exit")
    add("--reset", action="store_true", help="delete the stored settings and exit")
    parser.set_defaults(run=run_tune)


def run_tune(options: argparse.Namespace) -> int:
    """Finds and stores the best settings, or shows or deletes the stored ones."""
    machine = machine_key(runtime_version())
    if options.reset:
        removed = remove_tuning()
        print_text("no settings are stored" if removed is None else f"removed {removed}")
        return 0
    if options.show:
        stored = read_tuning().get(machine, {})
        _print(options, machine, tuning_file(), _Result(stored))
        return 0
    check_seconds(options.seconds)
    result = _tune(options)
    path = store_tuning(machine, result.settings)
    _print(options, machine, path, result)
    return 0 if result.ended is None else say_interrupted(result.ended)


def _tune(options: argparse.Namespace) -> _Result:
    """Tunes the models one by one.

    Raises:
        ModelNotFoundError: If there is no model, a name is unknown, or no model can be run.
    """
    found = wanted_models(options.models, options.model)
    wanted = [model for model in found if model.path.suffix != ".json"]
    if not wanted:
        raise ModelNotFoundError("none of the models has a network", hint="see 'mobileface models'")
    scenes = scenes_from(options.images, pipeline_of(options.models, {}))
    seconds = max(options.seconds / len(wanted), _MIN_SECONDS)
    result, progress = _Result(), Progress(len(wanted), "models")
    for model in wanted:
        try:
            setting = tune_model(
                model, scenes, seconds, exact=options.exact, refused=result.refused
            )
            result.settings[model.entry.sha256] = setting
        except MobileFaceError as error:  # continue with the other models
            result.refused.append(_refusal(model, "", error.what))
        except KeyboardInterrupt as error:
            if not result.settings:
                raise
            result.ended = error  # what is found so far is stored
            break
        progress.step()
    progress.end()
    if not result.settings:
        raise ModelNotFoundError("none of the models can be run", hint=result.refused[0]["reason"])
    return result


def tune_model(
    model: StoredModel,
    scenes: Sequence[Scene],
    seconds: float,
    *,
    exact: bool = False,
    refused: list[dict[str, str]] | None = None,
) -> Setting:
    """Finds the fastest setting of one model.

    Measures all candidates, interleaved, then measures those close to the best again. Keeps the
    default unless another candidate is clearly faster.

    Args:
        model: The model.
        scenes: Images to measure on.
        seconds: Time to spend.
        exact: Use only variants with the precision of the model's own file.
        refused: Rejected variants are appended to this list, with the reason.

    Raises:
        ModelError: If the default variant cannot be run.
    """
    notes = [] if refused is None else refused
    default = _default(model)
    candidates = [default, *_others(model, default, exact, notes)]
    times = _measure(model, candidates, scenes, 0.4 * seconds)
    best = min(times.values())
    close = [c for c in candidates if c == default or times[c] <= _CLOSE * best]
    times = _measure(model, close, scenes, 0.4 * seconds)
    fastest = min(close, key=times.__getitem__)
    if times[fastest] > _MAX_SHARE * times[default]:
        fastest = default
    batch, per_face = _best_batch(model, fastest, scenes, 0.2 * seconds)
    return Setting(
        model=model.name,
        variant=fastest.variant.variant.name,
        sha256=fastest.variant.variant.sha256,
        threads=fastest.threads,
        spinning=fastest.spinning,
        batch=batch,
        median_ms=round(1e3 * per_face, 4),
        default_ms=round(1e3 * times[default], 4),
    )


def _default(model: StoredModel) -> Candidate:
    """The model's setting on a machine that has not been tuned."""
    threads = default_threads()
    return Candidate(model.choose(), threads, spins(threads))


def _others(
    model: StoredModel, default: Candidate, exact: bool, refused: list[dict[str, str]]
) -> list[Candidate]:
    """All other candidates, with the variants that run here and reproduce their certificate."""
    variants = []
    for item in model.variants:
        if exact and item.variant.precision != default.variant.variant.precision:
            continue
        reason = certificate_refusal(model, item) if item != default.variant else ""
        if reason:
            refused.append(_refusal(model, item.variant.name, reason))
        else:
            variants.append(item)
    found = []
    for item, threads in itertools.product(variants, thread_counts(available_cpus())):
        for spinning in (False, True) if threads > 1 else (False,):
            found.append(Candidate(item, threads, spinning))
    return [candidate for candidate in found if candidate != default]


def thread_counts(cpus: int) -> list[int]:
    """Numbers of threads to try: the powers of 2 up to the number of CPUs, and that number."""
    return sorted({1 << power for power in range(cpus.bit_length()) if 1 << power <= cpus} | {cpus})


def certificate_refusal(model: StoredModel, item: StoredVariant) -> str:
    """Why a variant is rejected on this machine; empty if it reproduces its certificate."""
    try:
        task = load(model.name, models=item.path.parent, variant=item.variant.name)
        session = _session(task)
        document = read_certificate(item.certificate)
        agreement, bounds = replay(session, document.get("record"), str(item.certificate))
    except MobileFaceError as error:
        return str(error)
    return "" if agreement.within(bounds) else agreement.failure(bounds)


def _measure(
    model: StoredModel, candidates: Sequence[Candidate], scenes: Sequence[Scene], seconds: float
) -> dict[Candidate, float]:
    """Median seconds per call of each candidate, measured interleaved."""
    works = {str(c): work_of(_load(model, c), scenes) for c in candidates}
    timings = measure_within(works, seconds)
    return {c: timings[str(c)].median for c in candidates}


def _best_batch(
    model: StoredModel, candidate: Candidate, scenes: Sequence[Scene], seconds: float
) -> tuple[int, float]:
    """The best batch size, and the seconds per face with it."""
    task = _load(model, candidate)
    sizes = _BATCHES if takes_batches(task) else (1,)
    works = {str(size): work_of(task, scenes, size) for size in sizes}
    timings = measure_within(works, seconds)
    faces = {size: timings[str(size)].median / size for size in sizes}
    best = min(faces.values())
    chosen = next(size for size in sizes if faces[size] <= _SAME * best)
    return chosen, faces[chosen]


def _load(model: StoredModel, candidate: Candidate) -> Any:
    item = candidate.variant
    return load(model.name, models=item.path.parent, variant=item.variant.name, **candidate.options)


def _session(task: Any) -> Session:
    session: Session = task.session
    return session


def _refusal(model: StoredModel, variant: str, reason: str) -> dict[str, str]:
    return {"model": model.name, "variant": variant, "reason": reason}


def _print(options: argparse.Namespace, machine: str, path: Path | None, result: _Result) -> None:
    settings = sorted(result.settings.values(), key=lambda setting: setting.model)
    if options.json:
        document = {
            "schema": 1,
            "machine": machine,
            "file": None if path is None else str(path),
            "settings": [asdict(setting) for setting in settings],
            "refused": result.refused,
        }
        print_json(document)
        return
    lines = [machine]
    lines += [_line(setting) for setting in settings] or ["no settings are stored for this machine"]
    lines += [f"not used: {r['model']} {r['variant']}: {r['reason']}" for r in result.refused]
    if settings:
        lines.append(f"stored in {path}; used by default")
    print_text(*lines)


def _line(setting: Setting) -> str:
    spinning = ", spinning" if setting.spinning else ""
    threads = f"{setting.threads} thread{'s' if setting.threads > 1 else ''}{spinning}"
    gain = setting.default_ms / setting.median_ms
    return (
        f"{setting.model:<18} {setting.variant:<10} {threads:<20} batch {setting.batch:<3} "
        f"{setting.median_ms:>8.3f} ms per face, {gain:.2f}× the default's speed"
    )

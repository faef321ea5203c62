"""Rewrites any ONNX or TensorFlow Lite network: ``mobileface-convert optimize``.

The rewrites are those of the project's own models (`passes`). The result is compared with the
network as it was read, run node by node, and timed beside it.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime

from mobileface.host.machine import this_machine
from mobileface.host.measure import measure_in_turn

from ..build.variants import CONDITIONS
from ..frontends.onnx_file import opset_of, read_onnx_file
from ..frontends.onnx_half import widened
from ..frontends.tflite import build_tflite, free_batch, read_tflite
from ..graph.onnx_builder import DEFAULT_OPSET
from ..makers import PassRecord, optimise
from .exported import Parity, require_parity
from .optimised_ends import Ends, Fed, Pixels, open_session

__all__ = [
    "MACHINES",
    "TOLERANCE",
    "Candidate",
    "Optimised",
    "Pixels",
    "lines_of",
    "optimise_network",
    "read",
]

TOLERANCE = 5e-5
"""Tolerance for an output, relative to its largest value if that exceeds 1. Where ONNX Runtime's
own optimisation of the given network changes more by rounding, twice that is allowed."""

MACHINES = ("plain", "portable", "x86")
"""Targets of `passes.TARGETS` for ONNX Runtime, the simplest first."""

_GAIN = 0.98
"""A more specific network is chosen if it takes at most this part of the time."""

_FED = 8
_FEWEST, _MOST = 5, 200
_SEED = 20200229


@dataclass(frozen=True)
class Candidate:
    """A rewritten network.

    Attributes:
        machine: One of `MACHINES`.
        model: The network.
        passes: What each pass changed and left.
        parity: The comparison with the network as it was read.
        milliseconds: Median time of a run.
    """

    machine: str
    model: onnx.ModelProto
    passes: tuple[PassRecord, ...]
    parity: Parity
    milliseconds: float


@dataclass(frozen=True)
class Optimised:
    """A network and what its rewriting gained on this machine.

    Attributes:
        best: The candidate that was chosen.
        candidates: All of them.
        before: Median time of a run of the network as it was read, in milliseconds.
        shapes: Shapes of the inputs that were timed.
        threads: Number of threads.
    """

    best: Candidate
    candidates: tuple[Candidate, ...]
    before: float
    shapes: Mapping[str, tuple[int, ...]]
    threads: int


def read(path: Path) -> onnx.ModelProto:
    """Reads an ONNX or TensorFlow Lite file as an ONNX network of float32.

    Raises:
        ConversionError: The file is refused.
    """
    if path.suffix == ".tflite":
        network = read_tflite(path)
        return ir.to_proto(build_tflite(network, name=path.stem, batch=free_batch(network)))
    return widened(read_onnx_file(path, opset=max(DEFAULT_OPSET, opset_of(path))))


def optimise_network(
    model: onnx.ModelProto,
    where: str,
    *,
    machines: Sequence[str] = MACHINES,
    pixels: Pixels | None = None,
    normalize: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
    tolerance: float = TOLERANCE,
    threads: int = 1,
    seconds: float = 10.0,
) -> Optimised:
    """Rewrites a network, for the kind of machine that is fastest here if several are given.

    Args:
        model: The network; see `read`.
        where: Its name in error messages.
        machines: Some of `MACHINES`; those that this machine cannot run well are left out unless
            there is only one.
        pixels: Change the only image input to uint8; None leaves the inputs.
        normalize: L2-normalise the rows of the only output.
        shapes: Sizes to compare and time with, for inputs with dynamic axes besides the batch.
        tolerance: See `TOLERANCE`.
        threads: Number of threads for the times.
        seconds: Time for the measurements; each network runs at least five times.

    Raises:
        ConversionError: A step fails, or a size is not known.
        ParityError: A rewritten network gives something else; names the output.
    """
    ends = Ends(model, where, pixels, normalize, dict(shapes or {}))
    here = [name for name in machines if _runs_here(name)] or list(machines)
    made, seen = [], set()
    for name in here:
        rewritten, records = optimise(model, where, target=name, first=ends.passes)
        content = rewritten.SerializeToString(deterministic=True)
        if content not in seen:
            seen.add(content)
            made.append((name, rewritten, tuple(records)))
    own = ends.compare(model, before=True).errors
    parities = [ends.compare(rewritten) for _, rewritten, _ in made]
    for parity in parities:
        for name, error in own.items():
            part = dataclasses.replace(parity, errors={name: parity.errors[name]})
            require_parity(part, max(tolerance, 2 * error), where)
    times = _times([model, *(m for _, m, _ in made)], ends, threads, seconds)
    candidates = tuple(
        Candidate(*network, parity, milliseconds)
        for network, parity, milliseconds in zip(made, parities, times[1:], strict=True)
    )
    best = candidates[0]
    for other in candidates[1:]:
        if other.milliseconds <= _GAIN * best.milliseconds:
            best = other
    return Optimised(best, candidates, times[0], ends.sizes(1), threads)


def _runs_here(name: str) -> bool:
    condition = CONDITIONS.get(name)
    return condition is None or not condition.refusal(this_machine())


def _times(
    models: Sequence[onnx.ModelProto], ends: Ends, threads: int, seconds: float
) -> list[float]:
    """Median time in milliseconds of the network as it was read and the rewritten ones, in turn."""
    pairs = [ends.feeds(1, _SEED + 100 + number) for number in range(_FED)]
    engines = {}
    for number, model in enumerate(models):
        session = open_session(model, threads, "")
        engines[str(number)] = partial(_timed, session, number > 0)
    once = 0.0
    for run in engines.values():
        run(pairs[0])
        begin = time.perf_counter()
        run(pairs[1])
        once += time.perf_counter() - begin
    rounds = max(_FEWEST, min(_MOST, int(seconds / once)))
    measured = measure_in_turn(engines, pairs, rounds, warm_up=2)
    return [1000 * statistics.median(times) for times in measured.values()]


def _timed(session: onnxruntime.InferenceSession, rewritten: bool, pair: tuple[Fed, Fed]) -> None:
    session.run(None, pair[rewritten])


def lines_of(found: Optimised) -> Iterator[str]:
    """The times before and after, for people."""
    yield f"as it was: {found.before:.3f} ms"
    for candidate in found.candidates:
        ratio = candidate.milliseconds / found.before
        chosen = ", chosen" if candidate is found.best else ""
        yield f"{candidate.machine}: {candidate.milliseconds:.3f} ms, {ratio:.2f} of that{chosen}"

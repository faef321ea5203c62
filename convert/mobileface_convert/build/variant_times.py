"""Times two networks of one model against each other, on this machine."""

from __future__ import annotations

import statistics
from pathlib import Path

from mobileface.host.measure import measure_in_turn
from mobileface.models.kinds.base import Feed
from mobileface.models.session import Session

__all__ = ["time_ratio"]

_ROUNDS = 60
_WARM_UP = 6


def time_ratio(first: Path, second: Path) -> float:
    """Median time of the first network over that of the second, with one thread.

    They take turns on single images: the probes of the kind, of which half are noise and half have
    soft edges, as photos have.
    """
    sessions = {str(path): Session(path, intra_op_num_threads=1) for path in (first, second)}
    spec = sessions[str(first)].spec
    feeds = [_first_row(fed) for fed in spec.kind.probes(spec)]
    engines = {name: session.run for name, session in sessions.items()}
    measured = measure_in_turn(engines, feeds, _ROUNDS, warm_up=_WARM_UP)
    times = [statistics.median(measured[str(path)]) for path in (first, second)]
    return times[0] / times[1]


def _first_row(fed: Feed) -> Feed:
    """One image of a batch; other inputs, as thresholds, as they are."""
    return {name: value[:1] if value.ndim > 1 else value for name, value in fed.items()}

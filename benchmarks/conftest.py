"""Shared by all suites: real faces, engines on one thread, and the ratios at the end."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

# Before numpy and MXNet are imported: they read these once.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"

# One thread means one CPU: MXNet's gluon otherwise runs Python and kernels on two at a time.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(os.environ.get("MOBILEFACE_SOURCE") or ROOT.parent / "shared" / "mobileface")
OURS = "onnx"


@pytest.fixture(scope="session")
def source() -> Path:
    if not SOURCE.is_dir():
        pytest.skip("no MobileFace files: set MOBILEFACE_SOURCE to a checkout")
    return SOURCE


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints each engine's median over ours, model by model."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for benchmark in session.benchmarks if session else ():
        if benchmark.group and not benchmark.has_error:
            engine = benchmark.extra_info.get("engine", benchmark.name)
            groups[benchmark.group][engine] = benchmark.stats.median
    if groups:
        terminalreporter.section("ratios of medians to ours")
    for group, medians in groups.items():
        ours = medians.get(OURS)
        for engine, median in medians.items():
            ratio = f"{median / ours:6.2f} x" if ours else ""
            terminalreporter.write_line(f"{group:<28} {engine:<8} {median * 1e3:8.3f} ms {ratio}")

"""Fixtures and hooks of all benchmark suites: one CPU, real faces, converted models, output."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

# numpy and MXNet read these variables once, on import.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"
os.environ["MOBILEFACE_THREADS"] = "1"  # also overrides tuned settings

# One thread means one CPU: otherwise MXNet's gluon runs Python and its kernels on two CPUs.
PINNED = None
if hasattr(os, "sched_setaffinity"):
    PINNED = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {PINNED})

import pytest

from benchmarks import results
from benchmarks.faces import Faces, find_faces
from mobileface.host.environment import describe_environment
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands.main import main as convert_command
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(os.environ.get("MOBILEFACE_SOURCE") or ROOT.parent / "shared" / "mobileface")
FACTS = pytest.StashKey[list[dict[str, Any]]]()


@pytest.fixture(scope="session")
def source() -> Path:
    if not SOURCE.is_dir():
        pytest.skip("no MobileFace files: set MOBILEFACE_SOURCE to a checkout")
    return SOURCE


@pytest.fixture(scope="session")
def faces(source: Path) -> Faces:
    """Aligned faces; half of the people are reserved for calibration."""
    return find_faces(source)


@pytest.fixture(scope="session")
def converted(source: Path, faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all variants of every model of the source."""
    folder = tmp_path_factory.mktemp("converted")
    calibration = tmp_path_factory.mktemp("calibration")
    for path in faces.calibration:
        shutil.copyfile(path, calibration / path.name)
    command = ["all", "--source", str(source), "--output", str(folder)]
    code = convert_command([*command, "--no-verify", "--calibrate", str(calibration)])
    assert code == 0
    return folder


@pytest.fixture(scope="session")
def plain(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the identification models, only batch normalisation folded."""
    folder = tmp_path_factory.mktemp("plain")
    for version in (1, 2, 3):
        recipe = load_recipe(f"identification_v{version}").targeting("plain")
        convert(recipe, DirectorySource(source), folder, verify=False)
    return folder


@pytest.fixture(scope="session")
def facts(pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """Results other than timings: sizes, accuracies, missing engines."""
    return pytestconfig.stash.setdefault(FACTS, [])


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Records what timings depend on; no host name, no path."""
    machine_info.clear()
    machine_info.update(describe_environment())
    machine_info.update(threads=1, pinned_cpu=PINNED, peers=results.peer_versions())


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    for name in ("project", "branch", "error"):
        commit_info.pop(name, None)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Removes the individual measurements and adds facts, ratios and figures."""
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)
        benchmark.pop("params", None)
    output_json["facts"] = config.stash.get(FACTS, [])
    output_json["ratios"] = results.ratios(output_json)
    output_json["figures"] = [figure.record() for figure in results.figures(output_json)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the ratio of each engine's median to ours by group, and the target figures."""
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    document = {
        "benchmarks": [
            {
                "group": benchmark.group,
                "extra_info": benchmark.extra_info,
                "stats": {"median": benchmark.stats.median},
            }
            for benchmark in session.benchmarks
            if benchmark.group and not benchmark.has_error
        ],
        "facts": config.stash.get(FACTS, []),
    }
    terminalreporter.section("ratios of medians to ours")
    for row in results.ratios(document):
        ratio = "" if row["ratio"] is None else f"{row['ratio']:7.2f} x"
        line = f"{row['group']:<34} {row['engine']:<24} {1e3 * row['median']:9.3f} ms {ratio}"
        terminalreporter.write_line(line)
    terminalreporter.section("figures")
    for figure in results.figures(document):
        terminalreporter.write_line(str(figure))

"""Start-up time and peak memory of fresh processes: imports, the network, the first result.

Resident memory is recorded by step as well: how much the interpreter, numpy, ONNX Runtime, this
package, the network and the first run add.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.engines import UnavailableError
from benchmarks.exporters import export_by_pnnx
from benchmarks.faces import Faces, read_frames
from benchmarks.replay import OURS, replay
from benchmarks.start_code import SNIPPETS
from mobileface.errors import InputError
from mobileface.host.measure import Fresh, measure_fresh, summarise

MODEL = "identification_v2"
GROUP = f"start-up, {MODEL}"
ROUNDS = 7
PACKAGES = {"mxnet": "mxnet", "openvino": "openvino", "ncnn": "ncnn"}
MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
WHOLE = """
import sys
import numpy
import mobileface
faces = mobileface.FaceAnalyzer(sys.argv[1])(numpy.load(sys.argv[-1]))
"""
STEPS = """
import json, sys
def resident():
    with open("/proc/self/status") as stream:
        fields = dict(line.split(":", 1) for line in stream)
    return [int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "VmHWM")]
steps = {"the interpreter": resident()}
import numpy
steps["numpy"] = resident()
import onnxruntime
steps["onnxruntime"] = resident()
from mobileface import load_embedder
steps["mobileface"] = resident()
embedder = load_embedder(sys.argv[2], models=sys.argv[1])
steps["the network"] = resident()
embedder.embed(numpy.load(sys.argv[-1]))
steps["the first embedding"] = resident()
print(json.dumps(steps))
"""


@pytest.fixture(scope="module")
def crop(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("crop") / "crop.npy"
    np.save(path, faces.crops((112, 112))[0])
    return str(path)


@pytest.fixture(scope="module")
def starts(
    source: Path, converted: Path, plain: Path, crop: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Fresh] | str]:
    """Measurements of fresh processes by engine, interleaved; or why there are none."""
    prefix = source / "MobileFace_Identification" / "MobileFace_Identification_V2"
    path = str(plain / f"{MODEL}.onnx")
    files = {
        OURS: [str(converted), MODEL],
        "mobileface int8": [str(converted), MODEL],
        "onnxruntime": [path],
        "mxnet": [f"{prefix}-symbol.json", f"{prefix}-0000.params"],
        "openvino": [path],
        "opencv": [path],
    }
    found: dict[str, list[Fresh] | str] = {}
    try:
        pair = export_by_pnnx(Path(path), (1, 3, 112, 112), tmp_path_factory.mktemp("ncnn"))
        files["ncnn"] = [str(file) for file in pair]
    except UnavailableError as error:
        found["ncnn"] = str(error)
    for engine, package in PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            files.pop(engine, None)
            found[engine] = f"{package} is not installed"
    measured: dict[str, list[Fresh]] = {engine: [] for engine in files}
    for round_number in range(ROUNDS + 1):
        for engine, arguments in files.items():
            if engine in found:
                continue
            try:
                fresh = measure_fresh(SNIPPETS[engine], [*arguments, crop])
            except InputError as error:
                found[engine] = error.what
                continue
            if round_number:  # the first round fills the disk cache
                measured[engine].append(fresh)
    return {**measured, **found}


@pytest.mark.parametrize("engine", SNIPPETS)
def test_start(
    benchmark: Any,
    starts: dict[str, list[Fresh] | str],
    engine: str,
    facts: list[dict[str, Any]],
) -> None:
    _report(benchmark, GROUP, engine, starts[engine], facts, model=MODEL)


def test_start_of_the_pipeline(
    benchmark: Any,
    source: Path,
    facts: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """The starter set on a photo of 1280×720."""
    path = tmp_path / "photo.npy"
    np.save(path, read_frames(source / "example" / "friends1.mp4")[1])
    runs = [measure_fresh(WHOLE, [str(MODELS), str(path)]) for _ in range(4)]
    _report(benchmark, "start-up, pipeline of the starter set", "pipeline", runs[1:], facts)


def _report(
    benchmark: Any,
    group: str,
    engine: str,
    runs: list[Fresh] | str,
    facts: list[dict[str, Any]],
    **extra: Any,
) -> None:
    if isinstance(runs, str):
        facts.append({"fact": "absent", "group": group, "engine": engine, "reason": runs})
        pytest.skip(f"{engine}: {runs}")
    seconds = [run.seconds for run in runs]
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    peak = int(statistics.median(peaks)) if peaks else None
    benchmark.extra_info.update(extra, engine=engine, threads=1, kind="start", peak_bytes=peak)
    benchmark.extra_info["p90"] = summarise(seconds).p90
    facts.append({"fact": "start", "what": group, "engine": engine, "peak_bytes": peak})
    replay(benchmark, group, seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_where_the_memory_is(converted: Path, crop: str, facts: list[dict[str, Any]]) -> None:
    command = [sys.executable, "-c", STEPS, str(converted), MODEL, crop]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    steps = json.loads(result.stdout)
    for step, (held, private, peak) in steps.items():
        facts.append(
            {"fact": "memory", "step": step, "bytes": held, "private": private, "peak": peak}
        )
    held = [values[0] for values in steps.values()]
    assert held == sorted(held)

"""Verifies the runtime on aarch64 without a board, with the released wheels in an emulated Python.

    python -m tests.aarch64.run [--folder DIR] [--report OUT.json] [--cpus cortex-a72 cortex-a76]

Builds the wheels of the runtime and of converted models, installs both from a folder of wheels in
an emulated Debian, runs every task there on the CPU models of two boards, compares the results with
this machine, and uninstalls the packages. MobileFace's own models are included if its files are
available (MOBILEFACE_SOURCE or ../shared/mobileface). The exit code is 1 if a result is outside its
tolerance. If the packages or the emulator are not available, it is 0 and the reason is printed; in
CI (CI=true) it is 1.

Timings of an emulated program are not representative of a board.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mobileface.models.lookup import list_models
from mobileface_convert.build.bundle import make_bundle
from tests.aarch64.cases import convert_models, write_cases
from tests.aarch64.compare import BOUNDS, Deviation, compare
from tests.aarch64.emulator import CPUS, UnavailableError, make_emulator
from tests.aarch64.installation import Installation, install_here
from tests.aarch64.statement import state_platforms
from tests.conftest import IN_CI, ROOT
from tests.run_runtime_environments import build_wheel

HERE = Path(__file__).resolve().parent
BLOCKED = "com.microsoft.nchwc"
STARTER = ROOT / "models_onnx"
SERVED_TOLERANCE = 0.02
"""Largest difference of a number in the service's answers, as a share of it where it is above 1:
points are rounded to 0.01 pixels, and ages and angles vary more than the embeddings."""

MORE_MODELS = ROOT / "tests" / "models" / "yolo"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="folder to keep and reuse downloads in")
    parser.add_argument("--report", type=Path, help="JSON file to write the deviations to")
    parser.add_argument(
        "--certificates",
        type=Path,
        metavar="DIR",
        help="models folder whose certificates get the results",
    )
    parser.add_argument("--cpus", nargs="+", choices=CPUS, default=list(CPUS))
    options = parser.parse_args()
    say = Clock()
    with _folder(options.folder) as folder:
        try:
            report = verify(folder, options.cpus, say)
        except UnavailableError as error:
            print(f"aarch64 not tested: {error}")
            return 1 if IN_CI else 0
    report["seconds"] = round(say.seconds, 1)
    if options.certificates:
        stated = state_platforms(options.certificates, report)
        say(f"updated the certificates of {', '.join(stated) or 'no model: other files were run'}")
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    broken = [*report["left_behind"]]
    broken += [name for name, state in report["certificates"].items() if state == "broken"]
    for found in report["platforms"]:
        broken += [f"{found['cpu']} {name}" for name in found["broken"]]
    say(f"done; outside the tolerance or left behind: {', '.join(broken) or 'nothing'}")
    return 1 if broken else 0


def verify(folder: Path, cpus: list[str], say: Clock) -> dict[str, Any]:
    """Installs, runs, compares and uninstalls.

    Returns:
        The report as a JSON object.

    Raises:
        UnavailableError: If the packages or the emulator are not available.
    """
    emulator = make_emulator(folder, say)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = Path(temporary)
        say("building the wheels")
        converted = convert_models(work / "converted")
        project = [build_wheel(), *(make_bundle(models, work).path for models in converted)]
        write_cases(work / "cases", converted[0] if converted else None)
        say("downloading wheels with the emulated pip")
        board = Installation(emulator, work / "board", project)
        say("installing from the folder of wheels, without an index")
        board.install(*board.dependencies)
        before = board.files()
        board.install(*board.names)
        own = board.home / ".local" / "share" / "mobileface"
        shutil.copytree(MORE_MODELS, own / "models")
        say("running the same versions on this machine")
        native = run_natively(work, project, board)
        say(f"running every task on {', '.join(f'{cpu} ({CPUS[cpu][0]})' for cpu in cpus)}")
        with ThreadPoolExecutor(len(cpus)) as pool:
            results = list(pool.map(partial(run_emulated, work, board), cpus))
        platforms = [
            describe(cpu, compare(native, result), say)
            for cpu, result in zip(cpus, results, strict=True)
        ]
        say("running the installed command")
        certified = use_command(board, work / "cases" / "portrait.png", cpus[0])
        say("serving over HTTP")
        served = use_service(work, board, project[0], cpus[0], before)
        report = {
            "schema": 1,
            "packages": board.dependencies,
            "download_bytes": board.download_bytes,
            "blocked_nodes": {
                "aarch64": count_blocked(partial(board.run, cpu=cpus[0]), work),
                platform.machine(): count_blocked(partial(run_here, work), work),
            },
            "files": {
                f"{model.name}.{item.variant.name}": item.variant.sha256
                for models in (STARTER, *converted)
                for model in list_models(models)
                for item in model.variants
            },
            "certificates": certified,
            "served": served,
            "platforms": platforms,
        }
        say("uninstalling")
        board.uninstall()
        left = {path for path in board.files() - before if own not in path.parents}
        report["left_behind"] = sorted(str(path.relative_to(board.folder)) for path in left)
    return report


def run_natively(work: Path, project: list[Path], board: Installation) -> dict[str, Any]:
    """The results on this machine."""
    install_here(work / "native", project, board.dependencies)
    target = work / "native.npz"
    run_here(work, HERE / "board.py", work / "cases", target)
    return read(target)


def run_here(work: Path, *arguments: str | Path) -> None:
    """Runs Python in this machine's environment, with the home directory of the board."""
    hidden = ("PYTHONPATH", "MOBILEFACE_HOME", "XDG_DATA_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["HOME"] = str(work / "board" / "home")
    command = [work / "native" / "bin" / "python", *arguments]
    subprocess.run(command, check=True, env=environment, cwd=work, stdout=subprocess.DEVNULL)


def run_emulated(work: Path, board: Installation, cpu: str) -> dict[str, Any]:
    """The results on an emulated board."""
    target = work / f"{cpu}.npz"
    board.run(HERE / "board.py", work / "cases", target, cpu=cpu)
    return read(target)


def read(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def describe(cpu: str, found: Mapping[str, Deviation], say: Clock) -> dict[str, Any]:
    """Prints a table of deviations and returns them as a JSON object."""
    for name, deviation in found.items():
        state = "BROKEN" if deviation.broken else "ok"
        say(
            f"  {name:<48} {deviation.largest:8.2g} of {BOUNDS[deviation.measure]:g} allowed, "
            f"{deviation.numbers} numbers  {state}"
        )
    return {
        "machine": "aarch64",
        "cpu": cpu,
        "board": CPUS[cpu][0],
        "emulated": True,
        "deviations": {name: deviation.to_json() for name, deviation in found.items()},
        "broken": [name for name, deviation in found.items() if deviation.broken],
    }


def use_command(board: Installation, portrait: Path, cpu: str) -> dict[str, str]:
    """Checks that the console script analyses a photo and writes an annotated image.

    Returns:
        The state of each replayed certificate.
    """
    drawn = board.folder / "out.png"
    printed = board.command("analyze", portrait, "--json", "--draw", drawn, cpu=cpu)
    assert len(json.loads(printed)["faces"]) == 1, printed
    assert drawn.is_file()
    listed = json.loads(board.command("models", "--check", "--json", cpu=cpu))["models"]
    assert all(model["intact"] for model in listed), listed
    healthy = json.loads(board.command("doctor", "--json", cpu=cpu))
    assert healthy["healthy"], healthy
    # The exit code is 2 if certificates hold no record; broken ones are recognised by their state.
    replayed = json.loads(board.command("certify", "--json", cpu=cpu, check=False))["variants"]
    return {f"{item['model']}.{item['variant']}": item["state"] for item in replayed}


def use_service(
    work: Path, board: Installation, wheel: Path, cpu: str, before: set[Path]
) -> dict[str, Any]:
    """Checks that the service answers about the portrait as it does on this machine.

    Args:
        work: The folder of this run.
        board: The emulated board, which gets the packages of the extra ``[serve]``.
        wheel: The project's wheel.
        cpu: The board's CPU.
        before: Files that do not count as left behind; the packages' files are added.

    Returns:
        The packages of the extra, and the largest difference of any number in the answers, as a
        share of that number where it is above 1.
    """
    known = board.files()
    packages = board.install_extra(wheel, "serve")
    before |= board.files() - known
    python = work / "native" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "-q", "install", *packages],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    portrait = work / "cases" / "portrait.png"
    here, there = work / "here.json", work / "there.json"
    run_here(work, HERE / "serving.py", portrait, here)
    board.run(HERE / "serving.py", portrait, there, cpu=cpu)
    pairs = list(zip(*(numbers_of(json.loads(p.read_text())) for p in (here, there)), strict=True))
    differing = [pair for pair in pairs if type(pair[0]) is not type(pair[1])]
    texts = [(a, b) for a, b in pairs if not isinstance(a, float) and a != b]
    assert not differing, differing[:3]
    assert not texts, texts[:3]
    largest = max(abs(a - b) / max(1, abs(a)) for a, b in pairs if isinstance(a, float))
    assert largest <= SERVED_TOLERANCE, f"answers differ by {largest}"
    return {"packages": packages, "largest": largest, "values": len(pairs)}


def numbers_of(document: Any) -> Iterator[Any]:
    """The leaves of a JSON document in order, with the keys; numbers as float."""
    if isinstance(document, dict):
        for key in document:
            yield key
            yield from numbers_of(document[key])
    elif isinstance(document, list):
        for item in document:
            yield from numbers_of(item)
    else:
        number = isinstance(document, int | float) and not isinstance(document, bool)
        yield float(document) if number else document


def count_blocked(python: Callable[..., object], work: Path) -> int:
    """Number of nodes in ONNX Runtime's blocked layout after optimisation on a machine."""
    target = work / "optimised.onnx"
    code = (
        "import mobileface, onnxruntime; options = onnxruntime.SessionOptions();"
        f"options.optimized_model_filepath = {str(target)!r};"
        "path = mobileface.find_model('embedding_dlib').path;"
        "onnxruntime.InferenceSession(str(path), options)"
    )
    python("-c", code)
    return sum(node.domain == BLOCKED for node in onnx.load(str(target)).graph.node)


class Clock:
    """Prints lines with the seconds since the start."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def __call__(self, line: str) -> None:
        print(f"{self.seconds:6.1f} s  {line}", flush=True)


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The given folder, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary).resolve()


if __name__ == "__main__":
    sys.exit(main())

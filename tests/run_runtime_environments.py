"""Runs the runtime's tests in environments that contain only its own dependencies.

For every Python 3.10 or newer that is found (on PATH, or among pyenv's versions), it creates a
fresh environment with the project's wheel, the newest numpy, OpenCV and ONNX Runtime that pip finds
for it, and pytest; without onnx, MXNet and dlib. The oldest and the newest Python run all of the
runtime's tests; those between run `BETWEEN`: imports, errors, models, tasks, the analyzer, and
processes that fork. The exit code is 1 if the tests of any version fail.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venv-runtime"
OLDEST = (3, 10)
NEWEST_MINOR = 20
ALL = ("tests/runtime",)
BETWEEN = (
    "tests/runtime/test_imports.py",
    "tests/runtime/test_errors.py",
    "tests/runtime/test_analyzer.py",
    "tests/runtime/test_processes.py",
    "tests/runtime/models",
    "tests/runtime/tasks",
    "tests/runtime/matching",
)
"""What the versions between the oldest and the newest run; `make test` runs all on 3.11."""
FOREIGN = ("onnx", "onnx_ir", "onnxsim", "mxnet", "dlib", "skimage")


def main() -> int:
    wheel = build_wheel()
    failed = []
    pythons = find_pythons()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        chosen = selections(list(pythons))
        # The long runs first, so that the short ones fill the gaps.
        order = sorted(chosen, key=lambda version: chosen[version] != ALL)
        runs = {
            version: pool.submit(passes, version, pythons[version], wheel, chosen[version])
            for version in order
        }
        for version in pythons:
            passed, text = runs[version].result()
            print(f"== Python {version}: {' '.join(chosen[version])}\n{text}", flush=True)
            if not passed:
                failed.append(version)
    print(f"runtime tests on Python {', '.join(pythons)}; failed: {', '.join(failed) or 'none'}")
    return 1 if failed or not pythons else 0


def selections(versions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The tests of each version: all for the first and the last, `BETWEEN` for the others."""
    return {
        version: ALL if version in (versions[0], versions[-1]) else BETWEEN for version in versions
    }


def find_pythons() -> dict[str, Path]:
    """Python interpreters by version "3.N", oldest first."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders += sorted(pyenv.glob("*/bin"))
    found: dict[str, Path] = {}
    for minor in range(OLDEST[1], NEWEST_MINOR):
        for folder in folders:
            python = folder / f"python3.{minor}"
            if works(python, minor):
                found[f"3.{minor}"] = python
                break
    return found


def works(python: Path, minor: int) -> bool:
    """Whether the interpreter runs, has this version and can create environments."""
    if not python.is_file():
        return False
    code = "import sys, venv, ensurepip; print(sys.version_info.minor)"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return result.returncode == 0 and result.stdout.strip() == str(minor)


def build_wheel() -> Path:
    folder = Path(tempfile.mkdtemp())
    code, text = run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    if code:
        sys.exit(text)
    return next(folder.glob("*.whl"))


def passes(version: str, python: Path, wheel: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Creates and checks the environment, and runs tests against the installed wheel.

    Returns:
        Whether they pass, and what was printed.
    """
    folder = ENVIRONMENTS / version
    shutil.rmtree(folder, ignore_errors=True)
    inside = folder / "bin" / "python"
    pip = [str(inside), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    code = (
        "import importlib.util as u, numpy, cv2, onnxruntime, mobileface;"
        f"assert not [n for n in {FOREIGN!r} if u.find_spec(n)];"
        "print('numpy', numpy.__version__, 'opencv', cv2.__version__, 'onnxruntime',"
        " onnxruntime.__version__)"
    )
    commands = (
        [str(python), "-m", "venv", str(folder)],
        [*pip, str(wheel), "pytest>=8.3"],
        [str(inside), "-c", code],
    )
    text = ""
    for command in commands:
        code_of, printed = run(*command)
        text += printed
        if code_of:
            return False, f"{text}failed: {' '.join(command)}\n"
    seen, printed = analyse(folder / "bin" / "mobileface")
    text += printed
    if not seen:
        return False, text
    pytest = [str(inside), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    code_of, printed = run(*pytest, env=clean_environment())
    return code_of == 0, text + printed


def analyse(command: Path) -> tuple[bool, str]:
    """Whether the installed command finds the portrait's face from an empty folder."""
    with tempfile.TemporaryDirectory() as elsewhere:
        arguments = [str(command), "analyze", str(find_portrait()), "--draw", "out.png"]
        code, text = run(*arguments, env=clean_environment(), cwd=Path(elsewhere))
        drawn = (Path(elsewhere) / "out.png").is_file()
    return code == 0 and ": 1 face" in text and drawn, text


def clean_environment() -> dict[str, str]:
    """The environment variables, except those that lead to the source tree or to other models."""
    hidden = ("PYTHONPATH", "MOBILEFACE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "MOBILEFACE_TEST_PORTRAIT": str(find_portrait())}


def find_portrait() -> Path:
    """The portrait that is included in this environment's scikit-image."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        sys.exit("no portrait: pip install '.[demo]'")
    return Path(found.submodule_search_locations[0]).resolve() / "data" / "astronaut.png"


def run(*command: str, env: dict[str, str] | None = None, cwd: Path = ROOT) -> tuple[int, str]:
    """Runs a command; its exit code and what it printed."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout


if __name__ == "__main__":
    sys.exit(main())

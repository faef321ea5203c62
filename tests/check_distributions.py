"""Builds the sdist and, from it, the wheel, and checks that both are complete.

``twine check`` reads their metadata; the unpacked sdist must collect every test and pass those that
read documents; the wheel is installed in an empty environment, analyses the portrait there, and
names the pip line of an extra that is missing. Ends with an error at the first thing that fails.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.run_runtime_environments import ROOT, analyse, clean_environment

READING_TESTS = (
    "tests/test_documents.py",
    "tests/test_house.py",
    "tests/benchmarks",
    "tests/convert/ops/test_operators_table.py",
)
"""Tests that read files other than code: these must be in the sdist."""

IN_WHEEL = (
    "mobileface/models_onnx/index.json",
    "mobileface/matching/calibrations/embedding_dlib.calibration.json",
    "mobileface_convert/recipes/upstreams.toml",
    "mobileface_convert/golden/embedding_dlib.npz",
    "mobileface_convert/licenses/MIT.txt",
    "mobileface/py.typed",
    *(
        path.relative_to(ROOT / "runtime").as_posix()
        for path in sorted((ROOT / "runtime" / "mobileface" / "serve" / "page").rglob("*.*"))
    ),
)
LARGEST_WHEEL = 24 << 20
"""Bytes that a wheel may have: it is downloaded to boards."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", folder, str(ROOT))
        sdist, wheel = next(made.glob("*.tar.gz")), next(made.glob("*.whl"))
        run(sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel))
        check_sdist(sdist, made / "unpacked")
        check_wheel(wheel, made / "environment")
    print("sdist and wheel are complete")


def check_sdist(sdist: Path, folder: Path) -> None:
    """Every test is collected from the sdist, and those that read documents pass."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    tracked = subprocess.run(
        ["git", "ls-files", "tests", "docs", "models_onnx", "examples", "benchmarks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    absent = [name for name in tracked if not (tree / name).is_file()]
    if absent:
        sys.exit(f"the sdist lacks {len(absent)} files: {', '.join(absent[:10])}")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    environment = {**clean_environment(), "PYTHONPATH": sources(tree)}
    run(*pytest, "--collect-only", "-q", cwd=tree, env=environment, quiet=True)
    run(*pytest, *READING_TESTS, cwd=tree, env=environment)


def sources(tree: Path) -> str:
    """The source folders of a tree, for PYTHONPATH."""
    return ":".join(str(tree / name) for name in ("runtime", "convert", "benchmarks"))


def check_wheel(wheel: Path, folder: Path) -> None:
    """The wheel has what it must and works alone; without an extra its commands say so."""
    size = wheel.stat().st_size
    names = set(zipfile.ZipFile(wheel).namelist())
    absent = [name for name in IN_WHEEL if name not in names]
    if absent or size > LARGEST_WHEEL:
        sys.exit(f"the wheel has {size} bytes and lacks {absent}")
    print(f"the wheel has {size / 1e6:.1f} MB and {len(names)} files")
    run(sys.executable, "-m", "venv", str(folder))
    binaries = folder / "bin"
    run(str(binaries / "python"), "-m", "pip", "-q", "install", str(wheel))
    analyse(binaries / "mobileface")
    for extra in ("convert", "eval"):
        command = [str(binaries / f"mobileface-{extra}"), "--help"]
        found = subprocess.run(
            command, capture_output=True, text=True, check=False, env=clean_environment()
        )
        line = f"pip install 'mobileface[{extra}]'"
        if found.returncode != 2 or line not in found.stderr or "Traceback" in found.stderr:
            sys.exit(f"{command[0]} without its extra: {found.returncode}, {found.stderr}")
        print(found.stderr.strip())


def run(
    *command: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    quiet: bool = False,
) -> None:
    """Runs a command; ends the program if it fails."""
    output = subprocess.DEVNULL if quiet else None
    result = subprocess.run(command, cwd=cwd, env=env, check=False, stdout=output)
    if result.returncode:
        sys.exit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    main()

"""Installs the runtime with pip from a folder of wheels, in the emulator and on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.aarch64.emulator import Emulator, UnavailableError

__all__ = ["Installation", "install_here"]

PROJECT = ("mobileface", "mobileface-models")
NETWORK = re.compile(r"PIP_.*|(https?|no|all)_proxy|SSL_CERT_.*|REQUESTS_CA_BUNDLE", re.IGNORECASE)


class Installation:
    """An emulated virtual environment for the runtime.

    Args:
        emulator: The emulator.
        folder: An empty folder for the environment, its wheels, and a home directory.
        project: The project's own wheels.

    Raises:
        UnavailableError: If the package index cannot be reached.
    """

    def __init__(self, emulator: Emulator, folder: Path, project: list[Path]) -> None:
        self.emulator = emulator
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.wheels = folder / "wheels"
        emulator.run("-m", "venv", "--without-pip", folder / "venv")
        self.python = folder / "venv" / "bin" / "python"
        self._pip = _find_pip()
        self.names = [wheel.name.split("-")[0].replace("_", "-") for wheel in project]
        self._download(project)

    def _download(self, project: Sequence[Path | str], folder: Path | None = None) -> None:
        """Downloads the wheels; the emulated pip selects those for aarch64."""
        kept = {key: value for key, value in os.environ.items() if NETWORK.fullmatch(key)}
        options = ["--only-binary=:all:", "--dest", str(folder or self.wheels)]
        result = self.pip("download", *options, *map(str, project), more=kept, check=False)
        if result.returncode:
            raise UnavailableError(f"pip download failed: {result.stderr.strip()[-1000:]}")

    def pip(
        self, *words: str, more: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs pip in the environment; without index settings in ``more``, it uses no index."""
        common = ["-m", "pip", "-q", "--disable-pip-version-check", "--no-cache-dir"]
        environment = {"PYTHONPATH": str(self._pip), "HOME": str(self.home), **(more or {})}
        return self.emulator.run(
            *common, *words, python=self.python, environment=environment, check=check
        )

    def install(self, *names: str) -> None:
        """Installs packages from the folder of wheels only."""
        self.pip("install", "--no-index", "--find-links", str(self.wheels), *names)

    def install_extra(self, wheel: Path, extra: str) -> list[str]:
        """Installs what an extra of the project's wheel needs besides the project's dependencies.

        Returns:
            ``name==version`` of each package of the extra.
        """
        folder = self.folder / extra
        self._download([f"{wheel}[{extra}]"], folder)
        here = {path.name for path in self.wheels.glob("*.whl")}
        more = [path for path in sorted(folder.glob("*.whl")) if path.name not in here]
        self.pip("install", "--no-index", "--no-deps", *map(str, more))
        return ["==".join(path.name.split("-")[:2]) for path in more]

    def uninstall(self) -> None:
        """Uninstalls the project's own packages."""
        self.pip("uninstall", "-y", *self.names)

    def run(self, *arguments: str | Path, cpu: str, check: bool = True) -> str:
        """Runs Python in the environment with its own home directory; returns its output."""
        environment = {"HOME": str(self.home), "TMPDIR": str(self.folder)}
        result = self.emulator.run(
            *arguments,
            cpu=cpu,
            python=self.python,
            environment=environment,
            folder=self.home,
            check=check,
        )
        return result.stdout

    def command(self, *arguments: str | Path, cpu: str, check: bool = True) -> str:
        """Runs the installed ``mobileface`` command."""
        return self.run(self.python.parent / "mobileface", *arguments, cpu=cpu, check=check)

    @property
    def dependencies(self) -> list[str]:
        """``name==version`` of every wheel except the project's own."""
        found = [wheel.name.split("-")[:2] for wheel in sorted(self.wheels.glob("*.whl"))]
        return [f"{n}=={v}" for n, v in found if n.replace("_", "-") not in PROJECT]

    @property
    def download_bytes(self) -> int:
        """Total size of all wheels."""
        return sum(wheel.stat().st_size for wheel in self.wheels.iterdir())

    def files(self) -> set[Path]:
        """All files of the environment and the home directory, except Python's bytecode caches."""
        places = [self.folder / "venv", self.home]
        found = {path for place in places for path in place.rglob("*") if not path.is_dir()}
        return {path for path in found if "__pycache__" not in path.parts}


def install_here(folder: Path, project: list[Path], dependencies: list[str]) -> Path:
    """Installs the same versions in an environment on this machine; returns its Python."""
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    subprocess.run([*pip, *project, *dependencies], check=True, stderr=subprocess.DEVNULL)
    return python


def _find_pip() -> Path:
    """The pip wheel that is bundled with Python.

    Raises:
        UnavailableError: If this Python does not include pip.
    """
    import ensurepip

    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not bundled:
        raise UnavailableError("this Python has no bundled pip wheel")
    return bundled[-1]

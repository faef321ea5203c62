"""Debian's Python for aarch64 in qemu's user mode emulation: no root, no chroot, no binfmt.

Debian's arm64 packages are downloaded with a separate apt configuration, which leaves the state of
the system's apt and dpkg unchanged, and are unpacked into a folder. Programs that the emulated
Python starts are not emulated; run them through `Emulator` instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

__all__ = ["CPUS", "Emulator", "UnavailableError", "make_emulator"]

CPUS = {"cortex-a72": ("Raspberry Pi 4", "0xd08"), "cortex-a76": ("Raspberry Pi 5", "0xd0b")}
"""CPU models of qemu, each with a board that has this CPU and the part number that Linux shows."""

PYTHON = "usr/bin/python3"
PACKAGES = ("python3", "libstdc++6")
QEMU = "qemu-user-static"
EMULATOR = "qemu-aarch64-static"
CORES = 4

FEATURES = {
    "cortex-a72": "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid",
    "cortex-a76": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
    "lrcpc dcpop asimddp ssbs",
}


class UnavailableError(Exception):
    """The emulator or the packages of the emulated Python are not available."""


class Emulator:
    """Runs programs of an unpacked aarch64 root folder.

    Args:
        qemu: Path of the emulator.
        root: Folder with the aarch64 files.
    """

    def __init__(self, qemu: Path, root: Path) -> None:
        self.qemu = qemu
        self.root = root

    def run(
        self,
        *arguments: str | Path,
        cpu: str = next(iter(CPUS)),
        python: Path | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the emulated Python.

        Args:
            arguments: Arguments of Python: a script and its arguments, or ``-m`` and a module.
            cpu: One of `CPUS`.
            python: The interpreter of a virtual environment created by this Python; None: this
                Python.
            environment: Environment variables in addition to PATH; no others are passed on.
            folder: The working directory.
            check: Whether to raise an error if the program fails.

        Raises:
            RuntimeError: If ``check`` is set and the program fails; with the end of its output.
        """
        root = self._root_of(cpu)
        command = [self.qemu, "-L", root, "-cpu", cpu, python or self.root / PYTHON]
        result = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **(environment or {})},
            cwd=folder,
            check=False,
        )
        if check and result.returncode:
            words = " ".join(map(str, arguments))
            raise RuntimeError(f"emulated {words}: exit code {result.returncode}\n{_end(result)}")
        return result

    def _root_of(self, cpu: str) -> Path:
        """The root folder for a CPU: links to the common root folder, and its own /proc.

        /proc/cpuinfo is that of a board. The emulator would show the host's file, and importing
        ONNX Runtime crashes if the file contains no ARM part number.
        """
        root = self.root.with_name(f"{self.root.name}-{cpu}")
        if not root.exists():
            root.mkdir()
            for entry in self.root.iterdir():
                if entry.name != "proc":
                    (root / entry.name).symlink_to(entry)
            (root / "proc").mkdir()
            block = (
                "processor\t: {0}\nBogoMIPS\t: 108.00\nFeatures\t: {1}\n"
                "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
                "CPU part\t: {2}\nCPU revision\t: 3\n\n"
            )
            blocks = [block.format(n, FEATURES[cpu], CPUS[cpu][1]) for n in range(CORES)]
            (root / "proc" / "cpuinfo").write_text("".join(blocks))
        return root


def make_emulator(folder: Path, say: Callable[[str], None]) -> Emulator:
    """Downloads and unpacks the packages that `Emulator` needs; existing files are reused.

    Args:
        folder: Folder for all files.
        say: Called with a line of text before each step.

    Raises:
        UnavailableError: If the system has no apt, or apt cannot download the packages.
    """
    root, tools = folder / "root", folder / "tools"
    found = shutil.which(EMULATOR) or tools / "usr" / "bin" / EMULATOR
    if (root / PYTHON).exists() and Path(found).exists():
        return Emulator(Path(found), root)
    for program in ("apt-get", "dpkg-deb", "dpkg", "tar"):
        if not shutil.which(program):
            raise UnavailableError(f"no {program}: Debian or a derived system is required")
    configuration = _private_apt(folder / "apt")
    say("downloading the list of arm64 packages")
    _apt(configuration, "update", "-o", "APT::Update::Error-Mode=any")
    if not Path(found).exists():
        say("downloading the emulator")
        native = _output("dpkg", "--print-architecture")
        _apt(configuration, "download", f"{QEMU}:{native}", folder=folder / "apt")
        _unpack((folder / "apt").glob(f"{QEMU}_*.deb"), tools, f"./usr/bin/{EMULATOR}")
    say("downloading an arm64 Python")
    _apt(configuration, "install", "-y", "--no-install-recommends", "--download-only", *PACKAGES)
    _unpack((folder / "apt" / "cache" / "archives").glob("*.deb"), root)
    return Emulator(Path(found), root)


def _private_apt(folder: Path) -> Path:
    """An apt configuration for arm64 with no installed packages and its own folders.

    Only the package sources and the signing keys are those of the system.
    """
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    status = folder / "state" / "status"
    status.touch()
    native = _output("dpkg", "--print-architecture")
    path = folder / "apt.conf"
    path.write_text(
        f'Dir::State "{folder}/state";\nDir::State::status "{status}";\n'
        f'Dir::Cache "{folder}/cache";\nDir::Log "{folder}";\n'
        f'APT::Architecture "arm64";\nAPT::Architectures {{ "arm64"; "{native}"; }};\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAPT::Get::Assume-Yes "true";\n'
        'DPkg::Pre-Install-Pkgs "";\nAPT::Update::Post-Invoke "";\n'
    )
    return path


def _apt(configuration: Path, *words: str, folder: Path | None = None) -> None:
    """Runs apt-get with our configuration.

    Raises:
        UnavailableError: If apt-get fails.
    """
    result = subprocess.run(
        ["apt-get", "-q", *words],
        env={**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise UnavailableError(f"apt-get {words[0]} failed: {_end(result)}")


def _unpack(packages: Iterable[Path], target: Path, *members: str) -> None:
    """Unpacks packages, or only the given members."""
    target.mkdir(parents=True, exist_ok=True)
    for package in sorted(packages):
        content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", target, *members], stdin=content.stdout, check=True)
        content.communicate()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _end(result: subprocess.CompletedProcess[str]) -> str:
    return (result.stderr + result.stdout).strip()[-2000:] or "(no output)"


if __name__ == "__main__":
    emulator = make_emulator(Path(sys.argv[1]).resolve(), print)
    print(emulator.run("-c", "import platform; print(platform.machine())").stdout, end="")

"""Detecting the machine from system files, and conditions on machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobileface.host.machine import (
    ANYWHERE,
    Condition,
    Machine,
    integer_sums_overflow,
    read_machine,
    this_machine,
)
from mobileface.models import session
from tests.runtime.host.machines import ARM, AVX2, OLD_X86, UNKNOWN, X86


def cpuinfo(root: Path, text: str, board: str = "") -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc" / "cpuinfo").write_text(text)
    if board:
        tree = root / "sys" / "firmware" / "devicetree" / "base"
        tree.mkdir(parents=True)
        (tree / "model").write_text(board + "\0")
    return root


def test_an_x86_machine(tmp_path: Path) -> None:
    text = (
        "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: sse2 avx2\n\nprocessor\t: 1\nflags\t: x\n"
    )
    found = read_machine("AMD64", "linux", cpuinfo(tmp_path, text))
    assert found == Machine("x86_64", frozenset({"sse2", "avx2"}), "A CPU")


def test_an_arm_board(tmp_path: Path) -> None:
    text = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\n"
    found = read_machine("arm64", "linux", cpuinfo(tmp_path / "a", text))
    assert found == Machine("aarch64", frozenset({"fp", "asimd"}), "ARM 0x41 0xd08")
    found = read_machine("aarch64", "linux", cpuinfo(tmp_path / "b", text, "Raspberry Pi 4"))
    assert found.cpu == "Raspberry Pi 4"


def test_an_emulator_that_shows_the_hosts_file(tmp_path: Path) -> None:
    text = "model name\t: A CPU\nflags\t\t: sse2 avx2\n\n"
    found = read_machine("aarch64", "linux", cpuinfo(tmp_path, text))
    assert found.features == frozenset()
    assert AVX2.refusal(found)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert read_machine("", "linux", tmp_path) == Machine("")
    assert read_machine("riscv64", "freebsd", tmp_path) == Machine("riscv64")


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (OLD_X86, True),
        (X86, True),
        (Machine("x86_64", frozenset({"avx2", "avx512_vnni"})), False),
        (Machine("x86_64", frozenset({"avx2", "avx_vnni"})), False),
        (ARM, False),
        (UNKNOWN, False),
    ],
)
def test_where_integer_sums_overflow(
    machine: Machine, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, and only there, ONNX Runtime is told to keep to sums that cannot."""
    assert integer_sums_overflow(machine) is expected
    monkeypatch.setattr(session, "this_machine", lambda: machine)
    options = session._options(None, 1, None)
    entry = options.get_session_config_entry("session.x64quantprecision")
    assert entry == ("1" if expected else "0")


def test_this_machine_is_one() -> None:
    assert this_machine().name
    assert this_machine() is this_machine()


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (ANYWHERE, "any machine"),
        (AVX2, "x86_64 with avx2"),
        (Condition(("x86_64", "riscv64")), "x86_64 or riscv64"),
        (Condition(features=("a", "b")), "a and b"),
    ],
)
def test_conditions_in_words(condition: Condition, text: str) -> None:
    assert str(condition) == text

"""Machines and conditions shared by tests."""

from __future__ import annotations

from mobileface.host.machine import Condition, Machine

X86 = Machine("x86_64", frozenset({"sse2", "avx2", "avx512f"}))
OLD_X86 = Machine("x86_64", frozenset({"sse2"}))
ARM = Machine("aarch64", frozenset({"asimd", "avx2"}))  # an emulator shows the host's features
UNKNOWN = Machine("")
AVX2 = Condition(("x86_64",), ("avx2",))

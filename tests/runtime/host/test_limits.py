"""How much memory this process may use: what is free, and the limits of control groups."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mobileface.host.memory import memory_limit
from tests.runtime.host.test_threads import V1, tree

MEMINFO = "MemTotal:        8000000 kB\nMemFree:  1 kB\nMemAvailable:    4000000 kB\n"


def root_with(tmp_path: Path, groups: str, files: dict[str, str], meminfo: str = MEMINFO) -> Path:
    root = tree(tmp_path, groups, files)
    (root / "proc" / "meminfo").write_text(meminfo)
    return root


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        ("max\n", "1000\n", 4_096_000_000),
        ("1000000000\n", "400000000\n", 600_000_000),
        ("9000000000\n", "1\n", 4_096_000_000),
        ("100\n", "500\n", 0),
        ("", "", 4_096_000_000),
        ("garbage\n", "1\n", 4_096_000_000),
        ("100\n", "", 4_096_000_000),
    ],
)
def test_version_2(tmp_path: Path, limit: str, used: str, expected: int) -> None:
    files = {"group/memory.max": limit, "group/memory.current": used}
    assert memory_limit(root_with(tmp_path, "0::/group\n", files)) == expected


def test_the_smallest_of_nested_groups(tmp_path: Path) -> None:
    files = {"a/memory.max": "3000", "a/memory.current": "1000"}
    files |= {"a/b/memory.max": "5000", "a/b/memory.current": "1000"}
    assert memory_limit(root_with(tmp_path, "0::/a/b\n", files)) == 2000


def test_version_1(tmp_path: Path) -> None:
    files = {"memory/x/memory.limit_in_bytes": "5000", "memory/x/memory.usage_in_bytes": "2000"}
    groups = V1.format("/y") + "4:memory:/x\n"
    assert memory_limit(root_with(tmp_path, groups, files)) == 3000


def test_without_proc(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize("text", ["", "MemAvailable:", "MemAvailable: x kB", "nothing"])
def test_garbage(tmp_path: Path, text: str) -> None:
    assert memory_limit(root_with(tmp_path, "0::/\n", {}, text)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is free")
def test_this_machine() -> None:
    """Within the memory that the C library reports, and enough for this very process."""
    limit = memory_limit()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    print(f"{limit} of {total} bytes")
    assert limit is not None
    assert 16 << 20 < limit < total

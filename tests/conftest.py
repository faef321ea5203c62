"""Where tests find what is not in the repository, and what happens if it is absent.

On a developer's machine a test that needs the real files, MXNet or dlib is skipped with a reason.
In CI (``CI=true``) such a skip is a failure: there everything must run.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(os.environ.get("MOBILEFACE_SOURCE") or ROOT.parent / "shared" / "mobileface")
IN_CI = os.environ.get("CI") == "true"

_NEEDS = {
    "needs_source": (
        (SOURCE / "MobileFace_Identification").is_dir(),
        "no MobileFace files: set MOBILEFACE_SOURCE to a checkout",
    ),
    "needs_mxnet": (
        importlib.util.find_spec("mxnet") is not None,
        "no MXNet: pip install '.[reference]' on Python 3.11, x86-64 Linux",
    ),
    "needs_dlib": (
        importlib.util.find_spec("dlib") is not None,
        "no dlib: pip install '.[reference]' on x86-64 Linux",
    ),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips, or fails in CI, a test whose needs are not met."""
    for marker, (available, reason) in _NEEDS.items():
        if item.get_closest_marker(marker) is not None and not available:
            unavailable(reason)


def unavailable(reason: str) -> NoReturn:
    """Skips the test on a developer's machine and fails it in CI."""
    if IN_CI:
        pytest.fail(f"in CI this must run, but: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def source() -> Path:
    """The folder with MobileFace's real files; use it with the marker needs_source."""
    return SOURCE

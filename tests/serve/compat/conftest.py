"""An environment of its own for the clients of other face services, made from the package index."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import unavailable

from ..running import Running, serving

HERE = Path(__file__).parent
CLIENTS = (
    "compreface-sdk==0.6.0",
    "deepstack-sdk==0.2.1",
    "deepstack-python==0.9",
    "codeproject-ai-api==0.1",
)
NEEDS = (
    "matplotlib",
    "opencv-python-headless",
    "pillow",
    "requests",
    "requests-toolbelt==0.9.1",
    "urllib3<2",  # for this requests-toolbelt
    "validators",
)
"""What the clients import; deepstack-sdk would bring OpenCV with windows, and pytest."""

_SECONDS = 600
_HIDDEN = ("PYTHONPATH", "PYTHONHOME", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture(scope="session")
def clients() -> Path:
    """The Python of an environment with the clients; kept between runs in the temporary folder."""
    given = os.environ.get("MOBILEFACE_TEST_CLIENTS")
    if given:
        return Path(given)
    mark = hashlib.sha256("\n".join((sys.version, *CLIENTS, *NEEDS)).encode()).hexdigest()[:12]
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"mobileface-clients-{owner}-{mark}"
    place = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / place).exists():
        with tempfile.TemporaryDirectory(prefix=folder.name, dir=folder.parent) as made:
            pip = (Path(made) / place, "-m", "pip", "install", "-q", "--disable-pip-version-check")
            try:
                run(sys.executable, "-m", "venv", made)
                run(*pip, *NEEDS)
                run(*pip, "--no-deps", *CLIENTS)
            except (OSError, subprocess.SubprocessError) as error:
                text = getattr(error, "stderr", "") or str(error)
                unavailable(f"no environment for the clients: {text.strip()[-300:]}")
            with contextlib.suppress(OSError):  # another process was faster
                Path(made).rename(folder)
                Path(made).mkdir()
    return folder / place


def run(*command: object) -> str:
    """Runs a program; gives what it prints."""
    environment = None
    if str(command[1]).endswith(".py"):  # a client: talks to loopback, knows nothing of us
        environment = {name: text for name, text in os.environ.items() if name not in _HIDDEN}
    done = subprocess.run(
        [str(word) for word in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env=environment,
    )
    return done.stdout


@pytest.fixture
def client_says(clients: Path) -> Callable[..., Any]:
    """Runs a script of this folder in the clients' environment; gives the JSON of its last line."""

    def says(script: str, *arguments: object) -> Any:
        try:
            return json.loads(run(clients, HERE / script, *arguments).splitlines()[-1])
        except subprocess.CalledProcessError as error:
            pytest.fail(f"{script}: {error.stderr[-2000:]}")

    return says


@contextlib.contextmanager
def empty_gallery(folder: Path, **given: Any) -> Iterator[Running]:
    with serving(gallery=folder / "people.gallery", **given) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with empty_gallery(tmp_path_factory.mktemp("compat")) as server:
        yield server


@pytest.fixture
def compat(shared: Running) -> Running:
    """A server without keys, with an empty gallery."""
    with shared.service.gallery() as gallery:
        for person in gallery.people():
            gallery.remove(person.name)
    return shared

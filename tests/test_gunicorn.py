"""A real server: gunicorn loads the application with its models, then forks its workers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from mobileface import FaceAnalyzer, read_image
from tests.conftest import unavailable
from tests.runtime.tiny import max_error

APPLICATION = """
import json, os
import mobileface

analyzer = mobileface.FaceAnalyzer(intra_op_num_threads=2)
image = mobileface.read_image(os.environ["PORTRAIT"])
first = analyzer(image)  # in the parent: its threads exist
parent = os.getpid()

def application(environ, start):
    (face,) = analyzer(image)
    body = json.dumps({"embedding": face.embedding.tolist(), "bbox": face.bbox.tolist(),
                       "worker": os.getpid(), "parent": parent}).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def ask(address: str) -> dict[str, object]:
    end = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return dict(json.loads(answer.read()))
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end
            time.sleep(0.1)


def port_of(log: Path) -> str:
    """The address that gunicorn says it listens at."""
    end = time.monotonic() + 90
    while "Listening at: " not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return log.read_text().split("Listening at: ")[1].split()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn forks")
@pytest.mark.parametrize("threads", [1, 3])
def test_preloaded_workers(tmp_path: Path, portrait: Path, threads: int) -> None:
    if importlib.util.find_spec("gunicorn") is None:
        unavailable("no gunicorn: pip install '.[dev]'")
    (tmp_path / "application.py").write_text(APPLICATION)
    log = tmp_path / "log"
    log.touch()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
    command += ["--threads", str(threads), "--bind", "127.0.0.1:0", "--log-file", str(log)]
    command += ["--chdir", str(tmp_path), "application"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PORTRAIT": str(portrait)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            address = port_of(log)
            answers = [ask(address) for _ in range(6)]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    text = log.read_text()
    (face,) = FaceAnalyzer(intra_op_num_threads=2)(read_image(portrait))
    assert face.embedding is not None
    for answer in answers:
        assert answer["worker"] != answer["parent"]
        assert max_error(np.array(answer["embedding"], np.float32), face.embedding) <= 1e-6
        assert max_error(np.array(answer["bbox"], np.float32), face.bbox) <= 1e-6
    print(f"{len({answer['worker'] for answer in answers})} workers answered")
    assert server.returncode == 0
    for trouble in ("SIG", "was sent", "TIMEOUT", "Error", "Exception"):
        lines = [line for line in text.splitlines() if trouble in line]
        assert not [line for line in lines if "Handling signal: term" not in line], text

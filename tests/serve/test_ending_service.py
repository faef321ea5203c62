"""How the service ends: signals, requests under way, streams, and a busy port."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import PORTRAIT
from .processes import PROGRAM, started
from .raw import connect, exchange, read, request, until, upload

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

METRICS = request("GET", "/metrics")

SLOW = """
import sys, time
from mobileface.host.program import run_program
from mobileface.serve import server
from mobileface.serve.settings import read_settings

def main():
    class Server(server.Server):
        def __init__(self, service, started):
            super().__init__(service, started)
            detect = service.analyzer.detect
            def slow(image):
                time.sleep(float(sys.argv[1]))
                return detect(image)
            service.analyzer.detect = slow
    original, server.Server = server.Server, Server
    say = lambda address: print("mobileface: serving on", address, file=sys.stderr, flush=True)
    server.run_server(read_settings(None, {"port": 0, "workers": 1}), say)
    return 0

sys.exit(run_program("mobileface", main, final=True))
"""


def at_work(port: int) -> int:
    """Requests that are worked on or wait."""
    found = re.search(rb"^mobileface_queue_depth (\d+)", exchange(port, METRICS).body, re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_when_all_is_answered(number: signal.Signals) -> None:
    with started(command=[sys.executable, "-c", SLOW, "0.5"]) as process:
        idle, half, stream = (connect(process.port) for _ in range(3))
        half.sendall(b"GET /hea")
        idle.sendall(request("GET", "/health"))
        assert read(idle).status == 200
        stream.sendall(request("GET", "/api/v1/events/stream"))
        assert b"200 OK" in stream.recv(1000)
        places = [connect(process.port) for _ in range(3)]
        for place in places:
            place.sendall(upload("/api/v1/detect", PORTRAIT.read_bytes()))
        until(lambda: at_work(process.port) == 3)
        start = time.monotonic()
        process.popen.send_signal(number)
        answers = [read(place) for place in places]
        ending = b"".join(iter(lambda: stream.recv(1000), b""))
        _, errors = process.popen.communicate(timeout=20)
        seconds = time.monotonic() - start
        print(f"ended {seconds:.2f} s after {number.name}, {errors!r}")
        assert ending.endswith(b"0\r\n\r\n")  # a whole answer, no broken one
        assert [answer.status for answer in answers] == [200] * 3
        assert process.popen.returncode == 128 + number
        what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
        assert errors == f"mobileface: {what}\n"
        assert seconds < 5
        for place in (idle, half, stream, *places):
            place.close()


@pytest.mark.slow
def test_what_takes_too_long_is_answered_503() -> None:
    with started(command=[sys.executable, "-c", SLOW, "60"]) as process:
        with connect(process.port) as first, connect(process.port) as second:
            for place in (first, second):
                place.sendall(upload("/api/v1/detect", PORTRAIT.read_bytes()))
            until(lambda: at_work(process.port) == 2)
            start = time.monotonic()
            process.popen.terminate()
            answers = [read(first), read(second)]
            _, errors = process.popen.communicate(timeout=20)
            seconds = time.monotonic() - start
        print(f"ended {seconds:.2f} s after SIGTERM, {errors!r}")
        assert [answer.status for answer in answers] == [503, 503]
        assert answers[0].error["what"] == "the service is ending"
        assert process.popen.returncode == 143
        assert errors == "mobileface: ended by SIGTERM\n"
        assert seconds < 7


def test_a_second_signal_ends_it_at_once() -> None:
    with (
        started(command=[sys.executable, "-c", SLOW, "60"]) as process,
        connect(process.port) as place,
    ):
        place.sendall(upload("/api/v1/detect", PORTRAIT.read_bytes()))
        until(lambda: at_work(process.port) == 1)
        process.popen.terminate()
        time.sleep(0.7)  # signals half a second apart are two
        start = time.monotonic()
        process.popen.terminate()
        process.popen.wait(10)
        seconds = time.monotonic() - start
        print(f"ended {seconds:.2f} s after the second signal")
        assert process.popen.returncode == 143
        assert seconds < 1.5


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
        done = subprocess.run(
            [*PROGRAM, "--port", str(port), "--gallery", str(tmp_path / "a.gallery")],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"mobileface: error: 127.0.0.1:{port}: cannot be listened on (Address already in use); "
        "choose another with --port\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_first_line_means_that_requests_are_answered() -> None:
    with started() as process:
        assert exchange(process.port, request("GET", "/health")).status == 200

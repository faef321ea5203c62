"""The service under load, and killed under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import sys
import threading
import time
from pathlib import Path

import pytest
from benchmarks.serve_load import memory_slope, overhead, run_load

from mobileface.gallery import Gallery

from .processes import started

pytestmark = pytest.mark.endurance

REQUESTS, CLIENTS, KILLS = 20_000, 8, 30
SLOPE = 1000
"""Most bytes by which the server may grow a request."""


def test_twenty_thousand_requests(tmp_path: Path) -> None:
    with started("--gallery", str(tmp_path / "people.gallery")) as process:
        load = run_load(process.port, process.popen.pid, REQUESTS, CLIENTS)
        assert process.popen.poll() is None
        process.popen.terminate()
        _, errors = process.popen.communicate(timeout=20)
    print(json.dumps(load.document()))
    assert load.errors == []
    assert sum(load.statuses.values()) == REQUESTS
    assert load.statuses[200] > REQUESTS * 0.9
    assert memory_slope(load.memory) <= SLOPE
    assert errors == "mobileface: ended by SIGTERM\n"


def test_what_http_costs(tmp_path: Path) -> None:
    """By medians in one run. No bound but a generous one: other programs may run beside it."""
    config = tmp_path / "serve.toml"
    config.write_text("workers = 1\nthreads = 1\n")
    with started("--config", str(config)) as process:
        found = overhead(process.port)
    print(found)
    assert found["overhead_ms"] < 5 * found["plain_ms"]


ENROLLING = """
import sys
import numpy as np
from mobileface.gallery import NewFace
from mobileface.host.program import run_program
from mobileface.serve import server
from mobileface.serve.settings import read_settings

def add(service, name):
    seed = np.random.RandomState(int(name.split()[1]))
    rows = seed.standard_normal((2, service.analyzer.embedder.size)).astype(np.float32)
    with service.gallery() as gallery:
        gallery.add(name, [NewFace(row, crop=seed.bytes(20000)) for row in rows])
    return {"name": name}

def main():
    class Server(server.Server):
        def __init__(self, service, started):
            super().__init__(service, started)
            @self.application.api.post("/enrol/{name}")
            async def enrol(name: str):
                return await service.run(add, service, name)
    server.Server = Server
    say = lambda address: print("mobileface: serving on", address, file=sys.stderr, flush=True)
    server.run_server(read_settings(None, {"port": 0, "gallery": sys.argv[1]}), say)
    return 0

sys.exit(run_program("mobileface", main, final=True))
"""


def test_a_killed_service_loses_nobody_who_was_answered(tmp_path: Path) -> None:
    """SIGKILL at random moments while four clients enrol people."""
    path = tmp_path / "people.gallery"
    moments = random.Random(5)
    answered: set[str] = set()
    command = [sys.executable, "-c", ENROLLING, str(path)]
    for turn in range(KILLS):
        with started(command=command) as process:
            port = process.port

            def client(first: int, port: int = port) -> None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                with (
                    contextlib.closing(connection),
                    contextlib.suppress(OSError, http.client.HTTPException),
                ):
                    for number in range(first, first + 1000):
                        connection.request("POST", f"/enrol/person%20{number}")
                        answer = connection.getresponse()
                        name = json.loads(answer.read())["name"]
                        assert answer.status == 200
                        answered.add(name)

            threads = [
                threading.Thread(target=client, args=(100_000 * turn + 10_000 * number,))
                for number in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(moments.uniform(0.05, 0.6))
            process.popen.kill()
            for thread in threads:
                thread.join()
        with Gallery.open(path) as gallery:
            assert gallery.database.value("PRAGMA integrity_check") == "ok"
            assert gallery.database.row("PRAGMA foreign_key_check") is None
            people = {person.name: person.faces for person in gallery.people()}
        assert set(people.values()) <= {2}, "a person is enrolled whole or not at all"
        assert answered <= set(people)
    print(f"{KILLS} kills, {len(people)} people, {len(people) - len(answered)} not yet answered")
    assert len(answered) > KILLS
    assert len(people) - len(answered) <= 4 * KILLS

"""The work queue: its bounds, and callers that leave."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from .raw import connect, exchange, read, request, until, upload
from .running import Running, serving


class Gate:
    """A detector that waits until it is opened, and counts."""

    def __init__(self) -> None:
        self.open, self.begun = threading.Event(), 0

    def __call__(self, *_: object) -> list[object]:
        self.begun += 1
        assert self.open.wait(30)
        return []


@pytest.fixture
def gated() -> Iterator[tuple[Running, Gate]]:
    """One worker, three places to wait."""
    gate = Gate()
    with serving(workers=1, limits={"waiting": 3}) as server:
        server.service.analyzer.detect = gate  # type: ignore[assignment]
        try:
            yield server, gate
        finally:
            gate.open.set()


def test_a_full_queue_is_answered_503(gated: tuple[Running, Gate], portrait: bytes) -> None:
    server, gate = gated
    data = upload("/api/v1/detect", portrait)
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(connect(server.port)) for _ in range(4)]
        for number, place in enumerate(places, 1):
            place.sendall(data)
            until(lambda count=number: server.service.queue.depth == count)
        for _ in range(3):
            answer = exchange(server.port, data)
            assert answer.status == 503
            assert answer.error["code"] == "busy"
            assert answer.headers["retry-after"] == "1"
        assert exchange(server.port, request("GET", "/health")).status == 200
        gate.open.set()
        assert [read(place).status for place in places] == [200] * 4
    assert server.service.queue.refused == 3
    assert gate.begun == 4
    until(lambda: server.service.queue.depth == 0)


def test_who_left_before_the_work_began_costs_no_worker(
    gated: tuple[Running, Gate], portrait: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server, gate = gated
    queue = server.service.queue
    data = upload("/api/v1/detect", portrait)
    with connect(server.port) as first:
        first.sendall(data)
        until(lambda: gate.begun == 1)
        for count in (2, 3, 4):
            with connect(server.port) as place:
                place.sendall(data)
                until(lambda count=count: queue.depth >= 2)
            until(lambda: queue.depth == 1)
            assert queue.dropped == count - 1
        with connect(server.port) as last:  # waits, stays and is answered
            last.sendall(data)
            until(lambda: queue.depth == 2)
            gate.open.set()
            assert read(first).status == 200
            assert read(last).status == 200
    assert gate.begun == 2
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    text = exchange(server.port, request("GET", "/metrics")).body.decode()
    assert 'route="/api/v1/detect",status="499"} 3.0' in text


def test_who_leaves_while_the_work_runs_disturbs_nothing(
    gated: tuple[Running, Gate], portrait: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server, gate = gated
    with connect(server.port) as place:
        place.sendall(upload("/api/v1/detect", portrait))
        until(lambda: gate.begun == 1)
    gate.open.set()
    until(lambda: server.service.queue.depth == 0)
    assert exchange(server.port, upload("/api/v1/detect", portrait)).status == 200
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]

"""A real server in this process, on a free port of loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

from mobileface.serve.server import Server
from mobileface.serve.service import Service
from mobileface.serve.settings import ServeSettings, read_settings


class Running:
    """A server, its service, and a client of it."""

    def __init__(self, service: Service, server: Server, port: int) -> None:
        self.service, self.server, self.port = service, server, port
        self.address = f"http://127.0.0.1:{port}"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, trust_env=False, **options)


@contextlib.contextmanager
def serving(
    settings: ServeSettings | None = None, *, at: int = 0, **given: Any
) -> Iterator[Running]:
    """Serves with these settings, on any free port or ``at`` one."""
    service = Service(settings or read_settings(None, given))
    service.live.start()
    place = socket.create_server(("127.0.0.1", at))
    server = Server(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Running(service, server, place.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        service.close()
        place.close()
        assert not thread.is_alive()

"""Runs the service with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import FrameType

import uvicorn

from ..errors import InputError
from ..host.ending import remove_leftovers
from ..host.files import reason
from .http.app import Application
from .http.body_limits import HEAD_BYTES
from .http.connections import connection_class
from .service import Service
from .settings import ServeSettings

__all__ = ["Server", "check_address", "run_server"]

_BACKLOG = 128
_KEEP_ALIVE_SECONDS, _GRACE_SECONDS, _CUT_SECONDS = 15, 3, 0.5
_SAME_REQUEST = 0.5
"""Seconds within which further signals count as the first one, see `mobileface.host.ending`."""


class Server(uvicorn.Server):
    """The service behind uvicorn.

    Args:
        service: The service.
        started: Called once requests are answered.

    Attributes:
        application: What answers.
    """

    def __init__(self, service: Service, started: Callable[[], None] = lambda: None) -> None:
        self._service = service
        self.application = Application(service)
        self._said = started
        config = uvicorn.Config(
            self.application,
            http=connection_class(service.settings.limits),
            ws="none",
            loop="asyncio",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=bool(service.settings.trusted_proxies),
            forwarded_allow_ips=list(service.settings.trusted_proxies),
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        # They log a warning for what clients do wrong, and the layers answer and log all errors.
        for name in ("uvicorn.error", "python_multipart"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer."""
        await super().startup(sockets)
        self._said()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is under way, ends streams and closes the connections.

        Connections that are left after the time of grace are cut off: uvicorn cancels their tasks
        but keeps their sockets, and a task that waits for a client to read goes on waiting.
        """
        self._service.streams.end()
        await super().shutdown(sockets)
        await self._connections_end()  # cancelled requests still answer
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._connections_end()

    async def _connections_end(self) -> None:
        until = monotonic() + _CUT_SECONDS
        while self.server_state.connections and monotonic() < until:
            await asyncio.sleep(0.01)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the caller's."""
        yield


def run_server(settings: ServeSettings, started: Callable[[str], None]) -> None:
    """Serves until a signal comes, and raises it again when all is closed.

    Args:
        settings: The settings.
        started: Called with the address once requests are answered.

    Raises:
        InputError: If the address cannot be listened on, or a file of the settings is not usable.
        MobileFaceError: As `Service`.
        KeyboardInterrupt: After a signal, as the program's handlers raise it.
    """
    place = _listen(settings.host, settings.port)
    logging.basicConfig(stream=sys.stderr, format="mobileface: %(message)s", level=logging.WARNING)
    try:
        service = Service(settings)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{place.getsockname()[1]}"
        try:
            server = Server(service, lambda: started(address))
            service.live.start()
            with _signals(server):
                try:
                    server.run(sockets=[place])
                finally:
                    service.close()
        finally:
            service.close()
    finally:
        place.close()


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """The first signal ends the server; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[tuple[int, float]] = []

    def handle(number: int, _: FrameType | None) -> None:
        if first and monotonic() - first[0][1] > _SAME_REQUEST:
            remove_leftovers()
            os._exit(128 + number)
        first.append((number, monotonic()))
        server.should_exit = True

    kinds = [
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in vars(signal)
    ]
    before = {
        kind: signal.signal(kind, handle)
        for kind in kinds
        if signal.getsignal(kind) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if first:
        signal.raise_signal(first[0][0])


def check_address(host: str, port: int) -> None:
    """Checks that an address can be listened on.

    Raises:
        InputError: If it cannot.
    """
    _listen(host, port).close()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything that takes long."""
    place = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        if place is not None:
            place.close()
        hint = "choose another with --port" if port else ""
        text = f"cannot be listened on ({reason(error)})"
        raise InputError(text, where=f"{host}:{port}", hint=hint) from error
    return place

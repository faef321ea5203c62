"""Ends a download when its time is over, however slowly the server sends.

A socket's own time limit counts from one byte to the next: a server that sends a byte now and then,
or one header after another without end, would keep it waiting for ever.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Deadline"]

_AGAIN = 0.2
"""Seconds between attempts to end connections, as new ones may have been opened."""


class Deadline:
    """A time limit; when it is over, all connections opened by its handlers are shut down.

    Args:
        seconds: The time from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._done = threading.Event()
        self._connections: list[http.client.HTTPConnection] = []
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def handlers(self) -> tuple[urllib.request.BaseHandler, ...]:
        """Handlers for http and https whose connections are shut down in time."""
        return _Http(self.connection), _Https(self.connection)

    def connection(
        self, kind: Callable[..., http.client.HTTPConnection], *given: Any, **options: Any
    ) -> http.client.HTTPConnection:
        """Makes a connection that is watched.

        Args:
            kind: Its class.
            given: Arguments of the class.
            options: Keyword arguments of the class.
        """
        made = kind(*given, **options)
        connect = made.connect

        def connect_watched() -> None:
            connect()
            self._sockets.append(made.sock)  # urllib forgets it once the head has arrived

        made.connect = connect_watched  # type: ignore[method-assign]
        self._connections.append(made)
        return made

    def __enter__(self) -> Deadline:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = self.left
        while not self._done.wait(pause):
            pause = _AGAIN
            opening = [made.sock for made in list(self._connections)]
            for open_socket in [*self._sockets, *opening]:
                if open_socket is not None:
                    with contextlib.suppress(OSError):  # it may be closed already
                        socket.socket.shutdown(open_socket, socket.SHUT_RDWR)


class _Watched(urllib.request.AbstractHTTPHandler):
    """Opens connections through `Deadline.connection`."""

    def __init__(self, connection: Callable[..., http.client.HTTPConnection]) -> None:
        super().__init__()
        self._connection = connection

    def do_open(self, http_class: Any, req: Any, **http_conn_args: Any) -> Any:
        """Opens a connection that is watched."""

        def watched(*given: Any, **options: Any) -> http.client.HTTPConnection:
            return self._connection(http_class, *given, **options)

        return super().do_open(watched, req, **http_conn_args)


class _Http(_Watched, urllib.request.HTTPHandler):
    pass


class _Https(_Watched, urllib.request.HTTPSHandler):
    pass

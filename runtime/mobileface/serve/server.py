"""Runs the service with uvicorn."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable

import uvicorn

from ..errors import InputError
from ..host.files import reason
from .http.app import Application
from .service import Service
from .settings import ServeSettings

__all__ = ["ServiceServer", "run_server"]

_BACKLOG = 128
_KEEP_ALIVE_SECONDS, _GRACE_SECONDS = 15, 5


class ServiceServer(uvicorn.Server):
    """A server that ends long answers when it shuts down, instead of waiting for their clients.

    Args:
        config: The server's options.
        service: The service.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the answers, then the server."""
        self._service.streams.end()
        await super().shutdown(sockets)


def run_server(settings: ServeSettings, started: Callable[[str], None]) -> None:
    """Serves until a signal comes.

    Args:
        settings: The settings.
        started: Called with the address once requests are answered.

    Raises:
        InputError: If the address cannot be listened on, or a file of the settings is not usable.
        MobileFaceError: As `Service`.
    """
    place = _listen(settings.host, settings.port)
    logging.basicConfig(stream=sys.stderr, format="mobileface: %(message)s", level=logging.WARNING)
    try:
        service = Service(settings)
    except BaseException:
        place.close()
        raise
    try:
        config = uvicorn.Config(
            Application(service),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        service.live.start()
        started(f"http://{host}:{place.getsockname()[1]}")
        ServiceServer(config, service).run(sockets=[place])
    finally:
        service.close()
        place.close()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything that takes long."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(_BACKLOG)
    except OSError as error:
        hint = "choose another with --port" if port else ""
        text = f"cannot be listened on ({reason(error)})"
        raise InputError(text, where=f"{host}:{port}", hint=hint) from error
    return place

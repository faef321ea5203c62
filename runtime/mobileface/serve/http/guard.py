"""Who is answered: hosts, origins, keys and sessions. ASGI, before a body is read.

- The ``Host`` header must name this machine, else a page of another site could reach a service on
  loopback by a name of its own (DNS rebinding).
- What changes something is refused to pages of other origins (``Sec-Fetch-Site``, ``Origin``), and
  browsers must send the header ``X-Mobileface``, which forms of other sites cannot.
- A key comes in the header ``x-api-key`` or ``Authorization: Bearer``, as the password of
  ``Authorization: Basic`` (what programs send that know only an address), or as a session's cookie.
  Nothing asks for Basic (``WWW-Authenticate``), so that browsers never remember it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..service import Service
from ..settings import is_loopback
from .client_forms import formed_answer
from .failures import Problem

__all__ = ["COOKIE", "Guard", "key_of", "still_allowed", "token_of"]

COOKIE = "mobileface_session"

_OPEN = ("/health", "/ready", "/api/v1/session")
_OWN_CHECK = ("/v1/vision/", "/api/v1/static/")
"""Routes whose key stands in the form or the address, which they read themselves."""

_CLOSED = ("/api/", "/metrics")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_WRONG_KEYS, _WRONG_SECONDS, _MOST_CLIENTS = 20, 60.0, 4096


class Guard:
    """Refuses what must not reach the application.

    Args:
        app: The application.
        service: The service.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            client = scope["client"][0] if scope.get("client") else ""
            try:
                self._check_host(headers)
                self._check_origin(scope, headers)
                self._check_key(scope, headers, client)
            except Problem as problem:
                await formed_answer(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def require_key(self, key: str | None, client: str) -> None:
        """Checks a key that a route has read itself.

        A right key is accepted however many wrong ones came before: several clients may have one
        address (a proxy, a router), and none of them shall lock the others out. What keeps keys
        from being guessed is their length; 429 tells a client that is set up wrongly to stop.

        Raises:
            Problem: 401, or 429 after many wrong keys of one client.
        """
        if not self._service.keys.accept(key):
            if key is not None and self._note_wrong(client) > _WRONG_KEYS:
                raise Problem(429, "too many wrong API keys")
            raise Problem(401, "no valid API key", hint="send it in the header x-api-key")

    def _check_host(self, headers: Headers) -> None:
        name = _host_name(headers.get("host", ""))
        settings = self._service.settings
        if is_loopback(name) or name in map(str.lower, settings.allowed_hosts):
            return
        closed = is_loopback(settings.host)
        if not closed and (_is_address(name) or name == settings.host.lower()):
            return
        if self._service.keys.required and not settings.allowed_hosts:
            return  # another name leads to nothing without a key
        raise Problem(403, f"'{name[:100]}' is no name of this service", hint="see allowed_hosts")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] in _SAFE:
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._service.settings.allowed_origins:
            return
        foreign = site is not None and site not in ("same-origin", "none")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            foreign = True
        if foreign:
            raise Problem(403, "refused to a page of another site", code="cross_site")
        if (origin or site or COOKIE in headers.get("cookie", "")) and (
            "x-mobileface" not in headers
        ):
            raise Problem(403, "the header X-Mobileface is missing", code="csrf")

    def _check_key(self, scope: Scope, headers: Headers, client: str) -> None:
        path = scope["path"]
        if path in _OPEN or not path.startswith(_CLOSED) or path.startswith(_OWN_CHECK):
            return
        if scope["method"] == "OPTIONS" or not self._service.keys.required:
            return
        if self._service.sessions.accept(token_of(headers)):
            return
        self.require_key(key_of(headers), client)

    def _note_wrong(self, client: str) -> int:
        """Notes a wrong key; returns how many the client sent in the last minute."""
        now = monotonic()
        times = [time for time in self._wrong.pop(client, ()) if now - time < _WRONG_SECONDS]
        self._wrong[client] = [*times, now][-_WRONG_KEYS - 1 :]
        while len(self._wrong) > _MOST_CLIENTS:
            self._wrong.popitem(last=False)
        return len(self._wrong[client])


def key_of(headers: Headers) -> str | None:
    """The API key of a request's headers; None if there is none."""
    found = headers.get("x-api-key")
    if found is not None:
        return found
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        return _password(value.strip())
    return value.strip() if kind.lower() == "bearer" else None


def _password(credentials: str) -> str | None:
    """The password of Basic credentials (RFC 7617), in UTF-8; None if they are broken."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    _, colon, password = text.partition(":")
    return password if colon else None


def token_of(headers: Headers) -> str | None:
    """The session's token of a request's cookies."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


def still_allowed(service: Service, headers: Headers) -> Callable[[], bool]:
    """Whether a long answer may go on: not after the end of the session that it was asked with."""
    token = token_of(headers)
    if not service.keys.required or not service.sessions.accept(token):
        return lambda: True
    return lambda: service.sessions.accept(token)


def _host_name(host: str) -> str:
    """The name or address in a ``Host`` header, in lower case; empty if it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

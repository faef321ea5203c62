"""Whether a stream that cannot be opened wants a login; OpenCV does not say why it failed."""

from __future__ import annotations

import re
import socket
from time import monotonic
from urllib.parse import urlsplit

__all__ = ["wants_login"]

_PORTS = {"rtsp": 554, "http": 80}
_REQUESTS = {
    "rtsp": "DESCRIBE rtsp://{place}{path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n",
    "http": "GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n",
}
"""RFC 2326, section 10.2, and RFC 9112, without the header ``Authorization``."""

_UNAUTHORIZED = re.compile(rb"(?:RTSP|HTTP)/[0-9.]+ 401[ \r\n]")
_LINE_BYTES = 64
_BAD = re.compile(r"[\x00-\x20\x7f]")


def wants_login(url: str, timeout: float) -> bool:
    """True if a stream's server answers 401 to whoever sends no login.

    Args:
        url: An ``rtsp`` or ``http`` address; for others the answer is False. Its user and password
            are not sent, but its query is: leave out a password there.
        timeout: Seconds that the server may take.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:  # no port, or no IPv6 address
        return False
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    if parts.scheme not in _PORTS or _BAD.search(host + target):
        return False
    shown = f"[{host}]" if ":" in host else host
    request = _REQUESTS[parts.scheme].format(place=f"{shown}:{port}", path=target)
    try:
        return _UNAUTHORIZED.match(_first_bytes(host, port, request.encode(), timeout)) is not None
    except (OSError, UnicodeError):
        return False


def _first_bytes(host: str, port: int, request: bytes, timeout: float) -> bytes:
    """The start of the answer to a request."""
    end, data = monotonic() + timeout, b""
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall(request)
        while len(data) < _LINE_BYTES and b"\n" not in data and monotonic() < end:
            connection.settimeout(max(end - monotonic(), 0.001))
            part = connection.recv(_LINE_BYTES)
            if not part:
                break
            data += part
    return data

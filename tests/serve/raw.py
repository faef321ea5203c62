"""HTTP byte by byte, for what well-behaved clients do not send."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

BOUNDARY = "7d3f"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        assert set(error) == {"code", "what", "where", "hint"}
        return error


def connect(port: int, timeout: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request; headers with "_" for "-". Without a length in them, the body's is added."""
    lines = {
        "Host": "127.0.0.1",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    if body and not {"Content-Length", "Transfer-Encoding"} & set(lines):
        lines["Content-Length"] = str(len(body))
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in lines.items())]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def form(data: bytes, name: str = "file") -> tuple[bytes, str]:
    """A body with one file, and its content type."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'
    )
    body = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def upload(path: str, data: bytes, **headers: str) -> bytes:
    body, kind = form(data)
    return request("POST", path, body, Content_Type=kind, **headers)


def read(place: socket.socket) -> Answer:
    """One answer with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = place.recv(65536)
        assert part, f"closed after {data!r}"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        part = place.recv(65536)
        assert part, f"closed after {body!r}"
        body += part
    return Answer(int(first.split()[1]), headers, body)


def exchange(port: int, data: bytes) -> Answer:
    with connect(port) as place:
        place.sendall(data)
        return read(place)


def seconds_until_closed(place: socket.socket) -> float:
    """Reads until the other side closes; returns how long that took."""
    start = time.monotonic()
    try:
        while place.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - start


def until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)

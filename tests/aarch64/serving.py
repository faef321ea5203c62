"""Starts the service, asks it for everything that one picture gives, and writes the answers.

    python serving.py PICTURE ANSWERS.json

Runs on both machines, with what the extra ``[serve]`` installs and nothing else.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import uvicorn

from mobileface.serve.http.app import Application
from mobileface.serve.service import Service
from mobileface.serve.settings import read_settings

ROUTES = ("analyze?tasks=pose&tasks=attributes", "embed", "search")
BOUNDARY = "picture-of-a-face"
SECONDS = 300


def main() -> None:
    picture, target = Path(sys.argv[1]), Path(sys.argv[2])
    gallery = target.with_suffix(".gallery")
    service = Service(read_settings(None, {"gallery": gallery}))
    place = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Application(service), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    address = f"http://127.0.0.1:{place.getsockname()[1]}"
    try:
        answers: dict[str, Any] = {"health": ask(f"{address}/health")}
        content = picture.read_bytes()
        for route in ROUTES:
            answers[route] = ask(f"{address}/api/v1/{route}", content)
    finally:
        server.should_exit = True
        thread.join()
        service.close()
    target.write_text(json.dumps(answers))


def ask(url: str, picture: bytes | None = None) -> Any:
    """The JSON answer to a request, with a picture as a form's field."""
    request = urllib.request.Request(url)
    if picture is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
        head += "Content-Type: image/png\r\n\r\n"
        request.data = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
        request.add_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=SECONDS
    ) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()

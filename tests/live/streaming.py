"""A camera on the network: MJPEG over HTTP or HTTPS, which can be cut."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from mobileface.vision.image import Image


def drawn_frames(count: int = 25) -> list[Image]:
    """Frames of a bright square that moves over a grey picture, (120, 160, 3)."""
    found = []
    for number in range(count):
        image = np.full((120, 160, 3), 90, np.uint8)
        image[40:80, 4 * number : 4 * number + 40] = 220
        found.append(image)
    return found


class NetworkCamera:
    """Serves frames, again and again, to whoever connects; with a certificate and its key, by TLS.

    Attributes:
        url: Its address, with a login.
        silent: While set, connections are accepted and get no frames.
    """

    def __init__(
        self,
        images: list[Image],
        fps: float = 25.0,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        parts = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
        connections = self._connections = set[socket.socket]()
        self.silent = silent = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                connections.add(self.connection)
                self.send_response(200)
                kind = "multipart/x-mixed-replace; boundary=frame"
                self.send_header("Content-Type", kind)
                self.end_headers()
                start = time.monotonic()
                with contextlib.suppress(OSError):
                    for number in range(1_000_000):
                        while silent.is_set():
                            time.sleep(0.05)
                        data = parts[number % len(parts)]
                        head = (
                            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                            % len(data)
                        )
                        self.wfile.write(head + data + b"\r\n")
                        time.sleep(max(0.0, start + number / fps - time.monotonic()))
                connections.discard(self.connection)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://user:secret@127.0.0.1:{self.port}/video"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self) -> None:
        """Cuts all connections, as a cable that is pulled out, in the middle of a frame or not."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.silent.clear()
        self._server.shutdown()
        self._server.server_close()
        self.cut()


@contextlib.contextmanager
def network_camera(
    images: list[Image] | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[NetworkCamera]:
    camera = NetworkCamera(images or drawn_frames(), certificate=certificate)
    try:
        yield camera
    finally:
        camera.close()

"""A real RTSP server as a camera, which can be killed, stopped and started again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import IO

import numpy as np

from mobileface.vision.image import Image

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"


class RtspCamera:
    """``rtsp_server.py`` as a process of its own.

    Args:
        certificate: A certificate and its key, for ``rtsps``.
        options: Its options, such as ``codec="mjpeg"`` or ``sound=True``.

    Attributes:
        port: Its port, which it keeps when it is started again.
    """

    def __init__(
        self, certificate: tuple[Path, Path] | None = None, **options: str | bool | int
    ) -> None:
        self.port = 0
        self._certificate = certificate
        self.options = options
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [SYSTEM_PYTHON, "-I", str(SERVER), "--port", str(self.port)]
        for name, value in self.options.items():
            command += [f"--{name}"] if value is True else [f"--{name}={value}"]
        if self._certificate is not None:
            command += ["--certificate", *map(str, self._certificate)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        line = self._stream(self._process.stdout).readline()
        assert line, "the RTSP server did not start"
        self.port = int(line)

    def url(self, login: str = "", path: str = "live") -> str:
        """Its address; `login` is ``user:password``."""
        scheme = "rtsp" if self._certificate is None else "rtsps"
        return f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{self.port}/{path}"

    def kill(self) -> None:
        """The camera loses its power."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._stream(self._process.stdin).close()
        self._stream(self._process.stdout).close()
        self._process = None

    def pause(self, seconds: float) -> None:
        """It sends no pictures, and answers."""
        assert self._process is not None
        self._stream(self._process.stdin).write(f"{seconds}\n")

    def hang(self) -> None:
        """It neither sends nor answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends `hang`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


def made(image: Image) -> float:
    """When the server made a picture, in seconds of ``time.monotonic()``; see `SERVER`."""
    cell = image.shape[1] // 16
    part = slice(cell // 4, cell - cell // 4)
    cells = image[: 2 * cell, : 16 * cell, 1].reshape(2, cell, 16, cell)[:, part, :, part]
    bits = cells.mean(axis=(1, 3)).ravel() > 128
    return int("".join("01"[int(bit)] for bit in bits), 2) / 1000


def ages(taken: list[tuple[float, Image]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Milliseconds from the making of pictures to the times at which they were read."""
    return np.array([1000 * (time - made(image)) for time, image in taken])

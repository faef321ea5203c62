"""Load on ``mobileface serve``: 8 clients with keep-alive, and what HTTP costs over a plain call.

    python benchmarks/serve_load.py [--requests 20000] [--clients 8]

Prints one JSON document. The server is a process of its own; the overhead is measured in one run,
plain calls and requests by turns, with the same threads for each network.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PORTRAIT = Path(__file__).resolve().parents[1] / "docs" / "astronaut.jpg"
BOUNDARY = "7d3f"
SAMPLES = 200
"""Times at which the server's memory is read."""

ALLOWED = (200, 429, 503)


@dataclass
class Load:
    """What a run gave."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused_without_time: int = 0
    milliseconds: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        p50, p99 = np.percentile(self.milliseconds, [50, 99])
        return {
            "requests": sum(self.statuses.values()),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "errors": self.errors[:5],
            "per_second": round(sum(self.statuses.values()) / self.seconds, 1),
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
            "bytes_per_request": round(memory_slope(self.memory), 1),
            "memory_mb": [round(bytes_ / 1e6, 1) for _, bytes_ in self.memory[:: SAMPLES // 10]],
        }


def picture(size: int, crop: bool = False) -> bytes:
    """The portrait as a JPEG of so many pixels a side."""
    image = np.asarray(cv2.imread(str(PORTRAIT)), np.uint8)
    if crop:
        image = image[:, : image.shape[1] * 3 // 4]
    scaled = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", scaled)[1].tobytes())


def body_of(data: bytes) -> tuple[bytes, dict[str, str]]:
    """A form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def mixed(seed: int) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """Requests without end: mostly pictures, now and then something else or something wrong."""
    choices = random.Random(seed)
    pictures = [body_of(picture(size, crop)) for size in (96, 160, 240) for crop in (False, True)]
    while True:
        path = choices.choices(
            ["detect", "search", "analyze", "version", "health", "metrics"], [50, 20, 10, 10, 9, 1]
        )[0]
        if path in ("detect", "search", "analyze"):
            body, headers = choices.choice(pictures)
            yield "POST", f"/api/v1/{path}", body, headers
        else:
            yield "GET", "/api/v1/version" if path == "version" else f"/{path}", b"", {}


def run_load(port: int, pid: int, requests: int, clients: int) -> Load:
    """Sends requests from several threads over connections that are kept."""
    load, lock, sent = Load(), threading.Lock(), [0]
    step = max(1, requests // SAMPLES)

    def client(seed: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for method, path, body, headers in mixed(seed):
            with lock:
                if sent[0] >= requests:
                    break
                sent[0] += 1
                if sent[0] % step == 0:
                    load.memory.append((sent[0], resident(pid)))
            start = time.perf_counter()
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                answer.read()
            except OSError as error:
                load.errors.append(f"{path}: {error!r}")
                connection.close()
                continue
            load.milliseconds.append(1000 * (time.perf_counter() - start))
            with lock:
                load.statuses[answer.status] += 1
            if answer.status in (429, 503) and "Retry-After" not in answer.headers:
                load.errors.append(f"{path}: {answer.status} without Retry-After")
            if answer.status not in ALLOWED:
                load.errors.append(f"{path}: {answer.status}")
        connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - start
    return load


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_slope(memory: list[tuple[int, int]]) -> float:
    """Bytes per request by least squares, without the first third: caches and pools fill there."""
    rows = np.array(memory[len(memory) // 3 :], np.float64)
    return float(np.polyfit(rows[:, 0], rows[:, 1], 1)[0])


def overhead(port: int, rounds: int = 300) -> dict[str, float]:
    """Milliseconds of the same detection by a plain call and by HTTP, by turns; medians.

    Args:
        port: Of a service with one worker of one thread, a process of its own.
        rounds: Calls of each.
    """
    from mobileface.serve.picture_analysis import analyze_picture
    from mobileface.serve.service import Service
    from mobileface.serve.settings import read_settings

    service = Service(read_settings(None, {"workers": 1, "threads": 1}))
    data = picture(240)
    body, headers = body_of(data)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def plain() -> None:
        json.dumps(analyze_picture(service, (data, "a.jpg"), ("detection",)))

    def request(method: str = "POST", path: str = "/api/v1/detect") -> None:
        connection.request(method, path, body if method == "POST" else None, headers)
        connection.getresponse().read()

    times: dict[str, list[float]] = {"plain": [], "http": [], "health": []}
    kinds = {"plain": plain, "http": request, "health": lambda: request("GET", "/health")}
    for number in range(rounds + 20):
        for name, function in kinds.items():
            start = time.perf_counter()
            function()
            if number >= 20:
                times[name].append(1000 * (time.perf_counter() - start))
    connection.close()
    service.close()
    medians = {f"{name}_ms": round(float(np.median(values)), 3) for name, values in times.items()}
    return {**medians, "overhead_ms": round(medians["http_ms"] - medians["plain_ms"], 3)}


@contextlib.contextmanager
def service_process(*options: str) -> Iterator[tuple[int, int]]:
    """``mobileface serve`` as a process; yields its port and its process id."""
    command = [sys.executable, "-m", "mobileface", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r":(\d+)\n", process.stderr.readline())
            assert found
            yield int(found[1]), process.pid
        finally:
            process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    document: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "serve.toml"
        config.write_text("workers = 1\nthreads = 1\n")
        with service_process("--config", str(config)) as (port, _):
            document["overhead"] = overhead(port)
        gallery = Path(folder) / "people.gallery"
        with service_process("--gallery", str(gallery)) as (port, pid):
            load = run_load(port, pid, options.requests, options.clients)
    document["load"] = load.document()
    print(json.dumps(document, indent=1))
    return bool(load.errors)


if __name__ == "__main__":
    sys.exit(main())

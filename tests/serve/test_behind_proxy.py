"""The service behind real web servers with TLS, configured as examples/serve shows."""

from __future__ import annotations

import itertools
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.live.live_options import CameraOptions
from mobileface.serve.settings import read_settings
from mobileface.vision.video import VideoWriter
from tests.certificates import make_certificate
from tests.conftest import find_daemon
from tests.live.streaming import drawn_frames

from .raw import until
from .running import Running, serving

pytestmark = pytest.mark.needs_proxies

EXAMPLES = Path(__file__).parents[2] / "examples" / "serve"
KEY = "k" * 32


@dataclass
class Proxied:
    """A service, and the address of the proxy in front of it."""

    server: Running
    port: int
    trusted: ssl.SSLContext

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, source: str = "127.0.0.1", **headers: str) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.trusted, local_address=source)
        return httpx.Client(base_url=self.origin, transport=transport, headers=headers, timeout=30)


def nginx(folder: Path, port: int, service: int, certificate: Path, key: Path) -> list[str]:
    """The command that runs nginx with the example."""
    example = (EXAMPLES / "nginx.conf").read_text()
    for before, after in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "face.home.example;": "127.0.0.1;",
        "/etc/ssl/face.home.example.pem": str(certificate),
        "/etc/ssl/face.home.example.key": str(key),
        "http://127.0.0.1:8000": f"http://127.0.0.1:{service}",
    }.items():
        assert before in example
        example = example.replace(before, after)
    places = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\n"
        f"pid {folder}/nginx.pid;\nerror_log {folder}/errors.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{example}}}\n"
    )
    program = find_daemon("nginx")
    assert program is not None
    return [program, "-c", str(path), "-p", str(folder), "-e", f"{folder}/errors.log"]


def caddy(folder: Path, port: int, service: int, certificate: Path, key: Path) -> list[str]:
    """The command that runs Caddy with the example."""
    example = (EXAMPLES / "Caddyfile").read_text()
    for before, after in {
        "\nface.home.example {": f"\nhttps://127.0.0.1:{port} {{\n\ttls {certificate} {key}",
        "127.0.0.1:8000": f"127.0.0.1:{service}",
    }.items():
        assert before in example
        example = example.replace(before, after)
    path = folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + example)
    program = find_daemon("caddy")
    assert program is not None
    return [program, "run", "--adapter", "caddyfile", "--config", str(path)]


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxy")
    film = folder / "film.avi"
    with VideoWriter(film, 25, 160, 120) as video:
        for image in drawn_frames():
            video.write(image)
    keys = folder / "api_keys"
    keys.write_text(f"{KEY}\n")
    keys.chmod(0o600)
    certificate, key = make_certificate(folder)
    with socket.create_server(("127.0.0.1", 0)) as place:
        port: int = place.getsockname()[1]
    settings = read_settings(
        None,
        {
            "api_key_file": keys,
            "trusted_proxies": ["127.0.0.1"],
            "cameras": [CameraOptions("front", str(film), motion=False)],
            "gallery": folder / "people.gallery",
        },
    )
    with serving(settings) as server:
        command = request.param(folder, port, server.port, certificate, key)
        with (folder / "proxy.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env={"HOME": str(folder), "PATH": "/usr/bin"}
            )
        try:
            until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, (folder / "proxy.log").read_text()
            yield Proxied(server, port, ssl.create_default_context(cafile=str(certificate)))
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as place:
        return place.connect_ex(("127.0.0.1", port)) == 0


def test_a_session_by_https(proxied: Proxied) -> None:
    """A browser's way: sign in, use the cookie, sign out. The cookie goes by HTTPS only."""
    with proxied.client(Origin=proxied.origin) as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/v1/people").status_code == 401
        without = client.post("/api/v1/session", json={"key": KEY})
        assert (without.status_code, without.json()["error"]["code"]) == (403, "csrf")
        client.headers["X-Mobileface"] = "1"
        answer = client.post("/api/v1/session", json={"key": KEY})
        assert answer.json() == {"required": True, "signed_in": True}
        assert {"Secure", "HttpOnly", "SameSite=strict"} <= set(
            answer.headers["set-cookie"].split("; ")
        )
        assert client.get("/api/v1/people").json() == {"people": []}
        client.delete("/api/v1/session").raise_for_status()
        assert client.get("/api/v1/people").status_code == 401


def test_pages_of_other_sites_are_refused(proxied: Proxied) -> None:
    with proxied.client(Origin="https://evil.example", X_API_Key=KEY) as client:
        client.headers["X-Mobileface"] = "1"
        assert client.post("/api/v1/session", json={"key": KEY}).status_code == 403


def test_a_photo_of_megabytes(proxied: Proxied) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (2400, 2400, 3)).astype(np.uint8)
    data = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert 6_000_000 < len(data) < 20_000_000
    with proxied.client(**{"X-API-Key": KEY}) as client:
        answer = client.post("/api/v1/detect", files={"file": ("noise.jpg", data)})
        assert (answer.status_code, answer.json()["faces"]) == (200, [])
        many = client.post("/api/v1/detect", content=b"x" * 21_100_000)
        assert many.status_code == 413


def test_streams_are_not_held_back(proxied: Proxied) -> None:
    """Each picture arrives when it is made, 25 a second."""
    with proxied.client(**{"X-API-Key": KEY}) as client:
        start = time.monotonic()
        with client.stream("GET", "/api/v1/events/stream") as answer:
            first = next(answer.iter_bytes())
        retry = time.monotonic() - start
        assert first.startswith(b"retry: ")
        times = []
        address = "/api/v1/cameras/front/stream?annotated=false"
        with client.stream("GET", address) as answer:
            for part in itertools.islice(answer.iter_bytes(), 200):
                times += [time.monotonic()] * part.count(b"--frame\r\n")
                if len(times) > 20:
                    break
    gaps = np.diff(times[:21])
    print(f"events after {retry:.3f} s, pictures {1000 * float(np.median(gaps)):.0f} ms apart")
    assert retry < 2
    assert 0.02 < np.median(gaps) < 0.06


def test_wrong_keys_count_for_who_sent_them(proxied: Proxied) -> None:
    """The limit of wrong keys is of a client's address, not of the proxy's."""
    found = []
    for source in ("127.0.0.2", "127.0.0.3"):
        with proxied.client(source, **{"X-API-Key": "w" * 32}) as client:
            for number in range(21):
                pretended = {"X-Forwarded-For": f"203.0.113.{number}"}
                answer = client.get("/api/v1/people", headers=pretended)
            found.append(answer.status_code)
            assert client.get("/api/v1/people", headers={"X-API-Key": KEY}).status_code == 200
        with proxied.client("127.0.0.4", **{"X-API-Key": "w" * 32}) as client:
            found.append(client.get("/api/v1/people").status_code)
    assert found == [429, 401, 429, 401]


def test_who_is_no_proxy_is_not_believed(tmp_path: Path) -> None:
    keys = tmp_path / "api_keys"
    keys.write_text(f"{KEY}\n")
    for trusted, secure in (([], False), (["192.0.2.0/24"], False), (["127.0.0.0/8"], True)):
        with (
            serving(api_key_file=keys, trusted_proxies=trusted) as server,
            server.client() as client,
        ):
            answer = client.post(
                "/api/v1/session", json={"key": KEY}, headers={"X-Forwarded-Proto": "https"}
            )
            assert ("Secure" in answer.headers["set-cookie"]) is secure, trusted


def test_a_proxy_needs_keys() -> None:
    given = {"trusted_proxies": ["127.0.0.1"]}
    with pytest.raises(InputError, match=r"trusted_proxies: other machines reach .* no API key"):
        read_settings(None, given)
    assert read_settings(None, {**given, "insecure": True}).trusted_proxies == ("127.0.0.1",)


@pytest.mark.parametrize("name", ["*", "proxy", "10.0.0.1/8", "", "::1/129", "unix:"])
def test_what_is_no_proxy(name: str) -> None:
    with pytest.raises(InputError, match=r"trusted_proxies: .* is no address or network such as"):
        read_settings(None, {"trusted_proxies": [name]})

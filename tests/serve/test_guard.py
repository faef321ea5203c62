"""Who is answered: addresses, hosts, origins, keys, sessions."""

from __future__ import annotations

import ast
import base64
import inspect
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from mobileface.errors import InputError
from mobileface.serve import api_keys
from mobileface.serve.api_keys import ApiKeys
from mobileface.serve.http.guard import key_of
from mobileface.serve.settings import ServeSettings, read_settings

from .raw import exchange, form, request, until
from .running import Running, serving

KEY, OTHER = "k" * 10 + "0123456789", "m" * 10 + "0123456789"
ORIGIN = "https://home.example"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that needs a key and knows one other origin."""
    path = tmp_path_factory.mktemp("keys") / "api_keys"
    path.write_text(f"# two\n{KEY}\n\n{OTHER}\n")
    with serving(api_key_file=path, allowed_origins=[ORIGIN]) as server:
        yield server


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def status(server: Running, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    return exchange(server.port, request(method, path, body, **headers)).status


def test_only_this_machine_unless_told() -> None:
    assert ServeSettings().host == "127.0.0.1"
    for host in ("0.0.0.0", "::", "", "192.168.1.5", "mobileface.local", "0", "127.0.0.1.evil.org"):
        with pytest.raises(InputError, match="no API key is set; pass --api-key-file FILE, or"):
            read_settings(None, {"host": host})
        assert read_settings(None, {"host": host, "insecure": True}).host == host
        assert read_settings(None, {"host": host, "api_key_file": Path("k")}).host == host
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert read_settings(None, {"host": host}).host == host


def test_keys_are_compared_whole_and_in_constant_time() -> None:
    """Every key is compared by `hmac.compare_digest`, and no comparison is left out."""
    tree = ast.parse(inspect.getsource(api_keys))
    kind = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "ApiKeys")
    accept = next(n for n in kind.body if isinstance(n, ast.FunctionDef) and n.name == "accept")
    loop = next(node for node in ast.walk(accept) if isinstance(node, ast.For))
    assert not [n for n in ast.walk(loop) if isinstance(n, ast.Break | ast.Return | ast.If)]
    assert "hmac.compare_digest" in ast.unparse(loop)
    assert not [n for n in ast.walk(loop) if isinstance(n, ast.Compare | ast.BoolOp)]
    keys = ApiKeys((KEY, OTHER))
    assert keys.accept(KEY)
    assert keys.accept(OTHER)
    for wrong in (None, "", KEY[:-1], KEY + "0", KEY.upper(), f"{KEY}\n{OTHER}", "\ud800"):
        assert not keys.accept(wrong), wrong


@pytest.mark.parametrize(
    "key", ["short", "a b" * 10, "ä" * 20, "x" * 257, "tab\t" * 5, "\x1b" * 20]
)
def test_bad_keys_are_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n{key}\n")
    with pytest.raises(InputError, match="API key 2: must be 16 to 256 ASCII characters") as caught:
        ApiKeys.read(tmp_path / "keys")
    assert key not in str(caught.value)


def test_closed_routes_need_a_key(keyed: Running) -> None:
    """Every route of the application: also those that are added later."""
    openly = {"/health", "/ready", "/api/v1/session"}
    paths = set(keyed.server.application.api.openapi()["paths"])
    checked = 0
    for path in paths | {"/api/v1/", "/api/", "/api/v1/openapi.json", "/metrics"}:
        if path.startswith(("/api/", "/metrics")) and path not in openly:
            for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
                answer = exchange(
                    keyed.port, request(method, path.replace("{", "").replace("}", ""))
                )
                assert answer.status in (401, 429), (method, path, answer)
                checked += 1
    print(f"{checked} requests refused")
    assert checked >= 40
    for path in openly - {"/ready"}:
        assert status(keyed, "GET", path) == 200


def test_the_key_is_checked_before_the_body_is_read(keyed: Running) -> None:
    head = request("POST", "/api/v1/detect", Content_Length="1000000")
    answer = exchange(keyed.port, head + b"x")
    assert answer.status == 401
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Api_Key": KEY},
        {"x_api_key": OTHER},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY} "},
        {"Authorization": basic(f"anybody:{KEY}")},
        {"Authorization": basic(f":{OTHER}").replace("Basic", "basic ")},
        {"X_Api_Key": KEY, "Authorization": basic("proxy:its own password")},
    ],
)
def test_keys_are_accepted(keyed: Running, headers: dict[str, str]) -> None:
    assert status(keyed, "GET", "/api/v1/version", **headers) == 200


@pytest.mark.parametrize(
    ("credentials", "password"),
    [
        ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "open sesame"),  # RFC 7617, section 2
        ("dGVzdDoxMjPCow==", "123£"),  # section 2.1
    ],
)
def test_passwords_of_the_rfc(credentials: str, password: str) -> None:
    assert key_of(Headers({"authorization": f"Basic {credentials}"})) == password


@pytest.mark.parametrize(
    "value",
    [
        basic(KEY),  # no colon
        basic(f"{KEY}:"),
        basic(f"{KEY}:wrong"),
        basic(f"anybody:{KEY}:"),
        basic(f"anybody:{KEY}") + "!",
        f"Basic anybody:{KEY}",
        "Basic /w==",  # no UTF-8
        "Basic",
    ],
)
def test_other_credentials_are_refused(keyed: Running, value: str) -> None:
    """Nothing asks for Basic, else browsers would, and would remember what they are told."""
    answer = exchange(keyed.port, request("GET", "/api/v1/version", Authorization=value))
    assert answer.status == 401
    assert "www-authenticate" not in answer.headers


def test_wrong_keys_get_429_and_right_ones_are_answered(tmp_path: Path) -> None:
    """Also a right one from the same address: clients behind a proxy do not lock each other out."""
    (tmp_path / "keys").write_text(KEY)
    with serving(api_key_file=tmp_path / "keys") as server, server.client() as client:
        seen = [
            client.get("/api/v1/version", headers={"x-api-key": f"wrong {number}"}).status_code
            for number in range(25)
        ]
        assert seen == [401] * 20 + [429] * 5
        answer = client.get("/api/v1/version", headers={"x-api-key": "wrong"})
        assert answer.headers["retry-after"] == "60"
        assert client.get("/api/v1/version", headers={"x-api-key": KEY}).status_code == 200
        assert client.get("/api/v1/version").status_code == 401  # no key is no wrong key
        body = {"key": "wrong"}
        assert client.post("/api/v1/session", json=body).status_code == 429
        assert client.post("/api/v1/session", json={"key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:8000", 403),
        ("192.168.1.5", 403),
        ("[", 403),
        ("[::1", 403),
        ("", 403),
        ("localhost@evil.example", 403),
        ("evil.example#localhost", 403),
        ("a" * 5000, 403),
    ],
)
def test_names_of_others_are_refused(running: Running, host: str, expected: int) -> None:
    """DNS rebinding: the page of another site reaches the service by a name of that site's."""
    lines = f"GET /api/v1/version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    answer = exchange(running.port, lines)
    assert answer.status == expected, answer
    assert len(answer.body) < 400 or expected == 200


def test_named_hosts_are_answered() -> None:
    with serving(allowed_hosts=["face.home.example"]) as server:
        for host, expected in (("FACE.home.example:80", 200), ("home.example", 403)):
            lines = f"GET /api/v1/version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            assert exchange(server.port, lines).status == expected
    for bad in ("a.example:80", "http://a.example", "*", "a/b", ""):
        with pytest.raises(InputError, match="is no host's name"):
            read_settings(None, {"allowed_hosts": [bad]})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 422),
        ({"X_Mobileface": "1"}, 422),
        ({"Origin": "http://127.0.0.1", "X_Mobileface": "1"}, 422),
        ({"Sec_Fetch_Site": "same-origin", "X_Mobileface": "1"}, 422),
        ({"Sec_Fetch_Site": "none", "X_Mobileface": "1"}, 422),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 403),
        ({"Cookie": "mobileface_session=x"}, 403),
        ({"Origin": "https://evil.example", "X_Mobileface": "1"}, 403),
        ({"Origin": "http://127.0.0.1:1", "X_Mobileface": "1"}, 403),
        ({"Origin": "null", "X_Mobileface": "1"}, 403),
        ({"Origin": "http://[", "X_Mobileface": "1"}, 403),
        ({"Origin": "", "X_Mobileface": "1"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "X_Mobileface": "1"}, 403),
        ({"Sec_Fetch_Site": "same-site", "X_Mobileface": "1"}, 403),
        ({"Origin": ORIGIN, "X_Mobileface": "1"}, 403),
    ],
)
def test_pages_of_others_change_nothing(
    running: Running, headers: dict[str, str], expected: int
) -> None:
    """422: the request is let through, and its form lacks the picture."""
    body, kind = form(b"x", name="other")
    for path in ("/api/v1/detect", "/api/v1/search"):
        found = status(running, "POST", path, body, Content_Type=kind, **headers)
        assert found == expected


def test_reading_needs_no_header(running: Running) -> None:
    assert status(running, "GET", "/api/v1/version", Origin="https://evil.example") == 200


def test_no_origin_is_named_by_default(running: Running) -> None:
    for method in ("GET", "OPTIONS"):
        answer = exchange(running.port, request(method, "/api/v1/version", Origin=ORIGIN))
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_named_origin_may_call(keyed: Running) -> None:
    asked = {"Access_Control_Request_Method": "POST"}
    asked["Access_Control_Request_Headers"] = "x-api-key, x-mobileface, content-type"
    answer = exchange(keyed.port, request("OPTIONS", "/api/v1/detect", Origin=ORIGIN, **asked))
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    evil = request("OPTIONS", "/api/v1/detect", Origin="https://evil.example", **asked)
    assert "access-control-allow-origin" not in exchange(keyed.port, evil).headers
    # An error can be read too.
    body, kind = form(b"x", name="other")
    for key, expected in ((KEY, 422), ("wrong", 401)):
        post = request(
            "POST", "/api/v1/detect", body, Content_Type=kind, Origin=ORIGIN, X_Api_Key=key
        )
        answer = exchange(keyed.port, post)
        assert answer.status in (expected, 429 if expected == 401 else expected)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    for bad in ("*", "home.example", "https://a.example/path", "null", "https://"):
        with pytest.raises(InputError, match="is no origin"):
            read_settings(None, {"allowed_origins": [bad]})


def test_a_session_stands_for_the_key(keyed: Running) -> None:
    own = {"X-Mobileface": "1", "Sec-Fetch-Site": "same-origin"}
    with keyed.client(headers=own) as client:
        assert client.get("/api/v1/session").json() == {"required": True, "signed_in": False}
        answer = client.post("/api/v1/session", json={"key": KEY})
        assert answer.json() == {"required": True, "signed_in": True}
        cookie = answer.headers["set-cookie"]
        assert KEY not in cookie
        for part in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie, cookie
        assert client.get("/api/v1/version").status_code == 200
        del client.headers["X-Mobileface"]
        assert client.request("DELETE", "/api/v1/session").status_code == 403
        client.headers["X-Mobileface"] = "1"
        token = client.cookies["mobileface_session"]
        client.delete("/api/v1/session")
        client.cookies.set("mobileface_session", token)
        assert client.get("/api/v1/version").status_code in (401, 429)
    for cookie in ("mobileface_session=", "mobileface_session=\x7f", "=;=", '"', "a" * 9000):
        assert status(keyed, "GET", "/api/v1/version", Cookie=cookie) in (400, 401, 429)


def test_streams_end_with_their_session(keyed: Running) -> None:
    own = {"X-Mobileface": "1", "Sec-Fetch-Site": "same-origin"}
    with keyed.client(headers=own) as client, keyed.client(headers={"x-api-key": KEY}) as other:
        client.post("/api/v1/session", json={"key": KEY}).raise_for_status()
        stream = "/api/v1/events/stream"
        with client.stream("GET", stream) as answer, other.stream("GET", stream) as kept:
            lines = answer.iter_bytes()
            assert next(lines).startswith(b"retry")
            start = time.monotonic()
            client.delete("/api/v1/session").raise_for_status()
            assert list(lines) == []
            print(f"ended after {time.monotonic() - start:.3f} s")
            assert time.monotonic() - start < 2
            others = kept.iter_bytes()  # kept, else its end would end the stream
            assert next(others).startswith(b"retry")
            until(lambda: keyed.service.streams.count == 1)


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/version",
        "/api/v1//version",
        "/api/v1/../v1/version",
        "/x/../api/v1/version",
        "/%61pi/v1/version",
        "/api/v1/%2e%2e/v1/version",
        "/api%2fv1%2fversion",
        "/API/V1/VERSION",
        "/api/v1/version/",
        "/api/v1/version%00",
        "/api/v1/version%0a",
        "/api/v1/version;a=b",
        "/.%2fapi/v1/version",
        "http://127.0.0.1/api/v1/version",
        "/%ff%fe",
        "/" + "a" * 20_000,
        "/" + "../" * 2000 + "etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc",
    ],
)
def test_tricks_with_paths_open_nothing(keyed: Running, path: str) -> None:
    answer = exchange(keyed.port, request("GET", path))
    assert answer.status in (400, 401, 404, 429), answer
    assert b"models" not in answer.body
    assert b"root:" not in answer.body
    assert "location" not in answer.headers

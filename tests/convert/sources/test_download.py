"""Downloads: the real code against a real server on the loopback interface."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPMessage
from pathlib import Path
from urllib.request import Request

import pytest

from mobileface.errors import SourceError, SourceIntegrityError
from mobileface_convert.sources import cache, download
from mobileface_convert.sources.files import DownloadSource, RetryPolicy, SourceFile
from tests.scripted_server import Reply, Server

PATH = "MobileFace_Pose/model one.bin"
CONTENT = bytes(range(251)) * 1200  # 301200 bytes: several blocks, and no block like another
SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()
FILE = SourceFile(PATH, SHA1, len(CONTENT))
UNSIZED = SourceFile(PATH, SHA1)
WRONG = CONTENT[:-1] + b"?"
CUT = 100_000
RETRY = RetryPolicy(attempts=3, first_delay=0.01, longest_delay=0.05, timeout=10)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def remote(server: Server, tmp_path: Path) -> DownloadSource:
    return DownloadSource(server.url, tmp_path, retry=RETRY)


def final(root: Path) -> Path:
    return root / PATH


def part(root: Path) -> Path:
    return root / f"{PATH}.part"


def store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_download_then_no_request_while_the_cache_is_good(
    server: Server, remote: DownloadSource, tmp_path: Path
) -> None:
    server.script = [Reply(CONTENT), Reply(CONTENT)]
    assert remote.fetch(FILE) == final(tmp_path)
    assert final(tmp_path).read_bytes() == CONTENT
    assert not part(tmp_path).exists()
    remote.fetch(FILE)
    assert [asked.path for asked in server.asked] == ["/raw/MobileFace_Pose/model%20one.bin"]
    assert server.asked[0].headers["Accept-Encoding"] == "identity"
    final(tmp_path).write_bytes(WRONG)
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("file", [FILE, UNSIZED])
def test_wrong_content_leaves_nothing(
    server: Server, remote: DownloadSource, tmp_path: Path, file: SourceFile
) -> None:
    server.script = [Reply(WRONG)]
    with pytest.raises(SourceIntegrityError, match=SHA1) as caught:
        remote.fetch(file)
    assert caught.value.where.startswith(server.url)
    assert len(server.asked) == 1
    assert not final(tmp_path).exists()
    assert not part(tmp_path).exists()


@pytest.mark.parametrize("file", [FILE, UNSIZED])
def test_cut_connection_is_resumed(
    server: Server, remote: DownloadSource, file: SourceFile
) -> None:
    server.script = [Reply(CONTENT, cut_after=CUT), Reply(CONTENT)]
    assert remote.fetch(file).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]
    assert server.sent() == [CUT, len(CONTENT) - CUT]


def test_silent_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.script = [Reply(CONTENT, cut_after=CUT, stall=6), Reply(CONTENT)]
    start, impatient = time.monotonic(), RetryPolicy(first_delay=0.01, timeout=2)
    found = DownloadSource(server.url, tmp_path, retry=impatient).fetch(FILE)
    assert time.monotonic() - start < 6
    assert (found.read_bytes(), server.ranges()) == (CONTENT, [None, f"bytes={CUT}-"])


def test_next_run_continues_after_the_last_attempt(
    server: Server, remote: DownloadSource, tmp_path: Path
) -> None:
    server.script = [
        Reply(CONTENT, cut_after=10),
        Reply(CONTENT, cut_after=20),
        Reply(CONTENT, cut_after=30),
    ]
    with pytest.raises(SourceError, match=r"after 3 attempts.* lost after 60 of 301200"):
        remote.fetch(FILE)
    assert part(tmp_path).read_bytes() == CONTENT[:60]
    assert not final(tmp_path).exists()
    server.script = [Reply(CONTENT)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=10-", "bytes=30-", "bytes=60-"]


def test_complete_part_needs_no_request(
    server: Server, remote: DownloadSource, tmp_path: Path
) -> None:
    store(part(tmp_path), CONTENT)
    assert remote.fetch(UNSIZED).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("left", [b"?" * CUT, WRONG, CONTENT + b"?"])
def test_bad_part_of_an_earlier_run_is_not_held_against_the_server(
    server: Server, remote: DownloadSource, tmp_path: Path, left: bytes
) -> None:
    store(part(tmp_path), left)
    server.script = [Reply(CONTENT), Reply(CONTENT)] if len(left) == CUT else [Reply(CONTENT)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.script == []
    assert server.ranges()[-1] is None


def test_server_that_ignores_ranges_restarts_the_file(
    server: Server, remote: DownloadSource
) -> None:
    server.script = [Reply(CONTENT, cut_after=CUT), Reply(CONTENT, ranges=False)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]
    assert server.sent() == [CUT, len(CONTENT)]


@pytest.mark.parametrize(
    "refusal", [Reply(b"", 416), Reply(b"x", 206, {"Content-Range": "bytes 5-5/301200"})]
)
def test_refused_range_restarts_the_file(
    server: Server, remote: DownloadSource, refusal: Reply
) -> None:
    server.script = [Reply(CONTENT, cut_after=CUT), refusal, Reply(CONTENT)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-", None]


def test_strong_tag_guards_the_resumed_file(server: Server, remote: DownloadSource) -> None:
    old, new = {"ETag": '"old"'}, {"ETag": '"new"'}
    server.script = [
        Reply(b"-" * len(CONTENT), headers=old, cut_after=CUT),
        Reply(CONTENT, headers=new),
    ]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.asked[1].headers["If-Range"] == '"old"'
    assert server.sent() == [CUT, len(CONTENT)]


def test_weak_tag_is_not_sent(server: Server, remote: DownloadSource) -> None:
    weak = {"ETag": 'W/"1"'}
    server.script = [Reply(CONTENT, headers=weak, cut_after=CUT), Reply(CONTENT, headers=weak)]
    remote.fetch(FILE)
    assert "If-Range" not in server.asked[1].headers


def test_not_found_is_final(server: Server, remote: DownloadSource, tmp_path: Path) -> None:
    server.script = [Reply(b"", 404)]
    with pytest.raises(SourceError, match="HTTP 404") as caught:
        remote.fetch(FILE)
    assert caught.value.where == f"{server.url}MobileFace_Pose/model%20one.bin"
    assert len(server.asked) == 1
    assert not part(tmp_path).exists()


@pytest.mark.parametrize(
    ("status", "after", "slept"),
    [(500, None, 0.01), (429, "0", 0.0), (429, "3600", 0.05), (503, "soon", 0.01)],
)
def test_busy_server_is_asked_again(
    server: Server,
    remote: DownloadSource,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    after: str | None,
    slept: float,
) -> None:
    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    server.script = [Reply(b"", status, {"Retry-After": after} if after else {}), Reply(CONTENT)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert delays == [slept]
    assert len(server.asked) == 2


def test_delays_double_and_attempts_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    server.script = [Reply(b"", 500)] * 9
    patient = RetryPolicy(attempts=5, first_delay=0.25, longest_delay=1.5)
    with pytest.raises(SourceError, match=r"after 5 attempts.*HTTP 500"):
        DownloadSource(server.url, tmp_path, retry=patient).fetch(FILE)
    assert delays == [0.25, 0.5, 1.0, 1.5]
    assert len(server.asked) == 5


@pytest.mark.parametrize("length", [True, False])
def test_body_longer_than_pinned_or_allowed_is_refused(
    server: Server, tmp_path: Path, length: bool
) -> None:
    told: list[int] = []
    bounded = DownloadSource(
        server.url, tmp_path, lambda _, done, __: told.append(done), retry=RETRY, max_bytes=200_000
    )
    server.script = [Reply(CONTENT + b"?", length=length), Reply(CONTENT, length=length)]
    with pytest.raises(SourceIntegrityError, match="301200"):
        bounded.fetch(FILE)
    told.clear()
    with pytest.raises(SourceError, match="larger than the 200000 bytes") as caught:
        bounded.fetch(UNSIZED)
    assert not isinstance(caught.value, SourceIntegrityError)
    assert len(server.asked) == 2
    # Too large a length is refused before any byte is read, a body at the first byte too many.
    assert max(told, default=0) <= (0 if length else 200_000)
    assert not part(tmp_path).exists()


@pytest.mark.parametrize("file", [FILE, UNSIZED])
def test_body_without_a_length(server: Server, remote: DownloadSource, file: SourceFile) -> None:
    server.script = [Reply(CONTENT, length=False)]
    assert remote.fetch(file).read_bytes() == CONTENT


def test_cut_is_seen_without_a_length_if_the_size_is_pinned(
    server: Server, remote: DownloadSource
) -> None:
    server.script = [Reply(CONTENT, length=False, cut_after=CUT), Reply(CONTENT, length=False)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]


def test_redirect_to_the_web_is_followed(server: Server, remote: DownloadSource) -> None:
    server.script = [Reply(b"", 302, {"Location": f"{server.url}else"}), Reply(CONTENT)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.asked[1].path == "/raw/else"


@pytest.mark.parametrize(
    "location", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x", "http://[", "gopher://x"]
)
def test_redirect_to_anything_else_is_refused(
    server: Server, remote: DownloadSource, tmp_path: Path, location: str
) -> None:
    server.script = [Reply(b"", 302, {"Location": location})]
    with pytest.raises(SourceError):
        remote.fetch(FILE)
    assert len(server.asked) == 1
    assert not final(tmp_path).exists()


@pytest.mark.parametrize(("target", "refused"), [("http", True), ("https", False)])
def test_redirect_never_loses_encryption(target: str, refused: bool) -> None:
    def follow() -> Request | None:
        return download._SafeRedirects().redirect_request(
            Request("https://a.invalid/x"),
            io.BytesIO(),
            302,
            "Found",
            HTTPMessage(),
            f"{target}://b.invalid/x",
        )

    if refused:
        with pytest.raises(SourceError, match="unsafe redirect to http://b"):
            follow()
    else:
        request = follow()
        assert request is not None
        assert request.full_url == "https://b.invalid/x"


def test_proxy_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.script = [Reply(CONTENT)]
    DownloadSource("http://upstream.invalid/", tmp_path, retry=RETRY).fetch(FILE)
    assert server.asked[0].path == "http://upstream.invalid/MobileFace_Pose/model%20one.bin"


# --- a shared or broken cache --------------------------------------------------------------------


def test_threads_share_one_download(server: Server, remote: DownloadSource) -> None:
    server.script = [Reply(CONTENT, delay=0.2)]
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(remote.fetch, [FILE] * 4))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 4
    assert len(server.asked) == 1


def test_processes_share_one_download(server: Server, tmp_path: Path) -> None:
    server.script = [Reply(CONTENT, delay=0.8)]
    code = (
        "import sys; from mobileface_convert.sources.files import *\n"
        "url, cache, path, sha1 = sys.argv[1:]\n"
        "print(DownloadSource(url, cache).fetch(SourceFile(path, sha1)))"
    )
    command = [sys.executable, "-c", code, server.url, str(tmp_path), PATH, SHA1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert printed == [str(final(tmp_path))] * 3
    assert final(tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_without_locks_each_has_a_part_of_its_own(
    server: Server, remote: DownloadSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_lock", lambda _: False)
    server.script = [Reply(CONTENT, delay=0.2)] * 2
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(remote.fetch, [FILE] * 2))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert len(server.asked) == 2
    final(tmp_path).unlink()
    server.script = [Reply(CONTENT, cut_after=CUT)]
    with pytest.raises(SourceError, match="HTTP 410"):
        remote.fetch(FILE)
    assert list(tmp_path.rglob("*.part")) == []


def test_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="MOBILEFACE_CACHE") as caught:
        DownloadSource(server.url, tmp_path / "file").fetch(FILE)
    assert caught.value.where == str(tmp_path / "file")
    assert server.asked == []


def test_cache_that_can_only_be_read(
    server: Server, remote: DownloadSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def read_only(path: Path, mode: str = "r", *further: object) -> object:
        if mode != "rb":  # the superuser may write anywhere, so permissions would prove nothing
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode)

    store(final(tmp_path), CONTENT)
    monkeypatch.setattr(Path, "open", read_only)
    assert remote.fetch(FILE) == final(tmp_path)
    with pytest.raises(SourceError, match="Permission denied"):
        remote.fetch(SourceFile("other", SHA1))
    assert server.asked == []


# --- progress ------------------------------------------------------------------------------------


def test_progress_ends_exactly_once(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    server.script = [Reply(CONTENT, length=False, cut_after=CUT), Reply(CONTENT)]
    DownloadSource(server.url, tmp_path, lambda *args: told.append(args), retry=RETRY).fetch(FILE)
    done = [entry[1] for entry in told]
    assert done == sorted(done)
    assert {entry[0] for entry in told} == {PATH}
    assert {entry[2] for entry in told} == {len(CONTENT)}
    assert done.count(len(CONTENT)) == 1
    assert CUT in done

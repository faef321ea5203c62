"""Sources of files: the real code against a real server on the loopback interface."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mobileface.errors import SourceError, SourceIntegrityError
from mobileface_convert import source
from mobileface_convert.source import DirectorySource, DownloadSource, RetryPolicy, SourceFile

PATH = "MobileFace_Pose/model one.bin"
CONTENT = bytes(range(251)) * 1200  # 301200 bytes: several blocks, and no block like another
SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()
FILE = SourceFile(PATH, SHA1, len(CONTENT))
UNSIZED = SourceFile(PATH, SHA1)
WRONG = CONTENT[:-1] + b"?"
CUT = 100_000
RETRY = RetryPolicy(attempts=3, first_delay=0.01, longest_delay=0.05, timeout=0.4)


@dataclass
class Reply:
    """One scripted answer."""

    body: bytes = CONTENT
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None
    length: bool = True
    stall: float = 0.0
    delay: float = 0.0


@dataclass
class Asked:
    """One request, and how many bytes of body were sent for it."""

    path: str
    headers: Mapping[str, str]
    sent: int


class Server(ThreadingHTTPServer):
    """Answers from a script and records what it was asked; an unexpected request gets 410."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.asked: list[Asked] = []
        self.url = f"http://127.0.0.1:{self.server_port}/raw/"

    def ranges(self) -> list[str | None]:
        return [asked.headers.get("Range") for asked in self.asked]

    def sent(self) -> list[int]:
        return [asked.sent for asked in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        script = self.server.script
        reply = script.pop(0) if script else Reply(b"", 410)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        tag = self.headers.get("If-Range", reply.headers.get("ETag"))
        partial = (
            reply.status == 200 and reply.ranges and wanted and tag == reply.headers.get("ETag")
        )
        start = int(wanted[1]) if partial and wanted else 0
        body = reply.body[start:]
        shown = body[: reply.cut_after]
        self.server.asked.append(Asked(self.path, dict(self.headers), len(shown)))
        threading.Event().wait(reply.delay)
        self.send_response(206 if partial else reply.status)
        if partial:
            last, size = len(reply.body) - 1, len(reply.body)
            self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
        if reply.length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(shown)
        self.wfile.flush()
        threading.Event().wait(reply.stall)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MOBILEFACE_SOURCE", "MOBILEFACE_CACHE"):
        monkeypatch.delenv(name, raising=False)


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


# --- names of content and of files ---------------------------------------------------------------


def test_git_blob_sha1_is_what_git_says(tmp_path: Path) -> None:
    store(tmp_path / "hello", b"hello world\n")  # git hash-object: the names below
    assert source.git_blob_sha1(tmp_path / "hello") == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"
    assert source.git_blob_sha1(io.BytesIO()) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    stream = io.BytesIO(CONTENT)
    stream.seek(7)
    assert source.git_blob_sha1(stream) == SHA1


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", "C:x", "a\0"]
)
def test_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(SourceError, match="not a plain path"):
        SourceFile(path, SHA1)


@pytest.mark.parametrize(("sha1", "size"), [(SHA1[:-1], 1), (SHA1.upper(), 1), (SHA1, -1)])
def test_malformed_pin_is_refused(sha1: str, size: int) -> None:
    with pytest.raises(SourceError, match="is not a"):
        SourceFile("a", sha1, size)


# --- folders -------------------------------------------------------------------------------------


def test_folder_gives_the_verified_file(tmp_path: Path) -> None:
    store(final(tmp_path), CONTENT)
    assert DirectorySource(tmp_path).fetch(FILE) == final(tmp_path)
    assert DirectorySource(tmp_path).describe() == f"folder {tmp_path}"


def test_folder_with_another_file_is_refused_unless_told_not_to_look(tmp_path: Path) -> None:
    store(final(tmp_path), b"changed")
    with pytest.raises(SourceIntegrityError) as caught:
        DirectorySource(tmp_path).fetch(FILE)
    for part_of_message in (SHA1, source.git_blob_sha1(final(tmp_path)), "7 bytes", "301200 bytes"):
        assert part_of_message in str(caught.value)
    unverified = DirectorySource(tmp_path, verify=False)
    assert unverified.fetch(FILE).read_bytes() == b"changed"
    assert "not verified" in unverified.describe()


def test_absent_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=re.escape(PATH)) as caught:
        DirectorySource(tmp_path).fetch(FILE)
    assert caught.value.where == str(tmp_path)
    assert caught.value.hint
    with pytest.raises(SourceError, match="no such folder"):
        DirectorySource(tmp_path / "absent")


def test_link_out_of_the_folder_is_refused_and_one_inside_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.bin"
    outside.write_bytes(CONTENT)
    final(root).parent.mkdir(parents=True)
    final(root).symlink_to(outside)
    with pytest.raises(SourceError, match="leads out"):
        DirectorySource(root, verify=False).fetch(FILE)
    final(root).unlink()
    store(root / "inside.bin", CONTENT)
    final(root).symlink_to(root / "inside.bin")
    assert DirectorySource(root).fetch(FILE).read_bytes() == CONTENT
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(SourceError):
        DirectorySource(root).fetch(SourceFile("loop", SHA1))


# --- downloads -----------------------------------------------------------------------------------


def test_download_then_no_request_while_the_cache_is_good(
    server: Server, remote: DownloadSource, tmp_path: Path
) -> None:
    server.script = [Reply(), Reply()]
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
    server.script = [Reply(cut_after=CUT), Reply()]
    assert remote.fetch(file).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]
    assert server.sent() == [CUT, len(CONTENT) - CUT]


def test_silent_connection_is_resumed(server: Server, remote: DownloadSource) -> None:
    server.script = [Reply(cut_after=CUT, stall=0.8), Reply()]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]


def test_next_run_continues_after_the_last_attempt(
    server: Server, remote: DownloadSource, tmp_path: Path
) -> None:
    server.script = [Reply(cut_after=10), Reply(cut_after=20), Reply(cut_after=30)]
    with pytest.raises(SourceError, match=r"after 3 attempts.* cut after 60 of 301200"):
        remote.fetch(FILE)
    assert part(tmp_path).read_bytes() == CONTENT[:60]
    assert not final(tmp_path).exists()
    server.script = [Reply()]
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
    server.script = [Reply(), Reply()] if len(left) == CUT else [Reply()]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.script == []
    assert server.ranges()[-1] is None


def test_server_that_ignores_ranges_restarts_the_file(
    server: Server, remote: DownloadSource
) -> None:
    server.script = [Reply(cut_after=CUT), Reply(ranges=False)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]
    assert server.sent() == [CUT, len(CONTENT)]


@pytest.mark.parametrize(
    "refusal", [Reply(b"", 416), Reply(b"x", 206, {"Content-Range": "bytes 5-5/301200"})]
)
def test_refused_range_restarts_the_file(
    server: Server, remote: DownloadSource, refusal: Reply
) -> None:
    server.script = [Reply(cut_after=CUT), refusal, Reply()]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-", None]


def test_strong_tag_guards_the_resumed_file(server: Server, remote: DownloadSource) -> None:
    old, new = {"ETag": '"old"'}, {"ETag": '"new"'}
    server.script = [Reply(b"-" * len(CONTENT), headers=old, cut_after=CUT), Reply(headers=new)]
    assert remote.fetch(FILE).read_bytes() == CONTENT
    assert server.asked[1].headers["If-Range"] == '"old"'
    assert server.sent() == [CUT, len(CONTENT)]


def test_weak_tag_is_not_sent(server: Server, remote: DownloadSource) -> None:
    weak = {"ETag": 'W/"1"'}
    server.script = [Reply(headers=weak, cut_after=CUT), Reply(headers=weak)]
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
    server.script = [Reply(b"", status, {"Retry-After": after} if after else {}), Reply()]
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

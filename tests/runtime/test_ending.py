"""How commands end: by signals, and with standard streams that are full, closed or left."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from mobileface.commands.json_lines import JsonLines
from mobileface.errors import OutputError
from mobileface.host.ending import Ended, exit_code, held, orderly
from mobileface.vision.synthetic_faces import draw_frames
from mobileface.vision.video import VideoReader, VideoWriter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

PROGRAM = [sys.executable, "-m", "mobileface"]
FRAMES = 400
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "in.avi"
    frames = [cv2.resize(frame, (160, 120)) for frame in draw_frames(8, 320, 240)]
    with VideoWriter(path, 25, 160, 120) as writer:
        for number in range(FRAMES):
            writer.write(frames[number % len(frames)])
    return path


def track(video: Path, folder: Path) -> list[str]:
    outputs = ["--output", str(folder / "out.avi"), "--tracks", str(folder / "out.jsonl")]
    return [*PROGRAM, "track", str(video), *outputs, "--tasks", "landmarks"]


def started(command: list[str], tracks: Path) -> subprocess.Popen[str]:
    """A process that has written a few lines."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 60
    while not (tracks.exists() and tracks.read_bytes().count(b"\n") >= 4):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def check_outputs(folder: Path) -> int:
    """Both files are whole and of the same frames; nothing else is there."""
    assert sorted(path.name for path in folder.iterdir()) == ["out.avi", "out.jsonl"]
    header, *records = map(json.loads, (folder / "out.jsonl").read_text().splitlines())
    assert header["schema"] == 1
    summary = records.pop()["summary"]
    assert [record["frame"] for record in records] == list(range(len(records)))
    with VideoReader(folder / "out.avi") as result:
        frames = sum(1 for _ in result)
    assert not summary["complete"]
    print(f"{len(records)} lines and {frames} frames of {FRAMES}")
    assert 0 <= len(records) - frames <= 1
    return len(records)


@pytest.mark.parametrize("number", SIGNALS)
def test_track_ends_orderly(tmp_path: Path, video: Path, number: signal.Signals) -> None:
    process = started(track(video, tmp_path), tmp_path / "out.jsonl")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert errors.strip() == f"mobileface: {what}; the output so far is saved"
    assert process.returncode == SIGNALS[number]
    assert 3 <= check_outputs(tmp_path) < FRAMES


def test_killed_track_leaves_whole_lines(tmp_path: Path, video: Path) -> None:
    """SIGKILL cannot be handled: the video is lost, the lines are not."""
    process = started(track(video, tmp_path), tmp_path / "out.jsonl")
    process.kill()
    process.communicate(timeout=60)
    lines = (tmp_path / "out.jsonl").read_bytes()
    assert lines.endswith(b"\n")
    assert len([json.loads(line) for line in lines.splitlines()]) >= 4


def test_the_same_request_twice(tmp_path: Path, video: Path) -> None:
    """``timeout`` sends SIGTERM to the process and to its group: that is one request."""
    process = started(track(video, tmp_path), tmp_path / "out.jsonl")
    process.send_signal(signal.SIGTERM)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert errors.strip() == "mobileface: ended by SIGTERM; the output so far is saved"
    assert process.returncode == 143
    check_outputs(tmp_path)


def test_nohup_is_respected(tmp_path: Path, video: Path) -> None:
    command = ["nohup", *track(video, tmp_path), "--limit", "40"]
    process = started(command, tmp_path / "out.jsonl")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_first_process_of_a_container(tmp_path: Path, video: Path) -> None:
    """The kernel drops a signal to process 1 unless a handler is installed."""
    unshare = shutil.which("unshare")
    own = [unshare or "", "--pid", "--fork", "--mount-proc"]
    if unshare is None or subprocess.run([*own, "true"], capture_output=True).returncode:
        print("no namespaces here: that handlers are installed is what can be shown")
        with orderly():
            assert callable(signal.getsignal(signal.SIGTERM))
        return
    process = started([*own, *track(video, tmp_path)], tmp_path / "out.jsonl")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert errors.strip() == "mobileface: ended by SIGTERM; the output so far is saved"
    assert process.returncode == 143
    check_outputs(tmp_path)


def test_enhance_stops_at_the_first_video(tmp_path: Path, video: Path) -> None:
    folder, other = tmp_path / "out", tmp_path / "other.avi"
    shutil.copy(video, other)
    command = [*PROGRAM, "makeup", "--whole", str(video), str(other), "--output", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (folder.is_dir() and any(path.stat().st_size > 500 for path in folder.iterdir())):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "mobileface: ended by SIGTERM" in errors
    names = [path.name for path in folder.iterdir()]
    print(names)
    assert names in ([], ["in.mp4"])
    for name in names:
        with VideoReader(folder / name) as result:
            assert 1 <= sum(1 for _ in result) < FRAMES


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A program of a few lines, under `run_program`, that has said "ready"."""
    text = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from mobileface.host.files import replacing, scratch_folder\n"
        "from mobileface.host.program import run_program\n"
        f"{code}\nsys.exit(run_program('name', work, final=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


STUBBORN = """
def work():
    with replacing(Path(sys.argv[1])) as path, scratch_folder() as folder:
        path.write_text("half")
        print("ready", flush=True)
        words = [folder]
        while True:
            try:
                while words:
                    print(words.pop(), flush=True)
                [time.sleep(0.05) for _ in range(1200)]  # short: see TURNED
            except KeyboardInterrupt:
                print("first", flush=True)
"""


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process = run(STUBBORN, str(tmp_path / "file"))
    assert process.stdout is not None
    scratch = Path(process.stdout.readline().strip())
    assert scratch.is_dir()
    process.terminate()
    assert process.stdout.readline() == "first\n"
    time.sleep(0.7)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=10)
    assert process.returncode == 129
    assert not scratch.exists()
    assert list(tmp_path.iterdir()) == []


LOST = """
class Busy:
    def __del__(self):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass

def work():
    busy = Busy()
    print("ready", flush=True)
    del busy
    for _ in range(600):
        time.sleep(0.1)
    return 0
"""


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    process = run(LOST)
    time.sleep(0.2)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (143, "name: ended by SIGTERM\n")


WRITER = """
def work():
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        with scratch_folder() as folder, replacing(Path(sys.argv[1]) / "file") as path:
            (Path(folder) / "part").write_text("x" * number)
            path.write_text("x" * 1000 + "end")
"""


# Short sleeps: a signal that comes just before one long sleep would end it only afterwards.
TURNED = """
def work():
    print("ready", flush=True)
    try:
        [time.sleep(0.05) for _ in range(1200)]
    except KeyboardInterrupt as error:
        raise RuntimeError("as native code does") from error
"""


def test_a_signal_that_became_another_error() -> None:
    process = run(TURNED)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (143, "name: ended by SIGTERM\n")


@pytest.mark.slow
def test_signals_during_imports(tmp_path: Path) -> None:
    moments = random.Random(5)
    codes = []
    for _ in range(25):
        process = subprocess.Popen(
            [*PROGRAM, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(moments.uniform(0.02, 0.5))
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert errors in ("", "mobileface: ended by SIGTERM\n")
        codes.append(process.returncode)
    print(codes)
    assert set(codes) <= {-signal.SIGTERM, 0, 143}
    assert 143 in codes


def test_no_temporary_file_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty times TERM into a program that does nothing but make and remove temporary files."""
    moments = random.Random(3)
    folder, scratch = tmp_path / "out", tmp_path / "tmp"
    folder.mkdir()
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    for _ in range(60):
        process = run(WRITER, str(folder))
        time.sleep(moments.uniform(0, 0.03))
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (143, "name: ended by SIGTERM\n")
        assert list(scratch.iterdir()) == []
        assert [path.name for path in folder.iterdir()] in ([], ["file"])
        for path in folder.iterdir():
            assert path.read_text().endswith("end")


def test_held_code_happens_whole() -> None:
    done = []

    def interrupted() -> Iterator[str]:
        with orderly():
            with held():
                with held():
                    signal.raise_signal(signal.SIGTERM)
                    yield "inner"
                yield "outer"
            yield "never"

    with pytest.raises(Ended) as caught:
        done.extend(interrupted())
    steps = interrupted()
    assert [next(steps), next(steps)] == ["inner", "outer"]
    with pytest.raises(Ended):
        next(steps)
    assert exit_code(caught.value) == 143
    assert exit_code(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_lines_are_whole_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    lines = JsonLines(path, {"header": 1})
    assert path.read_text() == "old\n"
    lines.write({"frame": 0})
    assert path.read_text() == '{"header": 1}\n{"frame": 0}\n'
    lines.write({"frame": 1})
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
        with lines, pytest.raises(OutputError, match="cannot be written") as caught:
            lines.write({"frame": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.where == str(path)
    assert path.read_text() == '{"header": 1}\n{"frame": 0}\n{"frame": 1}\n'


def test_lines_through_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE, text=True) as reader:
        with JsonLines(path, {"header": 1}) as lines:
            lines.write({"frame": 0})
        assert reader.communicate(timeout=20)[0] == '{"header": 1}\n{"frame": 0}\n'
    assert path.is_fifo()


def shell(line: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


FULL = "error: stdout: cannot be written (No space left on device)"
CLOSED = "error: stdout: is closed; use >/dev/null to print nothing"


@pytest.mark.parametrize("arguments", ["models", "models --json", "--help", "--version"])
@pytest.mark.parametrize(("redirection", "text"), [(">/dev/full", FULL), (">&-", CLOSED)])
def test_stdout_that_cannot_be_written(arguments: str, redirection: str, text: str) -> None:
    code, _, errors = shell(f"{sys.executable} -m mobileface {arguments} {redirection}")
    assert (code, errors) == (2, f"mobileface: {text}\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_left(unbuffered: str) -> None:
    """Quiet, and the exit code says it."""
    lines = "import sys; sys.argv[1:] = ['models']; import mobileface.commands.model_list as m"
    lines += "; m.print_text = lambda text: [print(text * 9) for _ in range(9999)]"
    lines += "; from mobileface.__main__ import main; sys.exit(main())"
    program = f'PYTHONUNBUFFERED={unbuffered} {sys.executable} -c "{lines}"'
    code, output, errors = shell(f"{program} | head -1; exit ${{PIPESTATUS[0]}}")
    assert (code, errors) == (1, "")
    assert output.count("\n") == 1


def test_messages_that_cannot_be_written() -> None:
    """They are lost; the results and the exit code are right."""
    _, expected, _ = shell(f"{sys.executable} -m mobileface models")
    assert expected
    for redirection in ("2>/dev/full", "2>&-", "<&- 2>&-"):
        code, output, _ = shell(f"{sys.executable} -m mobileface models {redirection}")
        assert (code, output) == (0, expected)
        code, output, _ = shell(f"{sys.executable} -m mobileface detect absent.jpg {redirection}")
        assert (code, output) == (2, "")


def test_closed_streams_are_not_given_to_files(tmp_path: Path, video: Path) -> None:
    """Without stdin and stderr, the next files that are opened would become these."""
    command = " ".join(track(video, tmp_path))
    code, output, _ = shell(f"{command} --limit 3 <&- 2>&-")
    assert code == 0
    assert "3 frames" in output
    assert all(json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines())

"""SIGKILL at 200 random moments: files are whole, reports are true, the next run succeeds.

Each run is a fork of this process, which has imported everything but opened no model: threads of
ONNX Runtime do not survive a fork.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from mobileface import read_image
from mobileface.commands.main import main as run
from mobileface.gallery import Gallery
from mobileface.host.files import check_sha256
from mobileface.models.index import read_index
from mobileface.vision.video import VideoReader
from mobileface_convert.commands.main import main as convert
from tests.convert.commands.adoptable_networks import write_network
from tests.convert.commands.adopting import FACTS, SCALING
from tests.runtime.gallery.gallery_helpers import everything_in, fill, stamp, vectors
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX"),
]

FRAMES, FACES, SIZE, OLDER = 25, 2500, 64, b"an older one"
PEOPLE = [f"person {number:02}" for number in range(12)]
MODELS = ("--models", "models", "--embedder")
G = ("--gallery", "people.gallery")

ADDING = ("gallery", "add-folder", "people", "--crops", *MODELS[:2], "--gallery", "few.gallery")
REMOVING = ("gallery", "remove", "person 7", "--gallery", "large.gallery")
MIGRATING = ("gallery", "migrate", *G, *MODELS, "mine")
BACKUP = ("gallery", "backup", "copy.gallery", "--gallery", "large.gallery")
TRACK = ("track", "video.avi", "--output", "out.avi", "--tracks", "out.jsonl", "--tasks",
         "landmarks")  # fmt: skip
ADOPT = ("adopt", "net3.onnx", *FACTS, *SCALING, "--output", "models",
         "--name", "mine", "--replace")  # fmt: skip

Command = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A command that is killed again and again.

    Attributes:
        main: The program.
        command: Its arguments.
        moments: Number of runs.
        look: Checks a folder after a run that printed a text; says in which state it is.
        again: What is run next, by that state, and with which exit code.
    """

    main: Callable[[Command], int]
    command: Command
    moments: int
    look: Callable[[Path, str], str]
    again: Callable[[str], tuple[Command, int]]


def changed_files() -> dict[str, tuple[int, int]]:
    """Size and time of the files here and in ``models`` that a command may have changed."""
    found = {}
    for folder in (".", "models"):
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    opened_only = entry.name.endswith("-wal") and not status.st_size
                    if entry.is_file() and not opened_only and "-shm" not in entry.name:
                        found[entry.path] = (status.st_size, status.st_mtime_ns)
    found.pop("models/.lock", None)
    return found


def forked(
    case: Case, command: Command, seconds: float | None = None, *, midway: bool = False
) -> tuple[int, str, float, float]:
    """Runs a command in this folder.

    Args:
        case: Says of which program.
        command: The arguments.
        seconds: When it is killed; None lets it end.
        midway: Count these from the first change of a file.

    Returns:
        Exit code, output, seconds until a file changed and from then to the end.
    """
    before = changed_files()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            for number in (1, 2):
                os.dup2(writing, number)
            os.closerange(3, 256)  # or other children keep the pipe open
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            tempfile.tempdir = os.getcwd()  # noqa: PTH109
            code = case.main(command)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(99)
    os.close(writing)
    start, text, ended = time.monotonic(), b"", False
    # Polling, as some commands write for milliseconds only.
    while (midway or seconds is None) and not ended and changed_files() == before:
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    began = time.monotonic()
    start = began if midway else start
    with os.fdopen(reading, "rb", buffering=0) as stream:
        while True:
            left = None if seconds is None else max(start + seconds - time.monotonic(), 0)
            if not select.select([stream], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                seconds = None
            elif block := stream.read(1 << 16):
                text += block
            else:
                break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, text.decode(), began - start, time.monotonic() - began


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """A video, people to enrol, a gallery with crops, one with a matrix, networks to adopt."""
    folder = tmp_path_factory.mktemp("inputs")
    image = cv2.resize(read_image(portrait)[0:300, 80:380], (160, 160))
    write_video(folder / "video.avi", [image] * FRAMES)
    for number, name in enumerate(PEOPLE):
        (folder / "people" / name).mkdir(parents=True)
        cv2.imwrite(str(folder / "people" / name / "a.png"), image[number:, number:])
    with Gallery.create(folder / "large.gallery", stamp(SIZE)) as gallery:
        fill(gallery, vectors(FACES, SIZE), FACES // 50)
        gallery.search(vectors(1, SIZE), top=1)
    (folder / "models").mkdir()
    for seed in (1, 2, 3):
        write_network(folder / f"net{seed}.onnx", seed=seed)
    (folder / "out.jsonl").write_bytes(OLDER)
    (folder / "out.avi").write_bytes(OLDER)
    here = Path.cwd()
    os.chdir(folder)
    try:
        for main, arguments in (
            (convert, ("adopt", "net1.onnx", "--name", "kept", *ADOPT[2:-3])),
            (convert, ("adopt", "net2.onnx", "--name", "mine", *ADOPT[2:-3])),
            (run, ("gallery", "create", *G, *MODELS, "kept")),
            (run, ("gallery", "create", "--gallery", "few.gallery", *MODELS, "kept")),
            (run, ("gallery", "add-folder", "people", "--crops", *MODELS[:2], *G)),
            (run, ("gallery", "remove", PEOPLE[0], *G)),
            (run, ("gallery", "add", "Ada", "people/person 00/a.png", "--crops", *MODELS[:2],
                   "--gallery", "few.gallery")),
        ):  # fmt: skip
            case = Case(main, arguments, 0, lambda *_: "", lambda _: ((), 0))
            code, text, *_ = forked(case, arguments)
            assert code == 0, text
    finally:
        os.chdir(here)
    return folder


def opened(path: Path) -> dict[str, int]:
    """The people of a gallery that is whole, and their numbers of faces."""
    with Gallery.open(path) as gallery:
        gallery.check()
        assert gallery.database.value("PRAGMA integrity_check") == "ok"
        people = {person.name: person.faces for person in gallery.people()}
        if gallery.stamp.size == SIZE and path.name == "large.gallery":
            probe = vectors(FACES, SIZE)[FACES - 1]
            assert gallery.search(probe, top=1)[0].matches[0].similarity > 0.9999
        return people


def look_at_track(work: Path, output: str) -> str:
    result = work / "out.avi"
    whole = result.read_bytes() != OLDER
    if whole:
        with VideoReader(result) as made:
            assert sum(1 for _ in made) == FRAMES
    text = (work / "out.jsonl").read_text()
    if text == OLDER.decode():
        assert not whole
        return "as before"
    assert text == "" or text[-1] == "\n"
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["frame"] for line in lines if "frame" in line] == list(
        range(sum("frame" in line for line in lines))
    )
    if f" {FRAMES} frames" in output:
        assert whole
        assert "summary" in lines[-1]
    if not lines:
        return "no line"
    return "video whole" if whole else "all lines" if "summary" in lines[-1] else "some lines"


def look_at_enrolment(work: Path, output: str) -> str:
    people = opened(work / "few.gallery")
    reported = [json.loads(line)["name"] for line in output.splitlines() if line[0] == "{"]
    assert people.pop("Ada") == 1
    assert set(people.values()) <= {1}
    assert set(reported) <= set(people)
    assert len(people) <= len(reported) + 1 or "already" in output or len(people) == len(PEOPLE)
    return f"{'all' if len(people) == len(PEOPLE) else 'some' if people else 'none'} enrolled"


def look_at_removal(work: Path, output: str) -> str:
    matrix = "with" if (work / "large.gallery-matrix").exists() else "without"
    people = opened(work / "large.gallery")
    there = "person 7" in people
    assert len(people) == FACES // 50 - (not there)
    assert set(people.values()) == {50}
    assert not ("50 faces removed" in output and there)
    found = everything_in(work)  # after the log was read back
    mine = [row.tobytes() in found for row in vectors(FACES, SIZE)[7 :: FACES // 50]]
    assert all(mine) if there else not any(mine), "a removed face can be read"
    return f"{'there' if there else 'removed'}, {matrix} matrix"


def look_at_migration(work: Path, output: str) -> str:
    people = opened(work / "people.gallery")
    assert people == dict.fromkeys(PEOPLE[1:], 1)
    with Gallery.open(work / "people.gallery") as gallery:
        model = gallery.stamp.model.partition("@")[0]
        begun = gallery.database.value("SELECT count(*) FROM migration")
        assert {len(record.face.embedding) for name in people for record in gallery.faces(name)}
    assert model in ("kept", "mine")
    assert not ("faces migrated" in output and model == "kept")
    return "migrated" if model == "mine" else "begun" if begun else "as before"


def look_at_backup(work: Path, output: str) -> str:
    copy = work / "copy.gallery"
    before = opened(work / "large.gallery")
    if copy.exists():
        assert opened(copy) == before
    assert copy.exists() or " MB" not in output
    return "copied" if copy.exists() else "no copy"


def look_at_adoption(work: Path, output: str) -> str:
    folder = work / "models"
    index = read_index(folder)
    assert set(index) == {"kept", "mine"}
    for entry in index.values():
        for variant in entry.all_variants:
            check_sha256(folder / variant.file, variant.sha256)
            certificate = json.loads((folder / variant.certificate).read_text())
            assert certificate["sha256"] == variant.sha256
    old = index["mine"].sha256 == read_index(work / "before")["mine"].sha256
    assert not ("mine: " in output and " nodes, " in output and old)
    return "old model" if old else "new model"


CASES = {
    "track": Case(run, TRACK, 30, look_at_track, lambda _: (TRACK, 0)),
    "add-folder": Case(run, (*ADDING, "--json"), 40, look_at_enrolment, lambda _: (ADDING, 0)),
    "remove": Case(
        run,
        REMOVING,
        40,
        look_at_removal,
        lambda state: (REMOVING, 2 * ("removed" in state)),
    ),
    "migrate": Case(
        run, MIGRATING, 35, look_at_migration, lambda state: (MIGRATING, 2 * (state == "migrated"))
    ),
    "backup": Case(run, BACKUP, 35, look_at_backup, lambda _: (BACKUP, 0)),
    "adopt": Case(convert, ADOPT, 20, look_at_adoption, lambda _: (ADOPT, 0)),
}
DONE = {
    "track": "video whole",
    "add-folder": "all enrolled",
    "remove": "removed, without matrix",
    "migrate": "migrated",
    "backup": "copied",
    "adopt": "new model",
}


def test_there_are_200_moments() -> None:
    assert sum(case.moments for case in CASES.values()) == 200


@pytest.fixture
def fresh(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Gives a new copy of the inputs, which is then the current folder."""
    count = 0

    def copy() -> Path:
        nonlocal count
        count += 1
        shutil.rmtree(tmp_path / f"run{count - 1}", ignore_errors=True)
        work = tmp_path / f"run{count}"
        shutil.copytree(inputs, work)
        shutil.copytree(inputs / "models", work / "before")
        monkeypatch.chdir(work)
        return work

    return copy


@pytest.mark.parametrize("name", CASES)
def test_kills(name: str, fresh: Callable[[], Path], tmp_path: Path) -> None:
    case, lasting = CASES[name], []
    for _ in range(3):
        work = fresh()
        code, output, *seconds = forked(case, case.command)
        assert code == 0, output
        assert case.look(work, output) == DONE[name]
        lasting.append(seconds)
    start_up, working = (sorted(each)[1] for each in zip(*lasting, strict=True))
    moments, counts = random.Random(f"kills {name}"), collections.Counter[str]()
    ended, runs, left = 0, 0, collections.Counter[str]()
    for turn in range(3 * case.moments):  # more than are planned if too few end midway
        if turn >= case.moments and ended > case.moments // 3:
            break
        runs += 1
        midway = turn % 4 > 0
        moment = moments.uniform(0, 0.8 * working if midway else start_up + working)
        work = fresh()
        code, output, *_ = forked(case, case.command, moment, midway=midway)
        assert code in (0, -signal.SIGKILL), output
        ended += code != 0
        seen = tmp_path / "seen"  # a copy: what lies there is for the next run to use up
        shutil.copytree(work, seen)
        try:
            state = case.look(seen, output)
        except BaseException as error:
            raise AssertionError(f"run {turn}, killed after {moment:.3f} s: {output}") from error
        shutil.rmtree(seen)
        counts[state] += 1
        left.update({path.suffix or path.name for path in work.rglob(".*")})
        command, expected = case.again(state)
        code, output, *_ = forked(case, command)
        assert code == expected, output
        assert case.look(work, output) == DONE[name], (turn, state)
    print(
        f"{name}: {runs} runs, {ended} killed midway, {runs - ended} finished, "
        f"{start_up:.3f} + {working:.3f} s; {dict(counts)}; temporary files {dict(left)}",
        file=sys.stderr,
    )
    assert ended > case.moments // 3
    assert len(counts) > 1

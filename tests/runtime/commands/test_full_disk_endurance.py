"""A full disk under every command that writes; a limit on the size of files stands for it.

Each command runs in a fork of this process, which has imported everything but opened no model.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import read_image
from mobileface.commands import main as runtime_main
from mobileface.commands.main import main
from mobileface.gallery import Gallery
from mobileface.host.output_options import OutputPlace
from tests.conftest import ROOT
from tests.runtime.commands.test_output_commands import options_of
from tests.runtime.gallery.gallery_helpers import calibration
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX"),
]

LIMITS = (0, 300, 5_000, 60_000)
PEOPLE = ("Ada", "Ben", "Dan")
TINY = ("--crops", "--models", str(ROOT / "tests" / "models"), "--embedder", "tiny_gray")
G = ("--gallery", "people.gallery")

COMMANDS: dict[str, tuple[str, ...]] = {
    "detect --draw": ("face.png", "--draw", "out.png"),
    "detect --output": ("face.png", "--output", "out"),
    "landmarks --draw": ("face.png", "--draw", "out.png"),
    "landmarks --output": ("face.png", "--output", "out"),
    "pose --draw": ("face.png", "--draw", "out.png"),
    "pose --output": ("face.png", "--output", "out"),
    "attributes --draw": ("face.png", "--draw", "out.png"),
    "attributes --output": ("face.png", "--output", "out"),
    "analyze --draw": ("face.png", "--draw", "out.jpg"),
    "analyze --output": ("face.png", "--output", "out"),
    "align --output": ("face.png", "--output", "out"),
    "embed --output": ("face.png", *TINY, "--output", "out.npz"),
    "track --output": ("video.avi", "--output", "out.avi", "--tasks", "landmarks"),
    "track --tracks": ("video.avi", "--tracks", "out.jsonl", "--tasks", "landmarks"),
    "enhance --output": ("face.png", "--output", "out.png"),
    "makeup --output": ("face.png", "--output", "out.png"),
    "anonymize --output": ("face.png", "--output", "out.png"),
    "swap --output": ("other.png", "--face", "face.png", "--output", "out.png"),
    "background --output": ("face.png", "--blur", "0", "--output", "out.png"),
    "portrait --output": ("face.png", "--output", "out.png"),
    "gallery export": ("out.json", *G),
    "gallery backup": ("out.gallery", *G),
    "gallery create": ("--gallery", "out.gallery", *TINY[1:]),
    "gallery add": ("Cyd", "other.png", *TINY[:3], *G),
    "gallery add-folder": ("folder", *TINY[:3], *G),
    "gallery import": ("all.json", *G),
    "gallery remove": ("Ada", *G),
    "gallery rename": ("Ada", "Cyd", *G),
    "gallery merge": ("Dan", "Ada", *G),
    "gallery migrate": (*G, *TINY[1:3], "--embedder", "tiny_color", "--drop-failed"),
    "gallery calibrate": ("calibration.json", *G),
    "serve --new-key": ("--new-key", "keys"),
}
"""What each command is given, by its name and the argument that names the output."""


def forked(
    arguments: tuple[str, ...],
    limit: int | None,
    files: int | None = None,
    program: Callable[[tuple[str, ...]], int] = main,
) -> tuple[int, str]:
    """Exit code and messages of a command on a disk that becomes full.

    Args:
        arguments: Of the command.
        limit: Bytes that a file can have.
        files: Number of outputs that can be begun.
        program: What is run.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            if limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if files is not None:
                _full_after(files)
            warnings.simplefilter("ignore", ResourceWarning)  # of other packages, after the error
            code = program(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(99)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _full_after(files: int) -> None:
    """Lets this process begin so many outputs; then there is no space left."""
    make, left = tempfile.mkstemp, iter(range(files))

    def limited(*arguments: Any, **options: Any) -> tuple[int, str]:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return make(*arguments, **options)

    tempfile.mkstemp = limited  # type: ignore[assignment]


HIDDEN = re.compile(r"(^|[ '/])\.[^\s./]")
"""A temporary name, of which the user knows nothing."""

READ_ONLY = {"compare", "bench", "doctor", "models", "certify"}
READ_ONLY |= {f"gallery {name}" for name in ("list", "search", "stats")}
ELSEWHERE = {"tune"}
"""In `tests/convert/commands/test_full_disk_programs_endurance.py`, with the other programs."""


def test_every_command_that_writes_is_here() -> None:
    found = set()
    for name, action in options_of(runtime_main._parser(), ""):
        command = name.strip()
        if isinstance(action, OutputPlace) and action.option_strings:
            found.add(f"{command} {action.option_strings[-1]}")
        elif command and command != "gallery":
            found.add(command)
    listed = {key.partition(" --")[0] for key in COMMANDS}
    plain = {name for name in found if " --" not in name}
    assert {name for name in found if " --" in name} <= set(COMMANDS)
    assert plain - READ_ONLY - ELSEWHERE == listed


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """A photo, a video that does not compress, a gallery of two people, its export."""
    folder = tmp_path_factory.mktemp("inputs")
    image = read_image(portrait)[0:300, 80:380]
    for name, shift in (("face.png", 0), ("second.png", 20), ("third.png", 30), ("other.png", 40)):
        cv2.imwrite(str(folder / name), image[shift:, shift:])
    (folder / "folder" / "Cyd").mkdir(parents=True)
    shutil.copy(folder / "other.png", folder / "folder" / "Cyd")
    noise = np.random.default_rng(7)
    frames = [noise.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(6)]
    write_video(folder / "video.avi", frames)
    here = Path.cwd()
    os.chdir(folder)
    try:
        steps: list[tuple[str, ...]] = [("gallery", "create", *G, *TINY[1:])]
        for name, file in zip(PEOPLE, ("face.png", "second.png", "third.png"), strict=True):
            steps.append(("gallery", "add", name, file, *TINY[:3], *G))
        steps.append(("gallery", "export", "all.json", *G))
        steps.append(("gallery", "remove", "Ben", *G))
        for step in steps:
            assert forked(step, None)[0] == 0, step
    finally:
        os.chdir(here)
    with Gallery.open(folder / "people.gallery") as gallery:
        made = dataclasses.replace(calibration(), model=gallery.stamp.model)
    (folder / "calibration.json").write_text(json.dumps(made.to_dict()))
    return folder


def state(folder: Path) -> dict[str, str]:
    """Hashes of all files; of the gallery only that it is whole, and who is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith("people.gallery-") or path.is_dir():
            continue
        if path.name == "people.gallery":
            with Gallery.open(path) as gallery:
                gallery.check()
                found["people"] = f"{gallery.stamp} {gallery.people()}"
        else:
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.parametrize("key", COMMANDS)
def test_a_full_disk(
    key: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either all is written, or exit code 2, one sentence, and everything as before."""
    name, _, option = key.partition(" --")
    command = (*name.split(), *COMMANDS[key])
    codes: dict[int | None, int] = {}
    for limit in (*LIMITS, None):
        work = tmp_path / str(limit)
        shutil.copytree(inputs, work)
        monkeypatch.chdir(work)
        if option and "out" not in command:
            (work / command[command.index(f"--{option}") + 1]).write_bytes(b"an older one")
        before = state(work)
        codes[limit], text = forked(command, limit)
        after = state(work)
        if codes[limit] == 0:
            assert after != before
            assert (work / "people.gallery").exists()
        else:
            assert codes[limit] == 2, text
            if key == "track --tracks":  # whole lines, each as soon as it is known
                for line in (
                    (work / "out.jsonl").read_text().replace("an older one", "{}").split("\n")
                ):
                    assert not line or json.loads(line) is not None
                before["out.jsonl"] = after["out.jsonl"]
            assert after == before, text
            assert sum("error: " in line for line in text.splitlines()) == 1, text
            assert "Traceback" not in text
            assert not HIDDEN.search(text), text
        assert [path.name for path in work.rglob(".*")] == []
    print(f"{key}: {codes}")
    assert codes[0] == 2
    assert codes[None] == 0

"""SIGTERM at random moments: what was reported is there, all of it can be read, nothing is left."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from mobileface import read_image
from mobileface.gallery import Gallery
from mobileface.models.index import read_index
from mobileface.models.session import Session
from mobileface.vision.video import VideoReader, VideoWriter
from tests.conftest import SOURCE

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.needs_source,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

MOMENTS = 20
FRAMES = 150
PEOPLE = 30
Check = Callable[[Path, str], str]


class Trial:
    """Runs a command again and again, and ends each run at a random moment.

    Args:
        folder: Where the runs may write.
        check: Checks a folder after a run, by what the run printed.
        begin: Prepares the folder of a run.
    """

    def __init__(self, folder: Path, check: Check, begin: Callable[[Path], None]) -> None:
        self._folder, self._check, self._begin = folder, check, begin

    def run(self, seed: int, *arguments: str) -> None:
        """Whole runs, for their time, then others until `MOMENTS` were ended midway.

        The moments lie within the fastest whole run, as the machine may have other work. Every
        other one is counted from the first change of a file, so that it falls into the work.
        """
        moments, codes = random.Random(seed), []
        start_up, working = math.inf, math.inf
        for turn in range(2):
            code, output, *seconds = self._once(f"whole{turn}", arguments, None, midway=False)
            assert code == 0, output
            start_up, working = min(start_up, seconds[0]), min(working, seconds[1])
        for turn in range(4 * MOMENTS):
            midway = turn % 2 == 1 and working > 0.1  # bench writes no file
            longest = working if midway else start_up + working
            moment = moments.uniform(0 if midway else 0.05, longest)
            codes.append(self._once(f"run{turn}", arguments, moment, midway=midway)[0])
            if codes.count(143) == MOMENTS:
                break
        print(
            f"{start_up:.1f} s to the first file, {working:.1f} s of work: "
            f"{len(codes)} runs, {codes.count(143)} ended midway"
        )
        assert codes.count(143) == MOMENTS

    def _once(
        self, name: str, arguments: tuple[str, ...], moment: float | None, *, midway: bool
    ) -> tuple[int, str, float, float]:
        """Exit code, output, seconds until a file changed first and from then to the end."""
        work, scratch = self._folder / name, self._folder / f"{name}.tmp"
        work.mkdir()
        scratch.mkdir()
        self._begin(work)
        command = [argument.replace("WORK", str(work)) for argument in arguments]
        before, start = _state(work), time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(scratch), "PYTHONFAULTHANDLER": "1"},
        )
        while (midway or moment is None) and process.poll() is None and _state(work) == before:
            time.sleep(0.01)
        began = time.monotonic()
        try:
            output, errors = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, errors = process.communicate(timeout=120)
        ended = time.monotonic()
        # -15: before the command began or after its end; 0: over already.
        assert process.returncode in {143, 0, -15}, f"{name}: {process.returncode}\n{errors}"
        if process.returncode == 143:
            assert "ended by SIGTERM" in errors, errors
            assert "Traceback" not in errors
        assert list(scratch.iterdir()) == [], "temporary files"
        hidden = [path.name for path in work.rglob(".*")]
        assert hidden == [], "temporary files"
        print(f"{name}: {process.returncode}, {self._check(work, output)}")
        shutil.rmtree(work)
        return process.returncode, output, began - start, ended - began


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file, also of temporary ones."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found[path.name] = (status.st_size, status.st_mtime_ns)
    return found


def nothing(_: Path) -> None:
    """Nothing to prepare."""


def test_track(tmp_path: Path, portrait: Path) -> None:
    video = tmp_path / "in.avi"
    frame = cv2.resize(read_image(portrait), (192, 192), interpolation=cv2.INTER_AREA)
    with VideoWriter(video, 25, 192, 192) as writer:
        for _ in range(FRAMES):
            writer.write(frame)

    def check(work: Path, output: str) -> str:
        lines, result = work / "out.jsonl", work / "out.avi"
        records = []
        if lines.exists():
            records = [json.loads(line) for line in lines.read_text().splitlines()]
        frames = 0
        if result.exists():
            with VideoReader(result) as made:
                frames = sum(1 for _ in made)
        made_records = sum("frame" in record for record in records)
        assert made_records == frames
        if output:
            assert f" {frames} frames" in output
            assert "summary" in records[-1]
        return f"{frames} frames, {len(records)} lines"

    arguments = ("--output", "WORK/out.avi", "--tracks", "WORK/out.jsonl")
    Trial(tmp_path, check, nothing).run(1, "mobileface", "track", str(video), *arguments)


def test_add_folder(tmp_path: Path, portrait: Path) -> None:
    people, image = tmp_path / "people", read_image(portrait)
    for number in range(PEOPLE):
        folder = people / f"person {number:02}"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), image[number:, number:])
    empty = tmp_path / "empty.gallery"
    create = [sys.executable, "-m", "mobileface", "gallery", "create", "--gallery", str(empty)]
    subprocess.run([*create, "--embedder", "embedding_dlib"], check=True, capture_output=True)

    def begin(work: Path) -> None:
        shutil.copy(empty, work / "people.gallery")

    def check(work: Path, output: str) -> str:
        with Gallery.open(work / "people.gallery") as gallery:
            assert gallery.database.value("PRAGMA integrity_check") == "ok"
            there = {person.name: person.faces for person in gallery.people()}
        lines = [json.loads(line) for line in output.splitlines()]
        assert not any(line["refused"] for line in lines)
        reported = {line["name"] for line in lines}
        assert reported <= set(there)
        assert set(there.values()) <= {1}
        assert len(set(there) - reported) <= 1
        assert {path.name for path in work.iterdir()} == {"people.gallery"}
        return f"{len(there)} people, {len(reported)} reported"

    arguments = ("--gallery", "WORK/people.gallery", "--json")
    Trial(tmp_path, check, begin).run(
        2, "mobileface", "gallery", "add-folder", str(people), *arguments
    )


def test_bench(tmp_path: Path) -> None:
    def check(work: Path, output: str) -> str:
        assert list(work.iterdir()) == []
        return f"{len(json.loads(output)['rows'])} rows" if output else "no rows"

    Trial(tmp_path, check, nothing).run(3, "mobileface", "bench", "--seconds", "4", "--json")


def test_convert_all(tmp_path: Path) -> None:
    def check(work: Path, output: str) -> str:
        listed = read_index(work) if (work / "index.json").exists() else {}
        expected = {"index.json"} if listed else set()
        for entry in listed.values():
            for variant in entry.all_variants:
                expected |= {variant.file, variant.certificate}
                if variant.file.endswith(".onnx"):
                    Session(work / variant.file, expected_sha256=variant.sha256)
        assert {path.name for path in work.iterdir()} == expected
        reported = {line.partition(":")[0] for line in output.splitlines() if " nodes, " in line}
        reported = {name for name in reported if not name.startswith(" ")}
        assert reported <= set(listed)
        return f"{len(listed)} models, {len(reported)} reported"

    arguments = ("--source", str(SOURCE), "--output", "WORK", "--no-verify")
    Trial(tmp_path, check, nothing).run(4, "mobileface_convert", "all", *arguments)

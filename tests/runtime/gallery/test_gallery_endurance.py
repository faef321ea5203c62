"""Galleries under use: writers that are killed, and many readers beside one writer."""

from __future__ import annotations

import multiprocessing
import queue
import random
import signal
import subprocess
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from mobileface.gallery import Gallery, NewFace
from tests.runtime.gallery.gallery_helpers import SIZE, made, vectors

pytestmark = pytest.mark.endurance

KILLS, READERS, PEOPLE = 200, 8, 400

WRITER = """
import sys
import numpy as np
from mobileface.gallery import Gallery, NewFace
first = int(sys.argv[2])
random = np.random.RandomState(first)
with Gallery.open(sys.argv[1], timeout=60) as gallery:
    print("ready", flush=True)
    for number in range(first, first + 10000):
        faces = [NewFace(row, crop=random.bytes(20000))
                 for row in random.standard_normal((2, 64)).astype(np.float32)]
        gallery.add(f"person {number}", faces)
        print(f"person {number}", flush=True)
        if number % 7 == 3 and number - 2 >= first:
            gallery.remove(f"person {number - 2}")
            print(f"-person {number - 2}", flush=True)
"""


def test_killed_writers_lose_nothing_that_was_reported(tmp_path: Path) -> None:
    """SIGKILL at random moments, two hundred times, in the same file."""
    path = tmp_path / "people.gallery"
    made(path).close()
    known: set[str] = set()
    moments = random.Random(7)
    unreported = 0
    for turn in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(path), str(10_000 * turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.06))
            process.kill()
            reported = process.stdout.read().splitlines()
        assert process.returncode == -signal.SIGKILL
        for line in reported:  # the last one may be a part of a line, of somebody who is there
            if line.startswith("-"):
                known.discard(line[1:])
            else:
                known.add(line)
        with Gallery.open(path) as gallery:
            assert gallery.database.value("PRAGMA integrity_check") == "ok"
            assert gallery.database.row("PRAGMA foreign_key_check") is None
            people = {person.name: person.faces for person in gallery.people()}
        assert set(people.values()) <= {2}, "a person is enrolled whole or not at all"
        missing = [name for name in known if name not in people]
        # Who was being removed when the writer was killed may be gone without having been reported.
        assert len(missing) <= 1
        known -= set(missing)
        assert all(int(name.split()[1]) % 7 == 1 for name in missing), missing
        unreported += len(people) - len(known)
        known = set(people)
    print(f"{KILLS} kills, {len(known)} people, {unreported} enrolled and not yet reported")
    assert len(known) > KILLS
    assert unreported <= KILLS


def read_on(path: Path, newest: Any, stop: Event, failures: Any, counts: Any) -> None:
    """Searches until told to stop: whoever was committed before a search began must be found."""
    searches = 0
    try:
        with Gallery.open(path) as gallery:
            while not stop.is_set():
                before = newest.value
                if before < 0:
                    continue
                asked = random.randint(max(before - 5, 0), before)
                (found,) = gallery.search(vectors(1, SIZE, asked))
                if found.best is None or found.best.name != f"person {asked}":
                    failures.put(f"person {asked} of {before} not found: {found.best}")
                searches += 1
    except BaseException as error:
        failures.put(repr(error))
    counts.put(searches)


def test_readers_beside_a_writer_see_every_commit(tmp_path: Path) -> None:
    """Eight processes search while one enrols and removes: no error, nothing stale."""
    path = tmp_path / "people.gallery"
    gallery = made(path)
    context = multiprocessing.get_context("spawn")
    newest = context.Value("i", -1)
    stop, failures, counts = context.Event(), context.Queue(), context.Queue()
    readers = [
        context.Process(target=read_on, args=(path, newest, stop, failures, counts))
        for _ in range(READERS)
    ]
    for reader in readers:
        reader.start()
    with gallery:
        bulk = vectors(2500, SIZE, 99_999)  # so that the readers make and map the matrix
        with gallery.database.write():
            for number, row in enumerate(bulk):
                gallery.add(f"bulk {number}", [NewFace(row)])
        start = time.monotonic()
        number = 0
        while number < PEOPLE or time.monotonic() - start < 20:
            gallery.add(f"person {number}", [NewFace(vectors(1, SIZE, number)[0])])
            newest.value = number
            if number % 10 == 9:
                gallery.remove(f"bulk {number}")
            number += 1
            time.sleep(0.02)
        stop.set()
        searches = [counts.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join(60)
        assert reader.exitcode == 0
    found = []
    while True:
        try:
            found.append(failures.get_nowait())
        except queue.Empty:
            break
    print(f"{number} people enrolled, {sum(searches)} searches by {READERS} processes")
    assert not found, found[:3]
    assert min(searches) > 20

"""Galleries under use: writers that are killed, and many readers beside one writer."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.gallery import Gallery, NewFace
from tests.runtime.gallery.gallery_helpers import SIZE, made, vectors

pytestmark = pytest.mark.endurance

KILLS, READERS, PEOPLE = 200, 8, 400


def write_on(path: Path, first: int, reports: Connection) -> None:
    """Enrols people without end, removes some of them, and reports each."""
    random = np.random.RandomState(first)
    with Gallery.open(path, timeout=60) as gallery:
        reports.send("ready")
        for number in range(first, first + 10000):
            faces = [
                NewFace(row, crop=random.bytes(20000))
                for row in random.standard_normal((2, 64)).astype(np.float32)
            ]
            gallery.add(f"person {number}", faces)
            reports.send(f"person {number}")
            if number % 7 == 3 and number - 2 >= first:
                gallery.remove(f"person {number - 2}")
                reports.send(f"-person {number - 2}")


def reported_until_killed(path: Path, first: int, seconds: float) -> list[str]:
    """What a writer reported until it was killed, so many seconds after it began."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=write_on, args=(path, first, sender))
    process.start()
    sender.close()
    assert receiver.recv() == "ready"
    time.sleep(seconds)
    process.kill()
    reported = []
    with contextlib.suppress(EOFError, OSError):  # the last report may be incomplete
        while True:
            reported.append(receiver.recv())
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return reported


def test_killed_writers_lose_nothing_that_was_reported(tmp_path: Path) -> None:
    """SIGKILL at random moments, two hundred times, in the same file."""
    path = tmp_path / "people.gallery"
    made(path).close()
    known: set[str] = set()
    moments = random.Random(7)
    unreported = 0
    for turn in range(KILLS):
        for report in reported_until_killed(path, 10_000 * turn, moments.uniform(0, 0.06)):
            if report.startswith("-"):
                known.discard(report[1:])
            else:
                known.add(report)
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


def read_on(path: Path, newest: Any, stop: Event, results: Any) -> None:
    """Searches until told to stop: whoever was committed before a search began must be found."""
    searches = 0
    wrong: list[str] = []
    try:
        with Gallery.open(path) as gallery:
            while not stop.is_set():
                before = newest.value
                if before < 0:
                    continue
                asked = random.randint(max(before - 5, 0), before)
                (found,) = gallery.search(vectors(1, SIZE, asked))
                if found.best is None or found.best.name != f"person {asked}":
                    wrong.append(f"person {asked} of {before} not found: {found.best}")
                searches += 1
    except BaseException as error:
        wrong.append(repr(error))
    # A few of them: a process does not end before somebody reads what it put into a queue.
    results.put((searches, len(wrong), wrong[:3]))


def test_readers_beside_a_writer_see_every_commit(tmp_path: Path) -> None:
    """Eight processes search while one enrols and removes: no error, nothing stale."""
    path = tmp_path / "people.gallery"
    gallery = made(path)
    context = multiprocessing.get_context("spawn")
    newest = context.Value("i", -1)
    stop, results = context.Event(), context.Queue()
    readers = [
        context.Process(target=read_on, args=(path, newest, stop, results)) for _ in range(READERS)
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
        reports = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join(60)
        assert reader.exitcode == 0
    searches = [count for count, _, _ in reports]
    print(f"{number} people enrolled, {sum(searches)} searches by {READERS} processes")
    assert not any(wrong for _, wrong, _ in reports), [report for report in reports if report[1]]
    assert min(searches) > 20

"""Events follow a gallery that ``mobileface gallery`` changes beside them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mobileface.commands.main import main
from mobileface.errors import GalleryError
from mobileface.gallery import Gallery, NewFace, Stamp
from mobileface.live.camera_events import CameraEvent
from mobileface.live.event_log import EventLog
from mobileface.live.event_people import EventPeople
from mobileface.live.live_options import EventOptions

from .test_event_log import PICTURES, event

STAMP = Stamp(
    "drawn@1",
    "0" * 64,
    2,
    "arcface112",
    112,
    112,
    "rgb",
    gallery="a1",
    created="2026-11-27T00:00:00+00:00",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gallery of three people."""
    found = tmp_path / "people.gallery"
    with Gallery.create(found, STAMP) as gallery:
        for name in ("Ann", "Bob", "Zoë"):
            gallery.add(name, [NewFace(np.array([1.0, 0.0], np.float32))])
    return found


@contextlib.contextmanager
def watched(path: Path, events: EventLog) -> Iterator[tuple[Gallery, EventPeople]]:
    with Gallery.open(path) as gallery:
        yield gallery, EventPeople(events, lambda: contextlib.nullcontext(gallery))


def log_of(folder: Path | None) -> EventLog:
    return EventLog(EventOptions(folder=folder))


def seen(log: EventLog, name: str, person_id: int | None) -> CameraEvent:
    return log.add(dataclasses.replace(event(log, name), person_id=person_id), PICTURES)


def names(log: EventLog) -> list[tuple[str | None, int | None]]:
    return [(one.name, one.person_id) for one in log.recent()[::-1]]


def people(action: str, path: Path, *words: str | Path) -> None:
    """Runs ``mobileface gallery``, which opens the file on its own."""
    assert main(["gallery", action, "--gallery", str(path), *map(str, words)]) == 0


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("kept", [True, False])
def test_who_is_removed_elsewhere_leaves_the_events(path: Path, tmp_path: Path, kept: bool) -> None:
    folder = tmp_path / "events"
    log = log_of(folder if kept else None)
    with watched(path, log) as (_, watch):
        watch.look()
        ann, bob = seen(log, "Ann", 1), seen(log, "Bob", 2)
        watch.look()
        assert names(log) == [("Ann", 1), ("Bob", 2)]
        people("remove", path, "Bob")
        people("rename", path, "Ann", "Anna")
        watch.look()
        assert names(log) == [("Anna", 1)]
        assert log.face(ann.id) == PICTURES["face"]
        assert log.face(bob.id) is None
    if kept:
        assert b"Bob" not in bytes_of(folder)
        assert names(log_of(folder)) == [("Anna", 1)]


def test_events_go_over_to_the_person_merged_into(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    log = log_of(folder)
    with watched(path, log) as (_, watch):
        watch.look()
        seen(log, "Ann", 1)
        seen(log, "Bob", 2)
        people("merge", path, "Bob", "Ann")
        watch.look()
        assert names(log) == [("Ann", 1), ("Ann", 1)]
    people("merge", path, "Ann", "Zoë")  # while no service runs
    again = log_of(folder)
    with watched(path, again) as (_, watch):
        watch.look()
        assert names(again) == [("Zoë", 3), ("Zoë", 3)]
        people("remove", path, "Zoë")
        watch.look()
    assert names(log_of(folder)) == []


def test_a_merger_into_nobody(path: Path) -> None:
    """Another program erased the other person, without SQLite's foreign keys."""
    log = log_of(None)
    seen(log, "Ann", 1)
    seen(log, "Bob", 2)
    people("merge", path, "Bob", "Zoë")
    connection = sqlite3.connect(path)
    connection.executescript("DELETE FROM face WHERE person = 3; DELETE FROM person WHERE id = 3")
    connection.close()
    with watched(path, log) as (_, watch):
        watch.look()
    assert names(log) == [("Ann", 1)]


def test_who_was_there_before_a_merger(path: Path) -> None:
    """Events are of a time before the other person was enrolled, or before the merged one was."""
    log = log_of(None)
    seen(log, "Bob", 2)
    seen(log, "Lee", 4)  # before a backup was restored, which has no person 4
    time.sleep(1.1)  # times of people are kept in seconds
    with Gallery.open(path) as gallery:
        for name in ("Kim", "Max"):
            gallery.add(name, [NewFace(np.array([0.0, 1.0], np.float32))])
    people("merge", path, "Bob", "Max")
    people("merge", path, "Kim", "Max")
    with watched(path, log) as (_, watch):
        watch.look()
    assert names(log) == [("Max", 5), ("Lee", 4)]


def test_a_late_event_goes_with_the_second_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera may know a person for a second more."""
    monkeypatch.setattr("mobileface.live.event_people._SECOND_LOOK_SECONDS", 0.1)
    log = log_of(None)
    with watched(path, log) as (_, watch):
        watch.look()
        people("remove", path, "Bob")
        watch.look()
        seen(log, "Bob", 2)
        time.sleep(0.12)
        watch.look()
        assert names(log) == []


def test_who_is_removed_while_no_service_runs_leaves_at_the_next_start(
    path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "events"
    with watched(path, log_of(folder)) as (_, watch):
        watch.look()
        seen(watch._events, "Bob", 2)
        seen(watch._events, "Zoë", 3)
    people("remove", path, "Bob")
    log = log_of(folder)
    with watched(path, log) as (_, watch):
        watch.look()
    assert names(log) == [("Zoë", 3)]
    assert b"Bob" not in bytes_of(folder)


def test_events_of_another_gallery_stay_without_ids(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    log = log_of(folder)
    with watched(path, log) as (_, watch):
        watch.look()
    seen(log, "Zoë", 3)
    other = tmp_path / "other.gallery"
    with Gallery.create(other, dataclasses.replace(STAMP, gallery="b2")) as gallery:
        gallery.add("Eve", [NewFace(np.array([1.0, 0.0], np.float32))])
    for _ in range(2):
        again = log_of(folder)
        with watched(other, again) as (_, watch):
            watch.look()
        assert names(again) == [("Zoë", None)]
    assert (folder / "gallery.txt").read_text().strip() == "b2"


def test_people_of_a_restored_backup_do_not_inherit_events(path: Path, tmp_path: Path) -> None:
    """After it, IDs are given again: who gets one has not the events of who had it before."""
    backup, folder = tmp_path / "backup.gallery", tmp_path / "events"
    people("backup", path, backup)
    log = log_of(folder)
    with Gallery.open(path) as gallery:
        gallery.add("Kim", [NewFace(np.array([0.0, 1.0], np.float32))])
    with watched(path, log) as (_, watch):
        watch.look()
        seen(log, "Kim", 4)
    with watched(backup, log) as (_, watch):
        watch.look()
        assert names(log) == [("Kim", 4)]
    time.sleep(1.1)  # times of people are kept in seconds
    with Gallery.open(backup) as gallery:
        gallery.add("Max", [NewFace(np.array([0.0, 1.0], np.float32))])
        assert gallery.last_person_id() == 4
    with watched(backup, log) as (_, watch):
        watch.look()
    assert names(log) == [("Kim", 4)]


def test_a_gallery_that_cannot_be_read_changes_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @contextlib.contextmanager
    def locked() -> Iterator[Gallery]:
        raise GalleryError("is locked", where="people.gallery")
        yield

    log = log_of(None)
    seen(log, "Bob", 77)
    watch = EventPeople(log, locked)
    with caplog.at_level(logging.ERROR):
        watch.look()
        watch.look()
    assert [record.message for record in caplog.records] == [
        "events are not compared with the gallery: people.gallery: is locked"
    ]
    assert names(log) == [("Bob", 77)]


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    folder, theirs = tmp_path / "events", tmp_path / "theirs.txt"
    log = log_of(folder)
    theirs.write_text("precious")
    (folder / "gallery.txt").symlink_to(theirs)
    with watched(path, log) as (_, watch):
        watch.look()
    assert theirs.read_text() == "precious"
    assert (folder / "gallery.txt").is_symlink()

"""Events: what is kept, for how long, and who is told."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path

import pytest

from mobileface.live.camera_events import CameraEvent, read_event
from mobileface.live.clock import SimulatedClock
from mobileface.live.event_files import Kind
from mobileface.live.event_log import EventLog
from mobileface.live.live_options import EventOptions

DAY = 86_400.0


def event(log: EventLog, name: str | None = "Ann", camera: str = "front") -> CameraEvent:
    return CameraEvent(
        id=log.new_id(camera, 7),
        type="person_seen" if name else "unknown_seen",
        camera=camera,
        time="2027-01-15T08:00:00.000Z",
        track_id=7,
        name=name,
        person_id=1 if name else None,
        similarity=0.9,
        threshold=0.8,
        false_match_rate=None,
        bbox=(1.0, 2.0, 3.0, 4.0),
        det_score=0.9,
        faces_used=3,
        delay_ms=12.0,
        since="2027-01-15T08:00:00.000Z",
        seconds=0.0,
    )


PICTURES: dict[Kind, bytes] = {"snapshot": b"s" * 700, "face": b"f" * 300}


def opened(folder: Path | None, clock: SimulatedClock | None = None, **options: object) -> EventLog:
    given = EventOptions(folder=folder, **options)  # type: ignore[arg-type]
    return EventLog(given, clock=clock or SimulatedClock())


def test_a_restart_reads_what_was_written(tmp_path: Path) -> None:
    log = opened(tmp_path / "events")
    added = [log.add(event(log, name), PICTURES) for name in ("Ann", None, "Zoë")]
    assert [e.id for e in added] == sorted({e.id for e in added})
    again = opened(tmp_path / "events")
    assert again.recent() == added[::-1]
    assert again.face(added[0].id) == PICTURES["face"]
    assert again.snapshot(added[2].id) == PICTURES["snapshot"]
    assert (tmp_path / "events").stat().st_mode & 0o077 == 0


def test_filters(tmp_path: Path) -> None:
    log = opened(None)
    added = [log.add(event(log, name, camera)) for name in ("Ann", None) for camera in "ab"]
    assert log.recent(camera="a") == [added[2], added[0]]
    assert log.recent(type="unknown_seen") == [added[3], added[2]]
    assert log.recent(before=added[2].id, limit=1) == [added[1]]
    assert log.recent(after=added[2].id) == [added[3]]


def test_damaged_lines_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = opened(tmp_path)
    first = log.add(event(log))
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("ab") as stream:
        stream.write(b'nonsense\n{"schema": 1}\n\xff\xfe\n' + b"[" * 100_000 + b"\n")
        stream.write(first.to_json().encode()[:60])  # cut off by a crash
    caplog.clear()
    again = opened(tmp_path)
    assert again.recent() == [first]
    assert len(caplog.records) == 1
    second = again.add(event(again))
    assert opened(tmp_path).recent() == [second, first]


@pytest.mark.parametrize(
    "change",
    [{"id": "../../x"}, {"id": 7}, {"type": "hat"}, {"bbox": ["a"]}, {"name": 5}, {"schema": 2}],
    ids=str,
)
def test_lines_that_are_no_events(change: dict[str, object]) -> None:
    line = json.dumps({**event(opened(None)).to_dict(), **change})
    with pytest.raises(ValueError, match=r"event|could not convert"):
        read_event(line)


def test_days_that_are_too_old_are_removed(tmp_path: Path) -> None:
    clock = SimulatedClock()
    log = opened(tmp_path, clock, keep_days=3)
    days = []
    for _ in range(10):
        days.append(log.add(event(log), PICTURES).day)
        clock.advance(DAY)
    kept = sorted(path.stem for path in tmp_path.glob("*.jsonl"))
    assert kept == days[-4:]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == days[-4:]
    assert [e.day for e in log.recent()] == days[-4:][::-1]


def test_the_oldest_pictures_go_first(tmp_path: Path) -> None:
    log = opened(tmp_path, keep_bytes=3500)
    added = [log.add(event(log), PICTURES) for _ in range(6)]
    found = sum(path.stat().st_size for path in tmp_path.rglob("*.jpg"))
    assert found == 3000
    assert [e.snapshot for e in log.recent()] == [True] * 3 + [False] * 3
    assert log.face(added[2].id) is None
    assert log.face(added[3].id) is not None
    assert not opened(tmp_path, keep_bytes=500).add(event(log), PICTURES).snapshot


def test_deleting_forgetting_and_renaming(tmp_path: Path) -> None:
    log = opened(tmp_path)
    ann, stranger, bob, again = (
        log.add(event(log, name), PICTURES) for name in ("Ann", None, "Bob", "Ann")
    )
    assert log.delete(stranger.id)
    assert not log.delete(stranger.id)
    assert not log.delete("../../etc/passwd")
    log.rename("Bob", "Robert")
    log.forget("Ann")
    expected = [dataclasses.replace(bob, name="Robert")]
    assert log.recent() == expected
    assert opened(tmp_path).recent() == expected
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Ann" not in everything
    assert b"Bob" not in everything
    names = {path.name for path in tmp_path.rglob("*.jpg")}
    assert names == {f"{bob.id}.jpg", f"{bob.id}.face.jpg"}
    assert log.snapshot(ann.id) is log.snapshot(again.id) is None


def test_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Subscribers get the event; one warning; nothing half-written."""
    log = opened(tmp_path)
    first = log.add(event(log), PICTURES)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    subscriber = log.subscribe()
    write = os.write

    def full(handle: int, data: bytes) -> int:
        write(handle, data[:10])  # some of it fits
        raise OSError(28, "No space left on device")

    def none_left(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(Path, "write_bytes", none_left)
        events = [log.add(event(log), PICTURES) for _ in range(3)]
    assert [subscriber.get() for _ in range(3)] == events
    assert not any(e.snapshot for e in events)
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    last = log.add(event(log), PICTURES)
    assert opened(tmp_path).recent() == [last, first]


def test_a_slow_subscriber_loses_the_oldest() -> None:
    log, told = opened(None), []
    subscriber = log.subscribe(lambda: told.append(1), size=3)
    added = [log.add(event(log)) for _ in range(5)]
    assert [subscriber.get() for _ in range(4)] == [*added[2:], None]
    assert subscriber.lost == 2
    assert len(told) == 5
    log.unsubscribe(subscriber)
    log.add(event(log))
    assert subscriber.get() is None


def test_lines_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    log = opened(None, stdout=True)
    added = log.add(event(log, "Zoë"))
    assert json.loads(capsys.readouterr().out) == added.to_dict()


def test_pictures_in_memory() -> None:
    log = opened(None)
    added = [log.add(event(log), PICTURES) for _ in range(60)]
    assert log.face(added[-1].id) == PICTURES["face"]
    assert log.face(added[0].id) is None
    assert sum(e.snapshot for e in log.recent(limit=100)) == 50

"""A folder of events in which others have written, or which is damaged."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mobileface.live.camera_events import read_event
from mobileface.live.clock import SimulatedClock

from .test_event_log import DAY, PICTURES, event, opened


@pytest.mark.parametrize(
    "change",
    [
        {"track_id": "x"},
        {"track_id": [[]]},
        {"track_id": True},
        {"person_id": 10**30},
        {"similarity": "high"},
        {"threshold": float("nan")},
        {"det_score": float("inf")},
        {"delay_ms": 10**400},
        {"bbox": [1, 2, 3, 10**400]},
        {"bbox": [1, 2, 3]},
        {"false_match_rate": [1]},
        {"false_match_rate": {"value": None}},
        {"faces_used": None},
        {"snapshot": "yes"},
        {"name": "\ud800"},
        {"camera": "\udfff"},
        {"id": "٢٠٢٦١١٢٧T005400.123456-front-7"},
    ],
    ids=str,
)
def test_fields_of_other_types(tmp_path: Path, change: dict[str, Any]) -> None:
    """What is read must be writable again, and fit the answers of the API."""
    log = opened(tmp_path)
    good = log.add(event(log))
    line = json.dumps({**good.to_dict(), **change})
    with pytest.raises(ValueError, match=r"event|surrogates"):
        read_event(line)
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("a") as stream:
        stream.write(line + "\n")
    again = opened(tmp_path)
    assert again.recent() == [good]
    again.rename("Ann", "Bea")
    assert opened(tmp_path).recent() == [dataclasses.replace(good, name="Bea")]


def tree(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """Links to files and folders outside are neither read, written nor removed."""
    outside, folder = tmp_path / "outside", tmp_path / "events"
    clock = SimulatedClock()
    other = opened(outside, clock)
    secret = other.add(event(other), PICTURES)
    before = tree(outside)
    folder.mkdir()
    (folder / f"{secret.day}.jsonl").symlink_to(outside / f"{secret.day}.jsonl")
    (folder / secret.day).symlink_to(outside / secret.day)
    clock.advance(2 * DAY)
    log = opened(folder, clock, keep_days=3, keep_bytes=2000)
    assert log.recent() == []
    assert log.snapshot(secret.id) is None
    assert not log.delete(secret.id)
    added = log.add(event(log), PICTURES)
    linked = folder / added.day / f"{added.day}T090000.000000-front-7.jpg"
    linked.symlink_to(outside / secret.day / f"{secret.id}.jpg")
    again = opened(folder, clock, keep_days=3, keep_bytes=2000)
    assert again.snapshot(linked.name.removesuffix(".jpg")) is None
    assert again.snapshot(added.id) == PICTURES["snapshot"]
    for _ in range(5):
        clock.advance(DAY)
        again.add(event(again), PICTURES)
    assert tree(outside) == before
    assert (folder / secret.day).is_symlink()
    assert linked.is_symlink()


def test_todays_file_is_a_link_or_a_pipe(tmp_path: Path) -> None:
    """The event is told and kept in memory; nothing is written through, nothing waits."""
    clock = SimulatedClock()
    day = event(opened(None, clock)).day
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    for number, make in enumerate((lambda p: p.symlink_to(precious), os.mkfifo, os.mkdir)):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / f"{day}.jsonl")
        (folder / day).symlink_to(tmp_path)
        log = opened(folder, clock)
        added = log.add(event(log), PICTURES)
        assert log.recent() == [added]
        assert not added.snapshot
    assert precious.read_text() == "as it was"
    assert not list(tmp_path.glob("*.jpg"))


def test_what_is_not_its_own_stays(tmp_path: Path) -> None:
    """Rotation and the limit of bytes remove only the service's own files."""
    clock = SimulatedClock()
    log = opened(tmp_path, clock, keep_days=1, keep_bytes=2500)
    first = log.add(event(log), PICTURES)
    foreign = {
        "99999999.jsonl": b"no date",
        "00000000/notes.txt": b"no date",
        "notes.jsonl": b"mine",
        f"{first.day}/notes.txt": b"mine",
        f"{first.day}/holiday.jpg": b"m" * 5000,
        f"{first.day}/20200101T000000.000000-front-7.jpg": b"of another day",
        f"{first.day}/{first.id}.jpg.bak/inside.jpg": b"mine",
    }
    for name, content in foreign.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(content)
    folder = tmp_path / first.day / "20270115T080001.000000-front-7.jpg"
    folder.mkdir(exist_ok=True)
    again = opened(tmp_path, clock, keep_days=1, keep_bytes=2500)
    assert again.snapshot(folder.name.removesuffix(".jpg")) is None
    for _ in range(6):
        clock.advance(DAY / 2)
        again.add(event(again), PICTURES)
    found = tree(tmp_path)
    assert {name: found.get(name) for name in foreign} == foreign
    assert folder.is_dir()
    assert again.snapshot(first.id) is None
    assert f"{first.day}.jsonl" not in found


def test_a_killed_process_leaves_no_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of pictures are removed by the next start; nobody would find them later."""
    log = opened(tmp_path)
    written = log.add(event(log), PICTURES)
    left: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, _: left.append(self))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        log.add(event(log), PICTURES)
    assert {path.read_bytes() for path in left} == set(PICTURES.values())
    foreign = tmp_path / written.day / ".notes.abcdefgh.jpg"
    foreign.touch()
    opened(tmp_path)
    assert not any(path.exists() for path in left)
    assert foreign.exists()
    assert opened(tmp_path).snapshot(written.id) == PICTURES["snapshot"]

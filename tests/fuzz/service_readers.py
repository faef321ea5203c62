"""The readers of the service: its settings, its keys, and the events of cameras."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobileface.live.event_log import EventLog
from mobileface.live.live_options import EventOptions
from mobileface.serve.api_keys import ApiKeys
from mobileface.serve.settings import read_settings

from .reader import Reader

__all__ = ["SERVICE_READERS"]

ROOT = Path(__file__).resolve().parents[2]
DAY = "20261127"


def _settings() -> list[bytes]:
    """The example, and a file in which all that it has in comments is set."""
    more = b"""
host = "127.0.0.1"
gallery = "people.gallery"
allowed_hosts = ["board.local"]
[limits]
pixels = 1000
[[cameras]]
name = "front"
source = "rtsp://user:secret@host/1"
rotate = 90
detect_every = "auto"
[events]
keep_days = 2.5
[mqtt]
host = "broker"
port = 1883
"""
    return [(ROOT / "examples" / "serve" / "serve.toml").read_bytes(), more]


def _keys() -> list[bytes]:
    return [b"# two\n" + b"a" * 64 + b"\n\n" + b"0123456789abcdef\n"]


def _events() -> list[bytes]:
    lines: list[dict[str, Any]] = [
        {
            "schema": 1,
            "id": f"{DAY}T00540{number}.123456-front-{number}",
            "type": kind,
            "camera": "front",
            "time": f"2026-11-27T00:54:0{number}.123Z",
            "track_id": number,
            "name": name,
            "person_id": name and 1,
            "similarity": 0.981,
            "threshold": 0.94,
            "false_match_rate": {"value": 0.0, "low": 0.0, "high": 0.0002},
            "bbox": [310.5, 120.0, 402.0, 241.5],
            "det_score": 0.93,
            "faces_used": 3,
            "delay_ms": 100.0,
            "since": "2026-11-27T00:53:59.480Z",
            "seconds": 0.543,
            "snapshot": True,
        }
        for number, (kind, name) in enumerate(
            [("person_seen", "Ann"), ("unknown_seen", None), ("left", "Ann")]
        )
    ]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Nothing is logged: each of thousands of files would have its line."""
    log = logging.getLogger(name)
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


def _read_events(path: Path) -> int:
    """Starts a log on the file; lines that are no events are left out, and all others answer."""
    with _silent("mobileface.live"), tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, Path(folder) / f"{DAY}.jsonl")
        log = EventLog(EventOptions(folder=Path(folder), keep_days=36_500))
        found = log.recent(limit=1000)
        for event in found:
            json.loads(event.to_json())
        log.forget("Ann")
        return len(found)


SERVICE_READERS = (
    Reader("serve_settings", _settings, lambda path: read_settings(path, {}), ".toml"),
    Reader("api_keys", _keys, ApiKeys.read, ".txt"),
    Reader("events", _events, _read_events, ".jsonl"),
)

"""Events over HTTP: list, stream, pictures, enrolment, removal; forgetting a person."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from mobileface.gallery import Gallery
from mobileface.live.camera_events import CameraEvent
from mobileface.live.live_options import CameraOptions, EventOptions
from mobileface.serve.settings import ServeSettings
from mobileface.vision.video import VideoWriter

from .conftest import PORTRAIT
from .running import Running, serving

API = "/api/v1/events"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a portrait that sways."""
    image = cv2.imread(str(PORTRAIT))
    assert image is not None
    image = cv2.resize(image, (480, 480))
    path = tmp_path_factory.mktemp("film") / "portrait.avi"
    with VideoWriter(path, 12.5, 480, 480) as video:
        for number in range(25):
            moved = np.roll(image, round(6 * np.sin(number / 4)), axis=1)
            video.write(np.asarray(moved, np.uint8))
    return path


@pytest.fixture
def watching(film: Path, tmp_path: Path) -> Iterator[Running]:
    settings = ServeSettings(
        gallery=tmp_path / "people.gallery",
        cameras=(CameraOptions("front", str(film)),),
        events=EventOptions(folder=tmp_path / "events", cooldown=0.5),
    )
    with serving(settings) as server:
        yield server


def seconds_until(condition: Callable[[], bool], most: float = 10) -> float:
    """How long it takes until a condition holds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < most
        time.sleep(0.02)
    return time.monotonic() - start


def wait_for(server: Running, kind: str, name: str | None = None) -> CameraEvent:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for event in server.service.live.events.recent(type=kind):  # type: ignore[arg-type]
            if event.name == name:
                return event
        time.sleep(0.02)
    raise AssertionError(f"no {kind} of {name}")


def test_a_stranger_is_enrolled_from_an_event_and_named(watching: Running, tmp_path: Path) -> None:
    """The whole way: unknown, enrolled, named, renamed, forgotten."""
    event = wait_for(watching, "unknown_seen")
    with watching.client() as client:
        (listed,) = client.get(f"{API}?type=unknown_seen&camera=front&limit=1").json()["events"]
        assert listed["id"] == event.id
        assert listed["schema"] == 1
        assert listed["snapshot"] is True
        assert client.get(f"{API}?before={event.id}").json()["events"] == []
        for kind in ("snapshot", "face"):
            answer = client.get(f"{API}/{event.id}/{kind}")
            assert answer.headers["content-type"] == "image/jpeg"
            assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), 1) is not None
        answer = client.post(f"{API}/{event.id}/enrol", json={"name": "Eileen"})
        assert answer.status_code == 201, answer.text
        person = answer.json()
        assert (person["name"], len(person["faces"])) == ("Eileen", 1)
        seen = wait_for(watching, "person_seen", "Eileen")
        assert seen.person_id == person["person_id"]
        assert seen.threshold is not None
        assert seen.similarity is not None
        assert seen.similarity >= seen.threshold
        assert seen.faces_used >= 2
        address = f"/api/v1/people/{person['person_id']}"
        assert client.patch(address, json={"name": "Collins"}).status_code == 200
        wait_for(watching, "person_seen", "Collins")
        assert "Eileen" not in client.get(API).text
        assert client.delete(address).status_code == 200
        assert "Collins" not in client.get(API).text
        assert client.get(f"{API}/{seen.id}/face").status_code == 404
    lines = b"".join(path.read_bytes() for path in tmp_path.rglob("*.jsonl"))
    assert b"Collins" not in lines
    assert b"Eileen" not in lines


@pytest.mark.slow
def test_another_process_renames_merges_and_removes_a_person(
    watching: Running, tmp_path: Path
) -> None:
    """Names change in the state and in all events as soon as the gallery is read."""
    unknown = wait_for(watching, "unknown_seen")
    state = lambda client: client.get("/api/v1/cameras").json()["cameras"][0]  # noqa: E731
    with watching.client() as client:
        client.post(f"{API}/{unknown.id}/enrol", json={"name": "Eileen"}).raise_for_status()
        seen = wait_for(watching, "person_seen", "Eileen")
        with Gallery.open(tmp_path / "people.gallery") as gallery:
            gallery.rename("Eileen", "Collins")
            renamed = seconds_until(lambda: "Eileen" not in str(state(client)["people"]))
            assert "Collins" in str(state(client)["people"])
            gallery.add_person("Cyd")
            gallery.merge("Collins", "Cyd")
            merged = seconds_until(lambda: "Collins" not in str(state(client)["people"]))
            assert [one["name"] for one in state(client)["people"]] == ["Cyd"]
            gallery.remove("Cyd")
        gone = seconds_until(lambda: "Cyd" not in str(state(client)["people"]))
        print(f"renamed after {renamed:.2f}, merged {merged:.2f}, gone {gone:.2f} s")
        events = watching.service.live.events
        folder = tmp_path / "events"
        left = seconds_until(
            lambda: (
                not any(
                    name in path.read_bytes()
                    for path in folder.glob("*.jsonl")
                    for name in (b"Eileen", b"Collins", b"Cyd")
                )
            )
        )
        print(f"out of the events {left:.2f} s later")
        assert events.find(seen.id) is None
        assert events.find(unknown.id) is None
        seconds_until(lambda: len(events.recent(after=seen.id)) >= 1)  # a stranger again
        assert {event.name for event in events.recent(after=seen.id)} == {None}


def test_an_event_that_was_enrolled_goes_with_the_person(watching: Running, tmp_path: Path) -> None:
    """The first picture of somebody is of an event without a name."""
    unknown = wait_for(watching, "unknown_seen")
    subscriber = watching.service.live.events.subscribe()
    with watching.client() as client:
        person = client.post(f"{API}/{unknown.id}/enrol", json={"name": "Eileen"}).json()
        (event,) = [e for e in client.get(API).json()["events"] if e["id"] == unknown.id]
        assert (event["name"], event["person_id"]) == ("Eileen", person["person_id"])
        wait_for(watching, "person_seen", "Eileen")
        assert client.delete(f"/api/v1/people/{person['person_id']}").status_code == 200
        for kind in ("face", "snapshot"):
            assert client.get(f"{API}/{unknown.id}/{kind}").status_code == 404
    assert not list(tmp_path.rglob(f"{unknown.id}*"))
    waiting = iter(subscriber.get, None)
    assert "Eileen" not in {event.name for event in waiting}


def test_after_a_merger_events_have_the_other_id(watching: Running) -> None:
    unknown = wait_for(watching, "unknown_seen")
    with watching.client() as client:
        one = client.post(f"{API}/{unknown.id}/enrol", json={"name": "Eileen"}).json()
        wait_for(watching, "person_seen", "Eileen")
        data, files = {"name": "Collins"}, {"files": ("other.jpg", PORTRAIT.read_bytes())}
        other = client.post("/api/v1/people", data=data, files=files).json()
        merged = client.post(
            f"/api/v1/people/{one['person_id']}/merge", json={"into": other["person_id"]}
        )
        assert merged.status_code == 200
        found = client.get(API).json()["events"]
    assert {(e["name"], e["person_id"]) for e in found} <= {
        (None, None),
        ("Collins", other["person_id"]),
    }
    assert "Collins" in {event["name"] for event in found}


def test_deleting(watching: Running) -> None:
    event = wait_for(watching, "unknown_seen")
    with watching.client() as client:
        assert client.delete(f"{API}/{event.id}").json() == {"deleted": 1}
        assert client.delete(f"{API}/{event.id}").status_code == 404
        assert client.get(f"{API}/{event.id}/snapshot").status_code == 404
        assert client.post(f"{API}/{event.id}/enrol", json={"name": "A"}).status_code == 404
        for bad in ("x", "..%2F..%2Fetc%2Fpasswd", "20270115T080000.000000-front-1"):
            assert client.get(f"{API}/{bad}/face").status_code == 404


def read_events(answer: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, by the fields of server-sent events."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield fields
        fields = {}


def test_the_stream_of_events_resumes(watching: Running) -> None:
    log, seen = watching.service.live.events, wait_for(watching, "unknown_seen")
    with watching.client() as client:
        with client.stream("GET", f"{API}/stream") as answer:
            log.add(dataclasses.replace(seen, id=log.new_id("front", 98)))
            assert answer.headers["content-type"].startswith("text/event-stream")
            first = next(read_events(answer))
        event = json.loads(first["data"])
        assert (event["id"], event["type"]) == (first["id"], first["event"])
        missed = log.add(dataclasses.replace(seen, id=log.new_id("front", 99)))
        later = log.new_id("front", 100)
        headers = {"Last-Event-ID": first["id"]}
        ids = []
        with client.stream("GET", f"{API}/stream", headers=headers) as answer:
            for found in read_events(answer):
                ids.append(found["id"])
                if found["id"] == missed.id:
                    log.add(dataclasses.replace(missed, id=later))
                if found["id"] == later:
                    break
    assert ids == sorted(set(ids))
    assert ids[0] > first["id"]

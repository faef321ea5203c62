"""Events over MQTT: a real broker, Home Assistant's discovery, and a broker that goes away."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mobileface
from mobileface.errors import InputError
from mobileface.live.camera_state import Seen
from mobileface.live.discovery import discovery_of
from mobileface.live.hub import Hub
from mobileface.live.live_options import CameraOptions, EventOptions, MqttOptions
from tests.conftest import find_daemon

from .streaming import network_camera
from .test_event_log import event


class Broker:
    """mosquitto on a free port, which can be stopped and started again.

    If root starts it, it stays root: else it could not keep its sessions in the folder.
    """

    def __init__(self, folder: Path, access: str = "allow_anonymous true\n") -> None:
        with socket.create_server(("127.0.0.1", 0)) as place:
            self.port: int = place.getsockname()[1]
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\n{access}"
            f"persistence true\npersistence_location {folder}/\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        program = find_daemon("mosquitto")
        assert program is not None
        self._process = subprocess.Popen([program, "-c", str(self._settings)], stderr=-3)
        wait_for(self._listens)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        with socket.socket() as place:
            return place.connect_ex(("127.0.0.1", self.port)) == 0


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path)
    yield found
    found.stop()


class Listener:
    """A client that notes the messages of each topic."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.last: dict[str, str] = {}
        self.all: dict[str, list[str]] = {}
        self.client = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self.client.on_message = self._note
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _note(self, _: Any, __: Any, message: Any) -> None:
        self.last[message.topic] = message.payload.decode()
        self.all.setdefault(message.topic, []).append(self.last[message.topic])

    def count(self, topic: str) -> int:
        """How many messages came."""
        return len(self.all.get(topic, ()))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    found = Listener(broker.port)
    yield found
    found.close()


@pytest.fixture
def hub(broker: Broker, tmp_path: Path) -> Iterator[Hub]:
    """A camera that is not there: the test says what it sees."""
    cameras = [CameraOptions("front", str(tmp_path / "none.mp4"))]
    options = MqttOptions("127.0.0.1", broker.port)
    hub = Hub(cameras, EventOptions(), options, None, None)  # type: ignore[arg-type]
    hub.start()
    yield hub
    hub.close()


@pytest.mark.needs_mosquitto
def test_events_people_and_status(
    hub: Hub, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    wait_for(lambda: listener.last.get("mobileface/status") == "online")
    wait_for(lambda: listener.last.get("mobileface/front/person") == "nobody")
    added = hub.events.add(event(hub.events, "Zoë"))
    wait_for(lambda: "mobileface/front/event" in listener.last)
    said = json.loads(listener.last["mobileface/front/event"])
    assert said == {"event_type": "person_seen", **added.to_dict()}
    assert hub.mqtt is not None
    undecided, stranger = Seen(1, None, "", decided=False), Seen(1, None, "")
    for people, person, somebody, names, strangers in (
        ((undecided,), "nobody", "OFF", [], 0),
        ((stranger,), "stranger", "ON", [], 1),
        ((stranger, Seen(2, "Zoë", ""), undecided), "Zoë", "ON", ["Zoë"], 1),
        ((Seen(2, "Zoë", ""), Seen(4, "Ann", "")), "Ann", "ON", ["Zoë", "Ann"], 0),
        ((), "nobody", "OFF", [], 0),
        ((Seen(3, "nobody", ""),), "nobody", "ON", ["nobody"], 0),
        ((), "nobody", "OFF", [], 0),
    ):
        hub.mqtt.people("front", people)
        wait_for(lambda p=person: listener.last["mobileface/front/person"] == p)  # type: ignore[misc]
        wait_for(lambda s=somebody: listener.last["mobileface/front/somebody"] == s)  # type: ignore[misc]
        whole = {"count": len(names) + strangers, "names": names, "strangers": strangers}
        wait_for(lambda w=whole: json.loads(listener.last["mobileface/front/people"]) == w)  # type: ignore[misc]
    start = time.monotonic()
    hub.close()
    assert time.monotonic() - start < 3
    wait_for(lambda: listener.last["mobileface/status"] == "offline")
    assert not [r for r in caplog.records if "MQTT" in r.getMessage()]  # that end is no fault


@pytest.mark.needs_mosquitto
def test_a_camera_that_is_away(broker: Broker, listener: Listener) -> None:
    """That nobody is seen by a camera that is away must not look as if nobody were there."""
    with network_camera() as camera:
        options = MqttOptions("127.0.0.1", broker.port)
        cameras = [CameraOptions("front", camera.url), CameraOptions("back", "none.mp4")]
        hub = Hub(cameras, EventOptions(), options, None, None)  # type: ignore[arg-type]
        hub.start()
        try:
            wait_for(lambda: listener.last.get("mobileface/front/status") == "online")
            before = listener.count("mobileface/front/status")
            camera.cut()
            since = lambda: listener.all["mobileface/front/status"][before:]  # noqa: E731
            wait_for(lambda: "offline" in since() and since()[-1] == "online")
            camera.close()
            wait_for(lambda: listener.last["mobileface/front/status"] == "offline")
            assert listener.last["mobileface/back/status"] == "offline"
            assert listener.last["mobileface/status"] == "online"
        finally:
            hub.close()


DISCOVERY = "homeassistant/device/mobileface_front/config"
ENTITIES = {
    "person": ("sensor", "person"),
    "people": ("sensor", "people"),
    "somebody": ("binary_sensor", "somebody"),
    "event": ("event", "event"),
}
"""Platform and last part of the topic of what Home Assistant 2026.2.3 made of it."""


@pytest.mark.needs_mosquitto
def test_discovery_and_birth(hub: Hub, listener: Listener) -> None:
    wait_for(lambda: "mobileface/status" in listener.last)  # published last
    device = json.loads(listener.last[DISCOVERY])
    assert device["device"]["identifiers"] == ["mobileface_front"]
    assert device["origin"] == {"name": "mobileface", "sw_version": mobileface.__version__}
    places = [place["topic"] for place in device["availability"]]
    assert places == ["mobileface/status", "mobileface/front/status"]
    assert device["availability_mode"] == "all"
    hub.events.add(event(hub.events))
    wait_for(lambda: "mobileface/front/event" in listener.last)
    found = device["components"]
    assert found.keys() == ENTITIES.keys()
    for key, (platform, place) in ENTITIES.items():
        assert found[key]["platform"] == platform
        assert found[key]["unique_id"] == f"mobileface_front_{key}"
        assert found[key]["state_topic"] == f"mobileface/front/{place}"
    topics = [*places, *(entity["state_topic"] for entity in found.values())]
    assert not [topic for topic in topics if topic not in listener.last]
    said = json.loads(listener.last["mobileface/front/event"])
    assert said["event_type"] in found["event"]["event_types"]
    assert found["people"]["value_template"] == "{{ value_json.count }}"
    before = listener.count(DISCOVERY)
    for text in ("offline", "online"):
        listener.client.publish("homeassistant/status", text, qos=1)
    wait_for(lambda: listener.count(DISCOVERY) > before)
    time.sleep(0.3)
    assert listener.count(DISCOVERY) == before + 1  # not for "offline"


@pytest.mark.parametrize("topic", ["mobileface", "haus/Gesichter", "zwei Häuser"])
def test_discovery_of_other_topics(topic: str) -> None:
    """Home Assistant documents which characters the IDs in a discovery's topic may have."""
    where, device = discovery_of(topic, "front", "ha/found")
    assert re.fullmatch(r"ha/found/device/[a-zA-Z0-9_-]+/config", where), where
    for entity in device["components"].values():
        assert entity["state_topic"].startswith(f"{topic}/front/")
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", entity["unique_id"])


@pytest.mark.needs_mosquitto
@pytest.mark.parametrize("off", ["", None])
def test_no_discovery(broker: Broker, listener: Listener, tmp_path: Path, off: str | None) -> None:
    cameras = [CameraOptions("front", str(tmp_path / "none.mp4"))]
    options = MqttOptions("127.0.0.1", broker.port, discovery=off)
    hub = Hub(cameras, EventOptions(), options, None, None)  # type: ignore[arg-type]
    hub.start()
    wait_for(lambda: listener.last.get("mobileface/status") == "online")
    hub.close()
    assert listener.last["mobileface/front/person"] == "nobody"
    assert not [topic for topic in listener.last if topic.startswith("homeassistant/")]


@pytest.mark.needs_mosquitto
def test_a_broker_that_comes_back_gets_what_was_missed(
    hub: Hub, broker: Broker, listener: Listener
) -> None:
    assert hub.mqtt is not None
    wait_for(lambda: listener.last.get("mobileface/status") == "online")  # it has subscribed
    broker.stop()
    wait_for(lambda: not hub.mqtt.connected)
    hub.mqtt.people("front", (Seen(1, "Ann", ""),))
    added = hub.events.add(event(hub.events))
    broker.start()
    wait_for(lambda: listener.last.get("mobileface/front/person") == "Ann", 20)
    wait_for(lambda: added.id in listener.last.get("mobileface/front/event", ""), 20)
    wait_for(lambda: listener.last["mobileface/status"] == "online")


@pytest.mark.needs_mosquitto
def test_more_than_waits_for_a_broker(hub: Hub, broker: Broker, listener: Listener) -> None:
    """A full queue of events must not keep back that the service is online, and who is there."""
    assert hub.mqtt is not None
    wait_for(lambda: hub.mqtt.connected)
    wait_for(lambda: "mobileface/status" in listener.last)
    broker.stop()
    wait_for(lambda: not hub.mqtt.connected)
    for number in range(1200):
        hub.mqtt.people("front", (Seen(1, f"person {number}", ""),))
        hub.events.add(event(hub.events, f"person {number}"))
    hub.mqtt.people("front", ())
    listener.last.clear()
    broker.start()
    wait_for(lambda: listener.last.get("mobileface/status") == "online", 20)
    wait_for(lambda: listener.count("mobileface/front/event") >= 900, 20)
    assert listener.last["mobileface/front/person"] == "nobody"
    assert listener.last["mobileface/front/somebody"] == "OFF"
    assert DISCOVERY in listener.last


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(InputError, match=r"pip install 'mobileface\[mqtt\]'"):
        Hub([], EventOptions(), MqttOptions("localhost"), None, None)  # type: ignore[arg-type]


def test_a_password_file_that_is_missing(tmp_path: Path) -> None:
    options = MqttOptions("localhost", user="u", password_file=tmp_path / "none")
    with pytest.raises(InputError, match="none: cannot be read"):
        Hub([], EventOptions(), options, None, None)  # type: ignore[arg-type]

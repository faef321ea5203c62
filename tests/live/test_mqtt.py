"""Events over MQTT: a real broker, Home Assistant's discovery, and a broker that goes away."""

from __future__ import annotations

import json
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
from mobileface.live.hub import Hub
from mobileface.live.live_options import CameraOptions, EventOptions, MqttOptions
from tests.conftest import find_daemon

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
    """A client that notes the last message of each topic, and how many there were."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.last: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.client = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self.client.on_message = self._note
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _note(self, _: Any, __: Any, message: Any) -> None:
        self.last[message.topic] = message.payload.decode()
        self.counts[message.topic] = self.counts.get(message.topic, 0) + 1

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
def test_events_people_and_status(hub: Hub, listener: Listener) -> None:
    wait_for(lambda: listener.last.get("mobileface/status") == "online")
    wait_for(lambda: listener.last.get("mobileface/front/person") == "nobody")
    added = hub.events.add(event(hub.events, "Zoë"))
    wait_for(lambda: "mobileface/front/event" in listener.last)
    assert json.loads(listener.last["mobileface/front/event"]) == added.to_dict()
    assert hub.mqtt is not None
    for people, person, somebody in (
        ((Seen(1, None, "", decided=False),), "nobody", "OFF"),
        ((Seen(1, None, ""),), "unknown", "ON"),
        ((Seen(1, None, ""), Seen(2, "Zoë", "")), "Zoë", "ON"),
        ((), "nobody", "OFF"),
        ((Seen(3, "nobody", ""),), "nobody", "ON"),
        ((), "nobody", "OFF"),
    ):
        hub.mqtt.people("front", people)
        wait_for(lambda p=person: listener.last["mobileface/front/person"] == p)  # type: ignore[misc]
        wait_for(lambda s=somebody: listener.last["mobileface/front/somebody"] == s)  # type: ignore[misc]
    start = time.monotonic()
    hub.close()
    assert time.monotonic() - start < 3
    wait_for(lambda: listener.last["mobileface/status"] == "offline")


@pytest.mark.needs_mosquitto
def test_discovery_and_birth(hub: Hub, listener: Listener) -> None:
    topics = [
        "homeassistant/sensor/mobileface_front/person/config",
        "homeassistant/binary_sensor/mobileface_front/somebody/config",
    ]
    wait_for(lambda: all(topic in listener.last for topic in topics))
    for topic in topics:
        entity = json.loads(listener.last[topic])
        assert entity["availability_topic"] == "mobileface/status"
        assert entity["state_topic"] in listener.last  # what it refers to is there
        assert entity["device"]["identifiers"] == ["mobileface_front"]
        assert entity["unique_id"].startswith("mobileface_front_")
        assert entity["origin"] == {"name": "mobileface", "sw_version": mobileface.__version__}
    before = dict(listener.counts)
    listener.client.publish("homeassistant/status", "online", qos=1)
    wait_for(lambda: all(listener.counts[topic] > before[topic] for topic in topics))


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
    wait_for(lambda: listener.counts.get("mobileface/front/event", 0) >= 900, 20)
    assert listener.last["mobileface/front/person"] == "nobody"
    assert listener.last["mobileface/front/somebody"] == "OFF"
    topic = "homeassistant/sensor/mobileface_front/person/config"
    assert topic in listener.last


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(InputError, match=r"pip install 'mobileface\[mqtt\]'"):
        Hub([], EventOptions(), MqttOptions("localhost"), None, None)  # type: ignore[arg-type]


def test_a_password_file_that_is_missing(tmp_path: Path) -> None:
    options = MqttOptions("localhost", user="u", password_file=tmp_path / "none")
    with pytest.raises(InputError, match="none: cannot be read"):
        Hub([], EventOptions(), options, None, None)  # type: ignore[arg-type]

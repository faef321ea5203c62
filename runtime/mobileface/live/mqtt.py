"""Events for an MQTT broker, and Home Assistant's discovery.

Topics, with the first part ``mobileface`` and a camera ``front``::

    mobileface/status             "online" or "offline", retained; the last will says "offline"
    mobileface/front/event        each event, JSON
    mobileface/front/person       who is there, retained: a name, "unknown" or "nobody"
    mobileface/front/somebody     "ON" or "OFF", retained

Events wait while the broker is away (QoS 1). What is retained does not (QoS 0): it is told anew
with each connection, and an older state that came after it would stay.

Discovery (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery) announces for each
camera a sensor "last person" and a binary sensor "somebody here"; again whenever Home Assistant
says "online".
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..errors import InputError
from ..host.files import reason
from .camera_events import CameraEvent
from .camera_state import Seen
from .live_options import MqttOptions

__all__ = ["MqttPublisher"]

_log = logging.getLogger("mobileface.live")

_MOST_WAITING = 1000
"""Events that wait while the broker is away; further ones are dropped."""

_KEEP_ALIVE_SECONDS, _LONGEST_PAUSE = 30, 30
_ID = re.compile(r"[^A-Za-z0-9_-]")


class MqttPublisher:
    """Publishes what cameras see. Threads may share it.

    Args:
        options: The broker.
        cameras: Names of the cameras.

    Raises:
        InputError: If the package paho-mqtt is missing, or the password's file cannot be read.
    """

    def __init__(self, options: MqttOptions, cameras: Sequence[str]) -> None:
        self._options, self._cameras = options, tuple(cameras)
        self._people: dict[str, tuple[str, bool]] = dict.fromkeys(cameras, ("nobody", False))
        self._connected = self._said = False
        self._client = self._made_client()

    @property
    def connected(self) -> bool:
        """True while the broker answers."""
        return self._connected

    def start(self) -> None:
        """Connects on a thread of its own, and again whenever the connection is lost."""
        options = self._options
        self._client.connect_async(options.host, options.port, _KEEP_ALIVE_SECONDS)
        self._client.loop_start()

    def close(self) -> None:
        """Says "offline" and disconnects."""
        if self._connected:
            sent = self._publish("status", "offline", retain=True)
            with contextlib.suppress(RuntimeError, ValueError):
                sent.wait_for_publish(0.3)
        self._client.disconnect()
        # Its thread may hang in an attempt to connect, and is left to itself then.
        end = threading.Thread(target=self._client.loop_stop, daemon=True)
        end.start()
        end.join(0.3)

    def event(self, event: CameraEvent) -> None:
        """Publishes an event."""
        self._publish(f"{event.camera}/event", event.to_json())

    def people(self, camera: str, people: Sequence[Seen]) -> None:
        """Publishes who is at a camera, if that has changed."""
        named = [person.name for person in people if person.name is not None]
        decided = [person for person in people if person.decided]
        person = named[-1] if named else "unknown" if decided else "nobody"
        found = (person, bool(decided))  # a person may be called "nobody"
        if found != self._people.get(camera):
            self._people[camera] = found
            self._publish_person(camera)

    def _publish_person(self, camera: str) -> None:
        person, there = self._people[camera]
        self._publish(f"{camera}/person", person, retain=True)
        self._publish(f"{camera}/somebody", "ON" if there else "OFF", retain=True)

    def _publish(self, topic: str, text: str, *, retain: bool = False) -> Any:
        qos = 0 if retain else 1
        return self._client.publish(f"{self._options.topic}/{topic}", text, qos=qos, retain=retain)

    def _made_client(self) -> Any:
        """A client of paho-mqtt, which is imported only here."""
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ModuleNotFoundError as error:
            raise InputError(
                "the package 'paho-mqtt' is not installed",
                where="mqtt",
                hint="run: pip install 'mobileface[mqtt]'",
            ) from error
        options, trusted = self._options, self._tls()
        client = Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(_MOST_WAITING)
        client.reconnect_delay_set(1, _LONGEST_PAUSE)
        client.will_set(f"{options.topic}/status", "offline", qos=1, retain=True)
        if options.user is not None:
            client.username_pw_set(options.user, self._password())
        if trusted is not None:
            client.tls_set_context(trusted)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = lambda *_: self._say("cannot be reached")
        client.on_message = lambda *_: self._announce()
        return client

    def _tls(self) -> ssl.SSLContext | None:
        """What TLS trusts; None without TLS."""
        if not self._options.tls:
            return None
        path = self._options.ca_file
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as error:  # also if it holds no certificate
            text = f"cannot be used as certificates ({reason(error)})"
            raise InputError(text, where=str(path)) from error

    def _password(self) -> str | None:
        path = self._options.password_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error

    def _on_connect(self, client: Any, _: Any, __: Any, code: Any, ___: Any) -> None:
        if code.is_failure:
            self._say(f"refused the connection ({code})")
            return
        self._connected, self._said = True, False
        if self._options.discovery:
            client.subscribe(f"{self._options.discovery}/status", qos=1)
        self._announce()

    def _on_disconnect(self, *_: Any) -> None:
        if self._connected:
            self._say("the connection is lost")
        self._connected = False

    def _say(self, text: str) -> None:
        if not self._said:
            _log.warning("MQTT broker %s:%d: %s", self._options.host, self._options.port, text)
        self._said = True

    def _announce(self) -> None:
        """Says that the cameras are there, what they are, and who is before them."""
        for camera in self._cameras:
            if self._options.discovery:
                for topic, entity in self._entities(camera):
                    self._client.publish(topic, json.dumps(entity), retain=True)
            self._publish_person(camera)
        self._publish("status", "online", retain=True)

    def _entities(self, camera: str) -> list[tuple[str, dict[str, Any]]]:
        """Discovery topics and configurations of a camera's two entities."""
        topic = self._options.topic
        node = _ID.sub("_", topic)
        shared = {
            "availability_topic": f"{topic}/status",
            "origin": {"name": "mobileface", "sw_version": __version__},
            "device": {
                "identifiers": [f"{node}_{camera}"],
                "name": f"Camera {camera}",
                "manufacturer": "mobileface",
                "model": "mobileface serve",
                "sw_version": __version__,
            },
        }
        person = {
            "name": "Last person",
            "unique_id": f"{node}_{camera}_person",
            "state_topic": f"{topic}/{camera}/person",
            "json_attributes_topic": f"{topic}/{camera}/event",
            "icon": "mdi:account",
        }
        somebody = {
            "name": "Somebody here",
            "unique_id": f"{node}_{camera}_somebody",
            "state_topic": f"{topic}/{camera}/somebody",
            "device_class": "occupancy",
        }
        base = self._options.discovery
        return [
            (f"{base}/sensor/{node}_{camera}/person/config", {**person, **shared}),
            (f"{base}/binary_sensor/{node}_{camera}/somebody/config", {**somebody, **shared}),
        ]

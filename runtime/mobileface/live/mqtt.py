"""Events for an MQTT broker, and Home Assistant's discovery.

Topics, with the first part ``mobileface`` and a camera ``front``::

    mobileface/status             "online" or "offline", retained; the last will says "offline"
    mobileface/front/status       the same, of the camera; both hold
    mobileface/front/event        each event, JSON
    mobileface/front/person       who is there, retained: a name, "stranger" or "nobody"
    mobileface/front/people       all who are there, retained: JSON, how many, names, strangers
    mobileface/front/somebody     "ON" or "OFF", retained

Home Assistant takes a state "unknown" for no state, hence "stranger".

Events wait while the broker is away (QoS 1). What is retained does not (QoS 0): it is told anew
with each connection, and an older state that came after it would stay.

Discovery announces a device for each camera (`discovery`), again whenever Home Assistant says
"online".
"""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..host.files import reason
from .camera_events import CameraEvent
from .camera_state import Seen
from .discovery import discovery_of
from .live_options import MqttOptions

__all__ = ["MqttPublisher"]

_log = logging.getLogger("mobileface.live")

_MOST_WAITING = 1000
"""Events that wait while the broker is away; further ones are dropped."""

_KEEP_ALIVE_SECONDS, _LONGEST_PAUSE = 30, 30
_BIRTH = b"online"
"""What Home Assistant says when it has started."""


@dataclass(frozen=True, slots=True)
class _Present:
    """Who is at a camera: names in the order in which they came, and a number of strangers."""

    names: tuple[str, ...] = ()
    strangers: int = 0

    @classmethod
    def of(cls, people: Sequence[Seen]) -> _Present:
        names = [person.name for person in people if person.name is not None]
        strangers = sum(person.decided and person.name is None for person in people)
        return cls(tuple(dict.fromkeys(names)), strangers)

    def messages(self) -> dict[str, str]:
        """What is published, by the last part of its topic."""
        count = len(self.names) + self.strangers
        whole = {"count": count, "names": self.names, "strangers": self.strangers}
        one = self.names[-1] if self.names else "stranger" if count else "nobody"
        return {
            "person": one,
            "people": json.dumps(whole, ensure_ascii=False),
            "somebody": "ON" if count else "OFF",  # a person may be called "nobody"
        }


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
        self._present = dict.fromkeys(cameras, _Present())
        self._running = dict.fromkeys(cameras, False)
        self._telling = threading.Lock()  # nothing older follows what is newer
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
        self._connected, self._said = False, True  # no connection is lost from here on
        self._client.disconnect()
        # Its thread may hang in an attempt to connect, and is left to itself then.
        end = threading.Thread(target=self._client.loop_stop, daemon=True)
        end.start()
        end.join(0.3)

    def event(self, event: CameraEvent) -> None:
        """Publishes an event."""
        # Home Assistant's event entities read "event_type", and give the rest as attributes.
        whole = {"event_type": event.type, **event.to_dict()}
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False)
        self._publish(f"{event.camera}/event", text)

    def people(self, camera: str, people: Sequence[Seen]) -> None:
        """Publishes who is at a camera, if that has changed."""
        found = _Present.of(people)
        with self._telling:
            if found != self._present[camera]:
                self._present[camera] = found
                self._publish_present(camera)

    def running(self, camera: str, running: bool) -> None:
        """Publishes whether a camera sends pictures."""
        with self._telling:
            self._running[camera] = running
            self._publish_running(camera)

    def _publish_present(self, camera: str) -> None:
        for topic, text in self._present[camera].messages().items():
            self._publish(f"{camera}/{topic}", text, retain=True)

    def _publish_running(self, camera: str) -> None:
        text = "online" if self._running[camera] else "offline"
        self._publish(f"{camera}/status", text, retain=True)

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
        client.on_message = self._on_message
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

    def _on_message(self, _: Any, __: Any, message: Any) -> None:
        if message.payload == _BIRTH:
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
        options = self._options
        with self._telling:
            for camera in self._cameras:
                if options.discovery:
                    topic, device = discovery_of(options.topic, camera, options.discovery)
                    self._client.publish(topic, json.dumps(device), retain=True)
                self._publish_running(camera)
                self._publish_present(camera)
            self._publish("status", "online", retain=True)

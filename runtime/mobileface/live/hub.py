"""`Hub`: all live cameras, their events and the MQTT broker."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from ..analyzer import FaceAnalyzer
from .camera import LiveCamera
from .camera_state import Observers
from .capture import Playback
from .clock import SYSTEM_CLOCK, Clock
from .event_log import EventLog
from .event_people import EventPeople
from .live_options import CameraOptions, EventOptions, MqttOptions
from .votes import OpenGallery

if TYPE_CHECKING:
    from .mqtt import MqttPublisher

__all__ = ["Hub"]

_CLOSE_SECONDS = 1.8


class Hub:
    """Watches cameras from `start` to `close`.

    Args:
        cameras: The cameras.
        events: What becomes of events.
        mqtt: The broker that gets events; None for none.
        analyzer: Detects and embeds faces; threads may share it.
        gallery: Opens the gallery for one thread at a time, ``with gallery() as people: …``; None:
            everybody is unknown.
        observers: Who is told of frames, events and reconnections.
        playback: How video files are played.
        clock: The time to go by.

    Attributes:
        cameras: The cameras by name.
        events: The events.
        mqtt: What publishes them; None without a broker.

    Raises:
        InputError: If the package for MQTT is missing, or the password's file cannot be read.
        OutputError: If the folder of events cannot be written.
    """

    def __init__(
        self,
        cameras: Sequence[CameraOptions],
        events: EventOptions,
        mqtt: MqttOptions | None,
        analyzer: FaceAnalyzer,
        gallery: OpenGallery | None,
        observers: Observers | None = None,
        *,
        playback: Playback | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.events = EventLog(events, clock=clock)
        self.mqtt = None if mqtt is None else _publisher(mqtt, cameras)
        told = observers or Observers()
        if self.mqtt is not None:
            told = dataclasses.replace(
                told,
                people=_both(told.people, self.mqtt.people),
                running=_both(told.running, self.mqtt.running),
            )
        self.cameras = {
            options.name: LiveCamera(
                options,
                analyzer,
                gallery,
                self.events,
                cooldown=events.cooldown,
                observers=told,
                playback=playback,
                clock=clock,
            )
            for options in cameras
        }
        self._people = None if gallery is None else EventPeople(self.events, gallery)
        self._closed = threading.Event()

    def start(self) -> None:
        """Starts all cameras; one that cannot be opened is tried again and again."""
        if self._people is not None:
            self._people.start()
        if self.mqtt is not None:
            self.events.listen(self.mqtt.event)
            self.mqtt.start()
        for camera in self.cameras.values():
            camera.start()

    def close(self) -> None:
        """Ends all cameras, within three seconds."""
        if self._closed.is_set():
            return
        self._closed.set()
        for camera in self.cameras.values():
            camera.stop()
        if self._people is not None:
            self._people.close()
        end = monotonic() + _CLOSE_SECONDS
        for camera in self.cameras.values():
            camera.close(max(end - monotonic(), 0.05) / 2)
        if self.mqtt is not None:
            self.mqtt.close()

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed.is_set()

    def forget(self, name: str) -> None:
        """A person was deleted: removes their events and pictures, and forgets their tracks.

        Raises:
            OutputError: If a file of events cannot be written.
        """
        for camera in self.cameras.values():
            camera.forget(name)
        self.events.forget(name)

    def rename(self, old: str, new: str, person_id: int | None = None) -> None:
        """A person has another name, and after a merger another ID; in events too.

        Raises:
            OutputError: If a file of events cannot be written.
        """
        for camera in self.cameras.values():
            camera.rename(old, new, person_id)
        self.events.rename(old, new, person_id)


def _publisher(options: MqttOptions, cameras: Sequence[CameraOptions]) -> MqttPublisher:
    """The publisher, whose module is imported only if it is needed."""
    from .mqtt import MqttPublisher

    return MqttPublisher(options, [camera.name for camera in cameras])


def _both(one: Callable[..., None], other: Callable[..., None]) -> Callable[..., None]:
    """A function that calls two."""

    def call(*told: object) -> None:
        one(*told)
        other(*told)

    return call

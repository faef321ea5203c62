"""The options of cameras, of their events and of the MQTT broker that gets them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import InputError

__all__ = ["CameraOptions", "EventOptions", "MqttOptions"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_MOST_DAYS = 36_500
_TOPIC = re.compile(r"[^\x00-\x1f#+/\x7f-\x9f][^\x00-\x1f#+\x7f-\x9f]{0,127}")


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """One camera.

    Attributes:
        name: 1 to 32 letters, digits, "_" or "-"; part of addresses, topics and file names.
        source: Number of a camera, a video file, or the URL of a stream. A file is played in real
            time, and again from its start when it ends.
        rotate: Degrees, clockwise, by which frames are turned: 0, 90, 180 or 270.
        detect_every: Frames from one detection to the next, or "auto"; see `FaceFollower`.
        max_fps: Most frames per second that are analysed; None for all.
        motion: Analyse only while something moves or a face is in the picture.
        threshold: Similarity from which on a face gets a name; None: calibrated for the model.
    """

    name: str
    source: str
    rotate: Literal[0, 90, 180, 270] = 0
    detect_every: int | Literal["auto"] = 1
    max_fps: float | None = None
    motion: bool = True
    threshold: float | None = None

    def __post_init__(self) -> None:
        where = f"camera '{self.name[:40]}'"
        if not _NAME.fullmatch(self.name):
            raise InputError("must be 1 to 32 letters, digits, '_' or '-'", where=f"{where}, name")
        if not self.source.strip():
            raise InputError("must not be empty", where=f"{where}, source")
        if self.detect_every != "auto" and self.detect_every < 1:
            raise InputError("must be 'auto' or at least 1", where=f"{where}, detect_every")
        if self.max_fps is not None and not 0 < self.max_fps < math.inf:
            raise InputError("must be a positive number", where=f"{where}, max_fps")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError("must be a cosine from -1 to 1", where=f"{where}, threshold")


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What becomes of the events of all cameras.

    Attributes:
        folder: Folder for the log and the snapshots; None keeps only the latest events, in memory.
        snapshots: Keep a picture of each event.
        keep_days: Days after which events and snapshots are deleted.
        keep_bytes: Most bytes of snapshots; beyond, the oldest are deleted first.
        cooldown: Seconds in which the same person at the same camera makes no second event.
        stdout: Print events as JSON lines.
    """

    folder: Path | None = None
    snapshots: bool = True
    keep_days: float = 7.0
    keep_bytes: int = 1_000_000_000
    cooldown: float = 30.0
    stdout: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.keep_days <= _MOST_DAYS:
            raise InputError(f"must be above 0 and at most {_MOST_DAYS}", where="events, keep_days")
        if self.keep_bytes < 0:
            raise InputError("must not be negative", where="events, keep_bytes")
        if not 0 <= self.cooldown < math.inf:
            raise InputError("must not be negative", where="events, cooldown")


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """The MQTT broker that gets the events.

    Attributes:
        host: Name or address of the broker.
        port: Its port.
        user: User name; None for none.
        password_file: File with the password; None for none.
        topic: First part of all topics.
        discovery: First part of Home Assistant's discovery topics; None or "" switches it off.
        tls: Use TLS, with the certificates that the system trusts.
        ca_file: Certificates in PEM that TLS trusts instead, such as a household's own.
    """

    host: str
    port: int = 1883
    user: str | None = None
    password_file: Path | None = field(default=None)
    topic: str = "mobileface"
    discovery: str | None = "homeassistant"
    tls: bool = False
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.host:
            raise InputError("must not be empty", where="mqtt, host")
        if not 1 <= self.port <= 65535:
            raise InputError(f"{self.port} is no port", where="mqtt, port")
        for name, topic in (("topic", self.topic), ("discovery", self.discovery or None)):
            if topic is not None and not _TOPIC.fullmatch(topic):
                raise InputError("is no MQTT topic", where=f"mqtt, {name}")

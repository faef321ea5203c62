"""The settings of ``mobileface serve``, read from TOML and overridden by options.

Every field of `ServeSettings` may stand in ``serve.toml``; those of `Limits`, `Compatible`,
`EventOptions` and `MqttOptions` in tables of their own, cameras in ``[[cameras]]``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..errors import InputError
from ..host.files import reason
from ..host.threads import default_threads
from ..live.live_options import CameraOptions, EventOptions, MqttOptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Compatible", "Limits", "ServeSettings", "is_loopback", "read_settings"]

_MOST_BYTES = 1 << 20
"""Size up to which a settings file is read."""

_MOST_WORKERS = 64

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,260}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for.

    Attributes:
        body_bytes: Most bytes of a request's body.
        held_bytes: Most bytes of all requests' bodies at a time; further ones get 503.
        pixels: Most pixels of a picture, checked before it is decoded.
        waiting: Requests that may wait for a worker; further ones get 503 with ``Retry-After``.
        head_seconds: Seconds in which a request's line and headers must have arrived.
        body_seconds: Seconds in which a request's body must have arrived.
        answer_seconds: Seconds after which a client is cut off that takes nothing of its answer.
        connections: Most connections at a time. A further one takes the place of one that waits
            for its next request, or gets 503.
        streams: Most MJPEG and event streams at a time.
    """

    body_bytes: int = 20_000_000
    held_bytes: int = 200_000_000
    pixels: int = 40_000_000
    waiting: int = 32
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    answer_seconds: float = 30.0
    connections: int = 200
    streams: int = 16

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            if not 0 < getattr(self, each.name) < math.inf:
                raise InputError("must be a positive number", where=f"limits, {each.name}")
        if self.held_bytes < self.body_bytes:
            raise InputError("must be at least body_bytes", where="limits, held_bytes")


@dataclass(frozen=True, slots=True)
class Compatible:
    """Routes that other programs' clients know.

    Attributes:
        compreface: CompreFace's REST API.
        deepstack: DeepStack's and CodeProject.AI's.
    """

    compreface: bool = True
    deepstack: bool = True


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """All settings of the service.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        gallery: Gallery of people; created if it does not exist. None: nobody has a name.
        gallery_key_file: File with the gallery's passphrase; None: MOBILEFACE_GALLERY_KEY.
        models: Folder to search for models first.
        api_key_file: File with one API key a line; None: no key is needed.
        insecure: Serve other machines without a key.
        allowed_hosts: Names in the ``Host`` header that are answered, besides this machine's
            addresses; without a key, only these and loopback's.
        allowed_origins: Origins whose pages may call the API from browsers (CORS).
        trusted_proxies: Addresses or networks of proxies whose ``X-Forwarded-For`` and
            ``X-Forwarded-Proto`` say who asks, and whether by HTTPS.
        workers: Requests that are worked on at a time; None: one for each CPU of the quota.
        threads: Threads of each network; None: 1 with several workers.
        limits: What a request may ask for.
        compatible: Routes for other programs' clients.
        cameras: Live cameras.
        events: What becomes of cameras' events.
        mqtt: MQTT broker for events; None for none.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    gallery: Path | None = None
    gallery_key_file: Path | None = None
    models: Path | None = None
    api_key_file: Path | None = None
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    workers: int | None = None
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)
    compatible: Compatible = field(default_factory=Compatible)
    cameras: tuple[CameraOptions, ...] = ()
    events: EventOptions = field(default_factory=EventOptions)
    mqtt: MqttOptions | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"{self.port} is no port", where="port")
        if self.workers is not None and not 1 <= self.workers <= _MOST_WORKERS:
            raise InputError(f"must be 1 to {_MOST_WORKERS}", where="workers")
        if self.threads is not None and not 1 <= self.threads <= _MOST_WORKERS:
            raise InputError(f"must be 1 to {_MOST_WORKERS}", where="threads")
        for name in self.allowed_hosts:
            if not _HOST.fullmatch(name):
                raise InputError(
                    f"'{name}' is no host's name, without a port", where="allowed_hosts"
                )
        for name in self.allowed_origins:
            if not _ORIGIN.fullmatch(name):
                raise InputError(
                    f"'{name}' is no origin such as https://example.org", where="allowed_origins"
                )
        for name in self.trusted_proxies:
            if not _is_network(name):
                raise InputError(
                    f"'{name[:60]}' is no address or network such as 127.0.0.1 or 10.0.0.0/8",
                    where="trusted_proxies",
                )
        names = [camera.name for camera in self.cameras]
        for name in names:
            if names.count(name) > 1:
                raise InputError("two cameras have this name", where=f"camera '{name}'")
        if self.api_key_file is None and not self.insecure:
            self._require_only_this_machine()

    def _require_only_this_machine(self) -> None:
        """Refuses settings by which other machines reach the service."""
        if self.trusted_proxies:
            where, what = "trusted_proxies", "other machines reach the service through a proxy"
        elif not is_loopback(self.host):
            where, what = "host", f"{self.host} is reachable by other machines"
        else:
            return
        raise InputError(
            f"{what}, and no API key is set",
            where=where,
            hint="pass --api-key-file FILE, or --insecure to serve everyone all the same",
        )

    @property
    def worker_count(self) -> int:
        """Requests that are worked on at a time."""
        return default_threads() if self.workers is None else self.workers

    @property
    def thread_count(self) -> int:
        """Threads of each network."""
        if self.threads is not None:
            return self.threads
        return 1 if self.worker_count > 1 else default_threads()


def is_loopback(host: str) -> bool:
    """True if an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_network(name: str) -> bool:
    """True for an IP address or a network in CIDR notation, without host bits."""
    try:
        ipaddress.ip_network(name)
    except ValueError:
        return False
    return True


def read_settings(path: Path | None, given: Mapping[str, Any]) -> ServeSettings:
    """Reads a settings file; what is given besides it comes first.

    Paths in the file are relative to its folder.

    Args:
        path: The TOML file; None for none.
        given: Fields of `ServeSettings` that override the file's.

    Raises:
        InputError: If the file cannot be read, is not TOML, or a field is unknown or invalid.
    """
    data = {} if path is None else _from_file(path)
    where = "" if path is None else str(path)
    try:
        settings = _adapter().validate_python({**data, **given})
    except ValidationError as error:
        raise _first_problem(error, where) from error
    return settings if path is None else _with_folder(settings, path.parent, set(given))


def _adapter() -> TypeAdapter[ServeSettings]:
    return TypeAdapter(ServeSettings)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError("is too large for a settings file", where=str(path))
        return tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is not TOML ({error})", where=str(path)) from error


def _first_problem(error: ValidationError, where: str) -> InputError:
    """The first of pydantic's errors as one of ours."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        place = ", ".join(part for part in (where, cause.where) if part)
        return InputError(cause.what, where=place, hint=cause.hint)
    field_name = ".".join(str(part) for part in first["loc"])
    place = ", ".join(part for part in (where, field_name) if part)
    if first["type"] == "unexpected_keyword_argument":
        return InputError("unknown setting", where=place, hint="see docs/serve.md")
    return InputError(first["msg"][:1].lower() + first["msg"][1:], where=place)


def _with_folder(settings: ServeSettings, folder: Path, given: set[str]) -> ServeSettings:
    """The settings with paths of the file relative to its folder."""
    changed: dict[str, Any] = {}
    for name in ("gallery", "gallery_key_file", "models", "api_key_file"):
        value = getattr(settings, name)
        if value is not None and name not in given:
            changed[name] = folder / value
    if settings.events.folder is not None and "events" not in given:
        changed["events"] = dataclasses.replace(
            settings.events, folder=folder / settings.events.folder
        )
    if settings.mqtt is not None:
        files = {name: getattr(settings.mqtt, name) for name in ("password_file", "ca_file")}
        there = {name: folder / path for name, path in files.items() if path is not None}
        changed["mqtt"] = dataclasses.replace(settings.mqtt, **there)
    return dataclasses.replace(settings, **changed)


for _kind in (ServeSettings, Limits, Compatible, CameraOptions, EventOptions, MqttOptions):
    _kind.__pydantic_config__ = ConfigDict(extra="forbid", coerce_numbers_to_str=True)  # type: ignore[union-attr]

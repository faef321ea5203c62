"""``mobileface serve``: HTTP, the web page and live cameras. Needs the extra ``[serve]``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutputError, shown
from ..host.extras import run_with_extra
from .options import GALLERY_VARIABLE
from .output import print_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..serve.service import Service
    from ..serve.settings import ServeSettings

__all__ = ["add_serve"]

_PACKAGES = (
    "fastapi",
    "prometheus_client",
    "pydantic",
    "python_multipart",
    "starlette",
    "tomli",
    "uvicorn",
)
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,31})=(.+)")


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface serve``."""
    add = parser.add_argument
    add("--config", type=Path, metavar="serve.toml", help="settings; options override them")
    add("--gallery", type=Path, metavar="FILE", help="gallery of people; created if it is absent")
    add(
        "--camera",
        action="append",
        metavar="[NAME=]SOURCE",
        help="number of a camera, video file or URL of a stream; may be passed several times",
    )
    add("--host", help="address to listen on; default: 127.0.0.1")
    add("--port", type=int, help="port to listen on, 0 for any free one; default: 8000")
    add("--api-key-file", type=Path, metavar="FILE", help="file with one API key a line")
    add("--insecure", action="store_true", help="serve other machines without an API key")
    add("--models", type=Path, metavar="DIR", help="folder to search for models")
    once = parser.add_mutually_exclusive_group()
    once.add_argument(
        "--check", action="store_true", help="check the settings, keys, models and gallery; exit"
    )
    once.add_argument(
        "--new-key",
        type=Path,
        metavar="FILE",
        help="add a new API key to a file, which is created readable by its owner only; exit",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return run_with_extra("mobileface", "serve", _PACKAGES, lambda: _serve(options))


def _serve(options: argparse.Namespace) -> int:
    if options.new_key is not None:
        from ..serve.api_keys import add_key

        add_key(options.new_key)
        print_text(f"a new API key is the last line of {options.new_key}")
        return 0
    from ..serve.settings import read_settings

    settings = read_settings(options.config, _given(options))
    if options.check:
        return _check(settings)
    from ..serve.server import run_server

    def say(address: str) -> None:
        print(f"mobileface: serving on {address}", file=sys.stderr, flush=True)

    run_server(settings, say)
    return 0


def _check(settings: ServeSettings) -> int:
    """Loads everything that the service needs, and says what it found."""
    from ..serve.api_keys import readable_by_others
    from ..serve.server import check_address
    from ..serve.service import Service

    check_address(settings.host, settings.port)
    wanted = settings.gallery
    absent = wanted is not None and not wanted.exists()
    if wanted is not None and absent and not os.access(wanted.parent, os.W_OK):
        raise OutputError("cannot be created in this folder", where=str(wanted))
    service = Service(dataclasses.replace(settings, gallery=None) if absent else settings)
    try:
        for name, text in _found(settings, service):
            print_text(f"{name:<12}{text}")
    finally:
        service.close()
    for path in (settings.api_key_file, settings.gallery_key_file):
        if path is not None and readable_by_others(path):
            text = f"{shown(path)} can be read by other users; run: chmod 600 {shown(path)}"
            warnings.warn(text, stacklevel=2)
    return 0


def _found(settings: ServeSettings, service: Service) -> Iterator[tuple[str, str]]:
    """What ``--check`` prints."""
    from ..vision.video_source import shown_url

    yield "address", f"{settings.host}:{settings.port}"
    keys = "required" if service.keys.required else "not required"
    yield "API keys", f"{service.keys.count}, {keys}"
    yield "workers", f"{settings.worker_count}, {settings.thread_count} threads each"
    for task, models in service.analyzer.models.items():
        yield task, ", ".join(models)
    for task, why in service.analyzer.missing.items():
        yield task, f"not loaded: {why}"
    if service.has_gallery:
        with service.gallery() as gallery:
            count = len(gallery)
            yield "gallery", f"{gallery.path}: {count} {'person' if count == 1 else 'people'}"
    elif settings.gallery is not None:
        yield "gallery", f"{settings.gallery}: will be created"
    else:
        yield "gallery", "none: nobody has a name"
    for camera in settings.cameras:
        yield "camera", f"{camera.name}: {shown_url(camera.source)}"
    if settings.events.folder is not None:
        yield "events", str(settings.events.folder)
    if settings.mqtt is not None:
        yield "mqtt", f"{settings.mqtt.host}:{settings.mqtt.port}"


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that options give."""
    names = ("gallery", "host", "port", "api_key_file", "models")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.insecure:
        given["insecure"] = True
    if options.config is None and "gallery" not in given and os.environ.get(GALLERY_VARIABLE):
        given["gallery"] = Path(os.environ[GALLERY_VARIABLE])
    if options.camera:
        given["cameras"] = [_camera(text, number) for number, text in enumerate(options.camera, 1)]
    return given


def _camera(text: str, number: int) -> dict[str, str]:
    """A camera from ``[NAME=]SOURCE``."""
    named = _NAMED.fullmatch(text)
    if named:
        return {"name": named[1], "source": named[2]}
    if not text.strip():
        raise InputError("must not be empty", where="--camera")
    return {"name": f"camera{number}", "source": text}

"""``mobileface serve``: HTTP, the web page and live cameras. Needs the extra ``[serve]``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, shown
from ..host.extras import run_with_extra
from .options import GALLERY_VARIABLE
from .output import print_text

if TYPE_CHECKING:
    from ..serve.settings import ServeSettings

__all__ = ["add_serve"]

_PACKAGES = (
    "fastapi",
    "multipart",
    "prometheus_client",
    "pydantic",
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
    add("--check", action="store_true", help="check the settings, keys, models and gallery; exit")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return run_with_extra("mobileface", "serve", _PACKAGES, lambda: _serve(options))


def _serve(options: argparse.Namespace) -> int:
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
    from ..serve.service import Service

    service = Service(settings)
    try:
        print_text(f"address   {settings.host}:{settings.port}")
        print_text(f"keys      {'required' if service.keys.required else 'not required'}")
        for task, models in service.analyzer.models.items():
            print_text(f"{task:<10}{', '.join(models)}")
        for task, why in service.analyzer.missing.items():
            print_text(f"{task:<10}missing: {why}")
        if service.has_gallery:
            with service.gallery() as gallery:
                print_text(f"gallery   {gallery.path}: {len(gallery)} people")
        for camera in settings.cameras:
            print_text(f"camera    {camera.name}: {shown(camera.source)}")
    finally:
        service.close()
    return 0


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

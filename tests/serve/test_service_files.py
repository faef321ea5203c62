"""The files in examples/serve: settings, unit and container agree, and say all there is to say."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mobileface.live.live_options import CameraOptions, EventOptions, MqttOptions
from mobileface.serve.settings import Compatible, Limits, ServeSettings, read_settings
from tests.conftest import unavailable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parents[2] / "examples" / "serve"
TEXT = {path.name: path.read_text() for path in FOLDER.iterdir() if path.is_file()}
PATHS = {
    "gallery": "/var/lib/mobileface/people.gallery",
    "api_key_file": "/etc/mobileface/api_keys",
    "events.folder": "/var/lib/mobileface/events",
}
"""What is set in the file and is no default."""

CONFIG, STATE = "/etc/mobileface/serve.toml", "/var/lib/mobileface"
COMMENTED = re.compile(r"^# (?=\[\[?\w+\]|\w+ = )", re.MULTILINE)


def plain(value: Any) -> Any:
    """TOML's form of a setting's default."""
    return list(value) if isinstance(value, tuple) else value


def test_every_setting_is_in_the_file_with_its_default() -> None:
    """Those whose default is none at all stand in comments, as examples that are valid."""
    found = tomllib.loads(TEXT["serve.toml"])
    whole = tomllib.loads(COMMENTED.sub("", TEXT["serve.toml"]))
    tables = {"limits": Limits, "compatible": Compatible, "events": EventOptions}
    checked = 0
    for prefix, kind, table, example in [
        ("", ServeSettings, found, whole),
        *((f"{name}.", kind, found[name], whole[name]) for name, kind in tables.items()),
        ("cameras.", CameraOptions, {}, whole["cameras"][0]),
        ("mqtt.", MqttOptions, {}, whole["mqtt"]),
    ]:
        for field in dataclasses.fields(kind):
            name = prefix + field.name
            assert field.name in example, f"{name} is not in serve.toml"
            if field.name in tables or name in ("cameras", "mqtt"):
                continue
            if name in PATHS:
                assert table[field.name] == PATHS[name]
            elif prefix in ("", *(f"{table}." for table in tables)):
                assert table.get(field.name) == plain(field.default), name
            elif field.default not in (None, dataclasses.MISSING) and field.name != "discovery":
                assert example[field.name] == plain(field.default), name
            checked += 1
        assert set(example) == {field.name for field in dataclasses.fields(kind)}, "unknown"
    print(f"{checked} settings")
    assert checked >= 40


@pytest.mark.parametrize("commented", [True, False])
def test_the_file_is_read(tmp_path: Path, commented: bool) -> None:
    text = TEXT["serve.toml"] if commented else COMMENTED.sub("", TEXT["serve.toml"])
    (tmp_path / "serve.toml").write_text(text)
    settings = read_settings(tmp_path / "serve.toml", {})
    assert str(settings.gallery) == PATHS["gallery"]
    assert str(settings.events.folder) == PATHS["events.folder"]
    assert len(settings.cameras) == (0 if commented else 1)
    if commented:
        assert settings.limits == Limits()
        assert settings.mqtt is None


def test_all_name_the_same_paths() -> None:
    unit, image, compose = (
        TEXT[name] for name in ("mobileface.service", "Dockerfile", "compose.yaml")
    )
    for text in (unit, image, compose):
        assert CONFIG in text
    for text in (unit, compose):
        assert PATHS["api_key_file"] in text
    assert "StateDirectory=mobileface\n" in unit  # systemd: /var/lib/mobileface
    assert f"state:{STATE}\n" in compose
    assert f"VOLUME {STATE}\n" in image
    assert all(path.startswith((f"{STATE}/", "/etc/mobileface/")) for path in PATHS.values())
    named = re.findall(r"(?:/etc|/var/lib)/mobileface[\w./]*", "".join(TEXT.values()))
    known = {
        CONFIG,
        STATE,
        "/etc/mobileface",
        "/etc/mobileface/",
        f"{STATE}/models",
        *PATHS.values(),
    }
    secrets = {
        f"/etc/mobileface/{name}" for name in ("gallery_key", "mqtt_password", "mqtt_ca.pem")
    }
    assert set(named) <= known | secrets


def test_nobody_else_reaches_it_by_default() -> None:
    assert '"127.0.0.1:8000:8000"' in TEXT["compose.yaml"]
    for line in ("read_only: true", "- ALL", "no-new-privileges:true"):
        assert line in TEXT["compose.yaml"]
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "User=mobileface"):
        assert f"\n{line}\n" in TEXT["mobileface.service"]
    assert "\nUSER mobileface\n" in TEXT["Dockerfile"]
    assert not re.search(r"apt-get|gcc|build-essential", TEXT["Dockerfile"])


def test_keys_and_people_stay_out_of_commits_and_images() -> None:
    """A key of mode 600 in the context also stops Docker's old builder, run by another user."""
    root = FOLDER.parents[1]
    assert "examples/serve/api_keys\n" in TEXT["compose.yaml"]
    assert "/examples/serve/api_keys" in (root / ".gitignore").read_text().splitlines()
    kept_out = (root / ".dockerignore").read_text().splitlines()
    assert {"**/api_keys", "**/*.gallery*", ".git"} <= set(kept_out)
    # These go before .dockerignore, and the old builder does not read them.
    assert not list((root / "examples").rglob("*.dockerignore"))
    assert "create_host_path: false" in TEXT["compose.yaml"]


@pytest.mark.parametrize("folder", ["serve", "board"])
def test_images_hold_what_is_installed_and_no_wheel(folder: str) -> None:
    first, second = (FOLDER.parent / folder / "Dockerfile").read_text().split("\n\nFROM ")
    assert "python -m venv --without-pip /opt/mobileface" in first
    copied = re.findall(r"^COPY (.*)$", second, re.MULTILINE)
    assert copied[0] == "--from=build /opt/mobileface /opt/mobileface"
    assert not re.search(r"\bpip\b|\.whl|apt-get|gcc", second)
    assert "PATH=/opt/mobileface/bin:$PATH" in second


def test_image_and_compose_check_the_same_health() -> None:
    """Podman drops the image's own check unless it builds in Docker's format."""
    command = re.findall(r"import urllib.*?timeout=4\)", TEXT["Dockerfile"] + TEXT["compose.yaml"])
    assert len(command) == 2
    assert len(set(command)) == 1


def test_systemd_knows_every_line(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        unavailable("no systemd-analyze")
    unit = tmp_path / "mobileface.service"
    unit.write_text(
        re.sub(r"/opt/mobileface/bin/mobileface", "/bin/true", TEXT["mobileface.service"])
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    about = [line for line in done.stderr.splitlines() if "mobileface.service" in line]
    assert not [line for line in about if "Unknown" in line or "Failed to parse" in line], about

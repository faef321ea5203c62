"""Brokers that ask for a password and speak TLS: a real one, with certificates made here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobileface.errors import InputError
from mobileface.live.live_options import MqttOptions
from mobileface.live.mqtt import MqttPublisher
from tests.certificates import make_certificate

from .test_mqtt import Broker, wait_for

pytestmark = pytest.mark.needs_mosquitto

PASSWORD = "a pass word, äöü"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def guarded(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[Broker]:
    """A broker with TLS and one user."""
    program = shutil.which("mosquitto_passwd")
    assert program is not None, "apt-get install mosquitto"
    users = tmp_path / "users"
    users.touch()
    subprocess.run([program, "-b", str(users), "mobileface", PASSWORD], check=True)
    made = Broker(
        tmp_path,
        f"allow_anonymous false\npassword_file {users}\n"
        f"certfile {certificate[0]}\nkeyfile {certificate[1]}\n",
    )
    yield made
    made.stop()


def options(broker: Broker, folder: Path, password: str, ca_file: Path | None) -> MqttOptions:
    secret = folder / "password"
    secret.write_text(password + "\n", encoding="utf-8")
    return MqttOptions("127.0.0.1", broker.port, "mobileface", secret, tls=True, ca_file=ca_file)


def test_password_and_own_certificate(
    guarded: Broker, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    publisher = MqttPublisher(options(guarded, tmp_path, PASSWORD, certificate[0]), ["front"])
    publisher.start()
    try:
        wait_for(lambda: publisher.connected)
    finally:
        publisher.close()


def test_a_wrong_password_is_said_once(
    guarded: Broker,
    tmp_path: Path,
    certificate: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = MqttPublisher(options(guarded, tmp_path, "wrong", certificate[0]), ["front"])
    publisher.start()
    try:
        wait_for(lambda: bool(caplog.records))
        assert not publisher.connected
    finally:
        publisher.close()
    (text,) = [record.getMessage() for record in caplog.records]
    assert "Not authorized" in text
    assert "wrong" not in text


STRANGER = """
import logging, sys, time
from pathlib import Path
from mobileface.live.live_options import MqttOptions
from mobileface.live.mqtt import MqttPublisher
from tests.certificates import make_certificate
logging.basicConfig(format="%(message)s")
found = MqttOptions("127.0.0.1", int(sys.argv[1]), "mobileface", Path(sys.argv[2]), tls=True)
publisher = MqttPublisher(found, ["front"])
publisher.start()
time.sleep(3)
assert not publisher.connected
publisher.close()
"""


@pytest.mark.slow
def test_a_certificate_that_nobody_vouches_for(guarded: Broker, tmp_path: Path) -> None:
    """In a process of its own: paho leaves sockets whose handshake failed to the collector."""
    secret = options(guarded, tmp_path, PASSWORD, None).password_file
    command = [sys.executable, "-c", STRANGER, str(guarded.port), str(secret)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == f"MQTT broker 127.0.0.1:{guarded.port}: cannot be reached\n"


def test_what_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for content in (None, b"no certificate"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"ca\.pem: cannot be used as certificates"):
            MqttPublisher(MqttOptions("127.0.0.1", tls=True, ca_file=path), ["front"])

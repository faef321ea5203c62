"""``mobileface serve``: what it checks before it serves, and what it says."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mobileface.commands.main import main
from mobileface.gallery import Gallery
from mobileface.serve.api_keys import ApiKeys

from .processes import PROGRAM, started
from .raw import exchange, request

Output = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")


@pytest.fixture(autouse=True)
def no_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOBILEFACE_GALLERY", raising=False)


def fails(capsys: Output, *options: object) -> str:
    """Exit code 2, one line, nothing on stdout."""
    assert main(["serve", *map(str, options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("mobileface: error: ")
    return err


def test_check_says_what_it_found(capsys: Output, tmp_path: Path) -> None:
    keys, config = tmp_path / "api_keys", tmp_path / "serve.toml"
    assert main(["serve", "--new-key", str(keys)]) == 0
    config.write_text(
        'gallery = "people.gallery"\napi_key_file = "api_keys"\nport = 0\n'
        '[[cameras]]\nname = "door"\nsource = "rtsp://me:secret@10.0.0.5/1"\n'
        '[events]\nfolder = "events"\n[mqtt]\nhost = "broker"\n'
    )
    capsys.readouterr()
    assert main(["serve", "--config", str(config), "--check"]) == 0
    out, err = capsys.readouterr()
    print(out)
    assert err == ""
    for line in (
        r"address +127\.0\.0\.1:0",
        r"API keys +1, required",
        r"workers +\d+, \d+ threads each",
        r"detection +\w+.*",
        r"embedding +\w+.*",
        r"gallery +\S+people\.gallery: will be created",
        r"camera +door: rtsp://me:\*\*\*@10\.0\.0\.5/1",
        r"events +\S+events",
        r"mqtt +broker:1883",
    ):
        assert re.search(rf"^{line}$", out, re.MULTILINE), line
    assert not (tmp_path / "people.gallery").exists()
    assert keys.read_text().strip() not in out


@POSIX
def test_new_keys(capsys: Output, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    before = os.umask(0)
    try:
        assert main(["serve", "--new-key", str(path)]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(path.read_text().rstrip("\n"))  # an editor left no line end
    assert main(["serve", "--new-key", str(path)]) == 0
    first, second = path.read_text().splitlines()
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert re.fullmatch(r"[0-9a-f]{64}", second)
    assert first != second
    out, _ = capsys.readouterr()
    assert first not in out
    assert second not in out
    assert ApiKeys.read(path).count == 2
    assert "cannot be written" in fails(capsys, "--new-key", tmp_path)
    assert "cannot be written" in fails(capsys, "--new-key", tmp_path / "a" / "b")


@pytest.mark.slow
@POSIX
def test_keys_that_everybody_can_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    assert main(["serve", "--new-key", str(path)]) == 0
    command = [*PROGRAM, "--port", "0", "--api-key-file", str(path), "--check"]
    for mode, warned in ((0o600, False), (0o640, False), (0o644, True)):
        path.chmod(mode)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        expected = (
            f"mobileface: warning: {path} can be read by other users; run: chmod 600 {path}\n"
        )
        assert done.stderr == (expected if warned else "")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("port = ", "is not TOML"),
        ("prot = 1", "prot: unknown setting; see docs/serve.md"),
        ("port = 70000", "port: 70000 is no port"),
        ("port = 'a'", "port: input should be a valid integer"),
        ("[limits]\nbody = 1", "limits.body: unknown setting"),
        ("[limits]\nbody_seconds = nan", "limits, body_seconds: must be a positive number"),
        ("[limits]\nbody_seconds = inf", "limits, body_seconds: must be a positive number"),
        ("[limits]\nheld_bytes = 5", "limits, held_bytes: must be at least body_bytes"),
        ("workers = 0", "workers: must be 1 to 64"),
        ("threads = 0", "threads: must be 1 to 64"),
        ("host = '0.0.0.0'", "host: 0.0.0.0 is reachable by other machines, and no API key is set"),
        ("[[cameras]]\nname = 'a'\nsource = ''", "source: must not be empty"),
        ("[mqtt]\nport = 1", "mqtt.host: field required"),
        (
            "api_key_file = 'absent'",
            "absent: cannot be read (No such file or directory); make it with: mobileface serve",
        ),
        ("api_key_file = '/'", "/: cannot be read (Is a directory); remove it: Docker makes"),
        ("gallery_key_file = 'absent'", "absent: cannot be read (No such file or directory)"),
        ("gallery = 'no/folder/a.gallery'", "cannot be created in this folder"),
        ("models = 'absent'", "absent: "),
        ("host = '203.0.113.9'\ninsecure = true", "203.0.113.9:8000: cannot be listened on"),
        ("host = 'no.such.name.invalid'\ninsecure = true", "cannot be listened on"),
    ],
)
def test_settings_that_are_wrong(capsys: Output, tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(f"port = 8000\n{text}" if "port" not in text and "host" not in text else text)
    if "port" not in text and "host" not in text:
        path.write_text(f"port = 0\n{text}")
    assert error in fails(capsys, "--config", path, "--check")


def test_a_file_that_is_no_gallery(capsys: Output, tmp_path: Path) -> None:
    path = tmp_path / "a.gallery"
    path.write_bytes(b"nothing" * 100)
    assert f"error: {path}: " in fails(capsys, "--gallery", path, "--port", 0, "--check")
    assert path.read_bytes() == b"nothing" * 100


def test_options_that_exclude_each_other(capsys: Output, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--check", "--new-key", str(tmp_path / "k")])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.slow
def test_without_the_extra(tmp_path: Path) -> None:
    """A Python that has none of the extra's packages says how to install them."""
    for package in ("fastapi", "pydantic", "uvicorn", "python_multipart", "prometheus_client"):
        program = (
            f"import sys; sys.modules[{package!r}] = None\n"
            "from mobileface.__main__ import main\nsys.argv[1:] = ['serve', '--port', '0']\n"
            "sys.exit(main())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr == (
            f"mobileface: error: the package '{package}' is not installed; "
            "run: pip install 'mobileface[serve]'\n"
        )


def test_it_creates_its_gallery_and_serves(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    with started("--gallery", str(path)) as process:
        answer = exchange(process.port, request("GET", "/api/v1/version"))
        assert answer.status == 200
        assert b'"gallery":true' in answer.body
        process.popen.terminate()
        out, errors = process.popen.communicate(timeout=20)
    assert (process.popen.returncode, out) == (143, "")
    assert errors == "mobileface: ended by SIGTERM\n"
    with Gallery.open(path) as gallery:
        assert len(gallery) == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["people.gallery"]

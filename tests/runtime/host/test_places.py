"""The user's folders, by the XDG base directory specification and the customs of other systems."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mobileface.errors import OutputError
from mobileface.host import places


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MOBILEFACE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


FOLDERS = {
    "XDG_DATA_HOME": (places.user_models, ".local/share/mobileface/models"),
    "XDG_CONFIG_HOME": (places.user_settings, ".config/mobileface"),
    "XDG_CACHE_HOME": (places.default_cache_dir, ".cache/mobileface"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG specification")
@pytest.mark.parametrize("variable", FOLDERS)
def test_xdg(variable: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute path is taken; relative and empty ones are ignored, in every place alike."""
    ask, below = FOLDERS[variable]
    assert ask() == home / below
    for ignored in ("", "relative/path", "."):
        monkeypatch.setenv(variable, ignored)
        assert ask() == home / below
    monkeypatch.setenv(variable, str(home.parent / "elsewhere"))
    tail = Path(*Path(below).parts[Path(below).parts.index("mobileface") :])
    assert ask() == home.parent / "elsewhere" / tail


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            "darwin",
            ["Library/Application Support", "Library/Application Support", "Library/Caches"],
        ),
        ("win32", ["AppData/Local"] * 3),
    ],
)
def test_other_systems(
    system: str, expected: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    found = [ask() for ask, _ in FOLDERS.values()]
    ends = ("mobileface/models", "mobileface", "mobileface")
    assert found == [home / folder / end for folder, end in zip(expected, ends, strict=True)]


def test_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for ask in (FOLDERS["XDG_DATA_HOME"][0], FOLDERS["XDG_CONFIG_HOME"][0]):
        assert ask() is None
    with pytest.raises(OutputError, match="MOBILEFACE_CACHE"):
        places.default_cache_dir()
    monkeypatch.setenv("MOBILEFACE_CACHE", str(tmp_path))
    assert places.default_cache_dir() == tmp_path


AS_NOBODY = """
import os
from mobileface.host import places
if os.geteuid() == 0:  # nothing is closed to root
    os.setgid(65534), os.setuid(65534)
print(places.user_models(), places.tuning_file())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="permissions of Linux")
def test_a_home_that_may_not_be_entered() -> None:
    """As with systemd's ProtectHome=yes, under which the service did not start."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "XDG_"}
    found = []
    with tempfile.TemporaryDirectory() as outer:
        homes = Path(outer) / "home"
        homes.mkdir()
        Path(outer).chmod(0o711)
        for mode in (0o755, 0o000):
            homes.chmod(mode)
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY],
                env={**environment, "HOME": str(homes / "mobileface")},
                capture_output=True,
                text=True,
                timeout=60,
            )
            found.append(done.stdout.strip() or done.stderr)
        homes.chmod(0o755)
    home = homes / "mobileface"
    usual = f"{home}/.local/share/mobileface/models {home}/.config/mobileface/tuning.json"
    print(found)
    assert found == [usual, "None None"]

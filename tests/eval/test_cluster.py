"""The embedding stage on Ray, in a separate environment: the same numbers as on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-cluster"


@pytest.fixture(scope="module")
def command() -> Path:
    """mobileface-eval with the extra [cluster]; Ray is too large for the shared environment."""
    folder = ENVIRONMENT / f"{sys.version_info.major}.{sys.version_info.minor}"
    found = folder / "bin" / "mobileface-eval"
    if not (folder / ".done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "install", "-e", f"{ROOT}[cluster]"], check=True)
        (folder / ".done").touch()
    return found


@pytest.mark.endurance
def test_ray_gives_the_same(command: Path, people: Path, models: Path, tmp_path: Path) -> None:
    (people / "person04" / "person04_0002.png").write_bytes(b"no image")
    results = []
    for name, options in (("here", ()), ("ray", ("--cluster", "--workers", "2"))):
        cache = tmp_path / name
        arguments = ["megaface", "--probes", people, "--distractors", people, "--models", models]
        places = ["--cache", cache, "--output", tmp_path / f"out_{name}", "--crops"]
        environment = {**os.environ, "HOME": str(tmp_path), "RAY_TMPDIR": "/tmp"}
        done = subprocess.run(
            [command, *arguments, *places, "--embedder", "tiny_color", "--allow-missing", *options],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stderr)
        assert done.returncode == 0
        results.append(json.loads((tmp_path / f"out_{name}" / "megaface.json").read_text()))
    assert results[0]["cmc"] == results[1]["cmc"]
    assert results[0]["rank1"] == results[1]["rank1"]
    for result in results:
        [skipped] = result["data"]["left_out"]
        assert skipped["picture"] == "person04/person04_0002.png"
        assert "not an image" in skipped["reason"]
        assert result["distractors"]["count"] == 35

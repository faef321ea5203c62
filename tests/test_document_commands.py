"""Every command line of the documents runs, in the order of its document, in one folder each.

A line is run as it is written, without its comment. Lines with choices or placeholders are in
`WRITTEN`, with the commands that are run for them; a line there that is in no document is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import SOURCE
from tests.written_commands import CROPS, WRITTEN

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^    (mobileface(?:-convert|-eval)? .*)$")
COMMENT = re.compile(r"\s{2,}(#|\().*$")
REFUSED = {
    "mobileface detect photo.jpg --detector detection_v1 --score-threshold 0.5 "
    "--iou-threshold 0.45 --topk 200 --short-side 512": "detection_v1",
}
"""Commands for models whose published weights are in no source, with what the error names."""


def lines(document: Path) -> Iterator[str]:
    """The command lines of a document, continued lines joined, without comments."""
    text = re.sub(r"\\\n\s+", "", document.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if found := COMMAND.match(line):
            yield COMMENT.sub("", found[1]).rstrip()


@pytest.fixture
def folder(tmp_path: Path, portrait: Path) -> Path:
    """What the documents call by name: photos, folders of people, a short video."""
    face = np.asarray(cv2.imread(str(portrait)), np.uint8)
    made = {
        "group": np.hstack([face, face[:, ::-1]]),
        "dark": face // 4,
        "b": face[:, ::-1],
        "ann2": face[4:, 4:],
        "new": face[8:, :-8],
    }
    names = (
        "photo",
        "a",
        "b",
        "new",
        "ann1",
        "ann2",
        "dark",
        "reference",
        "face",
        "group",
        "scene",
    )
    places = ("folder/c", "more/d", "people/Eileen/1", "photos/1")
    for name in (*names, *places):
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", made.get(name, face))[1].tobytes())
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(tmp_path / "video.mp4"), codec, 25, (320, 320))
    for shift in range(8):
        writer.write(np.ascontiguousarray(face[20:340, 60 + shift : 380 + shift]))
    writer.release()
    if CROPS.is_dir():
        for person in sorted(CROPS.iterdir())[:30]:
            shutil.copytree(person, tmp_path / "my_people" / person.name)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MOBILEFACE_GALLERY": str(folder / "people.gallery"),
        "MXNET_SUBGRAPH_BACKEND": "NONE",
    }
    for name in ("MOBILEFACE_HOME", "MOBILEFACE_SOURCE"):
        environment.pop(name, None)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


NEEDED = {
    "convert.md": (pytest.mark.needs_packages, pytest.mark.needs_litert),
    "portrait.md": (pytest.mark.needs_vtracer,),
    "usage.md": (pytest.mark.needs_mediapipe,),
}
"""What the commands of a document need besides the source."""


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(path, marks=NEEDED.get(path.name, ()), id=path.name)
        for path in DOCUMENTS
        if [*lines(path)]
    ],
)
def test_every_command_line_runs(document: Path, folder: Path, source: Path) -> None:
    assert source == SOURCE
    count = 0
    for line in lines(document):
        for command in WRITTEN.get(line, (line,)):
            done = run(command, folder)
            print(f"{done.returncode}  {command}")
            if line in REFUSED:
                assert (done.returncode, REFUSED[line] in done.stderr) == (2, True), done.stderr
            else:
                assert done.returncode == 0, (
                    f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
                )
            count += 1
    print(f"{document.name}: {count} commands")
    assert count


def test_all_written_lines_are_in_a_document() -> None:
    documented = {line for path in DOCUMENTS for line in lines(path)}
    print(f"{len(documented)} lines")
    assert not {*WRITTEN, *REFUSED} - documented

"""Every command that writes: never onto an input, `-` and pipes, names of any bytes."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import EmbeddingSet, VideoReader, read_image
from mobileface.commands import main as runtime_main
from mobileface.commands.main import main
from mobileface.gallery import Gallery
from mobileface.host.output_options import OutputFile, OutputFolder, OutputPlace
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

Output = pytest.CaptureFixture[str]

SAME = "would overwrite its own input"


@pytest.fixture
def face(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo of one face, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "face.png"
    path.write_bytes(cv2.imencode(".png", read_image(portrait)[0:300, 80:380])[1].tobytes())
    return path


@pytest.fixture
def video(face: Path) -> Path:
    return write_video(face.with_name("video.avi"), [read_image(face)] * 4)


@pytest.fixture
def gallery(face: Path, models: Path) -> Path:
    """A gallery with one face of a tiny model."""
    path = face.with_name("people.gallery")
    assert call("gallery", "create", "--models", models, "--embedder", "tiny_gray",
                "--gallery", path) == 0  # fmt: skip
    assert call("gallery", "add", "Ada", face, "--crops", "--models", models,
                "--gallery", path) == 0  # fmt: skip
    return path


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "mobileface", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def refused(output: Output, folder: Path, reason: str, *arguments: object) -> None:
    """The command fails with one sentence, and nothing in the folder changes."""
    output.readouterr()
    before = hashes(folder)
    assert call(*arguments) == 2, arguments
    out, err = output.readouterr()
    assert out == "", arguments
    assert reason in err, arguments
    assert err.count("\n") == 1, err
    assert hashes(folder) == before, arguments


def linked(path: Path) -> list[Path]:
    """A file by its own name, through a symbolic and through a hard link."""
    soft, hard = path.with_name(f"soft{path.suffix}"), path.with_name(f"hard{path.suffix}")
    soft.symlink_to(path)
    hard.hardlink_to(path)
    return [path, soft, hard]


def test_pictures(face: Path, capsys: Output) -> None:
    for name in linked(face):
        for command in ("detect", "landmarks", "analyze"):
            refused(capsys, face.parent, SAME, command, face, "--draw", name)
        for command in ("enhance", "makeup", "anonymize", "portrait"):
            refused(capsys, face.parent, SAME, command, face, "--output", name)
        refused(capsys, face.parent, SAME, "swap", face, "--face", face, "--output", name)
        refused(capsys, face.parent, SAME, "background", face, "--blur", "--output", name)
    (face.parent / "in").mkdir()
    face.rename(face.parent / "in" / "face.png")
    refused(capsys, face.parent / "in", SAME, "detect", "in", "--draw", "in/face.png")
    refused(capsys, face.parent / "in", SAME, "detect", "i?/face.*", "--draw", "in/face.png")
    for arguments in (
        ("detect", "in/face.png", "--draw", "in"),
        ("embed", "in/face.png", "--output", "in"),
        ("track", "in/face.png", "--tracks", "in"),
    ):
        refused(capsys, face.parent / "in", "is a folder, not a file", *arguments)
    for command in ("detect", "align"):
        arguments = (command, "in/face.png", "--output", "in/face.png")
        refused(capsys, face.parent / "in", "is a file, not a folder", *arguments)


def test_embeddings(face: Path, models: Path, capsys: Output) -> None:
    model = ("--crops", "--models", models, "--embedder", "tiny_gray")
    assert call("embed", face, *model, "--output", "own.npz") == 0
    for name in linked(face.with_name("own.npz")):
        refused(capsys, face.parent, SAME, "embed", face, "own.npz", *model, "--output", name)


def test_videos(video: Path, gallery: Path, capsys: Output) -> None:
    for name in linked(video):
        for option in ("--output", "--tracks"):
            refused(capsys, video.parent, SAME, "track", video, option, name)
        for command in ("enhance", "anonymize", "portrait"):
            refused(capsys, video.parent, SAME, command, video, "--output", name)
        refused(capsys, video.parent, SAME, "background", video, "--blur", "--output", name)
    arguments = ("track", video, "--gallery", gallery, "--tracks", gallery)
    refused(capsys, video.parent, SAME, *arguments)
    arguments = ("track", video, "--output", "same.mp4", "--tracks", "same.mp4")
    refused(capsys, video.parent, "two outputs are the same file", *arguments)


def test_galleries(gallery: Path, models: Path, capsys: Output) -> None:
    folder = gallery.parent
    files = [*linked(gallery), gallery.with_name(f"{gallery.name}-wal")]
    for name in files:
        refused(capsys, folder, SAME, "gallery", "backup", name, "--gallery", gallery)
    json_link = folder / "people.json"
    json_link.symlink_to(gallery)
    refused(capsys, folder, SAME, "gallery", "export", json_link, "--gallery", gallery)
    existing = folder / "existing"
    existing.write_bytes(b"mine")
    for name in (existing, gallery, folder):
        arguments = ("gallery", "create", "--models", models, "--gallery", name)
        refused(capsys, folder, "already exists", *arguments)
    with Gallery.open(gallery) as opened:
        assert [person.name for person in opened.people()] == ["Ada"]


def test_every_picture_has_its_output(face: Path, capsys: Output) -> None:
    """Three pictures, a.png twice and a_0.png; then into the folder of two of them."""
    names = ["a.png", "b/a.png", "a_0.png"]
    for number, name in enumerate(names):
        Path(name).parent.mkdir(exist_ok=True)
        image = np.full((64, 64 + number, 3), 90, np.uint8)  # the width tells them apart
        Path(name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    assert call("detect", *names, "--output", "out") == 0
    widths = {path.name: read_image(path).shape[1] for path in Path("out").iterdir()}
    print(widths)
    assert widths == {"a_0_1.png": 64, "a_1.png": 65, "a_0.png": 66}
    face.unlink()
    before = hashes(face.parent)
    assert call("enhance", *names, "--output", ".") == 0
    after = hashes(face.parent)
    assert before.items() <= after.items()
    assert {read_image(Path(name)).shape[1] for name in set(after) - set(before)} == {64, 65, 66}
    capsys.readouterr()


def test_crops_do_not_replace_pictures(face: Path) -> None:
    other = face.with_name("face_0.png")  # what the crop of face.png would be called
    other.write_bytes(face.read_bytes())
    before = hashes(face.parent)
    assert call("align", face, other, "--output", ".") == 0
    after = hashes(face.parent)
    assert before.items() <= after.items()
    assert len(after) == 4


@pytest.mark.slow
def test_dash_is_stdout(face: Path, video: Path, models: Path, gallery: Path) -> None:
    done = run("detect", face, "--draw", "-")
    assert done.returncode == 0
    assert b": 1 face\n" in done.stderr
    image = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == read_image(face).shape
    done = run("track", video, "--tracks", "-", "--tasks", "detection")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("frame") for line in lines] == [None, 0, 1, 2, 3, None]
    assert b": 4 frames" in done.stderr
    done = run("track", video, "--output", "-", "--tasks", "detection")
    Path("copy.mp4").write_bytes(done.stdout)
    with VideoReader("copy.mp4") as copy:
        assert len(list(copy)) == 4
    model = ("--crops", "--models", models, "--embedder", "tiny_gray")
    done = run("embed", face, *model, "--output", "-")
    Path("copy.npz").write_bytes(done.stdout)
    assert len(EmbeddingSet.load(Path("copy.npz"))) == 1
    done = run("gallery", "export", "-", "--gallery", gallery)
    assert [person["name"] for person in json.loads(done.stdout)["people"]] == ["Ada"]
    assert b"1 face" in done.stderr
    done = run("detect", face, "--json", "--draw", "-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"both go to stdout" in done.stderr
    assert not Path("-").exists()
    assert run("detect", face, "--draw", "./-").returncode == 0
    assert read_image(Path("-")).shape == image.shape


def test_pipes_links_and_devices_stay(face: Path, video: Path) -> None:
    os.mkfifo("fifo.png")
    os.mkfifo("fifo.jsonl")
    Path("link.png").symlink_to("target.png")
    Path("null").symlink_to(os.devnull)
    received: dict[str, bytes] = {}
    for name, command in (
        ("fifo.png", ("detect", face, "--draw", "fifo.png")),
        ("fifo.jsonl", ("track", video, "--tracks", "fifo.jsonl", "--tasks", "detection")),
    ):
        reader = threading.Thread(target=lambda n=name: received.update({n: Path(n).read_bytes()}))
        reader.start()
        assert call(*command) == 0
        reader.join(60)
        assert Path(name).is_fifo()
    assert received["fifo.png"].startswith(b"\x89PNG")
    assert received["fifo.jsonl"].count(b"\n") == 6
    assert call("detect", face, "--draw", "link.png") == 0
    assert Path("link.png").is_symlink()
    assert read_image(Path("target.png")).shape == read_image(face).shape
    for name in ("null", os.devnull):
        assert call("track", video, "--output", name, "--tracks", name) == 0
        assert Path(name).is_char_device()
    assert Path("null").is_symlink()


def test_jsonl_into_a_file_of_the_shell(video: Path) -> None:
    """``--tracks /dev/fd/N``: the shell's file is written on, not replaced."""
    with Path("log").open("wb", buffering=0) as log:
        log.write(b"first\n")
        command = [sys.executable, "-m", "mobileface", "track", video, "--tasks", "detection"]
        command += ["--tracks", f"/dev/fd/{log.fileno()}"]
        subprocess.run(command, check=True, capture_output=True, pass_fds=[log.fileno()])
        log.write(b"last\n")
    lines = Path("log").read_bytes().splitlines()
    assert (lines[0], lines[-1], len(lines)) == (b"first", b"last", 8)


@pytest.mark.slow
def test_names_that_are_not_utf8(face: Path, video: Path, models: Path, gallery: Path) -> None:
    cafe = face.with_name(os.fsdecode(b"caf\xe9.png"))
    cafe.write_bytes(cv2.imencode(".png", read_image(face)[:-1])[1].tobytes())
    clip = video.rename(os.fsdecode(b"clip\xff.avi"))
    model = ("--crops", "--models", models)
    done = run("gallery", "add", "Eve", cafe, *model, "--gallery", gallery)
    assert (done.returncode, done.stderr) == (0, b"")
    with Gallery.open(gallery) as opened:
        sources = [record.face.source for record in opened.faces("Eve")]
    assert sources == [str(face.with_name("caf\\xe9.png"))]
    done = run("detect", cafe, clip.name, "--json", "--output", "out", "--draw", "x")
    assert done.returncode == 2
    done = run("detect", cafe, "--json", "--output", "out", "--draw", "x.png")
    assert done.returncode == 0
    assert json.loads(done.stdout)["file"] == str(cafe)
    assert [path.name for path in Path("out").iterdir()] == [cafe.name]
    done = run("detect", cafe, "--output", "out")
    assert done.stdout.startswith(os.fsencode(face.parent) + b"/caf\\udce9.png: 1 face\n")
    outputs = [Path(os.fsdecode(b"o\xe9" + suffix)) for suffix in (b".mp4", b".jsonl", b".npz")]
    done = run("track", clip, "--output", outputs[0], "--tracks", outputs[1])
    assert done.returncode == 0, done.stderr
    with VideoReader(outputs[0]) as copy:
        assert len(list(copy)) == 4
    assert json.loads(outputs[1].read_bytes().splitlines()[0])["video"] == str(clip)
    done = run("embed", cafe, *model, "--embedder", "tiny_gray", "--output", outputs[2], "--json")
    assert json.loads(done.stdout)["files"] == [str(cafe)]
    assert EmbeddingSet.load(outputs[2]).files == (str(cafe),)
    people = gallery.rename(os.fsdecode(b"g\xe9.gallery"))
    done = run("gallery", "list", "--gallery", people)
    assert (done.returncode, done.stdout.split()) == (0, [b"1", b"Ada", b"1", b"Eve"])
    document = {"schema": 1, "stamp": {}, "people": []}
    exported = run("gallery", "export", "-", "--gallery", people)
    document = json.loads(exported.stdout)
    document["people"][0]["faces"][0] |= {"source": "half \ud83d a pair", "uid": "f" * 32}
    Path("import.json").write_text(json.dumps(document), encoding="ascii")
    done = run("gallery", "import", "import.json", "--merge", "--gallery", people)
    assert (done.returncode, done.stderr) == (0, b"")


def test_one_persons_trouble_is_ones_own(face: Path, gallery: Path, models: Path) -> None:
    names = ["Bea", "Empty", "Gus", os.fsdecode(b"Ren\xe9"), "Zoe", "tab\there"]
    for number, name in enumerate(names):
        folder = face.with_name("all") / name
        folder.mkdir(parents=True)
        if name != "Empty":
            image = read_image(face)[: -1 - number]
            (folder / os.fsdecode(b"\xe9.png")).write_bytes(
                cv2.imencode(".png", image)[1].tobytes()
            )
    (face.with_name("all") / "Gus" / "broken.png").write_bytes(b"no picture")
    limits = ("--crops", "--min-sharpness", "0")
    done = run("gallery", "add-folder", "all", *limits, "--models", models, "--gallery", gallery)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    errors = [line for line in lines if line.startswith("mobileface: error: ")]
    print("\n".join(errors))
    with Gallery.open(gallery) as opened:
        assert [person.name for person in opened.people()] == ["Ada", "Bea", "Gus", "Zoe"]
    assert len(errors) == 4
    for error, reason in zip(
        errors,
        ("all/Empty: no images", "broken.png", "is not valid Unicode", "unprintable"),
        strict=True,
    ):
        assert reason in error


def options_of(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.Action]]:
    """All arguments of a program, with the commands that have them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, inner in action.choices.items():
                yield from options_of(inner, f"{name} {command}")
        else:
            yield name, action


WRITES = {"output", "draw", "tracks", "write"}


def check_parser(parser: argparse.ArgumentParser, least: int) -> None:
    """All arguments that name outputs are declared as such, so that `run_checked` knows them."""
    found = [(name, action) for name, action in options_of(parser, "") if action.dest in WRITES]
    print(f"{len(found)} arguments name outputs")
    assert len(found) >= least
    for name, action in found:
        assert isinstance(action, OutputFile | OutputFolder | OutputPlace), (name, action.dest)


def test_all_outputs_are_declared() -> None:
    parser: Any = runtime_main._parser()
    check_parser(parser, 12)

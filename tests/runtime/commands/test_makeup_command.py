"""``mobileface makeup --like``: what is written, and one clear error for what cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import Face, FaceAnalyzer, MakeupTransfer, VideoReader, read_image
from mobileface.commands.main import main
from mobileface.tracking.mesh_follower import MeshFollower
from mobileface.vision.image import Image
from tests.conftest import ROOT
from tests.runtime.vision.test_video import write_video

Output = pytest.CaptureFixture[str]
STARTER = ROOT / "models_onnx"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty current folder, and no models but the starter set's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def face(portrait: Path) -> Image:
    return np.ascontiguousarray(read_image(portrait)[0:300, 80:380])


@pytest.fixture
def reference(face: Image) -> Image:
    """The same face in other light."""
    return np.asarray(np.clip(face * np.array([0.7, 0.8, 1.1]) + 10, 0, 255), np.uint8)


def save(name: str, image: Image) -> str:
    Path(name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return name


def call(*arguments: object) -> int:
    return main(["makeup", *map(str, arguments), "--models", str(STARTER)])


def test_the_command_writes_what_the_class_gives(face: Image, reference: Image) -> None:
    save("face.png", face)
    save("like.png", reference)
    analyzer = FaceAnalyzer(STARTER, ("detection", "landmarks", "pose"), pose="pose_mesh")
    transfer = MakeupTransfer(reference, analyzer(reference)[0])
    options = ("--skin", 0.8, "--lips", 1, "--eyes", 0.4, "--strength", 0.5)
    assert call("face.png", "--like", "like.png", "--output", "out.png", *options) == 0
    expected = transfer(face, analyzer(face), skin=0.4, lips=0.5, eyes=0.2)
    assert np.array_equal(read_image("out.png"), expected)
    assert (expected != face).any()
    assert call("face.png", "--like", "like.png", "--output", "same.png", "--strength", 0) == 0
    assert np.array_equal(read_image("same.png"), face)


def test_a_video_is_made_up_frame_by_frame(face: Image, reference: Image, capsys: Output) -> None:
    """A frame without a face stays; the note counts it. A detection in every frame finds it."""
    save("like.png", reference)
    write_video(Path("in.avi"), [face, face, np.zeros_like(face), face])
    every = ("--detect-every", 1)
    assert call("in.avi", "--like", "like.png", "--output", "out.mp4", *every) == 0
    said = capsys.readouterr().out
    print(said)
    assert "4 frames" in said
    assert "1 of them left as they are" in said
    with VideoReader("out.mp4") as made, VideoReader("in.avi") as before:
        pairs = zip(made.frames(), before.frames(), strict=True)
        moved = [float(np.abs(a[2].astype(int) - b[2]).mean()) for a, b in pairs]
    print([round(value, 2) for value in moved])
    assert min(moved[0], moved[1], moved[3]) > 1 > moved[2]


def test_a_face_is_followed_between_detections(
    face: Image, reference: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven frames, a detection in every third; each frame is what the class gives the follower."""
    save("like.png", reference)
    frames = [np.roll(face, 2 * number, axis=1) for number in range(7)]
    write_video(Path("in.avi"), frames)
    found, given = [], []
    detect, transfer = FaceAnalyzer.detect, MakeupTransfer.__call__

    def counted(self: FaceAnalyzer, image: Image, **more: Any) -> list[Face]:
        found.append(detect(self, image, **more))
        return found[-1]

    def kept(self: MakeupTransfer, image: Image, faces: list[Face], **more: Any) -> Image:
        given.append((image, faces))
        return transfer(self, image, faces, **more)

    monkeypatch.setattr(FaceAnalyzer, "detect", counted)
    monkeypatch.setattr(MakeupTransfer, "__call__", kept)
    assert call("in.avi", "--like", "like.png", "--output", "out.mp4", "--detect-every", 3) == 0
    print(f"{len(found)} detections, one of them in the reference")
    assert len(found) == 1 + 3
    analyzer = FaceAnalyzer(STARTER, ("detection", "landmarks", "pose"), pose="pose_mesh")
    follow = MeshFollower(analyzer, detect_every=3)
    with VideoReader("in.avi") as video:
        for (_, time, image), (before, faces) in zip(video.frames(), given, strict=True):
            assert np.array_equal(image, before)
            (expected,) = follow(image, time).values()
            assert expected.mesh is not None
            assert faces[0].mesh is not None
            assert np.array_equal(faces[0].mesh.points, expected.mesh.points)


def test_one_error_for_each_bad_input(face: Image, reference: Image, capsys: Output) -> None:
    """Exit code 2, one line that says what and where; nothing is written."""
    save("face.png", face)
    save("like.png", reference)
    save("two.png", np.hstack([face, face]))
    save("none.png", np.full((80, 80, 3), 90, np.uint8))
    save("gray.png", np.repeat(face[..., 1:2], 3, axis=2))
    small = cv2.resize(face, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    tiny = cv2.copyMakeBorder(np.asarray(small), 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    save("tiny.png", np.asarray(tiny))
    cases = [
        ("face.png", ("--like", "none.png"), "none.png: no face found"),
        ("face.png", ("--like", "two.png"), "two.png: 2 faces found; choose with --face, from"),
        ("face.png", ("--like", "gray.png"), "gray.png: the face is gray"),
        ("face.png", ("--like", "missing.png"), "missing.png"),
        ("none.png", ("--like", "like.png"), "none.png: no face found"),
        ("gray.png", ("--like", "like.png"), "gray.png: the face is gray"),
        ("tiny.png", ("--like", "like.png"), "tiny.png, face ("),
        ("face.png", ("--like", "like.png", "--skin", 2), "--skin 2.0 is not between 0 and 1"),
        ("face.png", ("--like", "like.png", "--strength", -1), "strength -1.0"),
        ("face.png", ("--like", "like.png", "--detect-every", 0), "detect_every must be at least"),
        ("face.png", ("--like", "like.png", "--whole"), "--like needs faces"),
        ("face.png", ("--lips", 1), "pass --like REFERENCE too"),
        ("face.png", ("--detect-every", 5), "--detect-every belongs to makeup by example"),
    ]
    for path, options, text in cases:
        assert call(path, *options, "--output", "out.png") == 2
        said = capsys.readouterr().err.strip()
        print(said)
        assert text in said
        assert len(said.splitlines()) == 1
        assert not Path("out.png").exists()
    assert call("face.png", "--like", "two.png", "--face", "0", "--output", "out.png") == 0
    assert Path("out.png").exists()


def test_some_pictures_of_several_fail(face: Image, reference: Image, capsys: Output) -> None:
    """The others are written; the exit code says that some are not."""
    save("a.png", face)
    save("b.png", np.full((80, 80, 3), 90, np.uint8))
    save("like.png", reference)
    Path("out").mkdir()
    assert call("a.png", "b.png", "--like", "like.png", "--output", "out") == 2
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert "b.png: no face found" in capsys.readouterr().err

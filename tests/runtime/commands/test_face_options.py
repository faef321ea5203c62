"""``--face`` and photos with none or several faces, in every command that needs a single face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, read_image
from mobileface.commands.main import main
from mobileface.gallery import Gallery
from mobileface.vision.image import Image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

Output = pytest.CaptureFixture[str]


def write(path: Path, image: Image) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def group(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small face on the left, and a larger, blurred one on the right."""
    small = read_image(portrait)[30:250, 110:340]
    large = np.asarray(cv2.resize(small, None, fx=1.6, fy=1.6), np.uint8)
    large = np.asarray(cv2.GaussianBlur(large, (0, 0), 4), np.uint8)
    left = cv2.copyMakeBorder(
        small, 0, len(large) - len(small), 40, 40, cv2.BORDER_CONSTANT, value=(90, 90, 90)
    )
    path = tmp_path_factory.mktemp("group") / "group.png"
    return write(path, np.hstack([np.asarray(left, np.uint8), large]))


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nobody") / "nobody.png"
    return write(path, np.full((200, 200, 3), 90, np.uint8))


@pytest.fixture(scope="module")
def boxes(group: Path) -> dict[str, list[float]]:
    """The box of each face as the detector gives it."""
    faces = sorted(FaceAnalyzer(tasks=("detection",))(read_image(group)), key=lambda f: f.bbox[0])
    assert len(faces) == 2
    assert faces[0].det_score > faces[1].det_score
    both = [[float(value) for value in face.bbox] for face in faces]
    return {"left": both[0], "right": both[1]}


def run(output: Output, *arguments: object, code: int = 0) -> tuple[Any, str]:
    """Runs a command; gives what it printed, as JSON if it is, and its messages."""
    assert main([str(argument) for argument in arguments]) == code
    out, err = output.readouterr()
    return (json.loads(out) if out.startswith("{") else out), err


@pytest.mark.parametrize(
    ("choice", "side"),
    [(None, "right"), ("largest", "right"), ("surest", "left"), ("0", "left"), ("point", "right")],
)
def test_compare(
    choice: str | None,
    side: str,
    group: Path,
    portrait: Path,
    boxes: dict[str, list[float]],
    capsys: Output,
) -> None:
    """It takes the largest face by default, and says so."""
    options = () if choice is None else ("--face", choice)
    if choice == "point":
        point = "{},{}".format(*np.mean(np.reshape(boxes[side], (2, 2)), axis=0))
        options = ("--face", point, "--face", "largest")  # one for each photo
    found, err = run(capsys, "compare", group, portrait, "--json", *options)
    first, second = found["faces"]
    assert (first["file"], first["found"], first["bbox"]) == (str(group), 2, boxes[side])
    assert second["found"] == 1
    which = "largest one" if choice is None else "one"
    assert f"group.png: 2 faces found; used the {which} at (" in err
    assert len(err.splitlines()) == 1
    assert found["decision"]["rule"]["origin"] == "default"
    decision = found["decision"]
    print(side, found["similarity"], decision["answer"])
    if side == "left":
        assert decision["answer"] == "same"  # the same photo, unchanged
        assert found["similarity"] > decision["threshold"]


def test_choices_that_fit_no_face(group: Path, portrait: Path, capsys: Output) -> None:
    for arguments in (("compare", portrait, group), ("gallery", "add", "Ann", group)):
        with pytest.raises(SystemExit, match="2"):
            run(capsys, *arguments, "--face", "all")
        assert "all faces of a group photo would be treated as" in capsys.readouterr().err
    for number in (portrait, group):  # also where there is only one face
        _, err = run(capsys, "compare", number, group, "--face", "2", code=2)
        assert "there is no face 2" in err
    _, err = run(capsys, "compare", group, group, *("--face", "0") * 3, code=2)
    assert "--face was passed 3 times for two photos" in err
    _, err = run(capsys, "compare", group, portrait, "--face", "5,600", code=2)
    assert "group.png: no face at 5,600; the faces are: (" in err


def test_enrolment(
    group: Path,
    boxes: dict[str, list[float]],
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A group photo is refused with a hint, until a face is chosen."""
    monkeypatch.setenv("MOBILEFACE_GALLERY", str(tmp_path / "people.gallery"))
    run(capsys, "gallery", "create")
    out, err = run(capsys, "gallery", "add", "Ann", group, code=2)
    assert "Ann: 0 faces enrolled, 1 rejected" in out
    assert "group.png: 2 faces found" in err
    assert "or choose one with --face: largest, surest, N (from the left" in err
    done, err = run(capsys, "gallery", "add", "Ann", group, "--face", "0", "--json")
    assert len(done["faces"]) == 1
    rounded = [round(value, 2) for value in boxes["left"]]
    assert done["images"] == [{"file": str(group), "faces": 2, "bbox": rounded}]
    assert "group.png: 2 faces found; used the one at (" in err
    folder = tmp_path / "people" / "Ben"
    folder.mkdir(parents=True)
    (folder / "group.png").write_bytes(group.read_bytes())
    options = ("--face", "surest", "--json")
    done, err = run(capsys, "gallery", "add-folder", folder.parent, *options)
    assert done["images"][0]["bbox"] == rounded
    assert "looks like 'Ann'" in err
    with Gallery.open(tmp_path / "people.gallery") as gallery:
        (record,) = gallery.faces("Ann")
        assert list(record.face.bbox or ()) == rounded
    _, err = run(capsys, "gallery", "add", "Cid", group, "--crops", "--face", "0", code=2)
    assert "--face is for photos" in err


def test_embed_names_photos_without_a_face(
    portrait: Path, nobody: Path, tmp_path: Path, capsys: Output
) -> None:
    found, err = run(capsys, "embed", portrait, nobody, "--json")
    assert found["files"] == [str(portrait)]
    assert found["without_face"] == [str(nobody)]
    assert f"{nobody}: no face found" in err
    target = tmp_path / "faces.npz"
    out, err = run(capsys, "embed", portrait, nobody, "--output", target)
    assert out.endswith("faces.npz; 1 of 2 without a face\n")
    found, err = run(capsys, "embed", portrait, "--json")
    assert (found["without_face"], err) == ([], "")
    _, err = run(capsys, "compare", portrait, nobody, code=2)
    assert "nobody.png: no face found" in err

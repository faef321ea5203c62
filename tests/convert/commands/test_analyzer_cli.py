"""The ``mobileface`` command on real pictures, and bad input through the API."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import mobileface
from mobileface.commands.main import main
from mobileface.errors import ImageError, InputError
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

pytestmark = [pytest.mark.needs_source, pytest.mark.needs_dlib]

FACES = 6
NAMES = ["left_eye", "right_eye", "nose", "mouth"]
SIZE = 256
"""Elements of an embedding."""
RECIPES = ("landmark_eme", "landmark_ene", "pose_emnme", "identification_v2")
MOST_MEMORY = 350_000_000
"""Bytes that a picture of 60 MB may take in numpy."""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def models(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a model for every task, converted without verification."""
    folder = tmp_path_factory.mktemp("models")
    for name in RECIPES:
        convert(load_recipe(name), DirectorySource(source), folder, verify=False)
    convert(load_recipe("detection_hog"), None, folder, verify=False)
    return str(folder)


@pytest.fixture(scope="module")
def analyzer(models: str) -> mobileface.FaceAnalyzer:
    return mobileface.FaceAnalyzer(models, tasks=("detection", "landmarks", "embedding"))


@pytest.fixture
def photo(source: Path) -> str:
    return str(source / "example" / "friends.jpg")


@pytest.fixture
def folder(tmp_path: Path, photo: str) -> Path:
    """Two pictures with faces in it, one without, and files that are no pictures."""
    image = read_image(photo)
    root = tmp_path / "photos"
    (root / "deeper").mkdir(parents=True)
    write(root / "a.png", image[100:420, 100:640])
    write(root / "deeper" / "b.PNG", image[200:400, 1000:1200])
    write(root / "empty.png", np.zeros((100, 120, 3), np.uint8))
    (root / "notes.txt").write_text("no picture", encoding="utf-8")
    return root


def write(path: Path, image: Any) -> None:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def run(capture: Capture, *arguments: object) -> tuple[int, str, str]:
    """Exit code and what was printed."""
    code = main([str(argument) for argument in arguments])
    printed = capture.readouterr()
    return code, printed.out, printed.err


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def one_line(err: str) -> str:
    """The message, if it is nothing but one line."""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("mobileface: error: ")
    return err.strip()


BOX = {"bbox", "det_score"}
POINTS = {"kps", "kps_names"}
KEYS = {
    "detect": BOX,
    "landmarks": BOX | POINTS,
    "analyze": BOX | POINTS | {"attributes"},
    "analyze --embeddings": BOX | POINTS | {"attributes", "embedding", "embedding_model"},
    "analyze --tasks detection": BOX,
}


@pytest.mark.parametrize("command", KEYS)
def test_json_of_a_photo(command: str, models: str, photo: str, capsys: Capture) -> None:
    name, *options = command.split()
    code, out, err = run(capsys, name, photo, "--models", models, "--json", *options)
    assert (code, err) == (0, "")
    (record,) = records(out)
    assert set(record) == {"file", "width", "height", "faces"}
    assert (record["file"], record["width"], record["height"]) == (photo, 1280, 700)
    scores = [face["det_score"] for face in record["faces"]]
    assert len(scores) == FACES
    assert scores == sorted(scores, reverse=True)
    for face in record["faces"]:
        assert set(face) == KEYS[command]
        x1, y1, x2, y2 = face["bbox"]
        assert 0 <= x1 < x2 < 1280
        assert 0 <= y1 < y2 < 700
        if "kps" in face:
            names = face["kps_names"]  # the attributes need more points
            assert names[:4] == NAMES if "attributes" in face else names == NAMES
            assert np.asarray(face["kps"]).shape == (len(names), 2)
        if "embedding" in face:
            assert len(face["embedding"]) == SIZE
            assert abs(np.linalg.norm(face["embedding"]) - 1) < 1e-6
    print(f"{command}: {len(out)} characters for {FACES} faces")


@pytest.mark.parametrize("command", ["detect", "landmarks", "analyze"])
def test_text_of_a_photo(command: str, models: str, photo: str, capsys: Capture) -> None:
    code, out, err = run(capsys, command, photo, "--models", models)
    first, *lines = out.splitlines()
    assert (code, err) == (0, "")
    assert first == f"{photo}: {FACES} faces"
    assert len(lines) == FACES
    assert all(re.match(r"  \(\d+, \d+\)-\(\d+, \d+\)  score \d", line) for line in lines)
    assert all(("left_eye" in line) == (command != "detect") for line in lines)


def test_options_of_detection(models: str, photo: str, capsys: Capture) -> None:
    def count(*options: object) -> int:
        code, out, _ = run(capsys, "detect", photo, "--models", models, "--json", *options)
        assert code == 0
        return len(records(out)[0]["faces"])

    assert count("--score-threshold", 1.5) == 3
    assert count("--score-threshold", 9) == 0
    assert count("--min-face-size", 100) == FACES - 1
    assert count("--detector", "detection_hog", "--upsample", 1) >= FACES
    code, out, err = run(capsys, "detect", photo, "--models", models, "--upsample", 9)
    assert (code, out) == (2, "")
    assert "upsample" in one_line(err)


@pytest.mark.parametrize("kind", ["folder", "pattern", "deep pattern", "files"])
def test_folders_and_patterns(
    kind: str, models: str, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    """One line a picture, in order; a picture without faces is no error."""
    arguments, expected = {
        "folder": ([folder], ["a.png", "b.PNG", "empty.png"]),
        "pattern": ([folder / "*.png"], ["a.png", "empty.png"]),
        "deep pattern": ([folder / "**" / "*.[pP]*"], ["a.png", "b.PNG", "empty.png"]),
        "files": ([folder / "empty.png", folder / "a.png"], ["empty.png", "a.png"]),
    }[kind]
    drawn = tmp_path / "drawn"
    code, out, err = run(
        capsys, "detect", *arguments, "--models", models, "--json", "--output", drawn
    )
    assert (code, err) == (0, "")
    found = {Path(record["file"]).name: len(record["faces"]) for record in records(out)}
    print(found)
    assert list(found) == expected
    assert [count > 0 for count in found.values()] == [name != "empty.png" for name in expected]
    assert sorted(path.name for path in drawn.iterdir()) == sorted(
        Path(name).stem + ".png" for name in expected
    )
    assert np.array_equal(read_image(drawn / "empty.png"), read_image(folder / "empty.png"))


def test_draw(models: str, photo: str, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "new" / "drawn.png"
    assert run(capsys, "landmarks", photo, "--models", models, "--draw", target)[0] == 0
    changed = (read_image(target) != read_image(photo)).any(axis=2)
    print(f"{changed.mean():.2%} of the pixels drawn on")
    assert 0.005 < changed.mean() < 0.05
    for name, part in (("drawn.docx", "unknown image format"), ("drawn.", "")):
        path = tmp_path / name
        code, _, err = run(capsys, "detect", photo, "--models", models, "--draw", path)
        assert (code == 2) == bool(part)
        assert part in err
    code, _, err = run(capsys, "detect", photo, photo, "--models", models, "--draw", target)
    assert code == 2
    assert "--output" in one_line(err)


@pytest.mark.parametrize("command", ["detect", "align", "analyze", "embed"])
def test_a_bad_picture_among_good_ones(
    command: str, models: str, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    """It is reported, the others are done, and the exit code tells."""
    (folder / "bad.png").write_bytes(b"no picture")
    output = tmp_path / ("out.npz" if command == "embed" else "out")
    code, out, err = run(
        capsys, command, folder, folder / "absent.jpg", "--models", models, "--output", output
    )
    lines = err.splitlines()
    assert code == 2
    if command == "embed":
        assert lines.pop(1).endswith("empty.png: no face found")
    assert len(lines) == 2
    assert "bad.png" in lines[0]
    assert "absent.jpg" in lines[1]
    if command != "embed":
        assert len([path for path in output.iterdir() if path.suffix == ".png"]) >= 3
        assert "b" in out


@pytest.mark.parametrize(("crop", "side"), [("mobileface", 96), ("arcface", 112)])
def test_align(
    crop: str, side: int, models: str, photo: str, tmp_path: Path, capsys: Capture
) -> None:
    code, out, err = run(
        capsys, "align", photo, "--models", models, "--output", tmp_path, "--crop", crop, "--json"
    )
    assert (code, err) == (0, "")
    found = records(out)
    assert [record["face"] for record in found] == list(range(FACES))
    for record in found:
        assert set(record) == {"file", "face", "crop", "template"}
        assert read_image(record["crop"]).shape == (side, side, 3)
    code, out, _ = run(
        capsys, "align", photo, "--models", models, "--output", tmp_path / "s", "--size", 50
    )
    assert {read_image(line).shape for line in out.splitlines()} == {(50, 50, 3)}
    code, _, err = run(
        capsys, "align", photo, "--models", models, "--output", tmp_path / "t", "--size", 0
    )
    assert code == 2
    assert "0×0" in one_line(err)


def test_embed(models: str, photo: str, tmp_path: Path, capsys: Capture) -> None:
    """The same vectors as analyze gives, in a file and as JSON."""
    target = tmp_path / "faces.npz"
    code, out, _ = run(capsys, "embed", photo, "--models", models, "--output", target, "--json")
    assert code == 0
    document = json.loads(out)
    stored = np.load(target)
    assert document["model"] == str(stored["model"])
    assert document["model"].split("@")[0] == "identification_v2"
    assert document["files"] == stored["files"].tolist() == [photo] * FACES
    assert stored["embeddings"].shape == (FACES, SIZE)
    assert np.allclose(document["embeddings"], stored["embeddings"], atol=1e-7)
    assert np.allclose(document["bboxes"], stored["bboxes"])
    _, out, _ = run(capsys, "analyze", photo, "--models", models, "--json", "--embeddings")
    for face, box, vector in zip(
        records(out)[0]["faces"], stored["bboxes"], stored["embeddings"], strict=True
    ):
        assert np.allclose(face["bbox"], box)
        assert np.allclose(face["embedding"], vector, atol=1e-6)


def test_compare(models: str, folder: Path, photo: str, capsys: Capture) -> None:
    answers = []

    def similarity(a: object, b: object) -> float:
        code, out, err = run(capsys, "compare", a, b, "--models", models, "--json")
        assert code == 0
        document = json.loads(out)
        assert set(document) == {"model", "files", "similarity", "decision", "faces"}
        assert document["files"] == [str(a), str(b)]
        answers.append(document["decision"]["answer"])
        for chosen in document["faces"]:
            several = f"{chosen['file']}: {chosen['found']} faces found; used the largest one"
            assert (several in err) == (chosen["found"] > 1)
        return float(document["similarity"])

    same, other = similarity(photo, photo), similarity(folder / "a.png", folder / "deeper/b.PNG")
    assert abs(same - 1) < 1e-6
    assert other < 0.5
    code, out, _ = run(capsys, "compare", photo, photo, "--models", models)
    assert code == 0
    assert out.startswith("same person: similarity 1.0000, same from ")
    assert answers[0] == "same" != answers[1]
    print(f"the same photo {same:.4f}, two people {other:.4f}")


def test_compare_without_a_face(models: str, folder: Path, photo: str, capsys: Capture) -> None:
    for pair in ((photo, folder / "empty.png"), (folder / "empty.png", photo)):
        code, out, err = run(capsys, "compare", *pair, "--models", models)
        assert (code, out) == (2, "")
        assert one_line(err).endswith("empty.png: no face found")


def test_pose_without_its_landmarks(models: str, photo: str, capsys: Capture) -> None:
    code, out, err = run(capsys, "pose", photo, "--models", models, "--json")
    assert (code, out) == (2, "")
    message = one_line(err)
    print(message)
    for name in ("left_mouth", "right_mouth", "pose"):
        assert name in message


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["detect", "absent*.jpg"], "no images found"),
        (["analyze", "{photo}", "--tasks", "age"], "unknown task 'age'"),
        (["analyze", "{photo}", "--embedder", "absent"], "no model 'absent'"),
        (["detect", "{photo}", "--detector", "landmark_eme"], "no model 'landmark_eme'"),
        (["embed", "{photo}"], "no output specified"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], part: str, models: str, photo: str, capsys: Capture
) -> None:
    """``analyze`` says so too when the model that was named is absent."""
    filled = [argument.replace("{photo}", photo) for argument in arguments]
    code, out, err = run(capsys, *filled, "--models", models)
    assert (code, out) == (2, "")
    assert part in one_line(err)


def test_pictures_of_every_kind(analyzer: mobileface.FaceAnalyzer, photo: str) -> None:
    image = read_image(photo)
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    for picture in (gray, gray[:, :, None], image, np.asfortranarray(image)):
        faces = analyzer(picture)
        assert len(faces) == FACES
        assert all(face.embedding is not None for face in faces)
    rgb = analyzer(np.ascontiguousarray(image[:, :, ::-1]), color="rgb")
    for one, two in zip(rgb, analyzer(image), strict=True):
        assert np.array_equal(one.bbox, two.bbox)
        assert one.embedding is not None
        assert np.allclose(one.embedding, two.embedding, atol=1e-6)
    for small in ((1, 1), (1, 1, 3), (1, 500, 3), (500, 1), (63, 63, 3), (79, 79)):
        assert analyzer(np.full(small, 7, np.uint8)) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100, 4), np.uint8),
        np.zeros((100, 100, 3), np.float32),
        np.zeros((100, 100), np.uint16),
        np.zeros((0, 100, 3), np.uint8),
        np.zeros((1, 100, 100, 3), np.uint8),
        [[1, 2], [3, 4]],
        None,
        "friends.jpg",
    ],
    ids=lambda image: str(getattr(image, "dtype", image)) + str(getattr(image, "shape", "")),
)
def test_no_pictures(analyzer: mobileface.FaceAnalyzer, image: Any) -> None:
    with pytest.raises(ImageError) as caught:
        analyzer(image)
    print(caught.value)


@pytest.mark.slow
def test_twenty_megapixels(analyzer: mobileface.FaceAnalyzer, photo: str) -> None:
    """The faces of the photo are found in a corner of a large black picture."""
    image: Image = np.zeros((4000, 5000, 3), np.uint8)
    image[3000:3700, 3200:4480] = read_image(photo)
    tracemalloc.start()
    try:
        faces = analyzer(image)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{len(faces)} faces, {peak / 1e6:.0f} MB of memory at most")
    shift = np.array([3200, 3000] * 2)
    expected = [face.bbox + shift for face in analyzer(read_image(photo))]
    for box in expected:
        center = (box[:2] + box[2:]) / 2
        inside = [f for f in faces if (f.bbox[:2] < center).all() and (center < f.bbox[2:]).all()]
        assert len(inside) == 1
    assert len(faces) == FACES
    assert peak < MOST_MEMORY


def test_bad_boxes_for_landmarks(models: str) -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    for predictor in mobileface.load_landmarks(models=models):
        assert predictor.predict(image, []) == []
        assert predictor.predict(image, np.empty((0, 4))) == []
        for box in ([0, 0, np.nan, 5], [0, 0, 1e12, 5], [-np.inf, 0, 5, 5], [0, 0, 2**31, 5]):
            with pytest.raises(InputError, match="box 1"):
                predictor.predict(image, [[1, 1, 20, 20], box])
        for box in (
            [-(2**30)] * 2 + [2**30] * 2,
            [5, 5, 5, 5],
            [40, 40, 10, 10],
            [900, 900, 990, 990],
        ):
            (marks,) = predictor.predict(image, [box])
            assert np.isfinite(marks.points).all()

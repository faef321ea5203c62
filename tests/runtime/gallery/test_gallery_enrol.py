"""Enrolment of pictures, the commands, and names in videos, with the starter models."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, read_image
from mobileface.commands.main import main
from mobileface.errors import ImageError, InputError
from mobileface.gallery import Enroller, Gallery, QualityLimits, Stamp
from mobileface.gallery.quality import sharpness
from mobileface.gallery.schema import seal_stamp
from mobileface.matching.calibration import find_calibration
from mobileface.vision.image import Image
from tests.runtime.gallery.gallery_helpers import SIZE, made, vectors
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import walk  # noqa: F401

Output = pytest.CaptureFixture[str]


def write(path: Path, image: Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(tasks=("detection", "landmarks", "embedding"))


@pytest.fixture(scope="module")
def face(portrait: Path) -> Image:
    return read_image(portrait)[30:250, 110:340]


@pytest.fixture
def gallery(tmp_path: Path, analyzer: FaceAnalyzer) -> Iterator[Gallery]:
    assert analyzer.embedder is not None
    with Gallery.create(tmp_path / "people.gallery", Stamp.of(analyzer.embedder)) as made:
        yield made


def test_sharpness_is_opencvs() -> None:
    """Variance of OpenCV's Laplacian at 112×112, and less of it the more is blurred."""
    picture = np.random.RandomState(0).randint(0, 256, (112, 112)).astype(np.uint8)
    assert sharpness(picture) == cv2.Laplacian(picture, cv2.CV_64F).var()
    values = [sharpness(np.asarray(cv2.GaussianBlur(picture, (0, 0), s))) for s in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)


def test_enrolment(
    gallery: Gallery, analyzer: FaceAnalyzer, portrait: Path, tmp_path: Path
) -> None:
    """What is stored of a face is what was found, and a picture is enrolled once."""
    enroller = Enroller(gallery, analyzer)
    done = enroller.enrol("Eileen", [portrait])
    assert (done.faces, done.refused, done.known, done.lookalikes) == ((1,), (), (), ())
    (record,) = gallery.faces("Eileen")
    (found,) = analyzer(read_image(portrait))
    assert found.embedding is not None
    assert (record.face.embedding == found.embedding).all()
    assert record.face.bbox is not None
    assert np.abs(np.array(record.face.bbox) - found.bbox).max() < 0.01
    assert record.face.quality is not None
    assert set(record.face.quality) == {"sharpness", "face_size", "frontality", "roll"}
    assert record.face.quality["face_size"] == pytest.approx(89.9, abs=0.1)
    again = enroller.enrol("Eileen", [portrait])
    assert (again.faces, again.known) == ((), (str(portrait),))
    copy = shutil.copy(portrait, tmp_path / "copy.png")
    other = enroller.enrol("Nancy", [copy])  # the same face under another name
    assert [(look.name, round(look.similarity, 3)) for look in other.lookalikes] == [("Eileen", 1)]


@pytest.mark.parametrize("calibrated", [True, False])
def test_lookalikes(
    calibrated: bool, gallery: Gallery, analyzer: FaceAnalyzer, face: Image, tmp_path: Path
) -> None:
    """By the calibration, or without one if a face is nearer to another than to its own."""
    if calibrated:
        gallery.set_calibration(find_calibration(gallery.stamp.model))
    enroller = Enroller(gallery, analyzer)
    enroller.enrol("Eileen", [write(tmp_path / "a.png", face)])
    dark = (255 * (face / 255.0) ** 2.0).astype(np.uint8)
    small = np.asarray(cv2.resize(face, None, fx=1.6, fy=1.6), np.uint8)
    paths = [write(tmp_path / "b.png", dark), write(tmp_path / "c.png", small)]
    done = enroller.enrol("Nancy", paths)
    assert len(done.faces) == 2
    print([str(look) for look in done.lookalikes])
    assert {look.name for look in done.lookalikes} == {"Eileen"}


def poor(face: Image, portrait: Path) -> dict[str, tuple[Image, str]]:
    side = [
        np.asarray(cv2.copyMakeBorder(face, 40, 40, 40, 40, cv2.BORDER_CONSTANT), np.uint8)
        for _ in range(2)
    ]
    turned = cv2.getRotationMatrix2D((115, 110), 20, 1)
    return {
        "no face": (np.full((200, 200, 3), 90, np.uint8), "no face found"),
        "two faces": (np.hstack(side), "2 faces found"),
        "blurred": (
            np.asarray(cv2.GaussianBlur(face, (0, 0), 3.5), np.uint8),
            r"blurred: sharpness \d+, at least 10 is needed",
        ),
        "tilted": (
            np.asarray(cv2.warpAffine(face, turned, (230, 220)), np.uint8),
            "tilted by 1.°, at most 15° is allowed",
        ),
        "small": (face, "the face has 89 pixels, at least 100 are needed"),
        "turned away": (face, r"frontality (1\.00|0\.9\d), at least (1\.00|0\.999) is needed"),
    }


@pytest.mark.parametrize(
    "case", ["no face", "two faces", "blurred", "tilted", "small", "turned away"]
)
def test_poor_pictures_are_refused_with_what_was_measured(
    case: str, gallery: Gallery, analyzer: FaceAnalyzer, face: Image, portrait: Path
) -> None:
    limits = {
        "tilted": QualityLimits(roll=15),
        "small": QualityLimits(face_size=100),
        "turned away": QualityLimits(frontality=0.999),
    }
    image, message = poor(face, portrait)[case]
    enroller = Enroller(gallery, analyzer, limits=limits.get(case))
    with pytest.raises(ImageError, match=message) as caught:
        enroller.examine(image, "picture.png")
    print(caught.value)
    assert caught.value.where == "picture.png"
    assert ("relax the limit" in caught.value.hint) == (case in limits)


def test_stored_crops_give_the_embedding_again(
    gallery: Gallery, analyzer: FaceAnalyzer, portrait: Path
) -> None:
    """Cut out of the stored crop by its stored points, through JPEG, the embedding is the same."""
    from mobileface.gallery.enclosing import decode, landmarks_of
    from mobileface.types import Face

    image = read_image(portrait)
    for scale in (1.0, 2.5):
        scaled = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8)
        new = Enroller(gallery, analyzer, limits=QualityLimits(sharpness=0)).examine(scaled)
        assert new.crop is not None
        assert new.crop_kps is not None
        stored = decode(new.crop, "crop")
        face = Face(np.array(new.crop_bbox, np.float32), 1.0, landmarks_of(dict(new.crop_kps)))
        (again,) = analyzer.describe(stored, [face], ("embedding",))
        assert again.embedding is not None
        cosine = float(again.embedding @ new.embedding)
        print(f"scale {scale}: {stored.shape}, {len(new.crop)} bytes, cosine {cosine:.5f}")
        assert cosine > 0.995  # another picture of the same person has 0.93 to 0.97


def test_limits_that_cannot_be() -> None:
    with pytest.raises(InputError, match="face_size must be from 0 to 1e9, not nan"):
        QualityLimits(face_size=float("nan"))


def test_another_models_gallery_is_refused(tmp_path: Path, analyzer: FaceAnalyzer) -> None:
    with made(tmp_path / "g") as gallery, pytest.raises(InputError, match=r"invented@.*dlib@"):
        Enroller(gallery, analyzer)


def run(output: Output, *arguments: object, code: int = 0) -> Any:
    """Runs a command that prints JSON lines; gives them."""
    assert main([str(argument) for argument in arguments]) == code
    return [json.loads(line) for line in output.readouterr().out.splitlines()]


def forget_calibration(path: Path) -> None:
    with Gallery.open(path) as gallery:
        gallery.database.run("UPDATE stamp SET calibration = NULL")
        seal_stamp(gallery.database)


def test_the_commands(
    tmp_path: Path, portrait: Path, face: Image, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEFACE_GALLERY", str(tmp_path / "people.gallery"))
    people = tmp_path / "people"
    write(people / "Eileen" / "1.png", face)
    write(people / "Eileen" / "2.png", np.ascontiguousarray(face[:, ::-1]))
    write(people / "Nobody" / "1.png", np.full((200, 200, 3), 90, np.uint8))
    (stamp,) = run(capsys, "gallery", "create", "--json")
    assert stamp["model"].startswith("embedding_dlib@")
    assert stamp["crop"] == "dlib"
    done = run(capsys, "gallery", "add-folder", people, "--json", code=2)
    assert [(each["name"], len(each["faces"]), len(each["refused"])) for each in done] == [
        ("Eileen", 2, 0),
        ("Nobody", 0, 1),
    ]
    done = run(capsys, "gallery", "add-folder", people, "--json", code=2)  # again
    assert [(each["name"], len(each["faces"]), len(each["known"])) for each in done] == [
        ("Eileen", 0, 2),
        ("Nobody", 0, 0),
    ]
    (found,) = run(capsys, "gallery", "search", portrait, "--json", "--threshold", "0.93")
    (who,) = found["faces"]
    assert who["identity"]["name"] == "Eileen"
    rate = find_calibration(stamp["model"]).false_match_rate(
        who["identity"]["matches"][0]["similarity"]
    )
    assert who["identity"]["matches"][0]["false_match_rate"] == dataclasses.asdict(rate)
    (found,) = run(capsys, "gallery", "search", portrait, "--json", "--threshold", "0.9999")
    assert found["faces"][0]["identity"]["name"] is None
    (found,) = run(capsys, "gallery", "search", portrait, "--json", "--fmr", "0.01")
    assert found["faces"][0]["identity"]["name"] == "Eileen"
    assert main(["gallery", "search", str(portrait), "--fmr", "1e-9"]) == 2
    assert "the lowest it supports" in capsys.readouterr().err
    forget_calibration(tmp_path / "people.gallery")
    assert main(["gallery", "search", str(portrait), "--fmr", "0.01"]) == 2
    assert "fmr needs a calibration" in capsys.readouterr().err
    (stamp,) = run(capsys, "gallery", "calibrate", "--json")
    assert stamp["calibration"]["basis"]["data"] == "LFW-Aligned-100Pair"
    assert main(["gallery", "rename", "Eileen", "Eileen Collins"]) == 0
    (listed,) = run(capsys, "gallery", "list", "--json")
    assert [(each["name"], each["faces"]) for each in listed["people"]] == [("Eileen Collins", 2)]
    (exported,) = run(capsys, "gallery", "export", tmp_path / "all.json", "--json")
    assert exported["faces"] == 2
    monkeypatch.setenv("MOBILEFACE_GALLERY", str(tmp_path / "other.gallery"))
    run(capsys, "gallery", "create", "--json")
    (done,) = run(capsys, "gallery", "import", tmp_path / "all.json", "--json")
    assert (done["people"], done["faces"], done["known"]) == (1, 2, 0)
    (done,) = run(capsys, "gallery", "import", tmp_path / "all.json", "--json")
    assert (done["people"], done["faces"], done["known"]) == (0, 0, 2)
    run(capsys, "gallery", "backup", tmp_path / "copy.gallery", "--json")
    (stats,) = run(
        capsys, "gallery", "stats", "--check", "--json", "--gallery", tmp_path / "copy.gallery"
    )
    assert (stats["people"], stats["faces"], stats["crops"], stats["intact"]) == (1, 2, 2, True)
    (done,) = run(capsys, "gallery", "remove", "Eileen Collins", "--json")
    assert done == {"name": "Eileen Collins", "faces": 2, "erased": True}
    assert main(["gallery", "search", str(portrait)]) == 0
    assert "the gallery is empty" in capsys.readouterr().out


def test_no_gallery_is_named(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOBILEFACE_GALLERY", raising=False)
    assert main(["gallery", "list"]) == 2
    assert "no gallery specified" in capsys.readouterr().err


@pytest.mark.slow
def test_names_in_a_video(
    tmp_path: Path,
    face: Image,
    walk: Path,  # noqa: F811
    capsys: Output,
) -> None:
    path, lines = tmp_path / "people.gallery", tmp_path / "out.jsonl"
    assert main(["gallery", "create", "--gallery", str(path)]) == 0
    picture = write(tmp_path / "a.png", face)
    assert main(["gallery", "add", "Eileen", str(picture), "--gallery", str(path)]) == 0
    arguments = ["track", str(walk), "--tracks", str(lines), "--output", str(tmp_path / "o.avi")]
    arguments += ["--gallery", str(path)]
    assert main(arguments) == 0  # by the calibration
    header, *frames, summary = [json.loads(line) for line in lines.read_text().splitlines()]
    assert header["gallery"]["file"] == str(path)
    assert summary["summary"]["complete"]
    faces = [face for frame in frames for face in frame["faces"]]
    named = [face for face in faces if (face["identity"] or {}).get("name") == "Eileen"]
    print(f"{len(named)} of {len(faces)} faces are named")
    assert len(faces) > 10
    assert named == faces
    assert header["gallery"]["rule"]["origin"] == "default"
    assert header["gallery"]["rule"]["requested"] == 0.001
    err = capsys.readouterr().err
    assert "threshold 0.9398 (default): expected false match rate 0.001" in err
    for name in ("--threshold", "--name-threshold"):
        assert main([*arguments, name, "0.99999"]) == 0
        deprecated = "--name-threshold is deprecated; use --threshold" in capsys.readouterr().err
        assert deprecated == (name == "--name-threshold")
        text = lines.read_text()
        assert '"name": "Eileen", "threshold"' not in text
    assert main(["track", str(walk), "--tracks", str(lines), "--fmr", "0.01"]) == 2
    assert "--fmr needs a gallery" in capsys.readouterr().err
    forget_calibration(path)
    assert main(arguments) == 0
    assert "no threshold: there is no calibration of embedding_dlib@" in capsys.readouterr().err
    text = lines.read_text()
    assert json.loads(text.splitlines()[0])["gallery"]["rule"] is None
    assert '"identity": {"name": null' in text
    assert '"name": "Eileen"' in text  # as the nearest


def test_exported_files_that_cannot_be(tmp_path: Path) -> None:
    """Each is refused in one line, and nothing of it is taken in."""
    from mobileface.gallery import export_gallery, import_faces

    path = tmp_path / "all.json"
    with made(tmp_path / "a.gallery", vectors(3)) as gallery:
        export_gallery(gallery, path)
        export_gallery(gallery, tmp_path / "all.npz")
    whole = json.loads(path.read_text())

    def change(*keys: Any, value: Any) -> bytes:
        document = json.loads(json.dumps(whole))
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        return json.dumps(document).encode()

    embedding = ("people", 1, "faces", 0, "embedding")
    cases = {
        "not JSON": (b"{", "not an exported gallery"),
        "a list": (b"[]", "not an exported gallery"),
        "newer": (change("schema", value=9), "schema 9 is newer"),
        "no stamp": (change("stamp", value={}), "stamp"),
        "other model": (change("stamp", "model", value="x@000000000000"), "of x@000000000000"),
        "NaN": (change(*embedding, value=[float("nan")] * SIZE), "not finite"),
        "too short": (change(*embedding, value=[1.0]), "must have shape"),
        "no numbers": (change(*embedding, value=["a"] * SIZE), "is not a number"),
        "path": (change("people", 1, "name", value="../x"), "is a path"),
        "twice": (change("people", 1, "name", value="person 0"), "listed twice"),
        "no picture": (change("people", 1, "faces", 0, "crop", value="AAAA"), "not an image"),
        "box": (change("people", 1, "faces", 0, "bbox", value=[1, 2]), "list of 4 numbers"),
    }
    with made(tmp_path / "b.gallery") as gallery:
        for name, (content, message) in cases.items():
            path.write_bytes(content)
            with pytest.raises(InputError, match=message):
                import_faces(gallery, path)
            assert len(gallery) == 0, name
        assert import_faces(gallery, tmp_path / "all.npz").faces == 3
        path.write_text(json.dumps(whole))
        assert import_faces(gallery, path).known == 3
        changed = json.loads(json.dumps(whole))
        changed["people"][2]["faces"][0]["uid"] = "ff"
        path.write_text(json.dumps(changed))
        with pytest.raises(InputError, match="'person 2' is already enrolled"):
            import_faces(gallery, path)
        assert import_faces(gallery, path, merge=True).faces == 1
        with pytest.raises(InputError, match=r"must end in \.json or \.npz"):
            export_gallery(gallery, tmp_path / "x.csv")


def test_an_npz_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored is what was checked, even if somebody replaces the file in between."""
    from mobileface.gallery import export_gallery, import_faces

    path, opened = tmp_path / "all.npz", list[Path]()
    with made(tmp_path / "a.gallery", vectors(3)) as gallery:
        export_gallery(gallery, path)
    whole = Path.open

    def counted(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(self)
        return whole(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)
    monkeypatch.setattr(np, "load", lambda file, load=np.load, **more: load(_no_path(file), **more))
    with made(tmp_path / "b.gallery") as gallery:
        assert import_faces(gallery, path).faces == 3
    assert opened.count(path) == 1


def _no_path(file: Any) -> Any:
    assert not isinstance(file, str | Path)
    return file

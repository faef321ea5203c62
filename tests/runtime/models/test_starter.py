"""The starter set: there without being asked for, right, and refused file by file when damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import FaceAnalyzer, find_model, list_models
from mobileface.commands.main import main
from mobileface.errors import ModelError, ModelIntegrityError
from mobileface.host.files import sha256
from mobileface.models.index import INDEX_FILE, read_index, write_index
from mobileface.models.lookup import StoredModel, candidate_models, search_folders
from mobileface.models.sealed import sealed
from mobileface.tasks import loading
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image

STARTER = {
    "age": "attributes",
    "detection_hog": "detection",
    "detection_yunet": "detection",
    "embedding_dlib": "embedding",
    "expression": "attributes",
    "gender": "attributes",
    "landmark_dlib5": "landmarks",
    "landmark_mesh": "landmarks",
    "pose_mesh": "pose",
    "segmentation_selfie": "segmentation",
}
ON_REQUEST = ("landmark_mesh", "pose_mesh", "segmentation_selfie")
"""What runs only when it is asked for."""

ORACLES = ("dlib ", "LiteRT ", "ONNX Runtime ", "OpenCV ", "plain numpy", "the angles ")
LARGEST = 28_000_000
"""Bytes that all of it may take."""

DEFAULTS = {
    "detection": ("detection_yunet",),
    "landmarks": ("landmark_dlib5",),
    "attributes": ("age", "expression", "gender"),
    "embedding": ("embedding_dlib",),
}
"""What runs if nothing is asked for."""

BOX = (178.167, 62.908, 268.067, 176.241)
SCORE = 0.932327
EYES = [[200.116, 101.82], [247.134, 102.619]]
KPS = [*EYES, [220.367, 124.545], [198.613, 142.774], [239.668, 143.638]]
"""What OpenCV 4.11's FaceDetectorYN finds in the portrait."""

HOG_BOX = (179, 83, 266, 170)
HOG_SCORE = 1.5341237
POINTS = [[255, 104], [237, 105], [195, 101], [212, 103], [224, 135]]
"""What dlib 20.0.1 finds in the portrait: detector and five landmarks, and its score."""

ANALYZER = Path(__file__).resolve().parents[2] / "models" / "analyzer"

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_users_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have models of his own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobody"))


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the starter set lies: beside the package, or in the source checkout."""
    return next(place for place in search_folders()[-2:] if (place / INDEX_FILE).is_file())


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "models"))


@pytest.fixture(scope="module")
def image(portrait: Path) -> Image:
    return read_image(portrait)


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(intra_op_num_threads=1)


def test_it_is_complete_and_what_its_index_says(folder: Path) -> None:
    found = {model.name: model for model in list_models(folder)}
    assert {name: model.entry.task for name, model in found.items()} == STARTER
    total = 0
    for name, model in found.items():
        assert sha256(model.path) == model.entry.sha256
        certificate = json.loads(model.certificate.read_text(encoding="utf-8"))
        assert certificate["sha256"] == model.entry.sha256
        assert certificate["verification"]["oracle"].startswith(ORACLES)
        assert f"`{model.entry.sha256}`" in (folder / f"{name}.md").read_text(encoding="utf-8")
        total += model.path.stat().st_size
    print(f"{total} bytes")
    assert total <= LARGEST


def test_licences_lie_beside_the_models(folder: Path) -> None:
    for model in list_models(folder):
        spec = mobileface.load(model.name, models=folder).spec
        path = folder / "licenses" / f"{spec.license.text_name}.txt"
        text = path.read_text(encoding="utf-8")
        assert len(text) > 1000
        assert spec.license.name in ("Apache-2.0", "BSL-1.0", "CC0-1.0", "MIT")
        if spec.license.text_name == "MIT_YuNet":
            assert "Shenzhen Institute of Artificial Intelligence" in text


def test_a_portrait_without_any_option(analyzer: FaceAnalyzer, image: Image) -> None:
    """The box and the first points are those of OpenCV's own detector."""
    assert analyzer.tasks == ("detection", "landmarks", "attributes", "embedding")
    assert set(analyzer.missing) == {"pose"}
    assert not analyzer.damaged
    assert analyzer.models == DEFAULTS
    (face,) = analyzer(image)
    assert face.bbox == pytest.approx(BOX, abs=0.05)
    assert face.det_score == pytest.approx(SCORE, abs=1e-4)
    (first,) = analyzer.detect(image)
    assert first.kps is not None
    assert first.kps == pytest.approx(np.array(KPS), abs=0.05)
    assert face.kps is not None
    moved = float(np.linalg.norm(face.kps[:5] - first.kps, axis=1).max())
    print(f"the mean of three looks moves the points by up to {moved:.1f} px")
    assert moved <= 6  # of a face of 113
    assert face.attributes is not None
    print(face.attributes.gender, face.attributes.age, face.attributes.expressions)
    assert face.attributes.gender == "female"
    assert face.attributes.age == pytest.approx(31.5, abs=8)
    assert face.attributes.expressions == ("happy",)
    assert face.embedding is not None
    assert face.embedding.shape == (128,)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
    assert face.embedding_model is not None
    assert face.embedding_model.startswith("embedding_dlib@")


def test_a_portrait_with_dlibs_detector(image: Image) -> None:
    """Box and points are dlib's own, to the pixel."""
    (face,) = FaceAnalyzer(detector="detection_hog", intra_op_num_threads=1)(image)
    assert tuple(face.bbox) == HOG_BOX
    assert face.det_score == pytest.approx(HOG_SCORE, abs=1e-4)
    assert face.kps is not None
    assert face.kps.tolist() == POINTS


SAME: dict[str, Callable[[Image], Image]] = {
    "darker": lambda image: (255 * (image / 255.0) ** 2.2).astype(np.uint8),
    "larger": lambda image: cv2.resize(image, None, fx=2.5, fy=2.5),  # type: ignore[dict-item]
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "gray": lambda image: image.mean(axis=2).astype(np.uint8),
    "noisy": lambda image: np.clip(
        image + np.random.RandomState(1).normal(0, 12, image.shape), 0, 255
    ).astype(np.uint8),
}


@pytest.mark.parametrize("change", SAME)
def test_a_changed_face_stays_the_same_person(
    change: str, analyzer: FaceAnalyzer, image: Image
) -> None:
    """The surest face of each; of two people's faces 0.85 is the mean."""
    face, other = (analyzer(picture)[0] for picture in (image, SAME[change](image)))
    similarity = face.similarity(other)
    print(f"{change}: {similarity:.4f}")
    assert 0.97 < similarity <= 1


def test_the_command_draws_and_prints(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    target = tmp_path / "out.png"
    assert main(["analyze", str(portrait), "--draw", str(target), "--json", "--embeddings"]) == 0
    out, _ = capsys.readouterr()
    (face,) = json.loads(out)["faces"]
    assert face["bbox"] == pytest.approx(BOX, abs=0.05)
    assert len(face["embedding"]) == 128
    assert read_image(target).shape == read_image(portrait).shape
    assert main(["compare", str(portrait), str(target)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("same person: similarity 0.9")
    assert float(out.split()[3].rstrip(",")) > 0.97
    assert main(["align", str(portrait), "--output", str(tmp_path / "crops")]) == 0
    (crop,) = (tmp_path / "crops").iterdir()
    assert read_image(crop).shape == (96, 96, 3)  # the first crop that YuNet's points allow


# damage


def cut(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def tamper(path: Path, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def remove(path: Path, _: Path) -> None:
    path.unlink()


DAMAGE = {"cut off": cut, "tampered with": tamper, "swapped": swap, "missing": remove}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", STARTER)
def test_a_damaged_model_is_refused_by_name_and_hash(
    name: str, damage: str, copied: Path, image: Image, capsys: Output, tmp_path: Path
) -> None:
    """The others still work."""
    model = find_model(name, models=copied)
    task = STARTER[name]
    other = find_model(next(n for n in STARTER if STARTER[n] != task), models=copied)
    DAMAGE[damage](model.path, other.path)
    with pytest.raises(ModelError) as caught:
        mobileface.load(name, models=copied)
    assert caught.value.where == str(model.path)
    if damage != "missing":
        assert isinstance(caught.value, ModelIntegrityError)
        assert model.entry.sha256 in caught.value.what
        assert sha256(model.path) in caught.value.what
    assert mobileface.load(other.name, models=copied).name == other.name
    if name == "detection_yunet":
        with pytest.raises(ModelError, match=name):
            FaceAnalyzer(copied)
        return
    analyzer = FaceAnalyzer(copied)
    if name in ("landmark_mesh", "pose_mesh"):
        with pytest.raises(ModelError, match=name):
            FaceAnalyzer(copied, ("detection", "landmarks", "pose"))
    if name == "detection_hog" or name in ON_REQUEST:
        assert analyzer.damaged == (["pose"] if name == "pose_mesh" else [])
        return
    assert "detection" in analyzer.tasks
    if task == "attributes":
        assert not analyzer.damaged
        assert set(analyzer.refused) == {name}
        assert str(model.path) in analyzer.refused[name]
        left_out = name
    else:
        # The detector's own points are landmarks, but not those that the other crops need.
        hit = {"attributes", "embedding"} if name == "landmark_dlib5" else {"embedding"}
        assert set(analyzer.damaged) == hit
        assert str(model.path) in analyzer.missing["embedding"]
        left_out = "embedding"
    (face,) = analyzer(image)
    assert face.kps is not None
    if task == "attributes":
        assert face.attributes is not None
        known = (face.attributes.age, face.attributes.expressions, face.attributes.gender)
        pairs = zip(("age", "expression", "gender"), known, strict=True)
        assert [field for field, value in pairs if value is None] == [name]
    picture = tmp_path / "picture.png"
    picture.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    assert main(["analyze", str(picture), "--models", str(copied)]) == 0
    assert f"{left_out} skipped: {model.path}" in capsys.readouterr().err


def test_a_task_that_was_asked_for_is_not_left_out(copied: Path) -> None:
    tamper(find_model("embedding_dlib", models=copied).path, copied)
    with pytest.raises(ModelIntegrityError, match=r"embedding_dlib\.onnx"):
        FaceAnalyzer(copied, ("detection", "landmarks", "embedding"))
    with pytest.raises(ModelIntegrityError, match=r"embedding_dlib\.onnx"):
        FaceAnalyzer(copied, embedder="embedding_dlib")


def test_models_command_checks_files(copied: Path, capsys: Output) -> None:
    assert main(["models", "--models", str(copied), "--check"]) == 0
    assert capsys.readouterr().out.count("  ok  ") == len(STARTER)
    path = find_model("landmark_dlib5", models=copied).path
    tamper(path, path)
    find_model("embedding_dlib", models=copied).path.unlink()
    assert main(["models", "--models", str(copied), "--check"]) == 2
    out, err = capsys.readouterr()
    assert out.count("  ok  ") == len(STARTER) - 2
    assert err.count("mobileface: error: ") == 2
    assert sha256(path) in err
    assert "embedding_dlib.onnx: cannot be read" in err
    assert main(["models", "--models", str(copied), "--check", "--json"]) == 2
    records = json.loads(capsys.readouterr().out)["models"]
    broken = {"embedding_dlib", "landmark_dlib5"}
    assert {record["name"]: record["intact"] for record in records} == {
        name: name not in broken for name in STARTER
    }


def test_nothing_is_written_beside_the_models(copied: Path, image: Image) -> None:
    """A folder that can only be read is enough."""
    before = {path: path.stat().st_mtime_ns for path in (copied, *copied.rglob("*"))}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(FaceAnalyzer(copied)(image)) == 1
        after = {path: path.stat().st_mtime_ns for path in (copied, *copied.rglob("*"))}
    finally:
        for path in before:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert after == before


# beside other models


def test_an_embedder_brings_its_landmarks_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other landmarks may be preferred; the crop of the embedder in use decides what is added."""
    monkeypatch.setenv("MOBILEFACE_HOME", str(ANALYZER))
    monkeypatch.setattr(loading, "candidate_models", preferring("tiny_points"))
    analyzer = FaceAnalyzer(embedder="embedding_dlib", detector="tiny_hog")
    assert analyzer.models["detection"] == ("tiny_hog",)
    assert analyzer.models["landmarks"] == ("tiny_points", "landmark_dlib5")
    assert len(analyzer.point_names) == 10
    assert analyzer.models["embedding"] == ("embedding_dlib",)


def test_what_a_folder_lacks_comes_from_the_starter_set(tmp_path: Path, folder: Path) -> None:
    index = json.loads((folder / INDEX_FILE).read_text())
    index["models"] = {"landmark_dlib5": index["models"]["landmark_dlib5"]}
    (tmp_path / INDEX_FILE).write_text(json.dumps(sealed(index)))
    for path in folder.glob("landmark_dlib5.*"):
        shutil.copy(path, tmp_path)
    analyzer = FaceAnalyzer(tmp_path)
    assert set(analyzer.tasks) == {"detection", "landmarks", "attributes", "embedding"}
    assert find_model(task="landmarks", models=tmp_path).path.parent == tmp_path
    assert find_model(task="detection", models=tmp_path).path.parent == folder


def test_an_embedder_without_its_landmarks(copied: Path) -> None:
    """By name it is an error then; the preferred one gives way to one that can run."""
    _add_tiny(copied)
    with pytest.raises(mobileface.MobileFaceError, match="tiny_color: the crop 'arcface' needs"):
        FaceAnalyzer(copied, detector="detection_hog", embedder="tiny_color")
    hog = FaceAnalyzer(copied, detector="detection_hog")
    assert hog.models["embedding"] == ("embedding_dlib",)
    assert FaceAnalyzer(copied).models["embedding"] == ("tiny_color",)  # YuNet's points suffice


def preferring(name: str) -> Callable[..., list[StoredModel]]:
    """The store's candidates with one model before the others."""

    def candidates(*arguments: str | None) -> list[StoredModel]:
        return sorted(
            (
                dataclasses.replace(model, entry=dataclasses.replace(model.entry, preference=99))
                if model.name == name
                else model
                for model in candidate_models(*arguments)
            ),
            key=lambda model: -model.entry.preference,
        )

    return candidates


def _add_tiny(folder: Path) -> None:
    """Adds an embedder that is preferred and wants landmarks that are not there."""
    entry = dataclasses.replace(read_index(ANALYZER)["tiny_color"], preference=50)
    write_index(folder, {**read_index(folder), "tiny_color": entry})
    for name in (entry.file, entry.certificate):
        shutil.copy(ANALYZER / name, folder)

"""The embedding stage: correct embeddings, the cache, and images that cannot be used."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.vision.picture_files import read_image
from mobileface_eval.datasets.face_sets import FaceImage, FaceSet, read_folder
from mobileface_eval.embedding import Embedded, FaceSource, embed_set
from mobileface_eval.vector_cache import VectorCache


def source(models: Path, name: str = "tiny_color") -> FaceSource:
    return FaceSource(name, models, crops=True)


def embedded(models: Path, people: Path, cache: Path | None = None, **options: Any) -> Embedded:
    return embed_set(source(models), read_folder(people), cache=cache, **options)


def test_embeddings_are_those_of_the_runtime(models: Path, people: Path) -> None:
    found = embedded(models, people)
    paths = sorted(people.glob("*/*.png"))
    images = [read_image(path) for path in paths]
    expected = source(models).model.embed(images)
    assert np.abs(found.vectors - expected).max() <= 1e-6
    assert (found.computed, found.skipped) == (36, ())
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    model = source(models).model
    sums = model.embed(images, normalize=False) + model.embed(mirrored, normalize=False)
    sums /= np.linalg.norm(sums, axis=1, keepdims=True)
    assert np.abs(embedded(models, people, flip=True).vectors - sums).max() <= 1e-6
    assert np.abs(sums - expected).max() > 0.01


def test_cached_embeddings_are_not_computed_again(
    models: Path, people: Path, tmp_path: Path
) -> None:
    first = embedded(models, people, tmp_path / "cache")
    again = embedded(models, people, tmp_path / "cache")
    assert (first.computed, again.computed) == (36, 0)
    assert np.array_equal(first.vectors, again.vectors)
    path = people / "person03" / "person03_0002.png"
    image = read_image(path)
    image[5:] = 255 - image[5:]
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    path.with_name("another.png").write_bytes((people / "person01/person01_0001.png").read_bytes())
    with pytest.raises(InputError, match="2 of 37 images cannot be used"):  # both under two people
        embedded(models, people, tmp_path / "cache")
    path.with_name("another.png").unlink()
    assert embedded(models, people, tmp_path / "cache").computed == 0  # it was computed just now
    other = embed_set(source(models, "tiny_gray"), read_folder(people), cache=tmp_path / "cache")
    assert other.computed == 36
    assert len(list((tmp_path / "cache" / "vectors").iterdir())) == 2


def run_one(models: Path, people: Path, cache: Path) -> bytes:
    return embedded(models, people, cache).vectors.tobytes()


def test_concurrent_runs_share_the_cache(models: Path, people: Path, tmp_path: Path) -> None:
    expected = embedded(models, people).vectors
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        runs = pool.starmap(run_one, [(models, people, tmp_path / "cache")] * 8)
    for run in runs:
        found = np.frombuffer(run, np.float32).reshape(expected.shape)
        assert np.abs(found - expected).max() <= 1e-6
    assert embedded(models, people, tmp_path / "cache").computed == 0


def test_a_corrupt_cache_is_named(models: Path, people: Path, tmp_path: Path) -> None:
    embedded(models, people, tmp_path)
    [file] = (tmp_path / "vectors").iterdir()
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"cannot be used .*--no-cache") as caught:
        embedded(models, people, tmp_path)
    assert str(file) in str(caught.value)
    with pytest.raises(InputError, match="cannot be used"):
        embedded(models, people, file)  # a folder that is a file


def test_cache_rows(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, "key")
    random = np.random.default_rng(0)
    rows = {f"{n:064x}": random.normal(size=(2, 5)).astype(np.float32) for n in range(1200)}
    assert cache.read(list(rows)) == {}
    cache.write({**rows, "none": "no face found"})
    found = cache.read([*rows, "none", "absent"])
    assert found.pop("none") == "no face found"
    assert found.keys() == rows.keys()
    assert all(np.array_equal(found[key], rows[key]) for key in rows)
    assert VectorCache(tmp_path, "other").read(list(rows)) == {}
    assert VectorCache(None, "key").read(list(rows)) == {}


def spoil(people: Path) -> None:
    (people / "person02" / "person02_0001.png").write_bytes(b"no image")
    (people / "person05" / "person05_0003.png").write_bytes(b"")
    (people / "person06" / "gone.png").symlink_to(people / "absent.png")


def test_unusable_images_fail_the_run(
    models: Path, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(people)
    with pytest.raises(InputError, match=r"3 of 37 images .*person02.*--allow-missing"):
        embedded(models, people)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in lines] == [
        "person02/person02_0001.png",
        "person05/person05_0003.png",
        "person06/gone.png",
    ]
    found = embedded(models, people, allow_missing=True)
    assert len(found.vectors) == len(found.set.images) == 34
    assert [item.name for item in found.skipped] == [line.split(": ")[2] for line in lines]
    assert "cannot be read" in found.skipped[2].reason


def test_copies(models: Path, people: Path) -> None:
    """A copy under the same person is skipped; one under another person is an error."""
    content = (people / "person07" / "person07_0001.png").read_bytes()
    (people / "person07" / "person07_0009.png").write_bytes(content)
    found = embedded(models, people)
    assert [(i.name, i.reason) for i in found.skipped] == [
        ("person07/person07_0009.png", "a copy of person07/person07_0001.png")
    ]
    (people / "person08" / "copied.png").write_bytes(content)
    with pytest.raises(InputError, match="of another person"):
        embedded(models, people)
    found = embedded(models, people, allow_missing=True)
    assert len(found.skipped) == 3
    assert len(found.vectors) == 35


def test_empty_sets(models: Path) -> None:
    with pytest.raises(InputError, match="no images found"):
        embed_set(source(models), FaceSet("empty", ()))
    nothing = FaceSet("broken", (FaceImage("a", data=b"x"),), ("a",))
    with pytest.raises(InputError, match="no usable images"):
        embed_set(source(models), nothing, allow_missing=True)


def test_photos_are_aligned(portrait: Path, tmp_path: Path) -> None:
    """A photo's face is detected and aligned; a photo without a face is skipped."""
    image = read_image(portrait)
    black = np.zeros_like(image)
    (tmp_path / "two").mkdir()
    for name, pixels in (("face", image), ("no_face", black)):
        (tmp_path / "two" / f"{name}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    found = embed_set(FaceSource(), read_folder(tmp_path), allow_missing=True)
    assert [(i.name, i.reason) for i in found.skipped] == [("two/no_face.png", "no face found")]
    from mobileface.analyzer import FaceAnalyzer

    faces = FaceAnalyzer(tasks=("detection", "landmarks", "embedding"))(image)
    assert float(faces[0].embedding @ found.vectors[0]) > 0.99999


def test_a_source_is_pickled_without_its_sessions(models: Path, people: Path) -> None:
    here = source(models)
    assert here.model.size == 16
    there = pickle.loads(pickle.dumps(here))
    assert "model" not in vars(there)
    images = read_folder(people).images[:3]
    a, b = (np.stack([np.asarray(v) for v in s.embed(images)]) for s in (here, there))
    assert np.array_equal(a, b)

"""Readers of models, certificates and galleries, each with files to begin from."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np

from mobileface.diagnostics.certification import certify
from mobileface.errors import ModelIntegrityError
from mobileface.gallery import Gallery, NewFace
from mobileface.models.index import read_index
from mobileface.models.lookup import find_model
from mobileface.models.session import Session
from mobileface_convert.build.ort_files import write_ort
from mobileface_convert.frontends import keras_file
from mobileface_convert.frontends.keras_onnx import build_keras
from mobileface_convert.frontends.pose_pickle import read_pose_coefficients
from mobileface_convert.recipes.recipe import load_recipe
from tests.convert.commands.adoptable_networks import write_network
from tests.convert.commands.adopting import FACTS, SCALING, adopt
from tests.runtime.gallery.gallery_helpers import stamp, vectors

from .reader import Reader

__all__ = ["MODEL_READERS"]

ROOT = Path(__file__).resolve().parents[2]
TINY, STARTER = ROOT / "tests" / "models", ROOT / "models_onnx"
CERTIFIED, PEOPLE, SIZE = "gender", 8, 16


def _keras() -> list[bytes]:
    if importlib.util.find_spec("h5py") is None:
        return []
    from tests.convert.frontends.test_keras_file import write

    with tempfile.TemporaryDirectory() as folder:
        return [write(Path(folder) / "net.h5").read_bytes()]


def _read_keras(path: Path) -> object:
    keras_file._SECONDS = 1  # some hundred files take it all
    return build_keras(keras_file.read_keras(path), name="net", image="image", output="y")


def _pickles() -> list[bytes]:
    rows = np.random.default_rng(1).uniform(-1, 1, (3, 11)).tolist()
    return [pickle.dumps(rows, protocol) for protocol in range(5)]


def _certificates() -> list[bytes]:
    """With its checksum, and as after an edit by hand."""
    content = (STARTER / f"{CERTIFIED}.certificate.json").read_bytes()
    plain = json.loads(content)
    del plain["checksum"]
    return [content, json.dumps(plain).encode()]


@functools.cache
def _beside() -> tuple[bytes, bytes]:
    return (STARTER / f"{CERTIFIED}.onnx").read_bytes(), (STARTER / "index.json").read_bytes()


def _replay(path: Path) -> object:
    """The certificate beside its model; a refused one is a verdict and no error."""
    folder = path.parent / "certified"
    folder.mkdir(exist_ok=True)
    for name, content in zip((f"{CERTIFIED}.onnx", "index.json"), _beside(), strict=True):
        if not (folder / name).exists():
            (folder / name).write_bytes(content)
    (folder / f"{CERTIFIED}.certificate.json").write_bytes(path.read_bytes())
    (verdict,) = certify([find_model(CERTIFIED, models=folder)])
    if verdict.state == "failed":
        raise ModelIntegrityError(verdict.reason)
    return verdict


def _galleries() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, storage in enumerate(("float32", "float16")):
            path = Path(folder) / f"{number}.gallery"
            with Gallery.create(path, stamp(SIZE, storage=storage)) as gallery:
                for person, vector in enumerate(vectors(PEOPLE, SIZE)):
                    kps = {"nose": (1.0, 2.0)}
                    face = NewFace(vector, bbox=(0, 0, 9, 9), kps=kps, crop=b"jpeg", source="a.png")
                    gallery.add(f"person {person}", [face])
                gallery.database.empty_log()
            found.append(path.read_bytes())
    return found


def _search(path: Path) -> object:
    """Everything that reads a gallery."""
    for left in path.parent.glob(f"{path.name}-*"):
        left.unlink()
    with warnings.catch_warnings(), Gallery.open(path) as gallery:
        warnings.simplefilter("ignore")
        found = gallery.search(vectors(2, gallery.stamp.size if gallery.stamp.size < 64 else SIZE))
        for person in gallery.people():
            list(gallery.faces(person.name))
        gallery.stats()
        gallery.check()
        return found


def _ort() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        for path in TINY.glob("tiny_*"):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        (Path(folder) / "index.json").write_bytes((TINY / "index.json").read_bytes())
        made = write_ort(Path(folder), [*read_index(Path(folder)).values()])
        return [path.read_bytes() for path in made if path.suffix == ".ort"]


def _adopted() -> list[bytes]:
    """As ``mobileface-convert adopt`` writes it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        network, recipe = write_network(Path(folder) / "net.onnx"), Path(folder) / "my.toml"
        output = Path(folder) / "models"
        if adopt(network, *FACTS, *SCALING, "--output", output, "--write-recipe", recipe):
            raise AssertionError("no recipe was written")
        return [recipe.read_bytes()]


MODEL_READERS = (
    Reader("keras", _keras, _read_keras, ".h5"),
    Reader("pose_pickle", _pickles, lambda path: read_pose_coefficients(path.read_bytes())),
    Reader("certificate", _certificates, _replay, ".json", True),
    Reader("gallery", _galleries, _search, ".gallery"),
    Reader("ort", _ort, Session, ".ort"),
    Reader("adopted", _adopted, lambda path: load_recipe(str(path)), ".toml"),
)

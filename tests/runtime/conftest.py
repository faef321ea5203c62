"""Tiny models with random weights (see tests/make_tiny_models.py) and pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface.host import places
from mobileface.models import lookup as store
from mobileface.models.session import Session
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import Image

MODELS = Path(__file__).resolve().parents[1] / "models"


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The settings of whoever runs the tests do not count, those that are stored neither."""
    nowhere = tmp_path_factory.getbasetemp() / "no_settings"
    monkeypatch.setattr(places, "user_settings", lambda: nowhere)
    for variable in ("MOBILEFACE_HOME", "MOBILEFACE_THREADS", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def models() -> Path:
    return MODELS


@pytest.fixture
def no_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are found in the folder that is named, and nowhere else."""
    monkeypatch.setattr(store, "_common_folders", tuple)


@pytest.fixture
def copied_models(tmp_path: Path) -> Path:
    """The models in a folder that a test may change."""
    return Path(shutil.copytree(MODELS, tmp_path / "models"))


@pytest.fixture(scope="session")
def gray() -> Embedder:
    return Embedder(Session(MODELS / "tiny_gray.onnx", intra_op_num_threads=1))


@pytest.fixture(scope="session")
def color() -> Embedder:
    return Embedder(Session(MODELS / "tiny_color.onnx", intra_op_num_threads=1))


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Image]]:
    """Four colour pictures of 24×24 in PNG files, with their content in BGR."""
    folder = tmp_path_factory.mktemp("crops")
    random = np.random.RandomState(4)
    pictures = random.randint(0, 256, (4, 24, 24, 3)).astype(np.uint8)
    found = []
    for index, picture in enumerate(pictures):
        path = folder / f"crop{index}.png"
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        found.append((path, picture))
    return found

"""Recipes with values of another type, too large or nested, and without the files they need."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mobileface.errors import ConversionError, MobileFaceError
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes import recipe as recipes
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

TEXT = (Path(recipes.__file__).parent / "landmark_dlib5.toml").read_text()
HUGE = "9" * 400

CHANGES = {
    "bytes huge": ("bytes = 9150489", f"bytes = {'9' * 5000}"),
    "bytes text": ("bytes = 9150489", 'bytes = "many"'),
    "bytes nan": ("bytes = 9150489", "bytes = nan"),
    "path number": ('path = "face', 'path = 5\nother = "face'),
    "hash list": (
        'git_blob_sha1 = "67878ed3894d929c5e03bd1ad2d931cc6d745ee7"',
        "git_blob_sha1 = []",
    ),
    "maker table": ('maker = "shape_predictor"', "maker = {}"),
    "maker number": ('maker = "shape_predictor"', "maker = 1"),
    "opset text": ('maker = "shape_predictor"', 'maker = "shape_predictor"\nopset = "x"'),
    "cut number": ('maker = "shape_predictor"', 'maker = "shape_predictor"\ncut = 1'),
    "weights table": ('maker = "shape_predictor"', 'maker = "shape_predictor"\nweights = {}'),
    "bound text": ("max_abs_error = 1 ", 'max_abs_error = "1" '),
    "bound huge": ("max_abs_error = 1 ", f"max_abs_error = {HUGE} "),
    "bound nan": ("max_abs_error = 1 ", "max_abs_error = nan "),
    "card number": ('published = "None;', 'published = 1\nother = "None;'),
    "limits text": ("limits = [", 'limits = "x"\nothers = ['),
    "upstream list": ('upstream = "dlib_models"', "upstream = []"),
    "upstream unknown": ('upstream = "dlib_models"', 'upstream = "x"'),
    "spec list": ("[spec]\n", "[[spec]]\n"),
    "preference huge": ("preference = 5", f"preference = -{HUGE}"),
    "points nested": ("points = [", f"points = {'[' * 2000}{']' * 2000}\nothers = ["),
    "no TOML": ("[spec]\n", "[spec\n"),
    "dates": ('title = "dlib', 'title = 2026-11-26\nother = "dlib'),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_error(name: str, tmp_path: Path) -> None:
    before, after = CHANGES[name]
    assert before in TEXT
    path = tmp_path / "r.toml"
    path.write_text(TEXT.replace(before, after, 1))
    with pytest.raises(MobileFaceError) as caught:
        load_recipe(str(path))
    print(str(caught.value)[:200])
    assert "\n" not in str(caught.value)


def test_not_utf8_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    for name in ("r.toml", "gone.toml", "\0.toml"):
        with pytest.raises(ConversionError, match="cannot be read"):
            load_recipe(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("landmark_dlib5", "model"),
        ("embedding_dlib", "model"),
        ("identification_v3", "symbol"),
        ("detection_yunet", "model"),
        ("pose_emnme", "model"),
        ("gender", "model"),
    ],
)
def test_missing_roles(name: str, needed: str, tmp_path: Path) -> None:
    """The files are there and have the right hashes, but under another role."""
    content = b"something"
    sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "x.bin").write_bytes(content)
    text = (Path(recipes.__file__).parent / f"{name}.toml").read_text()
    head, _, rest = text.partition("[files.")
    rest = rest[rest.index("\n[convert]") :]
    other = f'[files.other]\npath = "x.bin"\ngit_blob_sha1 = "{sha1}"\n'
    path = tmp_path / "r.toml"
    path.write_text(head + other + rest)
    with pytest.raises(ConversionError, match=f"needs a file '{needed}'") as caught:
        convert(load_recipe(str(path)), DirectorySource(tmp_path / "source"), tmp_path / "out")
    print(caught.value)

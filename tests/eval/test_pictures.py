"""Folders of people and lists of pairs, valid and invalid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import ImageError, InputError
from mobileface_eval.datasets.face_sets import FaceImage, read_folder, read_pairs


def test_folder(people: Path) -> None:
    found = read_folder(people)
    assert len(found.images) == 36
    assert found.people is not None
    assert found.people[:4] == ("person00", "person00", "person00", "person01")
    assert found.labels.tolist() == np.repeat(np.arange(12), 3).tolist()
    assert found.images[4].name == "person01/person01_0002.png"
    assert found.images[4].image().shape == (24, 24, 3)
    assert len(read_folder(people, 5).images) == 15


def test_invalid_folders(people: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images found"):
        read_folder(tmp_path / "empty")
    (people / "stray.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"'stray.png' is not in the folder of a person"):
        read_folder(people)


def listed(people: Path, text: str) -> Path:
    path = people / "pairs.txt"
    path.write_text(text)
    return path


def test_pairs_of_every_form(people: Path) -> None:
    text = (
        "1\t2\n"
        "person00\t1\t2\n"
        "person00\t1\tperson03\t2\n"
        "\n"
        "person01 3 1\n"
        "person02/person02_0001.png person04/person04_0003.png 0\n"
        "person02/person02_0001.png person02/person02_0002.png 1\n"
    )
    found = read_pairs(listed(people, text), people)
    assert found.pairs is not None
    assert found.same is not None
    assert found.same.tolist() == [True, False, True, False, True]
    names = [[found.images[n].name.split("/")[1] for n in pair] for pair in found.pairs]
    assert names[1] == ["person00_0001.png", "person03_0002.png"]
    assert names[2] == ["person01_0003.png", "person01_0001.png"]
    assert len(found.images) == len(set(found.images)) == 8
    assert found.labels[found.pairs[1]].tolist() == [0, 3]
    rest = found.without({0})
    assert rest.pairs is not None
    assert rest.same is not None
    assert rest.same.tolist() == [True, False, True]
    kept = [[rest.images[n].name.split("/")[1] for n in pair] for pair in rest.pairs]
    assert kept == names[2:]
    with pytest.raises(InputError, match="no usable images"):
        found.without(set(range(8)))


def test_a_missing_file_is_an_error_when_it_is_read(people: Path) -> None:
    found = read_pairs(listed(people, "person00 1 9\n"), people)
    assert found.images[1].name == "person00/person00_0009.jpg"
    with pytest.raises(ImageError, match="cannot be read"):
        found.images[1].content()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pairs found"),
        ("10\t300\n", "no pairs found"),
        ("person00 1 2\nperson00 1\n", "line 2: not a pair: 'person00 1'"),
        ("person00 one two\n", "line 1: not a pair"),
        ("../secret 1 2\n", "is outside the folder"),
        ("/etc/passwd person00/a.png 0\n", "is outside the folder"),
        ("a/../../b.png person00/a.png 1\n", "is outside the folder"),
    ],
)
def test_invalid_lists(people: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(listed(people, text), people)


def test_unreadable_lists(people: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(people / "absent.txt", people)
    (people / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(people / "binary.txt", people)


def test_data_that_is_not_an_image() -> None:
    with pytest.raises(ImageError, match=r"lfw\[3\]: not an image"):
        FaceImage("lfw[3]", data=b"jpeg").image()

"""Folders of people and lists of pairs, good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import ImageError, InputError
from mobileface_eval.datasets.face_sets import Picture, read_folder, read_pairs


def test_folder(people: Path) -> None:
    found = read_folder(people)
    assert len(found.pictures) == 36
    assert found.people is not None
    assert found.people[:4] == ("person00", "person00", "person00", "person01")
    assert found.labels.tolist() == np.repeat(np.arange(12), 3).tolist()
    assert found.pictures[4].name == "person01/person01_0002.png"
    assert found.pictures[4].image().shape == (24, 24, 3)
    assert len(read_folder(people, 5).pictures) == 15


def test_folders_that_do_not_do(people: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images found"):
        read_folder(tmp_path / "empty")
    (people / "stray.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"'stray.png' lies beside the folders"):
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
    names = [[found.pictures[n].name.split("/")[1] for n in pair] for pair in found.pairs]
    assert names[1] == ["person00_0001.png", "person03_0002.png"]
    assert names[2] == ["person01_0003.png", "person01_0001.png"]
    assert len(found.pictures) == len(set(found.pictures)) == 8
    assert found.labels[found.pairs[1]].tolist() == [0, 3]
    rest = found.without({0})
    assert rest.pairs is not None
    assert rest.same is not None
    assert rest.same.tolist() == [True, False, True]
    kept = [[rest.pictures[n].name.split("/")[1] for n in pair] for pair in rest.pairs]
    assert kept == names[2:]
    with pytest.raises(InputError, match="no picture is left"):
        found.without(set(range(8)))


def test_a_picture_that_is_not_there_is_found_out_later(people: Path) -> None:
    found = read_pairs(listed(people, "person00 1 9\n"), people)
    assert found.pictures[1].name == "person00/person00_0009.jpg"
    with pytest.raises(ImageError, match="cannot be read"):
        found.pictures[1].content()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pairs in it"),
        ("10\t300\n", "no pairs in it"),
        ("person00 1 2\nperson00 1\n", "line 2: no pair: 'person00 1'"),
        ("person00 one two\n", "line 1: no pair"),
        ("../secret 1 2\n", "leads out of the folder"),
        ("/etc/passwd person00/a.png 0\n", "leads out of the folder"),
        ("a/../../b.png person00/a.png 1\n", "leads out of the folder"),
    ],
)
def test_lists_that_do_not_do(people: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(listed(people, text), people)


def test_lists_that_cannot_be_read(people: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(people / "absent.txt", people)
    (people / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(people / "binary.txt", people)


def test_a_picture_that_is_none() -> None:
    with pytest.raises(ImageError, match=r"lfw\[3\]: not an image"):
        Picture("lfw[3]", data=b"jpeg").image()

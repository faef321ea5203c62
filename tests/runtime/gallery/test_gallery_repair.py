"""Faces embedded again from their crops, and pictures that two processes enrol at once."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mobileface import FaceAnalyzer, read_image
from mobileface.commands.main import main
from mobileface.gallery import Enroller, Gallery, NewFace, Stamp, find_damaged, migrate, repair
from mobileface.gallery.schema import seal_stamp
from tests.runtime.gallery.gallery_helpers import names
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(tasks=("detection", "landmarks", "embedding"))


@pytest.fixture
def gallery(tmp_path: Path, analyzer: FaceAnalyzer, portrait: Path) -> Path:
    """Six times the same portrait, each in another name."""
    assert analyzer.embedder is not None
    path = tmp_path / "people.gallery"
    with Gallery.create(path, Stamp.of(analyzer.embedder)) as made:
        for name in ("intact", "number", "crop", "both", "person", "no crop"):
            Enroller(made, analyzer).enrol(name, [portrait])
        made.database.run("DELETE FROM crop WHERE face = 6")
    return path


def damage(path: Path) -> None:
    """What other programs, or disks, may do to the faces 2 to 6."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE face SET embedding = zeroblob(512) WHERE id IN (2, 4, 6)")
        query = "SELECT jpeg FROM crop WHERE face = 4"
        jpeg = bytearray(connection.execute(query).fetchone()[0])
        jpeg[len(jpeg) // 2] ^= 4
        connection.execute("UPDATE crop SET jpeg = ? WHERE face IN (3, 4)", (bytes(jpeg),))
        connection.execute("UPDATE face SET person = 1 WHERE id = 5")
    connection.close()


def test_damaged_faces_are_embedded_again(
    gallery: Path, analyzer: FaceAnalyzer, portrait: Path
) -> None:
    """Only those with an intact crop, and never for another person."""
    damage(gallery)
    (face,) = analyzer(read_image(portrait))
    assert face.embedding is not None
    with Gallery.open(gallery) as opened:
        found = {each.face_id: each for each in find_damaged(opened)}
        assert {number: each.repairable for number, each in found.items()} == {
            2: True,
            3: False,
            4: False,
            5: False,
            6: False,
        }
        assert [number for number, each in found.items() if each.compared] == [3]
        repaired, lost = repair(opened, analyzer)
        assert [each.face_id for each in repaired] == [2]
        assert [each.face_id for each in lost] == [3, 4, 5, 6]
        assert [each.face_id for each in find_damaged(opened)] == [3, 4, 5, 6]
        (record,) = opened.faces("number")
        cosine = float(record.face.embedding @ face.embedding)
        print(f"cosine of the repaired embedding with the photo's: {cosine:.6f}")
        assert cosine > 0.999  # what the JPEG of the crop costs
        opened.check()


def test_the_command_says_what_is_left(gallery: Path, capsys: Output) -> None:
    damage(gallery)
    arguments = ["gallery", "stats", "--gallery", str(gallery)]
    assert main([*arguments, "--check"]) == 2
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("mobileface: damaged: face ")]
    assert len(lines) == 5
    assert "face 2 of 'number': " in lines[0]
    assert lines[0].endswith("can be embedded again")
    assert all(line.endswith("must be enrolled again") for line in lines[1:])
    assert "5 damaged faces, 4 of them left out of searches" in err
    assert main([*arguments, "--repair", "--json"]) == 2
    out = json.loads(capsys.readouterr().out)
    assert [face["face_id"] for face in out["repaired"]] == [2]
    assert (len(out["damaged"]), out["intact"]) == (4, False)
    for name in ("crop", "both", "no crop"):
        assert main(["gallery", "remove", name, "--gallery", str(gallery)]) == 0
    assert main(["gallery", "remove", "intact", "--face", "5", "--gallery", str(gallery)]) == 0
    assert main([*arguments, "--check"]) == 0
    assert "intact         True" in capsys.readouterr().out


def test_a_warning_of_the_command_is_one_line(gallery: Path, portrait: Path) -> None:
    """In a process of its own, where warnings are printed."""
    damage(gallery)
    code = "import sys; from mobileface.commands.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["gallery", "search", str(portrait), "--gallery", str(gallery)]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    (line,) = [line for line in lines if "warning: /" in line]
    assert line.startswith(f"mobileface: warning: {gallery}: 4 damaged faces are left out: face 2")


def test_a_repaired_count(gallery: Path, analyzer: FaceAnalyzer) -> None:
    """A face that another program removed: searches are refused until the loss is accepted."""
    with sqlite3.connect(gallery) as connection:
        connection.execute("DELETE FROM crop WHERE face = 2")
        connection.execute("DELETE FROM face WHERE id = 2")
    connection.close()
    with Gallery.open(gallery) as opened:
        probe = next(opened.faces("intact")).face.embedding
        with pytest.raises(Exception, match="5 faces can be read, and 6 were enrolled"):
            opened.search(probe)
        assert repair(opened, analyzer) == ([], [])
        assert opened.search(probe)[0].comparisons == 5
        opened.check()


def test_a_migration_replaces_damaged_embeddings(gallery: Path, analyzer: FaceAnalyzer) -> None:
    with sqlite3.connect(gallery) as connection:
        connection.execute("UPDATE face SET embedding = zeroblob(3) WHERE id = 2")
    connection.close()
    with Gallery.open(gallery) as opened:
        opened.remove("no crop")
        opened.database.run("UPDATE stamp SET model = 'another@ffffffffffff'")
        seal_stamp(opened.database)
        opened.reload()
        gallery.with_name(f"{gallery.name}-matrix").write_bytes(b"of the old model")
        done = migrate(opened, analyzer)
        assert (done.faces, done.dropped) == (5, 0)
        assert (
            sorted(file.name for file in gallery.parent.iterdir() if "-matrix" in file.name) == []
        )
        assert not find_damaged(opened)
        opened.check()


def test_pictures_that_another_process_enrols_meanwhile(
    gallery: Path, analyzer: FaceAnalyzer, portrait: Path, tmp_path: Path
) -> None:
    """The other one comes between looking at a picture and storing it."""
    other = shutil.copy(portrait, tmp_path / "copy.png")
    with Gallery.open(gallery) as opened, Gallery.open(gallery) as second:
        enroller, rival = Enroller(opened, analyzer), Enroller(second, analyzer)
        looked = enroller._lookalikes

        def late(name: str, faces: Sequence[NewFace]) -> Any:
            found = looked(name, faces)
            assert len(rival.enrol("Eileen", [other]).faces) == 1
            return found

        enroller._lookalikes = late  # type: ignore[method-assign]
        done = enroller.enrol("Eileen", [portrait])
        assert (done.faces, done.known) == ((), (str(portrait),))
        assert (done.images, done.lookalikes) == ((), ())
        assert len(list(opened.faces("Eileen"))) == 1


def test_two_processes_enrol_the_same_folder(gallery: Path, portrait: Path, tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / "people" / f"Ann {number}"
        folder.mkdir(parents=True)
        content = portrait.read_bytes() + bytes([number])  # the same face in another file
        (folder / f"a{portrait.suffix}").write_bytes(content)
    code = "import sys; from mobileface.commands.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["gallery", "add-folder", str(tmp_path / "people"), "--gallery", str(gallery)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    with Gallery.open(gallery) as opened:
        assert [name for name in names(opened) if name.startswith("Ann")] == [
            f"Ann {number}" for number in range(4)
        ]
        faces = [person.faces for person in opened.people() if person.name.startswith("Ann")]
        print(faces)
        assert faces == [1, 1, 1, 1]
        opened.check()

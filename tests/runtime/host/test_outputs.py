"""Where outputs go: links, pipes, devices, descriptors, folders, inputs, and names in a folder."""

from __future__ import annotations

import os
import random
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest

from mobileface.errors import InputError, OutputError
from mobileface.host.files import replacing, utf8_path, write_aside
from mobileface.host.outputs import (
    STDOUT,
    check_folder,
    check_outputs,
    is_stdout,
    output_path,
    unique_stems,
    written_through,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(b"mine")
    return path


def link(path: Path, target: Path | str) -> Path:
    path.symlink_to(target)
    return path


def hard_link(path: Path, target: Path) -> Path:
    path.hardlink_to(target)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def test_an_input_is_refused_under_any_name(file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    names = [
        file,
        tmp_path / "folder" / ".." / file.name,
        hard_link(tmp_path / "hard", file),
        link(tmp_path / "soft", file),
        link(tmp_path / "twice", "soft"),
        link(tmp_path / "here", tmp_path) / file.name,
        Path(os.path.relpath(file)),
    ]
    for name in names:
        for output, given in ((name, file), (file, name), (name, str(file))):
            with pytest.raises(InputError, match="would overwrite its own input"):
                check_outputs([None, output], [None, "nothing", given])
    check_outputs([tmp_path / "other"], [file, tmp_path])
    print(f"{len(names)} names of one file refused, as output and as input")


def test_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    later, dangling = tmp_path / "later", link(tmp_path / "dangling", "later")
    for output, given in ((later, later), (dangling, later), (later, dangling)):
        with pytest.raises(InputError, match="own input"):
            check_outputs([output], [given])
    with pytest.raises(InputError, match="two outputs are the same"):
        check_outputs([later, dangling])
    with pytest.raises(InputError, match="two outputs are the same"):
        check_outputs([STDOUT, Path("/dev/fd/1")])


def test_what_is_no_place_for_a_file(file: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        reasons = {
            tmp_path: "is a folder, not a file",
            link(tmp_path / "to_folder", tmp_path): "is a folder, not a file",
            tmp_path / "socket": "is a socket",
            file / "below": "Not a directory",
            file / "deep" / "below": "Not a directory",
            link(tmp_path / "circle", "circle"): "Too many levels",
            tmp_path / ("n" * 300): "name too long",
            tmp_path / "zero\0byte": "null",
        }
        for path, reason in reasons.items():
            for way in (lambda p: check_outputs([p]), lambda p: write_aside(p, b"new")):
                with pytest.raises(OutputError, match=f"(?i){reason}"):
                    way(path)
    with pytest.raises(OutputError, match="is a file, not a folder"):
        check_folder(file)
    with pytest.raises(OutputError, match="Not a directory"):
        check_folder(file / "below")
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    assert file.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    # Root may write everywhere, so the mode is asked instead of the system.
    monkeypatch.setattr(os, "access", lambda path, _: bool(Path(path).stat().st_mode & 0o200))
    with pytest.raises(OutputError, match="Permission denied"):
        check_outputs([tmp_path / "new" / "file"])
    with pytest.raises(OutputError, match="Permission denied"):
        check_folder(tmp_path / "new")
    tmp_path.chmod(0o700)
    check_outputs([tmp_path / "new" / "file"])


def test_the_target_of_a_link_is_replaced(file: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    soft = link(tmp_path / "links" / "soft.bin", "../file.bin")
    twice = link(tmp_path / "twice.bin", "links/soft.bin")
    before = file.stat().st_ino
    with replacing(twice) as temporary:
        assert temporary.parent == file.parent
        assert temporary.suffix == ".bin"
        temporary.write_bytes(b"new")
    assert soft.is_symlink()
    assert twice.is_symlink()
    assert file.read_bytes() == b"new"
    assert file.stat().st_ino != before  # renamed, not written into
    dangling = link(tmp_path / "dangling", "made/later.bin")
    write_aside(dangling, b"later")
    assert dangling.is_symlink()
    assert (tmp_path / "made" / "later.bin").read_bytes() == b"later"
    with pytest.raises(ZeroDivisionError), replacing(twice) as temporary:
        temporary.write_bytes(bytes(1 // 0))
    assert file.read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "dangling", "file.bin", "links", "made", "twice.bin",
    ]  # fmt: skip


def test_pipes_and_devices_are_written_through(tmp_path: Path) -> None:
    content = random.Random(3).randbytes(300_000)  # more than a pipe holds
    fifo = pipe(tmp_path / "fifo.bin")
    for path in (fifo, link(tmp_path / "soft", fifo)):
        received: list[bytes] = []
        reader = threading.Thread(target=lambda r=received: r.append(fifo.read_bytes()))
        reader.start()
        check_outputs([path])
        write_aside(path, content)
        reader.join(60)
        assert received == [content]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    null = link(tmp_path / "null", os.devnull)
    check_outputs([Path(os.devnull), null, null], [os.devnull])  # a device may be given twice
    write_aside(null, b"gone")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert {p.name for p in tmp_path.iterdir()} == {"fifo.bin", "null", "soft"}
    with pytest.raises(InputError, match="own input"):
        check_outputs([fifo], [fifo])  # it would wait for itself


def test_descriptors_are_written_as_they_are(file: Path, tmp_path: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(4)
        number = stream.fileno()
        names = [Path(f"/dev/fd/{number}"), link(tmp_path / "soft", f"/dev/fd/{number}")]
        names.append(Path(f"/proc/self/fd/{number}"))
        before = file.stat().st_ino
        for name in names:
            assert written_through(name)
            write_aside(name, b"+more")
            with pytest.raises(InputError, match="own input"):
                check_outputs([name], [file])
    assert file.read_bytes() == b"mine" + 3 * b"+more"
    assert file.stat().st_ino == before
    with pytest.raises(OutputError, match="Bad file descriptor"):
        write_aside(Path(f"/dev/fd/{number}"), b"closed")


def test_dash_is_stdout(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    assert output_path("-") == STDOUT
    assert output_path("./-") == Path("-")
    assert is_stdout(output_path("-"))
    assert is_stdout(link(tmp_path / "soft", "/dev/stdout"))
    assert not is_stdout(output_path("./-"))
    assert not is_stdout(Path("/dev/stderr"))
    write_aside(STDOUT, b"\x00\xff bytes")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"\x00\xff bytes"


def test_a_full_device_is_one_error() -> None:
    with pytest.raises(OutputError, match="No space left"):
        write_aside(Path("/dev/full"), b"x")


def test_long_and_strange_names(tmp_path: Path) -> None:
    names = ["n" * 251 + ".bin", os.fsdecode(b"caf\xe9.bin"), "line\nbreak", "ü" * 120 + ".bin"]
    for name in names:
        write_aside(tmp_path / name, name.encode("utf-8", "surrogateescape"))
    assert sorted(os.listdir(tmp_path)) == sorted(names)  # noqa: PTH208
    write_aside(tmp_path / names[1], f"text of {names[1]}")
    assert (tmp_path / names[1]).read_bytes() == b"text of caf\\udce9.bin"
    with utf8_path(tmp_path / names[1]) as plain:
        assert plain.encode().endswith(b".bin")
        assert Path(plain).samefile(tmp_path / names[1])
    with utf8_path(tmp_path / names[3]) as plain:
        assert plain == str(tmp_path / names[3])


def stems(inputs: list[str], folder: str = "out", *, numbered: bool = False) -> list[str]:
    found = unique_stems([Path(name) for name in inputs], Path(folder), numbered=numbered)
    return [found[Path(name)] for name in inputs]


def test_names_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert stems(["a.jpg", "b.jpg"]) == ["a", "b"]
    assert stems(["x/a.jpg", "y/a.jpg"]) == ["a_0", "a_1"]
    assert stems(["a.jpg", "b/a.jpg", "a_0.jpg"]) == ["a_0_1", "a_1", "a_0"]
    assert stems(["a.jpg", "a.jpg"]) == ["a", "a"]  # one file, listed twice
    assert stems(["A.jpg", "x/a.png"]) == ["A_0", "a_1"]  # one name on an SD card
    for name in ("p.png", "q.jpg", "q_0.png", "crop.jpg", "crop_3.png"):
        Path(name).write_bytes(b"picture")
    assert stems(["p.png", "q.jpg"], ".") == ["p_0", "q"]
    assert stems(["p.png", "q.jpg"], str(tmp_path)) == ["p_0", "q"]
    assert stems(["crop.jpg", "crop_3.png"], ".", numbered=True) == ["crop_0", "crop_3"]
    Path("out").mkdir()
    Path("out/p.png").hardlink_to("p.png")
    Path("out/q.png").symlink_to("../q.jpg")
    assert stems(["p.png", "q.jpg", "crop.jpg"]) == ["p_0", "q_1", "crop"]


def test_names_never_collide(tmp_path: Path) -> None:
    """Random lists of names that are made of few parts, against sets of paths."""
    random_ = random.Random(5)
    parts = ["a", "A", "a_0", "a_1", "a_0_1", "a_0_0", "b"]
    lists = collided = 0
    for _ in range(400):
        names = [
            tmp_path / random_.choice(["", "x", "y"]) / f"{random_.choice(parts)}{suffix}"
            for suffix in random_.choices([".png", ".jpg"], k=random_.randint(1, 9))
        ]
        for numbered in (False, True):
            found = unique_stems(names, tmp_path, numbered=numbered)
            ends = [f"_{n}.png" for n in range(4)] if numbered else [".png"]
            written = [
                str(tmp_path / f"{stem}{e}").lower() for stem in found.values() for e in ends
            ]
            read = {str(name).lower() for name in names}
            lists += 1
            collided += len(set(written)) != len(ends) * len(set(names)) or bool(
                read & set(written)
            )
    print(f"{collided} of {lists} lists of names collide")
    assert collided == 0

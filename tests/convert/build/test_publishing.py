"""A process that ends between any two renames leaves whole models in a models folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobileface.host.files import check_sha256
from mobileface.models.index import read_index
from tests.convert.commands.adoptable_networks import write_network
from tests.convert.commands.adopting import FACTS, SCALING, adopt, error_of, written


class EndedError(BaseException):
    """Stands for the end of the process."""


def whole(folder: Path) -> str:
    """The hash of the model; the index lists it, and its file and certificate have it."""
    index = read_index(folder)
    for entry in index.values():
        for variant in entry.all_variants:
            check_sha256(folder / variant.file, variant.sha256)
            certificate = json.loads((folder / variant.certificate).read_text())
            assert certificate["sha256"] == variant.sha256
            assert certificate["file"] == variant.file
    return index["net"].sha256


def replace_after(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException | None) -> None:
    """Lets ``count`` renames happen; then the process ends, or all renames fail."""
    done, rename = 0, Path.replace

    def limited(self: Path, target: Path) -> Path:
        nonlocal done
        if done == count and error is not None:
            raise error
        done += 1
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", limited)


def test_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, states = tmp_path / "models", []
    nets = [write_network(tmp_path / f"{seed}.onnx", seed=seed) for seed in range(3)]
    facts = [*FACTS, *SCALING, "--name", "net", "--replace", "--output", folder]
    assert adopt(nets[0], *facts) == 0
    names, before = written(folder), whole(folder)
    for count in range(20):
        with monkeypatch.context() as patch:
            replace_after(patch, count, EndedError())
            try:
                code = adopt(nets[1], *facts)
            except EndedError:
                code = -9
        states.append(whole(folder) == before)
        # The next run replaces whatever the ended one left, by a third network, and back.
        for net in (nets[2], nets[0]):
            assert adopt(net, *facts) == 0
            whole(folder)
        assert written(folder) == names
        assert whole(folder) == before
        if code == 0:
            break
    print(states)
    # NAME.next.onnx, its certificate, the index; NAME.onnx, its certificate, the index; the card.
    assert states[:7] == [True] * 3 + [False] * 4
    assert code == 0


def test_a_rename_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    nets = [write_network(tmp_path / f"{seed}.onnx", seed=seed) for seed in range(2)]
    facts = [*FACTS, *SCALING, "--name", "net", "--replace", "--output", folder]
    assert adopt(nets[0], *facts) == 0
    before, names = whole(folder), written(folder)
    capsys.readouterr()
    replace_after(monkeypatch, 1, OSError(28, "No space left on device"))
    assert adopt(nets[1], *facts) == 2
    assert whole(folder) == before
    assert written(folder) == names
    assert error_of(capsys) == (
        f"mobileface-convert: error: {folder}: cannot be written (No space left on device)"
    )

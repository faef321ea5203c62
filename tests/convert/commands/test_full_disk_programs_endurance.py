"""A full disk under every command of the other two programs that writes, and under ``tune``."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface.commands.main import main as runtime
from mobileface.host.files import check_sha256
from mobileface.host.output_options import OutputPlace
from mobileface.models.index import read_index
from mobileface_convert.commands import main as convert_main
from mobileface_convert.commands.main import main as convert
from mobileface_convert.frontends.checkpoint import save_checkpoint
from mobileface_eval.commands import main as eval_main
from mobileface_eval.commands.main import main as evaluate
from tests.conftest import ROOT, SOURCE
from tests.convert.commands.adoptable_networks import write_network
from tests.convert.commands.adopting import FACTS, SCALING
from tests.make_tiny_models import tiny_color
from tests.runtime.commands.test_full_disk_endurance import HIDDEN, forked
from tests.runtime.commands.test_output_commands import options_of
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

for _late in (
    "sklearn.manifold",
    "sklearn.metrics",
    "matplotlib.figure",
    "hatchling.builders.wheel",
):
    importlib.import_module(_late)  # in a child, semaphores of joblib would meet the limit

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.needs_source,
    pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX"),
]

TINY = ("--models", str(ROOT / "tests" / "models"), "--crops", "--embedder", "tiny_color")
NET = ("--symbol", "net-symbol.json", "--params", "net-0000.params")
SHAPE = ("--input-shape", "data=1,3,24,24")
ADOPT = ("net.onnx", *FACTS, *SCALING, "--name", "net", "--output", "models", "--replace")
OUT = ("--output", "out")

CONVERT: dict[str, tuple[str, ...]] = {
    "all --output": ("--source", str(SOURCE), "--only", "pose_emnme", "--output", "models"),
    "starter --output": ("--output", "models"),
    "adopt --output": ADOPT,
    "adopt --write-recipe": (*ADOPT, "--write-recipe", "net.toml"),
    "bundle --output": ("--models", "models", *OUT),
    "prune --output": (*NET, *OUT),
    "merge-bn --output": (*NET, *OUT),
    "export --output": (*NET, *SHAPE, "--output", "out.onnx"),
    "export --output, ncnn": ("--model", "net.onnx", "--target", "ncnn", *OUT),
    "export --output, caffe": (*NET, *SHAPE, "--target", "caffe", *OUT),
    "export --output, feathercnn": ("--model", "net.onnx", "--target", "feathercnn", *OUT),
    "model --output": (*NET, *SHAPE, "--output", "out.onnx"),
    "optimize --output": ("net.onnx", "--seconds", "0.1", "--output", "out.onnx"),
}
EVALUATE: dict[str, tuple[str, ...]] = {
    "lfw --output": ("--data", "people", "--make-pairs", "3", "--folds", "4", *TINY, *OUT),
    "roc --output": ("people", *TINY, *OUT),
    "tsne --output": ("people", *TINY, *OUT),
    "confusion --output": ("people", *TINY, *OUT),
    "megaface --output": ("--probes", "people", "--distractors", "people", *TINY, *OUT),
    "calibrate --output": ("--folder", "people", *TINY, *OUT),
    "calibrate --write": ("--folder", "people", *TINY, *OUT, "--write", "out.json"),
    "speed --output": (*TINY[:2], *TINY[3:], *OUT),
}
TUNE = {"tune": (*TINY[:2], "--seconds", "1", "--model", "tiny_color")}
COMMANDS = {
    **{f"convert {key}": (convert, value) for key, value in CONVERT.items()},
    **{f"eval {key}": (evaluate, value) for key, value in EVALUATE.items()},
    **{f"mobileface {key}": (runtime, value) for key, value in TUNE.items()},
}

READ_ONLY = {"inspect", "export-table", "verify", "operators"}
STEP_BY_STEP = {"all", "starter", "adopt", "lfw", "calibrate"}
"""Write one whole result after the other: a model, its card and recipe; pairs or a calibration,
then the report."""


def test_every_command_that_writes_is_here() -> None:
    for module, table in ((convert_main, CONVERT), (eval_main, EVALUATE)):
        found, names = set(), set()
        for name, action in options_of(module._parser(), ""):
            names |= {name.strip()} - {""}
            if isinstance(action, OutputPlace):
                found.add(f"{name.strip()} {action.option_strings[-1]}")
        assert found == {key.partition(",")[0] for key in table}
        assert names - READ_ONLY == {key.partition(" ")[0] for key in table}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, two networks, a folder with one of them, pictures of people."""
    folder = tmp_path_factory.mktemp("inputs")
    save_checkpoint(tiny_color(), folder / "net")
    write_network(folder / "net.onnx", seed=1)
    write_network(folder / "old.onnx", seed=2)
    random = np.random.default_rng(12)
    for person in range(12):
        (folder / "people" / f"person{person}").mkdir(parents=True)
        pattern = random.integers(0, 256, (24, 24, 3)).astype(np.uint8)
        for number in range(1, 4):
            noise = random.integers(0, 40, (24, 24, 3)).astype(np.uint8)
            name = f"person{person}/person{person}_{number:04d}.png"
            cv2.imwrite(str(folder / "people" / name), cv2.add(pattern, noise))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code, text = forked(("adopt", "old.onnx", *ADOPT[1:]), None, program=convert)
        assert code == 0, text
    return folder


def state(folder: Path) -> dict[str, str]:
    """Hashes of all files; the models folder is whole."""
    for entry in read_index(folder / "models").values():
        for variant in entry.all_variants:
            check_sha256(folder / "models" / variant.file, variant.sha256)
            certificate = json.loads((folder / "models" / variant.certificate).read_text())
            assert certificate["sha256"] == variant.sha256
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and "cache" not in path.parts
    }


@pytest.mark.parametrize("key", COMMANDS)
def test_a_full_disk(
    key: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either all is written, or exit code 2, one sentence, and everything as before."""
    program, arguments = COMMANDS[key]
    name = key.split()[1]
    # Of the starter set, one model stands for all.
    monkeypatch.setattr(convert_main, "recipe_names", lambda: ("detection_hog",))
    monkeypatch.setenv("MOBILEFACE_CACHE", str(tmp_path / "cache"))
    codes: dict[object, int] = {}
    run = made(program, (name, *arguments), inputs, tmp_path, monkeypatch)
    codes["whole"], text, before, after = run(None, None)
    assert codes["whole"] == 0, text
    assert after != before
    new = [Path(path) for path in after if before.get(path) != after[path]]
    largest = max((tmp_path / "work" / path).stat().st_size for path in new)
    less = largest // 2 if name == "tune" else largest - 1  # its times have any number of digits
    moments = [(0, None), (less, None), *((None, count) for count in range(len(new)))]
    if program is evaluate or name == "starter":  # slow, and they write as the others do
        moments = [moments[0], moments[-1]]
    for limit, files in moments:
        codes[limit if files is None else f"{files} files"], text, before, after = run(limit, files)
        assert "Traceback" not in text
        assert sum("error: " in line for line in text.splitlines()) == 1, (codes, text)
        assert not HIDDEN.search(text), text
        if name in STEP_BY_STEP:
            assert before.keys() <= after.keys()
        else:
            assert after == before, text
    print(f"{key}: {codes}")
    assert set(codes.values()) == {0, 2}
    assert list(codes.values()).count(0) == 1


def made(
    program: Callable[[tuple[str, ...]], int],
    command: tuple[str, ...],
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[int | None, int | None], tuple[int, str, dict[str, str], dict[str, str]]]:
    """A run of a command in a new copy of the inputs: code, messages, files before and after."""

    def run(
        limit: int | None, files: int | None
    ) -> tuple[int, str, dict[str, str], dict[str, str]]:
        work = tmp_path / "work"
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(inputs, work)
        monkeypatch.chdir(work)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(work))
        before = state(work)
        code, text = forked(command, limit, files, program)
        after = state(work)
        assert [p for p in work.rglob(".*") if p.name != ".lock"] == [], "temporary files"
        return code, text, before, after

    return run

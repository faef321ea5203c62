"""What importing mobileface brings in, seen from fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mobileface

OFFLINE = {"onnx", "onnx_ir", "onnxsim", "mxnet", "dlib", "mobileface_convert"}
HEAVY = {"onnxruntime", "cv2"}


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that are loaded after some code."""
    code += "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return set(result.stdout.split())


def test_import_alone_is_light() -> None:
    loaded = modules_after("import mobileface")
    assert "mobileface" in loaded
    assert not loaded & (HEAVY | OFFLINE | {"numpy"})


def test_everything_public_needs_no_offline_stage() -> None:
    loaded = modules_after(
        "import mobileface\nfor name in mobileface.__all__: getattr(mobileface, name)"
    )
    assert loaded >= HEAVY
    assert not loaded & OFFLINE


def test_the_command_needs_no_offline_stage() -> None:
    assert not modules_after("import mobileface.commands.main") & OFFLINE


@pytest.mark.parametrize(
    "module",
    [
        "errors",
        "fields",
        "host.environment",
        "host.files",
        "host.machine",
        "host.memory",
        "host.places",
        "host.threads",
        "models.index",
        "models.kinds",
        "models.lookup",
        "models.spec",
        "vision.crops",
        "vision.network_input",
    ],
)
def test_modules_of_the_standard_library_alone(module: str) -> None:
    assert not modules_after(f"import mobileface.{module}") & (HEAVY | OFFLINE | {"numpy"})


@pytest.mark.parametrize("module", ["vision.image", "models.probes"])
def test_pictures_need_no_onnx_runtime(module: str) -> None:
    assert not modules_after(f"import mobileface.{module}") & ({"onnxruntime"} | OFFLINE)


def test_embedding_a_crop_of_the_right_size_needs_no_opencv(models: Path) -> None:
    """Nor other tasks, drawing or video: start-up time and memory of a small process."""
    code = f"""
import sys, numpy, onnxruntime
theirs = set(sys.modules)
import mobileface
embedder = mobileface.load_embedder("tiny_color", models={str(models)!r})
crop = numpy.zeros((embedder.image.height, embedder.image.width, 3), numpy.uint8)
embedder.embed(crop)
print(*set(sys.modules) - theirs)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "mobileface.tasks.embedding" in loaded
    unwanted = {
        "cv2",
        "argparse",
        "subprocess",
        "tempfile",
        "mobileface.vision.video",
        "mobileface.vision.draw",
    }
    assert not loaded & unwanted
    tasks = {name for name in loaded if name.startswith("mobileface.tasks.")}
    assert tasks == {"mobileface.tasks.embedding", "mobileface.tasks.loading"}


def test_reading_a_spec_needs_nothing() -> None:
    loaded = modules_after("import mobileface\nmobileface.ModelSpec, mobileface.MobileFaceError")
    assert not loaded & (HEAVY | OFFLINE | {"numpy"})


def test_all_is_what_is_there() -> None:
    assert set(mobileface.__all__) == {*mobileface._HOMES, "__version__"}
    assert list(mobileface.__all__) == sorted(mobileface.__all__)
    assert dir(mobileface) == sorted(mobileface.__all__)


@pytest.mark.parametrize("name", mobileface._HOMES)
def test_each_name_is_that_of_its_home(name: str) -> None:
    value = getattr(mobileface, name)
    assert value.__name__ == name
    assert value.__module__ == f"mobileface.{mobileface._HOMES[name]}"
    assert name in vars(mobileface)  # the second use costs nothing


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'mobileface' has no attribute 'nothing'"):
        mobileface.nothing  # noqa: B018
    assert not hasattr(mobileface, "nothing")

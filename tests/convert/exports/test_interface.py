"""``mobileface-convert export`` for a machine, with uint8 pixels and rows of unit length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.tasks.embedding import Embedder
from mobileface_convert.commands.main import main


def given(source: Path, version: int) -> list[str]:
    """Symbol and parameter file of a random network."""
    folder = source / "MobileFace_Identification"
    prefix = folder / f"MobileFace_Identification_V{version}"
    return ["--symbol", f"{prefix}-symbol.json", "--params", f"{prefix}-0000.params"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_export_for_a_machine_that_reads_pixels(
    random_source: Path, tmp_path: Path, version: int
) -> None:
    """With a recipe: the file says what it reads, and embeds as the plain one does."""
    name = f"identification_v{version}"
    found = {}
    for kind, more in {
        "plain": ["--machine", "plain"],
        "fast": ["--machine", "x86", "--input", "uint8", "--normalize"],
    }.items():
        target = tmp_path / f"{kind}.onnx"
        arguments = ["export", *given(random_source, version), "--output", str(target)]
        assert main([*arguments, "--recipe", name, *more]) == 0
        found[kind] = Embedder(Session(target))
    assert found["fast"].image.dtype == "uint8"
    assert found["fast"].identity == found["plain"].identity
    crops = list(make_probes(5, 112, 112, 3, seed=1))
    error = np.abs(found["fast"].embed(crops) - found["plain"].embed(crops)).max()
    print(f"V{version}: {error:.2g}")
    assert error <= 2e-6
    operators = {node.op_type for node in onnx.load(str(tmp_path / "fast.onnx")).graph.node}
    assert not {"PRelu", "Transpose"} & operators


def test_export_that_reads_pixels_without_a_recipe(random_source: Path, tmp_path: Path) -> None:
    arguments = ["export", *given(random_source, 2), "--output", str(tmp_path / "net.onnx")]
    assert main([*arguments, "--input-shape", "N,3,112,112", "--input", "uint8"]) == 0
    (value,) = onnx.load(str(tmp_path / "net.onnx")).graph.input
    assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sizes = [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
    assert sizes == ["N", 112, 112, 3]

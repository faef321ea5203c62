"""``mobileface-convert model``: networks that nobody here has seen before, against MXNet."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mobileface.errors import ConversionError, GraphError, ParityError
from mobileface_convert.commands.main import main
from mobileface_convert.exports import network_export as model_export
from mobileface_convert.exports.network_export import export_model
from mobileface_convert.frontends.mxnet_params import load_params, write_params
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from tests import gluon_networks
from tests.convert.ops.op_check import run_onnx
from tests.invented_networks import NETWORKS, save

pytestmark = pytest.mark.needs_mxnet

TOLERANCE = 1e-5
Files = tuple[Path, Path]


def given(files: Files, output: Path, *more: str) -> list[str]:
    symbol, params = map(str, files)
    return ["model", "--symbol", symbol, "--params", params, "--output", str(output), *more]


def shape_text(name: str) -> str:
    return ",".join(map(str, NETWORKS[name].shape))


def sizes(name: str) -> list[tuple[int, ...]]:
    """Batches, and for networks of any size odd, small and large pictures."""
    _, channels, height, width = NETWORKS[name].shape
    found = [(n, channels, height, width) for n in (1, 2, 5)]
    if NETWORKS[name].dynamic:
        found += [(1, channels, 65, 97), (2, channels, 131, 40), (1, channels, 200, 333)]
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_mxnet(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = save(NETWORKS[name], tmp_path)
    target = tmp_path / "out" / "net.onnx"
    assert main(given(files, target, "--verify", "--input-shape", shape_text(name))) == 0
    said = capsys.readouterr().out
    assert ("height and width are fixed" in said) is not NETWORKS[name].dynamic
    assert "against MXNet 1.9.1" in said
    model, reference = onnx.load(str(target)), MXNetReference(*files)
    worst = 0.0
    for seed, size in enumerate(sizes(name)):
        fed = {"data": np.random.RandomState(seed).standard_normal(size).astype(np.float32)}
        expected = reference.run(fed)
        found = run_onnx(model, fed)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(theirs).max() > 1e-3  # the network is alive
            worst = max(worst, float(np.abs(ours - theirs).max()))
    print(f"{name}: largest error {worst:.2g} on {len(sizes(name))} shapes")
    assert worst <= TOLERANCE


@pytest.mark.parametrize("target", ["portable", "x86"])
@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_and_machines(
    name: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """uint8 in, for each machine: the command itself compares with MXNet on whole numbers."""
    files = save(NETWORKS[name], tmp_path)
    output = tmp_path / "net.onnx"
    options = ["--verify", "--input-shape", shape_text(name), "--input", "uint8"]
    # These networks do not scale pixels; their large values leave large sums to round.
    assert main(given(files, output, *options, "--machine", target, "--tolerance", "2e-5")) == 0
    print(capsys.readouterr().out)
    (value,) = onnx.load(str(output)).graph.input
    assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert value.type.tensor_type.shape.dim[3].dim_value == NETWORKS[name].shape[1]


def test_rows_of_unit_length(tmp_path: Path) -> None:
    """Of the only output; compared with MXNet's, normalised."""
    files = save(NETWORKS["residual"], tmp_path)
    shapes, output = {"": NETWORKS["residual"].shape}, tmp_path / "net.onnx"
    made = export_model(*files, output, shapes=shapes, outputs=["fc1"], normalize=True, verify=True)
    assert made.parity is not None
    fed = {"data": np.random.RandomState(1).standard_normal((3, 3, 32, 32)).astype(np.float32)}
    (rows,) = run_onnx(onnx.load(str(output)), fed)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-7)
    files = save(NETWORKS["cascade"], tmp_path / "several")
    with pytest.raises(GraphError, match="single output can be L2-normalised, not 3"):
        export_model(*files, output, shapes={"": NETWORKS["cascade"].shape}, normalize=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_certificate(name: str, tmp_path: Path) -> None:
    files = save(NETWORKS[name], tmp_path)
    made = export_model(
        *files, tmp_path / "net.onnx", shapes={"": NETWORKS[name].shape}, verify=True
    )
    document = json.loads((tmp_path / "net.certificate.json").read_text())
    assert document["nodes"] == made.nodes
    assert [entry["path"] for entry in document["source"]["files"]] == [p.name for p in files]
    verified = document["verification"]
    assert verified["oracle"] == "MXNet 1.9.1"
    assert set(verified["errors"]) == set(made.outputs)
    assert max(verified["errors"].values()) <= TOLERANCE
    batches = {shapes["data"][0] for shapes in verified["shapes"]}
    assert batches == {1, 4}
    assert len(verified["shapes"]) == (4 if NETWORKS[name].dynamic else 2)


def test_channels_are_inferred(tmp_path: Path) -> None:
    """A network of any size needs no shape; one that counts pixels asks for it."""
    made = export_model(*save(NETWORKS["light"], tmp_path), tmp_path / "a.onnx", verify=True)
    assert made.inputs == {"data": ("N", 3, "H", "W")}
    with pytest.raises(
        ConversionError, match=r"fixed input size.*connected to every pixel.*--input"
    ):
        export_model(*save(NETWORKS["residual"], tmp_path), tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_static_sizes(tmp_path: Path) -> None:
    files = save(NETWORKS["light"], tmp_path)
    made = export_model(*files, tmp_path / "a.onnx", shapes={"data": (1, 3, 40, 56)}, static=True)
    assert made.inputs == {"data": ("N", 3, 40, 56)}
    assert made.note == "requested by --static"
    with pytest.raises(ConversionError, match="--static needs the input size"):
        export_model(*files, tmp_path / "b.onnx", static=True)


def test_internal_outputs(tmp_path: Path) -> None:
    """The embedding before its normalisation, and a map, in the order asked for."""
    files = save(NETWORKS["residual"], tmp_path)
    wanted = ["fc1_output", "unit1_conv1"]
    made = export_model(
        *files, tmp_path / "a.onnx", shapes={"": (1, 3, 32, 32)}, outputs=wanted, verify=True,
        allow_extra=True,
    )  # fmt: skip
    assert made.parity is not None
    assert max(made.parity.errors.values()) <= TOLERANCE
    fed = {"data": np.random.RandomState(1).standard_normal((2, 3, 32, 32)).astype(np.float32)}
    found = run_onnx(onnx.load(str(made.path)), fed)
    assert [array.shape for array in found] == [(2, 32), (2, 8, 16, 16)]


def test_a_network_that_is_known_by_its_arrays(tmp_path: Path) -> None:
    net = gluon_networks.make_attribute(seed=2)
    params = gluon_networks.save_structural(net, tmp_path / "attribute.params")
    arguments = ["model", "--params", str(params), "--output", str(tmp_path / "a.onnx")]
    assert main([*arguments, "--input-shape", "1,3,96,96", "--verify"]) == 0


def test_without_mxnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_export, "mxnet_is_installed", lambda: False)
    files = save(NETWORKS["pyramid"], tmp_path)
    made = export_model(*files, tmp_path / "a.onnx", shapes={"": (1, 3, 24, 32)}, verify=True)
    assert made.parity is not None
    assert "reference evaluator" in made.parity.oracle


def test_a_model_that_differs_is_not_written(tmp_path: Path) -> None:
    files = save(NETWORKS["light"], tmp_path)
    with pytest.raises(ParityError, match=r"output '.*' differs from MXNet 1\.9\.1 by"):
        export_model(*files, tmp_path / "out" / "a.onnx", verify=True, tolerance=1e-12)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def damaged(fault: str, arrays: dict[str, Any]) -> dict[str, Any]:
    first, second = "arg:left_weight", "arg:heat_weight"
    if fault == "missing":
        del arrays[first]
    elif fault == "extra":
        arrays["arg:stranger"] = arrays[first]
    elif fault == "swapped":
        arrays[first], arrays[second] = arrays[second], arrays[first]
    elif fault == "shape":
        arrays[first] = arrays[first][:, :2]
    elif fault == "nan":
        arrays[first] = arrays[first] * np.float32(np.nan)
    else:
        arrays = {f"arg:other{i}": array for i, array in enumerate(arrays.values())}
    return arrays


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"1 of \d+ arrays are missing: left_weight"),
        ("extra", r"arrays are not part of the network: stranger.*--allow-extra"),
        ("swapped", r"node 'left' \(Convolution\).*'left_weight' has shape \(1, 12, 1, 1\)"),
        ("shape", r"node 'left' \(Convolution\).*array 'left_weight' has shape \(4, 2, 3, 3\)"),
        ("nan", r"node 'left' \(Convolution\).*array 'left_weight' holds nan"),
        ("foreign", r"arrays are (missing|not part)"),
    ],
)
def test_damaged_parameters(
    fault: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    symbol, params = save(NETWORKS["light"], tmp_path)
    params.write_bytes(write_params(damaged(fault, dict(load_params(params)))))
    with pytest.raises(GraphError, match=message):
        export_model(symbol, params, tmp_path / "a.onnx")
    assert main(given((symbol, params), tmp_path / "a.onnx")) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--input-shape", "1,3"], "error"),
        (["--input-shape", "a,b"], "is not like 1,3,112,112"),
        (["--input-shape", "picture=1,3,40,56"], "no input 'picture'"),
        (["--input-shape", "1,3,0,56"], "must have sizes of at least 1"),
        (["--input-shape", "1,4,40,56"], "4 channels|has shape"),
        (["--outputs", "heat_sigmiod"], "did you mean: heat_sigmoid"),
        (["--outputs", "heat", "heat_output", "--allow-extra"], "include the same value twice"),
    ],
)
def test_bad_options(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = save(NETWORKS["light"], tmp_path)
    assert main(given(files, tmp_path / "a.onnx", *more)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    print(lines[0])
    assert re.search(message, lines[0])
    assert not (tmp_path / "a.onnx").exists()


def test_unsupported_values_name_their_node(tmp_path: Path) -> None:
    symbol, params = save(NETWORKS["cascade"], tmp_path)
    symbol.write_text(symbol.read_text().replace('"full"', '"same"'))
    with pytest.raises(ConversionError, match=r"node 'pooling\d+' \(Pooling\).*'same'"):
        export_model(symbol, params, tmp_path / "a.onnx", shapes={"": (1, 3, 48, 48)})

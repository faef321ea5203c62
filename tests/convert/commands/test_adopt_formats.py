"""``mobileface-convert adopt`` for checkpoints of MXNet and TensorFlow Lite files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface import Embedder, Session
from mobileface_convert.frontends.mxnet_params import write_params
from mobileface_convert.oracles import litert_oracle
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.oracles.mxnet_oracle import MXNetReference, import_mxnet
from tests.convert.commands.adopting import adopt
from tests.convert.frontends.tflite_writer import Writer
from tests.networks import identification, save

FloatArray = npt.NDArray[np.float32]

FACTS = ["--task", "embedding", "--crop", "arcface", "--color", "rgb"]


def pictures(side: int, count: int = 5) -> npt.NDArray[np.uint8]:
    """Seeded crops, uint8 (N, side, side, 3), BGR."""
    return np.random.RandomState(5).randint(0, 256, (count, side, side, 3)).astype(np.uint8)


def compared(model: Path, crops: npt.NDArray[np.uint8], expected: FloatArray) -> float:
    """The largest error of the vectors as the network gives them, of the largest value."""
    found = Embedder(Session(model)).embed(list(crops), normalize=False)
    assert found.shape == expected.shape
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    error = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
    print(f"{model.name}: largest error {error:.2g} of the largest value")
    return error


@pytest.mark.needs_mxnet
def test_a_published_checkpoint(tmp_path: Path) -> None:
    """A network that scales pixels itself, of 112 pixels by the crop it names."""
    files = save(identification(3, seed=9), tmp_path, "net")
    models = tmp_path / "models"
    given = [*files, *FACTS, "--mean", 0, "--std", 1, "--name", "mine", "--output", models]
    assert adopt(*given) == 0
    crops = pictures(112)
    fed = crops[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    (expected,) = MXNetReference(*files).run({"data": fed})
    assert compared(models / "mine.onnx", crops, expected) <= 1e-5


def trained(folder: Path) -> tuple[Path, Path]:
    """A network with the classifier and the loss that it was trained with."""
    sym = import_mxnet().sym
    x = sym.Convolution(
        sym.Variable("data"), kernel=(3, 3), stride=(2, 2), num_filter=8, name="conv1"
    )
    x = sym.LeakyReLU(x, act_type="prelu", name="relu1")
    x = sym.Convolution(x, kernel=(3, 3), num_group=8, num_filter=8, stride=(2, 2), name="conv2")
    x = sym.Pooling(x, kernel=(7, 7), stride=(7, 7), pool_type="avg", name="pool1")
    x = sym.FullyConnected(x, num_hidden=24, no_bias=True, name="pre_fc1")
    x = sym.BatchNorm(x, fix_gamma=True, eps=2e-5, name="fc1")
    x = sym.FullyConnected(x, num_hidden=10, name="fc7")
    net = sym.SoftmaxOutput(x, name="softmax")
    random = np.random.RandomState(4)
    shapes, _, aux = net.infer_shape(data=(1, 3, 80, 80))
    arrays = {}
    named = [
        *zip(net.list_arguments(), shapes, strict=True),
        *((name, shape) for name, shape in zip(net.list_auxiliary_states(), aux, strict=True)),
    ]
    for name, shape in named:
        if name in ("data", "softmax_label"):
            continue
        kind = "aux" if "moving" in name else "arg"
        values = random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
        arrays[f"{kind}:{name}"] = (np.abs(values) + 0.5 if "var" in name else values).astype(
            np.float32
        )
    symbol, params = folder / "net-symbol.json", folder / "net-0000.params"
    symbol.write_text(net.tojson())
    params.write_bytes(write_params(arrays))
    return symbol, params


@pytest.mark.needs_mxnet
def test_a_trained_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The classifier is cut off; pixels are scaled as it is told; the recipe gives the same."""
    symbol, params = trained(tmp_path)
    models, recipe = tmp_path / "models", tmp_path / "my.toml"
    scaling = ["--mean", 127.5, "--std", 128, "--name", "mine"]
    wrong = [params, symbol, *FACTS, *scaling, "--output", models]
    assert adopt(*wrong) == 2  # 112 pixels do not fit its layers
    assert "error" in capsys.readouterr().err
    assert not models.exists() or not list(models.glob("mine*"))
    assert adopt(*wrong, "--size", 80, "--write-recipe", recipe) == 0
    crops = pictures(80)
    fed = ((crops[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)
    (expected,) = MXNetReference(symbol, params, "fc1_output").run(
        {"data": np.ascontiguousarray(fed)}
    )
    assert compared(models / "mine.onnx", crops, expected) <= 1e-5
    assert adopt(recipe, "--output", tmp_path / "again") == 0
    same = [(folder / "mine.onnx").read_bytes() for folder in (models, tmp_path / "again")]
    assert same[0] == same[1]
    capsys.readouterr()
    assert adopt(*wrong, "--replace", "--color", "gray") == 2
    assert "reads 3 channels" in capsys.readouterr().err


def small(*, mixed: bool = False) -> bytes:
    """Two convolutions, the mean of each channel and a fully connected layer."""
    random = np.random.RandomState(6)

    def noise(*shape: int) -> Any:
        return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    net = Writer()
    x = net.input("image", (1, 64, 64, 3))
    x = net.conv(x, noise(8, 3, 3, 3), noise(8), padding=0, strideH=2, strideW=2)
    x = net.conv(x, noise(8, 3, 3, 8), noise(8), padding=0, strideH=4, strideW=4)
    axes = net.stored(np.array([1, 2], np.int32))
    if mixed:
        x = net.op("RESHAPE", [x], "ReshapeOptions", newShape=np.array([4, 16, 8], np.int32))
        x = net.op("RESHAPE", [x], "ReshapeOptions", newShape=np.array([1, 8, 8, 8], np.int32))
    x = net.op("MEAN", [x, axes], "ReducerOptions", keepDims=False)
    x = net.op(
        "FULLY_CONNECTED", [x, net.stored(noise(16, 8)), net.stored(noise(16))],
        "FullyConnectedOptions",
    )  # fmt: skip
    return net.file(x)


@pytest.mark.needs_litert
@pytest.mark.parametrize("mixed", [False, True])
def test_a_tflite_file(mixed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, models = tmp_path / "net.tflite", tmp_path / "models"
    path.write_bytes(small(mixed=mixed))
    scaling = ["--mean", 127.5, "--std", 60, "--name", "mine", "--output", models]
    assert adopt(path, *FACTS, *scaling) == 0
    said = capsys.readouterr().out
    assert ("batch fixed at 1" in said) is mixed
    crops = pictures(64)
    oracle = LiteRTReference(path.read_bytes(), str(path))
    fed = (crops[..., ::-1].astype(np.float32) - 127.5) / 60
    (expected,) = oracle.run({"image": fed}).values()
    assert compared(models / "mine.onnx", crops, expected) <= 1e-5
    assert Session(models / "mine.onnx").spec.require_input().batch == (1 if mixed else None)


@pytest.mark.needs_litert
def test_without_litert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(small())
    monkeypatch.setattr(litert_oracle, "_PACKAGE", "no_such_package")
    given = [path, *FACTS, "--mean", 0, "--std", 1, "--output", tmp_path / "models"]
    assert adopt(*given) == 2
    assert "LiteRT is needed" in capsys.readouterr().err

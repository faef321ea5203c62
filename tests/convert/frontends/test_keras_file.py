"""Keras files: what is read, what is refused by name, and that nothing outside the file is."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from mobileface.errors import (
    ConversionError,
    GraphError,
    SourceError,
    SourceFormatError,
    UnsupportedOperatorError,
)
from mobileface_convert.frontends.keras_file import read_keras
from mobileface_convert.frontends.keras_onnx import build_keras
from mobileface_convert.frontends.rehearsed import rehearse
from mobileface_convert.oracles.keras_reference import KerasReference
from mobileface_convert.oracles.verify import open_model

pytestmark = pytest.mark.needs_packages

Layers = list[dict[str, Any]]


def layer(kind: str, name: str, *inputs: str, **config: Any) -> dict[str, Any]:
    nodes = [[[given, 0, 0, {}] for given in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


def windows(size: int = 3, step: int = 1, padding: str = "same") -> dict[str, Any]:
    return {"kernel_size": [size, size], "strides": [step, step], "padding": padding}


LAYERS: Layers = [
    layer("InputLayer", "in", batch_input_shape=[None, 13, 10, 2]),
    layer("Conv2D", "a", "in", **windows(), filters=4, use_bias=True, activation="relu"),
    layer("BatchNormalization", "n", "a", axis=[3], epsilon=1e-3, scale=True, center=True),
    layer(
        "SeparableConv2D", "s", "n",
        **windows(3, 2), filters=6, use_bias=True, depth_multiplier=2, activation="linear",
    ),
    layer("Conv2D", "c", "n", **windows(1, 2), filters=6, use_bias=False),
    layer("Add", "plus", "s", "c"),
    layer("MaxPooling2D", "p", "plus", pool_size=[3, 3], strides=[2, 2], padding="same"),
    layer("Conv2D", "d", "p", **windows(2, 1, "valid"), filters=5, use_bias=False),
    layer("GlobalAveragePooling2D", "mean", "d"),
    layer("Activation", "out", "mean", activation="softmax"),
]  # fmt: skip
SHAPES = {
    "a": {"kernel": (3, 3, 2, 4), "bias": (4,)},
    "n": {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)},
    "s": {"depthwise_kernel": (3, 3, 4, 2), "pointwise_kernel": (1, 1, 8, 6), "bias": (6,)},
    "c": {"kernel": (1, 1, 4, 6)},
    "d": {"kernel": (2, 2, 6, 5)},
}


def write(
    path: Path,
    change: Callable[[Layers, dict[str, dict[str, Any]]], None] = lambda layers, arrays: None,
    config: Any = None,
) -> Path:
    """A small network of every layer, with a change to its layers or arrays."""
    import h5py

    random = np.random.RandomState(3)
    arrays: dict[str, dict[str, Any]] = {
        name: {key: random.uniform(0.1, 0.9, shape).astype(np.float32)
               for key, shape in shapes.items()}
        for name, shapes in SHAPES.items()
    }  # fmt: skip
    for group in arrays.values():
        for key in set(group) - {"moving_variance"}:
            group[key] -= np.float32(0.4)
    layers = copy.deepcopy(LAYERS)
    change(layers, arrays)
    model = {
        "class_name": "Model",
        "config": {
            "layers": layers,
            "input_layers": [["in", 0, 0]],
            "output_layers": [["out", 0, 0]],
        },
    }
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model) if config is None else config
        for name, group in arrays.items():
            for key, value in group.items():
                place = f"model_weights/{name}/{name}_1/{key}:0"
                if isinstance(value, h5py.ExternalLink | h5py.SoftLink):
                    file[place] = value
                else:
                    file.create_dataset(
                        place, data=np.asarray(value, getattr(value, "dtype", None))
                    )
    return path


def build(path: Path) -> Any:
    made = build_keras(read_keras(path), name="net", image="image", output="y")
    return open_model(ir.to_proto(made))


@pytest.mark.parametrize("batch", [1, 5])
def test_every_layer_as_numpy_has_it(batch: int, tmp_path: Path) -> None:
    """Odd and even sizes, steps of 2, both paddings, several outputs a channel."""
    path = write(tmp_path / "net.hdf5")
    images = np.random.RandomState(4).standard_normal((batch, 13, 10, 2)).astype(np.float32)
    expected = KerasReference(read_keras(path)).run(images)
    (found,) = build(path).run(None, {"image": images.transpose(0, 3, 1, 2)})
    error = float(np.abs(found - expected).max())
    print(f"largest difference {error:.2g}")
    assert found.shape == (batch, 5)
    assert error <= 1e-6


def put(index: int, **config: Any) -> Callable[[Layers, Any], None]:
    return lambda layers, arrays: layers[index]["config"].update(config)


def array(name: str, key: str, value: Any) -> Callable[[Any, dict[str, dict[str, Any]]], None]:
    return lambda layers, arrays: arrays[name].update({key: value})


def rename(index: int, **facts: Any) -> Callable[[Layers, Any], None]:
    return lambda layers, arrays: layers[index].update(facts)


REFUSED: dict[str, tuple[Callable[[Any, Any], None], type[ConversionError], str]] = {
    "lambda": (
        rename(9, class_name="Lambda"),
        UnsupportedOperatorError,
        "class Lambda have no conversion",
    ),
    "activation": (put(9, activation="swish"), UnsupportedOperatorError, "'swish'"),
    "dilation": (put(1, dilation_rate=[2, 2]), UnsupportedOperatorError, "plain windows"),
    "padding": (put(1, padding="causal"), UnsupportedOperatorError, "plain windows"),
    "order of axes": (put(1, data_format="channels_first"), SourceFormatError, "channels_last"),
    "filters": (put(1, filters=-4), SourceFormatError, "no number of channels"),
    "no filters": (put(1, filters=None), SourceFormatError, "no number of channels"),
    "huge kernel": (put(1, kernel_size=[10**9, 3]), SourceFormatError, "no size of a window"),
    "axis": (put(2, axis=[1]), SourceFormatError, "axis"),
    "epsilon": (put(2, epsilon=-1.0), GraphError, "variance is zero or below"),
    "sizes that differ": (put(4, strides=[1, 1]), GraphError, "are not the same"),
    "shape": (array("a", "bias", np.zeros(5, np.float32)), SourceFormatError, "expected"),
    "type": (array("a", "kernel", np.zeros((3, 3, 2, 4))), SourceFormatError, "float64"),
    "nan": (array("a", "bias", np.full(4, np.nan, np.float32)), SourceFormatError, "no numbers"),
    "absent": (lambda layers, arrays: arrays["a"].pop("bias"), SourceFormatError, "no 'bias:0'"),
    "no arrays": (lambda layers, arrays: arrays.pop("a"), SourceFormatError, "no 'a'"),
    "two layers": (rename(3, name="a"), SourceFormatError, "second layer of this name"),
    "order": (
        lambda layers, arrays: layers.insert(1, layers.pop(3)),
        SourceFormatError,
        "does not come before it",
    ),
    "second use": (rename(1, inbound_nodes=[[["in", 0, 0, {}]]] * 2), SourceFormatError, "once"),
    "inputs": (rename(5, inbound_nodes=[[["s", 0, 0, {}]]]), SourceFormatError, "1 inputs, 2"),
    "input": (put(0, batch_input_shape=[None, None, 10, 2]), SourceFormatError, "batch of images"),
    "output": (rename(9, name="other"), SourceFormatError, "no layer 'out'"),
    "no settings": (rename(1, config=None), SourceFormatError, "without a configuration"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_error(name: str, tmp_path: Path) -> None:
    change, kind, message = REFUSED[name]
    path = write(tmp_path / "net.hdf5", change)
    with pytest.raises(kind, match=message) as caught:
        build(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("link", ["external", "soft"])
def test_no_other_file_is_opened(link: str, tmp_path: Path) -> None:
    import h5py

    secret = tmp_path / "secret.hdf5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.zeros((3, 3, 2, 4), np.float32)
    made = h5py.ExternalLink(str(secret), "kernel") if link == "external" else h5py.SoftLink("/x")
    path = write(tmp_path / "net.hdf5", array("a", "kernel", made))
    with pytest.raises(SourceFormatError, match=r"link to somewhere else|no 'kernel:0'"):
        read_keras(path)


@pytest.mark.parametrize("config", ["{", "[]", '{"class_name": "Sequential"}', "9" * 5_000_000, 7])
def test_configurations_that_are_none(config: Any, tmp_path: Path) -> None:
    if isinstance(config, str) and len(config) > 60_000:
        config = np.bytes_(config[:60_000])
    with pytest.raises(SourceFormatError):
        read_keras(write(tmp_path / "net.hdf5", config=config))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_keras(tmp_path / "absent.hdf5")
    path = tmp_path / "net.hdf5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(SourceFormatError, match="not a Keras file"):
        read_keras(path)


@pytest.mark.slow
def test_damaged_files(tmp_path: Path) -> None:
    """Seeded damage anywhere: an error of ours, or a network."""
    content = write(tmp_path / "net.hdf5").read_bytes()
    random, refused, path = np.random.RandomState(1), 0, tmp_path / "damaged.hdf5"
    for _ in range(150):
        damaged = bytearray(content)
        for place in random.randint(0, len(content), random.randint(1, 20)):
            damaged[place] = random.randint(0, 256)
        path.write_bytes(
            damaged[: random.randint(1, len(content) + 1)] if random.rand() < 0.3 else damaged
        )
        try:
            build(path)
        except ConversionError:
            refused += 1
    print(f"{refused} of 150 refused")
    assert refused > 20


def test_a_file_on_which_hdf5_loops_for_ever(tmp_path: Path) -> None:
    """Found by the fuzzer: eight bytes more among the settings of the layers."""
    path = write(tmp_path / "net.h5")
    content = path.read_bytes()
    place = content.index(b'{"class_name"') + 20
    path.write_bytes(content[:place] + content[place : place + 8] + content[place:])
    with pytest.raises(SourceFormatError, match="reading takes more than 2 s") as caught:
        read_keras(path)
    assert caught.value.where == str(path)


def test_a_file_on_which_the_library_crashes() -> None:
    def crash() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(SourceFormatError, match="reading it crashes"):
        rehearse(crash, "net.h5", 5)
    rehearse(lambda: None, "net.h5", 5)

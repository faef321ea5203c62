"""Inference engines that run the same network on one thread each.

Every engine is a function from an input array to a copy of the output. An engine that is not
installed, or that cannot run a network, raises `UnavailableError`, which the report lists. All
engines compute in float32.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from mobileface.models.session import Session
from mobileface_convert.oracles.mxnet_oracle import import_mxnet, mxnet_is_installed

__all__ = [
    "FloatArray",
    "Images",
    "Run",
    "UnavailableError",
    "example_images",
    "ncnn_engine",
    "onnxruntime_engine",
    "opencv_engine",
    "openvino_engine",
    "session_engine",
    "symbol_engine",
]

FloatArray = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]
Run = Callable[[npt.NDArray[Any]], Any]


class UnavailableError(Exception):
    """An engine that is not available or cannot run a network; the message is the reason."""


def session_engine(session: Session) -> Run:
    """This project's session."""
    name = session.inputs[0]
    return lambda tensor: next(iter(session.run({name: tensor}).values()))


def onnxruntime_engine(path: Path, without: Sequence[str] = ()) -> Run:
    """ONNX Runtime with default settings, on one thread.

    Args:
        path: The ONNX file.
        without: Names of ONNX Runtime optimisers to disable because they fail on this file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(without),
        )
    except Exception as error:  # a dozen unrelated types
        raise UnavailableError(_line(error)) from error
    name = session.get_inputs()[0].name

    def run(tensor: npt.NDArray[Any]) -> Any:
        try:
            return session.run(None, {name: tensor})[0]
        except Exception as error:
            raise UnavailableError(_line(error)) from error

    return run


def symbol_engine(symbol: Path, arrays: Mapping[str, Any], shape: tuple[int, ...]) -> Run:
    """MXNet's symbol executor, bound once: the fastest documented method.

    Args:
        symbol: The -symbol.json file.
        arrays: MXNet or numpy arrays by the symbol's names.
        shape: Shape of the input "data".
    """
    if not mxnet_is_installed():
        raise UnavailableError("mxnet is not installed")
    mxnet = import_mxnet()
    held = {name: mxnet.nd.array(array) for name, array in arrays.items()}
    executor = mxnet.sym.load(str(symbol)).simple_bind(mxnet.cpu(), grad_req="null", data=shape)
    executor.copy_params_from(held, held, allow_extra_params=True)

    def run(tensor: npt.NDArray[Any]) -> Any:
        outputs = executor.forward(is_train=False, data=mxnet.nd.array(tensor))
        return outputs[0].asnumpy()

    return run


def openvino_engine(path: Path, shape: tuple[int, ...]) -> Run:
    """OpenVINO on the CPU, compiled for one shape, tuned for latency.

    Args:
        path: The ONNX file.
        shape: Shape of its first input.
    """
    openvino = _import("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        core = openvino.Core()
        model = core.read_model(str(path))
        model.reshape({model.inputs[0]: list(shape)})
        request = core.compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise UnavailableError(_line(error)) from error

    def run(tensor: npt.NDArray[Any]) -> Any:
        request.infer({0: tensor})
        return np.array(request.get_output_tensor(0).data)

    return run


def opencv_engine(path: Path) -> Run:
    """OpenCV's DNN module."""
    cv2.setNumThreads(1)
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise UnavailableError(_line(error)) from error

    def run(tensor: npt.NDArray[Any]) -> Any:
        network.setInput(tensor)
        try:
            return network.forward().copy()
        except cv2.error as error:
            raise UnavailableError(_line(error)) from error

    return run


def ncnn_engine(param: Path, weights: Path) -> Run:
    """ncnn in float32; it does not support batches, so images run one after the other.

    Args:
        param: The .param file that pnnx wrote, with the blobs in0 and out0.
        weights: The .bin file with the weights.
    """
    ncnn = _import("ncnn")
    network = ncnn.Net()
    network.opt.num_threads = 1
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{name}", False)
    if network.load_param(str(param)) or network.load_model(str(weights)):
        raise UnavailableError("ncnn cannot load the output of pnnx")

    def run_one(image: npt.NDArray[Any]) -> Any:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(image).clone())
        failed, output = extractor.extract("out0")
        if failed:
            raise UnavailableError("ncnn cannot run the output of pnnx")
        return np.array(output)

    def run(tensor: npt.NDArray[Any]) -> Any:
        return np.stack([run_one(image).reshape(-1) for image in tensor])

    return run


def example_images(source: Path, height: int, width: int) -> list[Images]:
    """Upstream's example photos, uint8 (1, height, width, 3) RGB."""
    paths = sorted((source / "example").rglob("*.jpg"))
    found = []
    for path in paths:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        found.append(np.asarray(cv2.resize(image, (width, height)), np.uint8)[np.newaxis])
    return found


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"{name} is not installed: pip install '.[bench]'") from error


def _line(error: Exception) -> str:
    """An error message as one line of up to 200 characters, without paths."""
    words = [word for word in str(error).split() if "/" not in word]
    return " ".join(words)[:200]

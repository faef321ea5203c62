"""Exports a network for the other engines: MXNet's own ONNX exporter, and pnnx for ncnn.

pnnx is a converter that is distributed as a binary in a Python package. The package requires
PyTorch, but only for TorchScript: for ONNX files the binary needs nothing, so ``make bench``
installs it without its dependencies. MXNet's exporter reads ``onnx.mapping``, which onnx has
removed; this module rebuilds the two tables it needs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.engines import UnavailableError
from mobileface_convert.oracles.mxnet_oracle import import_mxnet, mxnet_is_installed

__all__ = ["export_by_mxnet", "export_by_pnnx"]

_OPSET = 13
"""The newest opset that MXNet 1.9.1 supports; by default it uses that of the installed onnx."""


def export_by_mxnet(
    symbol: Path | str, arrays: Mapping[str, Any], shape: tuple[int, ...], target: Path
) -> Path:
    """Writes the network with ``mxnet.onnx.export_model`` for one input shape, unchanged.

    Args:
        symbol: The -symbol.json file.
        arrays: MXNet arrays by the symbol's names.
        shape: Shape of the input "data".
        target: The ONNX file to write.

    Raises:
        UnavailableError: If MXNet is not installed or its exporter fails.
    """
    if not mxnet_is_installed():
        raise UnavailableError("mxnet is not installed")
    mxnet = import_mxnet()
    logging.getLogger("mx2onnx").setLevel(logging.ERROR)
    with _onnx_mapping():
        from mxnet import onnx as exporter

        try:
            graph = mxnet.sym.load(str(symbol))
            exporter.export_model(graph, dict(arrays), [shape], [np.float32], str(target))
        except Exception as error:  # its converters raise many unrelated types
            raise UnavailableError(
                f"mxnet.onnx fails: {type(error).__name__}: {error}"[:200]
            ) from error
    return target


def export_by_pnnx(path: Path, shape: tuple[int, ...], folder: Path) -> tuple[Path, Path]:
    """Converts an ONNX network to ncnn's two files, weights in float32.

    Returns:
        The paths of the .param and the .bin file.

    Raises:
        UnavailableError: If pnnx is not installed or fails.
    """
    found = importlib.util.find_spec("pnnx")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError("pnnx is not installed: make bench")
    binary = Path(found.submodule_search_locations[0]) / "pnnx"
    copy = folder / "network.onnx"  # pnnx writes its files next to its input
    copy.write_bytes(path.read_bytes())
    sizes = ",".join(map(str, shape))
    command = [str(binary), copy.name, f"inputshape=[{sizes}]", "fp16=0"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    param, weights = folder / "network.ncnn.param", folder / "network.ncnn.bin"
    if result.returncode or not param.is_file() or not weights.is_file():
        raise UnavailableError(f"pnnx failed with exit code {result.returncode}")
    return param, weights


@contextlib.contextmanager
def _onnx_mapping() -> Iterator[None]:
    """Provides the part of onnx.mapping that MXNet's exporter reads, and an opset it supports."""
    kinds = {
        number: helper.tensor_dtype_to_np_dtype(number)
        for number in range(TensorProto.FLOAT, TensorProto.UINT64 + 1)
        if number != TensorProto.STRING
    }
    module = types.ModuleType("onnx.mapping")
    module.TENSOR_TYPE_TO_NP_TYPE = kinds  # type: ignore[attr-defined]
    module.NP_TYPE_TO_TENSOR_TYPE = {kind: number for number, kind in kinds.items()}  # type: ignore[attr-defined]
    sys.modules["onnx.mapping"] = module
    onnx.mapping = module  # type: ignore[attr-defined]
    newest, onnx.defs.onnx_opset_version = onnx.defs.onnx_opset_version, lambda: _OPSET
    try:
        yield
    finally:
        onnx.defs.onnx_opset_version = newest
        del sys.modules["onnx.mapping"], onnx.mapping  # type: ignore[attr-defined]

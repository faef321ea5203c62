"""Runs an ncnn network with the ncnn package."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError, UnsupportedOperatorError
from mobileface.host.files import scratch_folder

from .ncnn import NcnnModel

__all__ = ["NcnnNetwork", "require_ncnn"]

FloatArray = npt.NDArray[np.float32]


def require_ncnn() -> Any:
    """The ncnn package.

    Raises:
        ConversionError: If ncnn is not installed.
    """
    if importlib.util.find_spec("ncnn") is None:
        raise ConversionError(
            "ncnn is not installed, so the result cannot be verified",
            hint="pip install 'mobileface[ncnn]'",
        )
    return importlib.import_module("ncnn")


class NcnnNetwork:
    """An ncnn network on one thread; computes in float32 even if weights are stored as float16.

    Args:
        model: The network.
        where: Name of the network in error messages.

    Raises:
        UnsupportedOperatorError: If the network has layers that this version of ncnn does not
            support.
        ConversionError: If ncnn is not installed or cannot load the network.
    """

    def __init__(self, model: NcnnModel, where: str) -> None:
        self._ncnn = require_ncnn()
        self._model, self._where = model, where
        self.name = f"ncnn {self._ncnn.__version__}"
        unknown = {kind for kind in model.layers if self._ncnn.layer_to_index(kind) < 0}
        if unknown:
            raise UnsupportedOperatorError(
                f"{self.name} has no layer {', '.join(sorted(unknown))}",
                where=where,
                hint="export to onnx instead, or cut the network before it",
            )
        self._net = self._ncnn.Net()
        options = self._net.opt
        options.num_threads = 1
        options.use_vulkan_compute = options.use_bf16_storage = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        self._load()

    def run(self, tensor: FloatArray) -> list[FloatArray]:
        """Runs the network on the images of a batch, one after the other.

        Args:
            tensor: The input, float32 (N, C, H, W).

        Returns:
            The outputs, each float32 (N, …).

        Raises:
            ConversionError: If ncnn cannot compute an output.
        """
        rows: list[list[FloatArray]] = [[] for _ in self._model.outputs]
        # A Mat holds no reference to the array that it is created from, so we keep one here.
        images = np.ascontiguousarray(tensor, np.float32)
        for image in images:
            extractor = self._net.create_extractor()
            extractor.input(self._model.inputs[0], self._ncnn.Mat(image).clone())
            for row, output in zip(rows, self._model.outputs, strict=True):
                code, found = extractor.extract(output)
                if code:
                    raise ConversionError(
                        f"{self.name} cannot compute '{output}' (code {code})", where=self._where
                    )
                row.append(np.array(found, np.float32))
        return [np.stack(row) for row in rows]

    def _load(self) -> None:
        """Loads the network from temporary files, as ncnn requires."""
        with scratch_folder(prefix="mobileface-ncnn-") as name:
            paths = [Path(name) / f"model.{suffix}" for suffix in ("param", "bin")]
            contents: Sequence[bytes] = (self._model.param.encode(), self._model.bin)
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            loaders = (self._net.load_param, self._net.load_model)
            for load, path in zip(loaders, paths, strict=True):
                if code := load(str(path)):
                    raise ConversionError(
                        f"{self.name} cannot load the {path.suffix[1:]} file (code {code})",
                        where=self._where,
                    )

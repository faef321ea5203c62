"""A network in ncnn's format, run by ncnn."""

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
        ConversionError: It is not installed.
    """
    if importlib.util.find_spec("ncnn") is None:
        raise ConversionError(
            "ncnn is not installed, so the result cannot be proven",
            hint="pip install 'mobileface[ncnn]'",
        )
    return importlib.import_module("ncnn")


class NcnnNetwork:
    """A network on one thread, computing in float32 whatever its weights are stored as.

    Args:
        model: The network.
        where: What error messages call it.

    Raises:
        UnsupportedOperatorError: It has layers that this ncnn does not know.
        ConversionError: ncnn is not installed, or refuses the network.
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
        """The outputs for (N, C, H, W), picture after picture; each (N, …).

        Raises:
            ConversionError: ncnn fails on it.
        """
        rows: list[list[FloatArray]] = [[] for _ in self._model.outputs]
        # A Mat does not keep the array that it is made of alive: this name does.
        pictures = np.ascontiguousarray(tensor, np.float32)
        for picture in pictures:
            extractor = self._net.create_extractor()
            extractor.input(self._model.inputs[0], self._ncnn.Mat(picture).clone())
            for row, output in zip(rows, self._model.outputs, strict=True):
                code, found = extractor.extract(output)
                if code:
                    raise ConversionError(
                        f"{self.name} cannot compute '{output}' (code {code})", where=self._where
                    )
                row.append(np.array(found, np.float32))
        return [np.stack(row) for row in rows]

    def _load(self) -> None:
        """Reads the network; ncnn wants files."""
        with scratch_folder(prefix="mobileface-ncnn-") as name:
            paths = [Path(name) / f"model.{suffix}" for suffix in ("param", "bin")]
            contents: Sequence[bytes] = (self._model.param.encode(), self._model.bin)
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            loaders = (self._net.load_param, self._net.load_model)
            for load, path in zip(loaders, paths, strict=True):
                if code := load(str(path)):
                    raise ConversionError(
                        f"{self.name} refuses the {path.suffix[1:]} file (code {code})",
                        where=self._where,
                    )

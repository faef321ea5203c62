"""A published ONNX file, run as it is: by ONNX Runtime without any optimisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from mobileface.errors import ConversionError

__all__ = ["PublishedOnnx"]

FloatArray = npt.NDArray[np.float32]


class PublishedOnnx:
    """The network in a file that was checked before, node by node as it is written there.

    Args:
        path: The file.

    Attributes:
        name: What certificates call it.
        inputs: Its inputs by name, float32 or float16.

    Raises:
        ConversionError: ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.name = f"ONNX Runtime {onnxruntime.__version__}, not optimised, on the published file"
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # it has an error type for each reason
            text = " ".join(str(error).split())[:300]
            raise ConversionError(f"cannot be run ({text})", where=str(path)) from error
        self._where = str(path)
        self.inputs: dict[str, npt.DTypeLike] = {
            value.name: np.float16 if value.type == "tensor(float16)" else np.float32
            for value in self._session.get_inputs()
        }

    def shape(self, name: str) -> tuple[int | None, ...]:
        """The sizes of an input; None is any size."""
        value = next(item for item in self._session.get_inputs() if item.name == name)
        return tuple(size if isinstance(size, int) else None for size in value.shape)

    def run(self, inputs: Mapping[str, FloatArray], outputs: Sequence[str]) -> list[FloatArray]:
        """The outputs of these names, as float32, for inputs by name.

        Raises:
            ConversionError: ONNX Runtime cannot run it.
        """
        fed = {name: value.astype(self.inputs[name]) for name, value in inputs.items()}
        try:
            found = self._session.run(list(outputs), fed)
        except Exception as error:  # as above
            text = " ".join(str(error).split())[:300]
            raise ConversionError(f"cannot be run ({text})", where=self._where) from error
        return [value.astype(np.float32) for value in found]

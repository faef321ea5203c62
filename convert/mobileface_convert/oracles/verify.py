"""Does the ONNX model give what its source gives?

The inputs are probe pictures that every machine makes alike (`mobileface.models.probes`). The
oracle is MXNet itself where it is installed, else numbers that were recorded from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from mobileface.errors import ConversionError, ParityError
from mobileface.models import probes
from mobileface.models.agreement import Agreement, Bounds, compare_outputs
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput

__all__ = [
    "BATCH_SIZES",
    "PROBE_COUNT",
    "PROBE_SEED",
    "Agreement",
    "Bounds",
    "compare_outputs",
    "golden_path",
    "open_model",
    "probe_input",
    "probe_tensor",
    "read_golden",
    "require",
    "run_batches",
]

BATCH_SIZES = (1, 8)
"""Batch sizes at which a network is compared with its oracle."""

PROBE_COUNT = 16
PROBE_SEED = 20200229

FloatArray = npt.NDArray[np.float32]
Tensor = FloatArray | npt.NDArray[np.uint8]


def probe_tensor(spec: ImageInput, count: int = PROBE_COUNT, seed: int = PROBE_SEED) -> FloatArray:
    """Probe pictures as the network's input tensor, float32 (count, C, height, width)."""
    return probes.probe_tensor(spec, count, seed)


def probe_input(spec: ImageInput, count: int = PROBE_COUNT, seed: int = PROBE_SEED) -> Tensor:
    """Probe pictures as a model's own input, which may be uint8 (count, height, width, C)."""
    return probes.probe_input(spec, count, seed)


def open_model(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A model in memory, without a spec, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_batches(
    session: Session, tensor: Tensor, batch: int, outputs: Sequence[str] | None = None
) -> FloatArray:
    """Some outputs of a model, side by side, in batches of the given size.

    Args:
        session: The model.
        tensor: Its input.
        batch: Pictures a run.
        outputs: Names of the outputs, each (N, …); by default the first.
    """
    name, wanted = session.inputs[0], outputs or session.outputs[:1]
    parts = []
    for start in range(0, len(tensor), batch):
        found = session.run({name: tensor[start : start + batch]})
        rows = [found[output].reshape(len(found[output]), -1) for output in wanted]
        parts.append(np.concatenate(rows, axis=1))
    return np.concatenate(parts)


def require(agreement: Agreement, bounds: Bounds, where: str) -> None:
    """Refuses a model that misses its bounds (nan misses them too).

    Raises:
        ParityError: Says what was seen and what is allowed.
    """
    if not agreement.within(bounds):
        raise ParityError(
            f"differs from {agreement.oracle}: {agreement.failure(bounds)}", where=where
        )


def golden_path(name: str) -> Path | None:
    """File with the recorded outputs of a recipe's model, in the package or the source tree."""
    packaged = Path(str(resources.files("mobileface_convert"))) / "golden"
    checkout = Path(__file__).resolve().parents[3] / "tests" / "golden"
    candidates = (folder / f"{name}.npz" for folder in (packaged, checkout))
    return next((path for path in candidates if path.is_file()), None)


def read_golden(name: str) -> tuple[FloatArray, str]:
    """Recorded outputs for `probe_tensor`, and what they were recorded from.

    Raises:
        ConversionError: Nothing is recorded for that model, or for other probes.
    """
    path = golden_path(name)
    if path is None:
        raise ConversionError(
            "no recorded outputs and no MXNet: the conversion cannot be verified",
            where=name,
            hint="install 'mobileface[reference]' on Python 3.11, or convert with --no-verify",
        )
    with np.load(path, allow_pickle=False) as data:
        if int(data["seed"]) != PROBE_SEED or len(data["outputs"]) != PROBE_COUNT:
            raise ConversionError("recorded for other probes; record anew", where=str(path))
        return data["outputs"], f"recorded from {data['oracle']}"

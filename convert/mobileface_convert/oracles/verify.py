"""Compares an ONNX model with its source.

The inputs are probe images, which are identical on every machine (`mobileface.models.probes`). The
reference is MXNet if it is installed, otherwise outputs that were recorded from it.
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
from mobileface.host.array_files import load_arrays
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
"""Batch sizes at which a network is compared with its reference."""

PROBE_COUNT = 16
PROBE_SEED = 20200229

FloatArray = npt.NDArray[np.float32]
Tensor = FloatArray | npt.NDArray[np.uint8]


def probe_tensor(spec: ImageInput, count: int = PROBE_COUNT, seed: int = PROBE_SEED) -> FloatArray:
    """Probe images as the network's input tensor, float32 (count, C, height, width)."""
    return probes.probe_tensor(spec, count, seed)


def probe_input(spec: ImageInput, count: int = PROBE_COUNT, seed: int = PROBE_SEED) -> Tensor:
    """Probe images as the model's own input, which may be uint8 (count, height, width, C)."""
    return probes.probe_input(spec, count, seed)


def open_model(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Opens a model that is in memory, and may have no spec, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # it prints on stdout, and fails a second time
    )


def run_batches(
    session: Session, tensor: Tensor, batch: int, outputs: Sequence[str] | None = None
) -> FloatArray:
    """Runs a model in batches of the given size.

    Args:
        session: The model.
        tensor: The input (N, …).
        batch: Number of images per run.
        outputs: Names of the outputs, each (N, …); by default the first.

    Returns:
        The outputs, flattened and concatenated per image, (N, D).
    """
    name, selected = session.inputs[0], outputs or session.outputs[:1]
    parts = []
    for start in range(0, len(tensor), batch):
        found = session.run({name: tensor[start : start + batch]})
        rows = [found[output].reshape(len(found[output]), -1) for output in selected]
        parts.append(np.concatenate(rows, axis=1))
    return np.concatenate(parts)


def require(agreement: Agreement, bounds: Bounds, where: str) -> None:
    """Checks that an agreement is within its bounds; nan is not.

    Args:
        agreement: The result of the comparison.
        bounds: The tolerances.
        where: Name of the model in error messages.

    Raises:
        ParityError: If a bound is not met; the message has the measured and the allowed value.
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
    """Reads the outputs recorded for `probe_tensor`.

    Args:
        name: Name of the recipe.

    Returns:
        The outputs, float32 (N, D), and a description of the reference they come from.

    Raises:
        ConversionError: If there is no record for the model, or it is for other probe images.
    """
    path = golden_path(name)
    if path is None:
        raise ConversionError(
            "no recorded outputs and no MXNet: the conversion cannot be verified",
            where=name,
            hint="install 'mobileface[reference]' on Python 3.11, or convert with --no-verify",
        )
    data = load_arrays(path, "a record of outputs")
    if int(data["seed"]) != PROBE_SEED or len(data["outputs"]) != PROBE_COUNT:
        raise ConversionError(
            "the outputs were recorded for other probe images",
            where=str(path),
            hint="record them again with tests/record_golden.py",
        )
    return data["outputs"], f"recorded from {data['oracle']}"

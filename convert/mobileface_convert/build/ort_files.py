"""Writes models in ONNX Runtime's ORT format, and the operators that they need.

A minimal build of ONNX Runtime has no ONNX parser and only selected operators; it loads only
``.ort`` files. ONNX Runtime's own tool writes these files and the list of operators for the build
(``--include_ops_by_config``). Each file is loaded and run here, and its outputs must match those of
its model.

Only variants for any machine are written, as the files of others would depend on one kind of CPU.
fp16 variants are skipped if there is an fp32 file, as an ORT file cannot store weights as float16
and compute in float32.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from mobileface.errors import ConversionError
from mobileface.host.files import scratch_folder, write_aside
from mobileface.host.machine import ANYWHERE
from mobileface.models.agreement import Bounds, compare_outputs
from mobileface.models.index import IndexEntry, Variant
from mobileface.models.replay import output_rows
from mobileface.models.session import Session

from ..backends.quiet import quiet
from ..oracles.verify import require

__all__ = ["OPERATORS_FILE", "ort_folder", "write_ort"]

OPERATORS_FILE = "required_operators.config"
"""Name of the file with the operators of all files in the folder, for building ONNX Runtime."""

_BOUNDS = Bounds(1e-4, 0.9999999)
"""Tolerances; both run in the same engine, but optimised operators may sum in another order."""


_INTEGER_BOUNDS = Bounds(math.inf, 0.999, 0.9995)
"""Tolerances for int8, where operators round their outputs and fusing them changes the results."""


def ort_folder(models: Path) -> Path:
    """The folder for the ``.ort`` files of a models folder."""
    return models / "ort"


def write_ort(models: Path, entries: Sequence[IndexEntry]) -> list[Path]:
    """Writes the portable variants of some models in ORT format.

    Args:
        models: The models folder; the files go into its subfolder ``ort``.
        entries: Index entries of the models.

    Returns:
        The files written, the list of operators last.

    Raises:
        ConversionError: If ONNX Runtime cannot convert a model, or no model is a network.
        ParityError: If the outputs of a file differ from those of its model.
        OutputError: If the folder is not writable.
    """
    target = ort_folder(models)
    written = []
    with scratch_folder() as scratch:
        for entry in entries:
            for variant in _portable(entry):
                converted = _convert(models / variant.file, Path(scratch))
                _check(models / variant.file, converted, variant)
                write_aside(target / converted.name, converted.read_bytes())
                written.append(target / converted.name)
    if not written:
        raise ConversionError("none of the models is a network", where=str(models))
    write_aside(target / OPERATORS_FILE, _operators(written))
    return [*written, target / OPERATORS_FILE]


def _portable(entry: IndexEntry) -> list[Variant]:
    """The variants of a model to write: its own file, and int8."""
    own = entry.all_variants[-1]
    others = [v for v in entry.variants if v.condition == ANYWHERE and v.precision == "int8"]
    return [variant for variant in (own, *others) if variant.file.endswith(".onnx")]


def _convert(model: Path, scratch: Path) -> Path:
    """Converts one model in a separate folder, as the tool also writes other files there."""
    from onnxruntime.tools.convert_onnx_models_to_ort import (
        OptimizationStyle,
        convert_onnx_models_to_ort,
    )

    folder = scratch / model.stem
    folder.mkdir()
    shutil.copyfile(model, folder / model.name)
    try:
        with quiet():
            convert_onnx_models_to_ort(
                folder / model.name, folder / "out", [OptimizationStyle.Fixed]
            )
    except Exception as error:  # the tool can raise any type of error
        text = " ".join(str(error).split()) or type(error).__name__
        raise ConversionError(f"cannot be converted to .ort ({text})", where=str(model)) from error
    return folder / "out" / f"{model.stem}.ort"


def _check(model: Path, converted: Path, variant: Variant) -> None:
    """Compares the outputs of an ``.ort`` file with those of its model.

    Raises:
        ParityError: If they differ by more than the tolerances.
    """
    sessions = [Session(path, intra_op_num_threads=1) for path in (converted, model)]
    found, expected = (output_rows(session) for session in sessions)
    found = sessions[1].spec.kind.pair(found, expected)
    bounds = _INTEGER_BOUNDS if variant.precision == "int8" else _BOUNDS
    require(compare_outputs(found, expected, variant.file), bounds, converted.name)


def _operators(files: Sequence[Path]) -> str:
    """The operators of some files, in the format of ONNX Runtime's build."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    with scratch_folder() as folder:
        path = Path(folder) / OPERATORS_FILE
        with quiet():
            create_config_from_models(list(files), path, False)
        lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("#")]
    return "\n".join(["# Operators of the models in this folder", *kept]) + "\n"

"""Models in ONNX Runtime's own format, for minimal builds of it, and which operators they need.

A minimal build has neither an ONNX parser nor operators that nobody asked for; it loads ``.ort``
files alone. ONNX Runtime's own tool writes them and the list of operators to build it with
(``--include_ops_by_config``). Each file is loaded and run here and must give what its model gives.

Only what runs on any machine is written: channels in blocks would be written down for the blocks of
one kind of CPU. fp16 is left out where there is fp32: the format has no way to store weights small
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
"""The operators of all files in the folder, for ONNX Runtime's build."""

_BOUNDS = Bounds(1e-4, 0.9999999)
"""Both run in one engine; what it has rearranged beforehand may sum in another order."""


_INTEGER_BOUNDS = Bounds(math.inf, 0.999, 0.9995)
"""In integers it shows which operators were fused beforehand: each rounds what it gives."""


def ort_folder(models: Path) -> Path:
    """Where the files of a models folder go."""
    return models / "ort"


def write_ort(models: Path, entries: Sequence[IndexEntry]) -> list[Path]:
    """Writes every variant of some models in ONNX Runtime's format.

    Args:
        models: Their folder; the files go into the folder ``ort`` in it.
        entries: What its index says of them.

    Returns:
        The files written, the list of operators last.

    Raises:
        ConversionError: ONNX Runtime cannot convert a model.
        ParityError: A file gives something else than its model.
        OutputError: The folder cannot be written.
    """
    target = ort_folder(models)
    written = []
    with scratch_folder() as scratch:
        for entry in entries:
            for variant in _portable(entry):
                made = _convert(models / variant.file, Path(scratch))
                _check(models / variant.file, made, variant)
                write_aside(target / made.name, made.read_bytes())
                written.append(target / made.name)
    if not written:
        raise ConversionError("none of the models is a network", where=str(models))
    write_aside(target / OPERATORS_FILE, _operators(written))
    return [*written, target / OPERATORS_FILE]


def _portable(entry: IndexEntry) -> list[Variant]:
    """The files of a model to write: its own, and int8."""
    own = entry.all_variants[-1]
    others = [v for v in entry.variants if v.condition == ANYWHERE and v.precision == "int8"]
    return [variant for variant in (own, *others) if variant.file.endswith(".onnx")]


def _convert(model: Path, scratch: Path) -> Path:
    """One file in a folder of its own, where the tool leaves other things as well."""
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
    except Exception as error:  # the tool raises whatever it meets
        text = " ".join(str(error).split()) or type(error).__name__
        raise ConversionError(f"not to be had as .ort ({text})", where=str(model)) from error
    return folder / "out" / f"{model.stem}.ort"


def _check(model: Path, made: Path, variant: Variant) -> None:
    """A file gives what its model gives.

    Raises:
        ParityError: It does not.
    """
    sessions = [Session(path, intra_op_num_threads=1) for path in (made, model)]
    found, expected = (output_rows(session) for session in sessions)
    found = sessions[1].spec.kind.pair(found, expected)
    bounds = _INTEGER_BOUNDS if variant.precision == "int8" else _BOUNDS
    require(compare_outputs(found, expected, variant.file), bounds, made.name)


def _operators(files: Sequence[Path]) -> str:
    """The operators of some files, in the form that ONNX Runtime's build reads."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    with scratch_folder() as folder:
        path = Path(folder) / OPERATORS_FILE
        with quiet():
            create_config_from_models(list(files), path, False)
        lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("#")]
    return "\n".join(["# Operators of the models in this folder", *kept]) + "\n"

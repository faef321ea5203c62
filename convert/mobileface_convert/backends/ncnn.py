"""Converts an ONNX model to ncnn, with pnnx.

pnnx is an executable in a Python package. It runs as a subprocess, in a temporary folder and with a
time limit; the package, which needs PyTorch, is not imported. pnnx drops operators that it does not
support and only prints a message to standard error; here these messages become errors.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from mobileface.errors import ConversionError, UnsupportedOperatorError
from mobileface.host.files import reason, scratch_folder

__all__ = ["TIME_LIMIT", "NcnnModel", "to_ncnn"]

TIME_LIMIT = 600.0
"""Default time limit for pnnx in seconds; MobileFace's models take one to five."""

_MAGIC = "7767517"
_LISTED = 5
"""Maximum number of dropped operators that an error lists."""
_DROPPED = re.compile(r"^ignore (\S+) (\S+) param", re.MULTILINE)
_HINT = "pip install 'mobileface[ncnn]' && pip install --no-deps pnnx"


@dataclass(frozen=True)
class NcnnModel:
    """A network as the contents of ncnn's two files.

    Attributes:
        param: The layers, as text.
        bin: The weights.
        layers: Type of each layer, in order.
        inputs: Names of the input blobs.
        outputs: Names of the output blobs, in the order of the ONNX model's outputs.
    """

    param: str
    bin: bytes
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def to_ncnn(
    model: onnx.ModelProto,
    shape: Sequence[int],
    where: str,
    *,
    half: bool = False,
    time_limit: float = TIME_LIMIT,
) -> NcnnModel:
    """Converts a model that `ncnn_prepare` has prepared.

    Args:
        model: A model with one input.
        shape: Shape of the input, including the batch.
        where: Name of the model in error messages.
        half: Store weights as float16.
        time_limit: Time limit for pnnx, in seconds.

    Raises:
        ConversionError: If pnnx is not installed, fails or exceeds the time limit.
        UnsupportedOperatorError: If ncnn does not have an operator; lists the operators.
    """
    program = _find_pnnx()
    with scratch_folder(prefix="mobileface-ncnn-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        sizes = ",".join(map(str, shape))
        arguments = ["model.onnx", f"inputshape=[{sizes}]", f"fp16={int(half)}"]
        printed = _run([str(program), *arguments], folder, where, time_limit)
        try:
            param = (folder / "model.ncnn.param").read_text(encoding="utf-8")
            weights = (folder / "model.ncnn.bin").read_bytes()
        except (OSError, ValueError) as error:
            raise ConversionError(
                f"pnnx wrote no ncnn network ({_last_line(printed)})", where=where
            ) from error
    dropped = [f"{kind} '{node}'" for kind, node in _DROPPED.findall(printed)]
    if dropped:
        more = f" and {len(dropped) - _LISTED} more" if len(dropped) > _LISTED else ""
        raise UnsupportedOperatorError(
            f"ncnn has no layer for {', '.join(dropped[:_LISTED])}{more}",
            where=where,
            hint="export to onnx instead, or cut the network before them",
        )
    return _read(param, weights, len(model.graph.output), where)


def _find_pnnx() -> Path:
    """Path of the pnnx executable, from the Python package or ``PATH``.

    Raises:
        ConversionError: If pnnx is not installed.
    """
    suffix = ".exe" if sys.platform == "win32" else ""
    package = importlib.util.find_spec("pnnx")  # does not import it
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(folder) / f"pnnx{suffix}"
        if program.is_file():
            return program
    on_path = shutil.which("pnnx")
    if on_path is None:
        raise ConversionError("pnnx is not installed", hint=_HINT)
    return Path(on_path)


def _run(command: Sequence[str], folder: Path, where: str, time_limit: float) -> str:
    """Runs pnnx; returns its output.

    Raises:
        ConversionError: If pnnx cannot be started, fails or exceeds the time limit.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=time_limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionError(
            f"pnnx was stopped after {time_limit:g} s", where=where, hint="raise --time-limit"
        ) from error
    except OSError as error:
        raise ConversionError(
            f"pnnx cannot be started ({reason(error)})", where=command[0], hint=_HINT
        ) from error
    printed = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    if done.returncode:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise ConversionError(f"pnnx ended with {how} ({_last_line(printed)})", where=where)
    return printed


def _last_line(printed: str) -> str:
    """The last non-empty line that pnnx printed, without colour codes."""
    lines = [re.sub(r"\x1b?\[[\d;]*m", "", line).strip() for line in printed.splitlines()]
    return next((line for line in reversed(lines) if line), "no output")


def _read(param: str, weights: bytes, outputs: int, where: str) -> NcnnModel:
    """Checks the files that pnnx wrote.

    Raises:
        ConversionError: If they are not an ncnn network, or its outputs are not the expected ones.
    """
    lines = [line.split() for line in param.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != [_MAGIC] or any(len(line) < 4 for line in lines[2:]):
        raise ConversionError("pnnx wrote a file that is not an ncnn network", where=where)
    tops: list[str] = []
    read: set[str] = set()
    inputs = []
    for kind, _, bottom_count, top_count, *blobs in lines[2:]:
        first, count = int(bottom_count), int(top_count)
        read.update(blobs[:first])
        tops.extend(blobs[first : first + count])
        if kind == "Input":
            inputs.extend(blobs[:count])
    heads = [f"out{number}" for number in range(outputs)]
    if set(tops) - read != set(heads):
        raise ConversionError(
            f"pnnx wrote outputs {', '.join(sorted(set(tops) - read))}, "
            f"expected {', '.join(heads)}",
            where=where,
        )
    kinds = tuple(line[0] for line in lines[2:])
    return NcnnModel(param, weights, kinds, tuple(inputs), tuple(heads))

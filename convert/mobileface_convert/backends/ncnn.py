"""ONNX model to ncnn, through pnnx.

pnnx is a program that its Python package carries; it is run by itself, in a folder of its own and
with a time limit, and the package, which wants PyTorch, is not imported. What pnnx does not know it
leaves out with a word on its error stream: those words become errors here.
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
"""Seconds that pnnx may take; MobileFace's models take it one to five."""

_MAGIC = "7767517"
_NAMED = 5
"""Of operators that were left out, as many are named."""
_LEFT_OUT = re.compile(r"^ignore (\S+) (\S+) param", re.MULTILINE)
_HINT = "pip install 'mobileface[ncnn]' && pip install --no-deps pnnx"


@dataclass(frozen=True)
class NcnnModel:
    """A network in ncnn's two files.

    Attributes:
        param: Its layers, as text.
        bin: Its weights.
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
    """Converts a model; see `ncnn_prepare` for what must be done to it before.

    Args:
        model: A model with one input.
        shape: Shape of the input, batch included.
        where: What error messages call it.
        half: Store weights as float16.
        time_limit: Seconds that pnnx may take.

    Raises:
        ConversionError: pnnx is not installed, fails, or takes too long.
        UnsupportedOperatorError: The model has operators that ncnn has not; names them.
    """
    program = _find_pnnx()
    with scratch_folder(prefix="mobileface-ncnn-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        sizes = ",".join(map(str, shape))
        arguments = ["model.onnx", f"inputshape=[{sizes}]", f"fp16={int(half)}"]
        said = _run([str(program), *arguments], folder, where, time_limit)
        try:
            param = (folder / "model.ncnn.param").read_text(encoding="utf-8")
            weights = (folder / "model.ncnn.bin").read_bytes()
        except (OSError, ValueError) as error:
            raise ConversionError(
                f"pnnx wrote no ncnn network ({_last_words(said)})", where=where
            ) from error
    left_out = [f"{kind} '{node}'" for kind, node in _LEFT_OUT.findall(said)]
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        raise UnsupportedOperatorError(
            f"ncnn has no layer for {', '.join(left_out[:_NAMED])}{more}",
            where=where,
            hint="export to onnx instead, or cut the network before them",
        )
    return _read(param, weights, len(model.graph.output), where)


def _find_pnnx() -> Path:
    """The program, in the Python package or on the path.

    Raises:
        ConversionError: There is none.
    """
    suffix = ".exe" if sys.platform == "win32" else ""
    package = importlib.util.find_spec("pnnx")  # this imports nothing
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(folder) / f"pnnx{suffix}"
        if program.is_file():
            return program
    portable = shutil.which("pnnx")
    if portable is None:
        raise ConversionError("pnnx is not installed", hint=_HINT)
    return Path(portable)


def _run(command: Sequence[str], folder: Path, where: str, time_limit: float) -> str:
    """Runs pnnx; returns what it said.

    Raises:
        ConversionError: It cannot be started, fails, or takes too long.
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
            f"pnnx was stopped after {time_limit:g} s", where=where, hint="allow more --time-limit"
        ) from error
    except OSError as error:
        raise ConversionError(
            f"pnnx cannot be started ({reason(error)})", where=command[0], hint=_HINT
        ) from error
    said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    if done.returncode:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise ConversionError(f"pnnx ended with {how} ({_last_words(said)})", where=where)
    return said


def _last_words(said: str) -> str:
    """The last line that pnnx printed, without colours."""
    lines = [re.sub(r"\x1b?\[[\d;]*m", "", line).strip() for line in said.splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


def _read(param: str, weights: bytes, outputs: int, where: str) -> NcnnModel:
    """Checks what pnnx wrote.

    Raises:
        ConversionError: It is no network of ncnn, or has other outputs.
    """
    lines = [line.split() for line in param.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != [_MAGIC] or any(len(line) < 4 for line in lines[2:]):
        raise ConversionError("pnnx wrote something that is no ncnn network", where=where)
    tops: list[str] = []
    read: set[str] = set()
    inputs = []
    for kind, _, bottoms, above, *rest in lines[2:]:
        count, made = int(bottoms), int(above)
        read.update(rest[:count])
        tops.extend(rest[count : count + made])
        if kind == "Input":
            inputs.extend(rest[:made])
    heads = [f"out{number}" for number in range(outputs)]
    if set(tops) - read != set(heads):
        raise ConversionError(
            f"pnnx made outputs {', '.join(sorted(set(tops) - read))} of {outputs}", where=where
        )
    kinds = tuple(line[0] for line in lines[2:])
    return NcnnModel(param, weights, kinds, tuple(inputs), tuple(heads))

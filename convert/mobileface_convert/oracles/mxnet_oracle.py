"""MXNet as the reference implementation, if it is installed. Only verification imports this."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError

__all__ = ["MXNetReference", "import_mxnet", "mxnet_is_installed"]

_BACKEND = "MXNET_SUBGRAPH_BACKEND"
_LONGEST = 300

FloatArray = npt.NDArray[np.float32]


def mxnet_is_installed() -> bool:
    """True if MXNet is installed; does not import it."""
    return importlib.util.find_spec("mxnet") is not None


def import_mxnet() -> Any:
    """The mxnet module, with its oneDNN subgraph backend disabled.

    With that backend (the default), the symbol executor of MXNet 1.9.1 returned wrong results for
    plain convolutional networks; without it, the results agree with MXNet's imperative ones.

    Raises:
        ConversionError: If MXNet is not installed, or was already imported with the backend
            enabled.
    """
    if "mxnet" in sys.modules:
        if os.environ.get(_BACKEND) != "NONE":
            raise ConversionError(
                "MXNet was imported with its subgraph backend enabled",
                hint=f"set {_BACKEND}=NONE first",
            )
        return sys.modules["mxnet"]
    if not mxnet_is_installed():
        raise ConversionError(
            "MXNet is not installed", hint="pip install 'mobileface[reference]' on Python 3.11"
        )
    os.environ[_BACKEND] = "NONE"
    import mxnet

    return mxnet


def _first_output(node: str, known: Sequence[str]) -> str:
    """MXNet's name for a node's output, or for the first of several outputs."""
    return f"{node}_output" if f"{node}_output" in known else f"{node}_output0"


class MXNetReference:
    """Runs a checkpoint in MXNet, from its original files.

    Args:
        symbol: The ``-symbol.json`` file.
        params: The ``.params`` file.
        output: Name of an internal output to return (``fc5_bn_output``), or several names; by
            default the network's own outputs.
    """

    def __init__(
        self, symbol: Path, params: Path, output: str | Sequence[str] | None = None
    ) -> None:
        self._mxnet = import_mxnet()
        self._where = str(symbol)
        with self._refusals():
            self._load(symbol, params, output)
        self.name = f"MXNet {self._mxnet.__version__}"

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turns errors of MXNet, which has checks of its own, into one of this project.

        Raises:
            ConversionError: If MXNet cannot read or run the network.
        """
        try:
            yield
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            text = next((line for line in lines if "Error" in line), lines[-1] if lines else "")
            raise ConversionError(
                f"MXNet refuses the network ({' '.join(text.split())[:_LONGEST]})",
                where=self._where,
                hint="convert without verification",
            ) from error

    def _load(self, symbol: Path, params: Path, output: str | Sequence[str] | None) -> None:
        network = self._mxnet.sym.load(str(symbol))
        if output is not None:
            internals = network.get_internals()
            known = internals.list_outputs()
            names = [output] if isinstance(output, str) else output
            chosen = [internals[n if n in known else _first_output(n, known)] for n in names]
            network = chosen[0] if isinstance(output, str) else self._mxnet.sym.Group(chosen)
        stored = self._mxnet.nd.load(str(params))
        # MXNet returns a list, not a mapping, for a file without arrays.
        named = stored.items() if isinstance(stored, dict) else ()
        arrays = {name.split(":", 1)[-1]: array for name, array in named}
        self._network = network
        self._arguments = {n: arrays[n] for n in network.list_arguments() if n in arrays}
        self._states = {n: arrays[n] for n in network.list_auxiliary_states() if n in arrays}

    def run(self, inputs: Mapping[str, FloatArray]) -> list[FloatArray]:
        """Returns the network's outputs for inputs by name, all float32.

        Raises:
            ConversionError: If MXNet cannot run the network.
        """
        with self._refusals():
            return self._forward(inputs)

    def _forward(self, inputs: Mapping[str, FloatArray]) -> list[FloatArray]:
        mxnet = self._mxnet
        fed = {name: mxnet.nd.array(value, dtype=np.float32) for name, value in inputs.items()}
        stored = {name: array.shape for name, array in self._arguments.items()}
        shapes = {**stored, **{name: value.shape for name, value in inputs.items()}}
        executor = self._network.simple_bind(mxnet.cpu(), grad_req="null", **shapes)
        executor.copy_params_from(self._arguments, self._states, allow_extra_params=True)
        outputs = executor.forward(is_train=False, **fed)
        return [output.asnumpy() for output in outputs]

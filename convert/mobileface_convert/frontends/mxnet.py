"""A network from an MXNet checkpoint: symbol JSON and parameter file."""

from __future__ import annotations

from pathlib import Path

from mobileface.errors import SourceFormatError

from ..graph import Array, Graph
from .mxnet_params import load_params
from .mxnet_symbol import load_symbol

__all__ = ["load_checkpoint"]


def load_checkpoint(symbol: Path, params: Path) -> Graph:
    """Reads a network with its weights.

    Args:
        symbol: The ``-symbol.json`` file.
        params: The ``-NNNN.params`` file; names with or without ``arg:`` and ``aux:``.

    Raises:
        SourceError: A file cannot be read.
        SourceFormatError: A file is not what it should be.
        GraphError: The graph cannot be.
    """
    arrays: dict[str, Array] = {}
    for full_name, array in load_params(params).items():
        prefix, colon, bare = full_name.partition(":")
        name = bare if colon and prefix in ("arg", "aux") else full_name
        if name in arrays:
            raise SourceFormatError(f"'{name}' is both arg and aux", where=str(params))
        arrays[name] = array
    return load_symbol(symbol, arrays)

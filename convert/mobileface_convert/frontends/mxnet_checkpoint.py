"""A network from an MXNet checkpoint: symbol JSON and parameter file."""

from __future__ import annotations

from pathlib import Path

from ..graph.source_graph import Graph
from .blueprint import bare_names
from .mxnet_params import load_params
from .mxnet_symbol import load_symbol

__all__ = ["load_checkpoint"]


def load_checkpoint(symbol: Path, params: Path) -> Graph:
    """Reads a network with its weights.

    Args:
        symbol: The ``-symbol.json`` file.
        params: The ``-NNNN.params`` file; names with or without ``arg:`` and ``aux:``.

    Raises:
        SourceError: If a file cannot be read.
        SourceFormatError: If a file does not have the expected format.
        GraphError: If the symbol does not describe a valid graph.
    """
    return load_symbol(symbol, bare_names(load_params(params), str(params)))

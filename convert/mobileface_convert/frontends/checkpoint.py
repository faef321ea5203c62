"""Writes a source graph as an MXNet checkpoint."""

from __future__ import annotations

from pathlib import Path

from mobileface.host.files import write_together

from ..graph.source_graph import Graph
from .mxnet_params import write_params
from .mxnet_symbol import write_symbol

__all__ = ["checkpoint_paths", "save_checkpoint"]


def checkpoint_paths(prefix: Path) -> tuple[Path, Path]:
    """``PREFIX-symbol.json`` and ``PREFIX-0000.params``, as MXNet names them."""
    names = (f"{prefix.name}-symbol.json", f"{prefix.name}-0000.params")
    return prefix.with_name(names[0]), prefix.with_name(names[1])


def save_checkpoint(graph: Graph, prefix: Path) -> tuple[Path, Path]:
    """Writes ``PREFIX-symbol.json`` and ``PREFIX-0000.params`` as MXNet names them.

    Returns:
        The paths of the symbol and the parameter file.

    Raises:
        OutputError: If the files cannot be written.
    """
    symbol, params = checkpoint_paths(prefix)
    arrays = {
        f"{'aux' if name in graph.auxiliary else 'arg'}:{name}": array
        for name, array in graph.weights.items()
    }
    write_together([(params, write_params(arrays)), (symbol, write_symbol(graph))])
    return symbol, params

"""Networks that are only published as Gluon parameter files, without a symbol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mobileface.errors import ConversionError, GraphError

from ..graph.source_graph import Array, Edge, Graph
from .blueprint import Blueprint, bare_names
from .gluon_attribute import attribute_blueprint
from .gluon_detection import detector_blueprint
from .mxnet_params import load_params

__all__ = ["NETWORKS", "load_gluon", "read_gluon", "recognise"]

_MINIMUM_COVERAGE = 0.5
"""A file with at least this fraction of a network's arrays is recognised as that network."""


NETWORKS: dict[str, Callable[[], tuple[Blueprint, tuple[Edge, ...]]]] = {
    "mobileface_detection": detector_blueprint,
    "mobileface_attribute": attribute_blueprint,
}
"""Functions that build each network and its outputs, by the name that recipes use."""


def load_gluon(path: Path, network: str) -> Graph:
    """Reads a network from its parameter file.

    Args:
        path: A file written by ``save_parameters``, ``save_params`` or ``export``.
        network: Name of the network in `NETWORKS`.

    Raises:
        SourceError: If the file cannot be read.
        SourceFormatError: If the file is not a parameter file.
        GraphError: If the arrays do not belong to the network.
        ConversionError: If the network is unknown.
    """
    return read_gluon(load_params(path), network, str(path))


def read_gluon(arrays: Mapping[str, Array], network: str, where: str) -> Graph:
    """Builds a network from arrays; see `load_gluon`."""
    if network not in NETWORKS:
        raise ConversionError(
            f"unknown network '{network}'", where=where, hint=f"available: {', '.join(NETWORKS)}"
        )
    plan, outputs = NETWORKS[network]()
    return plan.graph(outputs, bare_names(arrays, where), where)


def recognise(arrays: Mapping[str, Array], where: str) -> str:
    """The name of the network that a parameter file belongs to.

    Raises:
        GraphError: If the arrays do not belong to any known network.
    """
    names = bare_names(arrays, where)
    parts = {name: build()[0].covers(names) for name, build in NETWORKS.items()}
    best = max(parts, key=lambda name: parts[name])
    if parts[best] < _MINIMUM_COVERAGE:
        raise GraphError(
            f"{len(names)} arrays of an unknown network",
            where=where,
            hint=f"recognised by their arrays: {', '.join(NETWORKS)}; "
            "for other networks pass the -symbol.json as well",
        )
    return best

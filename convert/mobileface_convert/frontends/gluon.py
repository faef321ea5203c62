"""Networks that exist as gluon parameter files only."""

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

_SURE = 0.5
"""A file that holds this part of a network's arrays is meant to be that network."""


NETWORKS: dict[str, Callable[[], tuple[Blueprint, tuple[Edge, ...]]]] = {
    "mobileface_detection": detector_blueprint,
    "mobileface_attribute": attribute_blueprint,
}
"""What builds each network and its outputs, by the name that recipes use."""


def load_gluon(path: Path, network: str) -> Graph:
    """Reads a network from its parameter file.

    Args:
        path: What ``save_parameters``, ``save_params`` or ``export`` wrote.
        network: Its name in `NETWORKS`.

    Raises:
        SourceError: The file cannot be read.
        SourceFormatError: It is no parameter file.
        GraphError: Its arrays are not the network's.
        ConversionError: No such network.
    """
    return read_gluon(load_params(path), network, str(path))


def read_gluon(arrays: Mapping[str, Array], network: str, where: str) -> Graph:
    """A network from arrays; see `load_gluon`."""
    if network not in NETWORKS:
        raise ConversionError(
            f"no network '{network}'", where=where, hint=f"there are: {', '.join(NETWORKS)}"
        )
    plan, outputs = NETWORKS[network]()
    return plan.graph(outputs, bare_names(arrays, where), where)


def recognise(arrays: Mapping[str, Array], where: str) -> str:
    """The name of the network that a parameter file belongs to.

    Raises:
        GraphError: It is none of them.
    """
    names = bare_names(arrays, where)
    parts = {name: build()[0].covers(names) for name, build in NETWORKS.items()}
    best = max(parts, key=lambda name: parts[name])
    if parts[best] < _SURE:
        raise GraphError(
            f"{len(names)} arrays of an unknown network",
            where=where,
            hint=f"known by their arrays alone: {', '.join(NETWORKS)}; "
            "for others give the -symbol.json as well",
        )
    return best

"""Networks whose files only contain arrays, built from a blueprint of their layers.

Gluon's ``save_parameters`` only writes arrays, under structural names (``stages.0.0.0.weight``: the
attribute path of the layer). A `Blueprint` builds the same network as a source graph, records the
array that each layer needs, and then takes the arrays from a file.

Files of older Gluon versions have names without dots: there an array is named after its layer, with
a counter per class of layer (``yolov30_conv0_weight``). A blueprint knows both names. The counter
in the name of a block (``yolov30``) is the number of such blocks that the process had created
before; only the order of these counters matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mobileface.errors import GraphError, SourceFormatError

from ..graph.source_graph import Array, Edge, Graph, Node

__all__ = ["Blueprint", "Scope", "bare_names"]

_SHOWN = 5
"""Maximum number of names that a message lists."""


@dataclass(frozen=True, slots=True)
class _Needed:
    """An array that a layer reads."""

    node: str
    shape: tuple[int, ...]
    old_name: str
    auxiliary: bool


@dataclass
class Scope:
    """A Gluon block with its own name scope, which numbers its layers by class.

    Attributes:
        prefix: Name of the block with its counter, such as "yolov30_".
    """

    prefix: str
    _counts: dict[str, int] = field(default_factory=dict)

    def next(self, kind: str) -> str:
        """The name of the next layer of a class, such as "yolov30_conv0"."""
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"{self.prefix}{kind}{number}"


class Blueprint:
    """Builds a network layer by layer.

    Args:
        blocks: Names of the blocks whose counters vary between files, outermost first; a file may
            omit the outermost name and its counter.
        ignored: Names of additional arrays that a file may contain.
    """

    def __init__(self, blocks: Sequence[str], ignored: Iterable[str] = ()) -> None:
        self._blocks = tuple(blocks)
        self._ignored = frozenset(ignored)
        self._needed: dict[str, _Needed] = {}
        self._constants: dict[str, Array] = {}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the arrays by structural name."""
        return {name: needed.shape for name, needed in self._needed.items()}

    @property
    def old_names(self) -> Mapping[str, str]:
        """Names of the arrays in files of older Gluon versions, by structural name."""
        return {name: needed.old_name for name, needed in self._needed.items()}

    def op(self, op: str, name: str, *inputs: Edge, **attrs: object) -> Edge:
        """Adds an operator without arrays."""
        texts = {key: str(value) for key, value in attrs.items()}
        return Edge(Node(op, name, texts, inputs))

    def array(
        self, name: str, shape: Sequence[int], old_name: str, node: str, auxiliary: bool = False
    ) -> Edge:
        """Adds an array of the file for the named node, which reads it."""
        self._needed[name] = _Needed(node, tuple(shape), old_name, auxiliary)
        return Edge(Node("null", name))

    def constant(self, name: str, value: Array) -> Edge:
        """Adds an array that is not part of the file."""
        self._constants[name] = value
        return Edge(Node("null", name))

    def convolution(
        self,
        data: Edge,
        path: str,
        layer: str,
        channels: int,
        filters: int,
        kernel: int,
        stride: int = 1,
        *,
        bias: bool = False,
    ) -> Edge:
        """Adds a square convolution, padded so that stride 1 keeps the size."""
        node = f"{layer}_fwd"
        shape = (filters, channels, kernel, kernel)
        inputs = [data, self.array(f"{path}.weight", shape, f"{layer}_weight", node)]
        if bias:
            inputs.append(self.array(f"{path}.bias", (filters,), f"{layer}_bias", node))
        return self.op(
            "Convolution",
            node,
            *inputs,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pad=(kernel // 2, kernel // 2),
            num_filter=filters,
            no_bias=not bias,
        )

    def batch_norm(
        self, data: Edge, path: str, layer: str, channels: int, *, eps: float, scale: bool = True
    ) -> Edge:
        """Adds a batch normalisation; without ``scale`` the stored gamma is ignored."""
        node = f"{layer}_fwd"
        roles = ("gamma", "beta", "running_mean", "running_var")
        arrays = [
            self.array(
                f"{path}.{role}", (channels,), f"{layer}_{role}", node, role.startswith("running")
            )
            for role in roles
        ]
        return self.op("BatchNorm", node, data, *arrays, eps=eps, fix_gamma=not scale)

    def dense(
        self, data: Edge, path: str, layer: str, inputs: int, units: int, *, bias: bool
    ) -> Edge:
        """Adds a fully connected layer."""
        node = f"{layer}_fwd"
        edges = [data, self.array(f"{path}.weight", (units, inputs), f"{layer}_weight", node)]
        if bias:
            edges.append(self.array(f"{path}.bias", (units,), f"{layer}_bias", node))
        return self.op("FullyConnected", node, *edges, num_hidden=units, no_bias=not bias)

    def graph(self, outputs: Sequence[Edge], arrays: Mapping[str, Array], where: str) -> Graph:
        """Builds the network with the arrays of a file.

        Args:
            outputs: Outputs of the network.
            arrays: The file's arrays, under structural or old names.
            where: Name of the file in error messages.

        Raises:
            GraphError: If an array is missing, unknown, has another shape or contains nan or inf;
                the message names the array and the layer that needs it.
        """
        found = self._match(arrays, where)
        params: dict[str, Array] = {}
        for name, needed in self._needed.items():
            params[name] = _checked(found[name], name, needed, where)
        auxiliary = frozenset(name for name, needed in self._needed.items() if needed.auxiliary)
        return Graph(tuple(outputs), {**params, **self._constants}, auxiliary, where)

    def covers(self, names: Iterable[str]) -> float:
        """Fraction of the network's arrays, 0 to 1, that a file with these names contains."""
        return len(self._structural_names(names).keys() & self._needed.keys()) / len(self._needed)

    def _match(self, arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
        """The file's arrays by structural name.

        Raises:
            GraphError: If arrays are missing or unknown.
        """
        names = self._structural_names(arrays)
        missing = [name for name in self._needed if name not in names]
        extra = [
            given
            for name, given in names.items()
            if name not in self._needed and name not in self._ignored
        ]
        if missing:
            node = self._needed[missing[0]].node
            raise GraphError(
                f"{len(missing)} of {len(self._needed)} arrays are missing: {_listed(missing)}",
                where=f"{where}, node '{node}'",
                hint=f"the file also contains unknown arrays: {_listed(extra)}" if extra else "",
            )
        if extra:
            raise GraphError(
                f"{len(extra)} arrays do not belong to the network: {_listed(extra)}",
                where=where,
                hint="the file may belong to another model",
            )
        return {name: arrays[given] for name, given in names.items()}

    def _structural_names(self, given: Iterable[str]) -> dict[str, str]:
        """Maps the structural name of each array to its name in the file."""
        names = list(given)
        if any("." in name for name in names):
            return {name: name for name in names}
        by_old = {needed.old_name: name for name, needed in self._needed.items()}
        short = {self._without_outermost(old): name for old, name in by_old.items()}
        found = {}
        for name, plain in zip(names, _renumbered(names, self._blocks), strict=True):
            found[by_old.get(plain) or short.get(self._without_outermost(plain)) or plain] = name
        return found

    def _without_outermost(self, name: str) -> str:
        """A name without the name and counter of the outermost block."""
        return re.sub(rf"^{self._blocks[0]}\d+_", "", name)


def bare_names(arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """Arrays by name without the ``arg:`` and ``aux:`` prefixes of symbol checkpoints.

    Raises:
        SourceFormatError: If two arrays have the same name without their prefixes.
    """
    found: dict[str, Array] = {}
    for full_name, array in arrays.items():
        prefix, colon, bare = full_name.partition(":")
        name = bare if colon and prefix in ("arg", "aux") else full_name
        if name in found:
            raise SourceFormatError(f"'{name}' is both arg and aux", where=where)
        found[name] = array
    return found


def _renumbered(names: Sequence[str], blocks: Sequence[str]) -> list[str]:
    """The names with the counters of each block renumbered from 0, in their order."""
    changed = list(names)
    for block in blocks:
        pattern = re.compile(rf"(?:(?<=_)|^){block}(\d+)(?=_)")
        numbers = sorted({int(m.group(1)) for name in changed for m in pattern.finditer(name)})
        ranks = {number: rank for rank, number in enumerate(numbers)}

        def rename(match: re.Match[str], ranks: dict[int, int] = ranks, block: str = block) -> str:
            return f"{block}{ranks[int(match.group(1))]}"

        changed = [pattern.sub(rename, name) for name in changed]
    return changed


def _checked(array: Array, name: str, needed: _Needed, where: str) -> Array:
    """The array as float32.

    Raises:
        GraphError: If the array has another shape, or contains nan or inf.
    """
    place = f"{where}, node '{needed.node}'"
    if array.shape != needed.shape:
        raise GraphError(
            f"array '{name}' has shape {array.shape}, expected {needed.shape}",
            where=place,
            hint="the weights may belong to another model",
        )
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise GraphError(f"array '{name}' holds nan or inf", where=place)
    return values


def _listed(names: Sequence[str]) -> str:
    """The first few of the names, for a message."""
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")

"""A network that its file does not describe: its layers are known, the file holds only arrays.

Gluon's ``save_parameters`` writes arrays under structural names (``stages.0.0.0.weight``: the path
of attributes that leads to the layer) and nothing else. A `Blueprint` builds the same network as a
source graph, notes the array that each layer needs, and then looks for them in a file.

Files of older gluon versions have no dots in their names: there an array has the name of its layer
with a counter for each class of layer (``yolov30_conv0_weight``). A blueprint knows both names. The
counter behind the name of a block (``yolov30``) says how many such blocks the process had made
before; only its order counts.
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
"""So many names are listed in a message."""


@dataclass(frozen=True, slots=True)
class _Needed:
    """An array that a layer reads."""

    node: str
    shape: tuple[int, ...]
    old_name: str
    auxiliary: bool


@dataclass
class Scope:
    """A gluon block with a name of its own, which numbers the layers in it by class.

    Attributes:
        prefix: Its name, with its counter: "yolov30_".
    """

    prefix: str
    _counts: dict[str, int] = field(default_factory=dict)

    def next(self, kind: str) -> str:
        """The name of the next layer of a class: "yolov30_conv0"."""
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"{self.prefix}{kind}{number}"


class Blueprint:
    """Builds a network layer by layer.

    Args:
        blocks: Names of the blocks whose counters vary from file to file, outermost first; a file
            may leave out the outermost with its counter.
        ignored: Names of arrays that a file may hold beyond those of the network.
    """

    def __init__(self, blocks: Sequence[str], ignored: Iterable[str] = ()) -> None:
        self._blocks = tuple(blocks)
        self._ignored = frozenset(ignored)
        self._needed: dict[str, _Needed] = {}
        self._constants: dict[str, Array] = {}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each array by its structural name."""
        return {name: needed.shape for name, needed in self._needed.items()}

    @property
    def old_names(self) -> Mapping[str, str]:
        """The name of each array in files of older versions, by its structural name."""
        return {name: needed.old_name for name, needed in self._needed.items()}

    def op(self, op: str, name: str, *inputs: Edge, **attrs: object) -> Edge:
        """An operator without arrays."""
        texts = {key: str(value) for key, value in attrs.items()}
        return Edge(Node(op, name, texts, inputs))

    def array(
        self, name: str, shape: Sequence[int], old_name: str, node: str, auxiliary: bool = False
    ) -> Edge:
        """An array of the file, and the node that reads it."""
        self._needed[name] = _Needed(node, tuple(shape), old_name, auxiliary)
        return Edge(Node("null", name))

    def constant(self, name: str, value: Array) -> Edge:
        """An array that is no part of the file."""
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
        """A square convolution, padded so that stride 1 keeps the size."""
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
        """Batch normalisation; without ``scale`` the stored gamma does not count."""
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
        """A fully connected layer."""
        node = f"{layer}_fwd"
        edges = [data, self.array(f"{path}.weight", (units, inputs), f"{layer}_weight", node)]
        if bias:
            edges.append(self.array(f"{path}.bias", (units,), f"{layer}_bias", node))
        return self.op("FullyConnected", node, *edges, num_hidden=units, no_bias=not bias)

    def graph(self, outputs: Sequence[Edge], arrays: Mapping[str, Array], where: str) -> Graph:
        """The network with the arrays of a file.

        Args:
            outputs: Its heads.
            arrays: The file's arrays, under structural or old names.
            where: The file, for messages.

        Raises:
            GraphError: An array is missing, unknown, of another shape or no array of numbers; names
                it and the layer that needs it.
        """
        found = self._match(arrays, where)
        params: dict[str, Array] = {}
        for name, needed in self._needed.items():
            params[name] = _checked(found[name], name, needed, where)
        auxiliary = frozenset(name for name, needed in self._needed.items() if needed.auxiliary)
        return Graph(tuple(outputs), {**params, **self._constants}, auxiliary, where)

    def covers(self, names: Iterable[str]) -> float:
        """The part of the network's arrays, 0 to 1, that these names of a file stand for."""
        return len(self._structural_names(names).keys() & self._needed.keys()) / len(self._needed)

    def _match(self, arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
        """The file's arrays by structural name.

        Raises:
            GraphError: Some are missing, or belong to nothing.
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
                hint=f"the file also holds unknown arrays: {_listed(extra)}" if extra else "",
            )
        if extra:
            raise GraphError(
                f"{len(extra)} arrays belong to no layer of the network: {_listed(extra)}",
                where=where,
                hint="the file may belong to another model",
            )
        return {name: arrays[given] for name, given in names.items()}

    def _structural_names(self, given: Iterable[str]) -> dict[str, str]:
        """What each name of a file is called in the network, and the file's own name for it."""
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
        return re.sub(rf"^{self._blocks[0]}\d+_", "", name)


def bare_names(arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """Arrays without the ``arg:`` and ``aux:`` that symbol checkpoints put before their names.

    Raises:
        SourceFormatError: Two arrays have the same name then.
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
    """The names with the counters of each block counted from 0, in their order."""
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
        GraphError: It has another shape, or holds no finite numbers.
    """
    place = f"{where}, node '{needed.node}'"
    if array.shape != needed.shape:
        raise GraphError(
            f"array '{name}' has shape {array.shape}, {needed.shape} is expected",
            where=place,
            hint="the weights may belong to another model",
        )
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise GraphError(f"array '{name}' holds nan or inf", where=place)
    return values


def _listed(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")

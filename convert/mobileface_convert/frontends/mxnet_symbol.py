"""Reader and writer of MXNet's symbol JSON, in all dialects from 0.8 to 1.9.

The dialects differ as follows:

* attributes are stored under ``attrs`` (since 0.12), ``attr`` (0.9), or ``param`` and ``attr``
  (0.8);
* edges are ``[node, output]`` or ``[node, output, version]``;
* before 0.9 a node omits inputs that are its own weights;
* operators have different names (`mxnet_names`), and attributes may contain hidden keys
  (``__init__``, ``lr_mult``) that do not affect the computation.

Nodes may be stored in any order; cycles are detected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobileface.errors import GraphError, SourceError, SourceFormatError

from ..graph.mxnet_names import AUXILIARY, arguments_of, canonical_operator
from ..graph.source_graph import VARIABLE, Array, Edge, Graph, Node, variable

__all__ = ["load_symbol", "read_symbol", "write_symbol"]

_HIDDEN_KEYS = ("lr_mult", "wd_mult", "ctx_group", "force_mirroring", "mirror_stage")
_WRITTEN_VERSION = 10901
_FIRST_VERSION_WITH_ALL_INPUTS = 900

Document = Mapping[str, Any]


def load_symbol(path: Path, params: Mapping[str, Array] | None = None) -> Graph:
    """Reads a ``-symbol.json`` file; see `read_symbol`.

    Raises:
        SourceError: If the file cannot be read.
        SourceFormatError: If the file is not a symbol.
        GraphError: If the symbol does not describe a valid graph.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise SourceFormatError("not symbol JSON (not UTF-8 text)", where=str(path)) from error
    return read_symbol(text, params, where=str(path))


def read_symbol(
    text: str, params: Mapping[str, Array] | None = None, where: str = "symbol"
) -> Graph:
    """Reads a symbol from JSON text.

    Args:
        text: The JSON document.
        params: Arrays of its variables, by variable name without prefix.
        where: Name of the file in error messages.

    Returns:
        The graph with canonical operator names and without hidden attributes.

    Raises:
        SourceFormatError: If the text is not JSON or not a symbol; the message names the field.
        GraphError: If an edge refers to a node that does not exist, a variable is not unique, or
            there is a cycle; the message names the nodes.
    """
    document = _parse(text, where)
    raw_nodes = _field(document, "nodes", list, where)
    heads = _field(document, "heads", list, where)
    implicit = _version(document, where) < _FIRST_VERSION_WITH_ALL_INPUTS
    parsed = [_parse_node(raw, index, where) for index, raw in enumerate(raw_nodes)]
    edges = [
        [_parse_edge(edge, len(parsed), f"{where}, {_title(raw, i)}") for edge in raw["inputs"]]
        for i, raw in enumerate(raw_nodes)
    ]
    _check_variables(parsed, where)
    nodes: dict[int, Node] = {}
    for index in _order(edges, parsed, where):
        op, name, attrs = parsed[index]
        inputs = tuple(Edge(nodes[source], output) for source, output in edges[index])
        if implicit and op != VARIABLE:
            inputs += _missing_inputs(op, name, attrs, len(inputs))
        nodes[index] = Node(op, name, attrs, inputs, where)
    if not heads:
        raise SourceFormatError("no heads: the graph has no outputs", where=where)
    outputs = []
    for head in heads:
        source, output = _parse_edge(head, len(parsed), f"{where}, heads")
        outputs.append(Edge(nodes[source], output))
    graph = Graph(tuple(outputs), dict(params or {}), origin=where)
    return Graph(graph.outputs, graph.params, _auxiliary_names(graph), where)


def write_symbol(graph: Graph) -> str:
    """The graph as symbol JSON, in the dialect of MXNet 0.12 and newer."""
    ids = {node: index for index, node in enumerate(graph.nodes)}
    nodes = []
    for node in graph.nodes:
        entry: dict[str, object] = {"op": node.op, "name": node.name}
        if node.attrs:
            entry["attrs"] = dict(sorted(node.attrs.items()))
        entry["inputs"] = [[ids[edge.node], edge.index, 0] for edge in node.inputs]
        nodes.append(entry)
    document = {
        "nodes": nodes,
        "arg_nodes": [ids[node] for node in graph.nodes if node.is_variable],
        "node_row_ptr": list(range(len(nodes) + 1)),
        "heads": [[ids[edge.node], edge.index, 0] for edge in graph.outputs],
        "attrs": {"mxnet_version": ["int", _WRITTEN_VERSION]},
    }
    # MXNet's own JSON reader does not support \u escapes.
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _parse(text: str, where: str) -> Document:
    """Parses the text to a JSON object."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceFormatError(f"not JSON ({error})", where=where) from error
    if not isinstance(document, dict):
        raise SourceFormatError("JSON, but not an MXNet symbol (not an object)", where=where)
    return document


def _field(document: Document, key: str, kind: type[list[Any]], where: str) -> list[Any]:
    """A required list field of a symbol."""
    value = document.get(key)
    if not isinstance(value, kind):
        raise SourceFormatError(f"JSON, but not an MXNet symbol (no '{key}' list)", where=where)
    return value


def _version(document: Document, where: str) -> int:
    """The MXNet version that saved the symbol, such as 10901; 0 if not given."""
    attrs = document.get("attrs", {})
    entry = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    if entry is None:
        return 0
    if (
        isinstance(entry, Sequence)
        and len(entry) == 2
        and entry[0] == "int"
        and type(entry[1]) is int
    ):
        return entry[1]
    raise SourceFormatError(f"mxnet_version {entry!r} is not a version", where=where)


def _title(raw: Any, index: int) -> str:
    """The name of a JSON node in error messages."""
    name = raw.get("name") if isinstance(raw, dict) else None
    return f"node {index} '{name}'" if name else f"node {index}"


def _parse_node(raw: Any, index: int, where: str) -> tuple[str, str, Mapping[str, str]]:
    """Operator, name and attributes of a node."""
    place = f"{where}, {_title(raw, index)}"
    if not isinstance(raw, dict):
        raise SourceFormatError("the node is not an object", where=place)
    op, name = raw.get("op"), raw.get("name")
    if not isinstance(op, str) or not isinstance(name, str):
        raise SourceFormatError("'op' and 'name' must be text", where=place)
    if not name.isprintable():  # also rejects lone surrogates, which cannot be written to a file
        raise SourceFormatError(f"the name {name!r} is not printable", where=place)
    if not isinstance(raw.get("inputs"), list):
        raise SourceFormatError("no 'inputs' list", where=place)
    if op == VARIABLE:
        return op, name, {}
    attrs: dict[str, str] = {}
    for key in ("attrs", "attr", "param"):
        group = raw.get(key) or {}
        if not isinstance(group, dict) or not all(isinstance(v, str) for v in group.values()):
            raise SourceFormatError(f"'{key}' must map names to text", where=place)
        attrs.update(group)
    return canonical_operator(op), name, {k: v for k, v in attrs.items() if not _is_hidden(k)}


def _is_hidden(key: str) -> bool:
    """True for attributes that only affect training or device placement."""
    return (key.startswith("__") and key.endswith("__")) or any(
        key == hidden or key.endswith(f"_{hidden}") for hidden in _HIDDEN_KEYS
    )


def _check_variables(parsed: Sequence[tuple[str, str, Mapping[str, str]]], where: str) -> None:
    """Checks that variable names are unique, because they identify arrays."""
    seen: set[str] = set()
    for index, (op, name, _) in enumerate(parsed):
        if op == VARIABLE and name in seen:
            place = f"{where}, node {index} '{name}'"
            raise GraphError("there is a second variable with this name", where=place)
        if op == VARIABLE:
            seen.add(name)


def _parse_edge(raw: Any, nodes: int, place: str) -> tuple[int, int]:
    """Node index and output index of an edge."""
    if (
        not isinstance(raw, list)
        or len(raw) not in (2, 3)
        or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in raw)
    ):
        raise SourceFormatError(f"edge {raw!r} is not [node, output(, version)]", where=place)
    if raw[0] >= nodes:
        raise GraphError(f"edge to node {raw[0]}, but there are {nodes} nodes", where=place)
    return raw[0], raw[1]


def _order(
    edges: Sequence[Sequence[tuple[int, int]]],
    parsed: Sequence[tuple[str, str, Mapping[str, str]]],
    where: str,
) -> list[int]:
    """Node indices, each after its inputs (Kahn's algorithm, last ready node first)."""
    missing = [len({source for source, _ in inputs}) for inputs in edges]
    users: list[list[int]] = [[] for _ in edges]
    for index, inputs in enumerate(edges):
        for source in {source for source, _ in inputs}:
            users[source].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        index = ready.pop()
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)
    if len(order) < len(edges):
        stuck = [parsed[i][1] for i, count in enumerate(missing) if count > 0]
        raise GraphError(f"the graph has a cycle at or before node '{stuck[0]}'", where=where)
    return order


def _missing_inputs(op: str, name: str, attrs: Mapping[str, str], given: int) -> tuple[Edge, ...]:
    """The weights that versions before 0.9 omit from a node's inputs."""
    return tuple(variable(f"{name}_{argument}") for argument in arguments_of(op, attrs)[given:])


def _auxiliary_names(graph: Graph) -> frozenset[str]:
    """Names of the variables that MXNet stores as auxiliary states."""
    found = set()
    for node in graph.operators:
        names = arguments_of(node.op, node.attrs)
        for argument, edge in zip(names, node.inputs, strict=False):
            if argument in AUXILIARY.get(node.op, ()) and edge.node.is_variable:
                found.add(edge.node.name)
    return frozenset(found)

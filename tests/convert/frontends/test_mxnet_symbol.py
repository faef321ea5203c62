"""Symbol JSON: every dialect means what MXNet takes it to mean, and nonsense is named as such."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from mobileface.errors import GraphError, MobileFaceError, SourceError, SourceFormatError
from mobileface_convert.frontends.mxnet_symbol import load_symbol, read_symbol, write_symbol
from mobileface_convert.graph.mxnet_names import _ALIASES, arguments_of, canonical_operator
from mobileface_convert.graph.source_graph import Graph
from mobileface_convert.oracles.mxnet_oracle import import_mxnet

Json = dict[str, Any]
CONVOLUTION = {"kernel": "(1, 1)", "num_filter": "2"}


def node(op: str, name: str, *inputs: Any, **groups: Any) -> Json:
    """A node; an input is a node number or a whole edge."""
    edges = [[edge, 0] if isinstance(edge, int) else edge for edge in inputs]
    return {"op": op, "name": name, **groups, "inputs": edges}


def document(nodes: list[Json], *heads: Any, version: int | None = 10901) -> Json:
    """A symbol; without heads its last node is the head."""
    edges = [[edge, 0] if isinstance(edge, int) else edge for edge in heads or [len(nodes) - 1]]
    arguments = [index for index, entry in enumerate(nodes) if entry["op"] == "null"]
    made: Json = {"nodes": nodes, "arg_nodes": arguments, "heads": edges}
    if version is not None:
        made["attrs"] = {"mxnet_version": ["int", version]}
    return made


def read(symbol: Json) -> Graph:
    return read_symbol(json.dumps(symbol), where="x-symbol.json")


def variables(graph: Graph) -> tuple[list[str], list[str]]:
    """Arguments and auxiliary states in MXNet's order."""
    names = [found.name for found in graph.nodes if found.is_variable]
    return (
        [name for name in names if name not in graph.auxiliary],
        [name for name in names if name in graph.auxiliary],
    )


def mxnet_variables(text: str) -> tuple[list[str], list[str]]:
    symbol = import_mxnet().sym.load_json(text)
    return symbol.list_arguments(), symbol.list_auxiliary_states()


def small_network(key: str = "attrs", version: int | None = 10901, edge: int = 3) -> Json:
    """Convolution, batch normalisation, PReLU, fully connected, two heads."""
    nodes = [
        node("null", "data"),
        node("null", "c_weight", **{key: {"__shape__": "(2, 3, 1, 1)", "__init__": "zero"}}),
        node("Convolution", "c", 0, 1, **{key: {**CONVOLUTION, "no_bias": "True"}}),
        *[node("null", f"b_{role}") for role in arguments_of("BatchNorm", {})[1:]],
        node("BatchNorm", "b", 2, 3, 4, 5, 6, **{key: {"eps": "0.001"}}),
        node("null", "p_gamma"),
        node("LeakyReLU", "p", 7, 8, **{key: {"act_type": "prelu"}}),
        node("null", "f_weight"),
        node("null", "f_bias"),
        node("FullyConnected", "f", 9, 10, 11, **{key: {"num_hidden": "4"}}),
    ]
    for entry in nodes:
        entry["inputs"] = [[*pair, 0][:edge] for pair in entry["inputs"]]
    return document(nodes, [12, 0, 0][:edge], [9, 0, 0][:edge], version=version)


def shape_of(graph: Graph) -> list[Any]:
    """Everything that a graph says, comparable."""
    at = {entry: index for index, entry in enumerate(graph.nodes)}
    return [
        [
            (entry.op, entry.name, dict(entry.attrs), [(at[e.node], e.index) for e in entry.inputs])
            for entry in graph.nodes
        ],
        [(at[edge.node], edge.index) for edge in graph.outputs],
        graph.auxiliary,
    ]


@pytest.mark.parametrize("edge", [2, 3])
@pytest.mark.parametrize(
    ("key", "version"),
    [("attrs", 10901), ("attrs", 10200), ("attr", 905), ("attr", 1000), ("param", None)],
)
def test_all_dialects_say_the_same(key: str, version: int | None, edge: int) -> None:
    graph = read(small_network(key, version, edge))
    assert shape_of(graph) == shape_of(read(small_network()))
    assert variables(graph)[1] == ["b_moving_mean", "b_moving_var"]
    assert dict(graph.find("c").node.attrs) == {**CONVOLUTION, "no_bias": "True"}


def test_operator_and_user_attributes_of_one_node_are_merged() -> None:
    groups = {"param": CONVOLUTION, "attr": {"no_bias": "True", "lr_mult": "0.1"}}
    graph = read(document([node("null", "x"), node("Convolution", "c", 0, **groups)], version=None))
    assert dict(graph.find("c").node.attrs) == {**CONVOLUTION, "no_bias": "True"}


def test_nodes_may_stand_in_any_order_and_names_of_operators_may_repeat() -> None:
    tidy = document([node("null", "x"), node("_copy", "a", 0), node("Flatten", "a", 1)])
    mixed = document([node("Flatten", "a", 1), node("_copy", "a", 2), node("null", "x")], 0)
    unused = document([*tidy["nodes"], node("null", "y"), node("_copy", "z", 3)], 2)
    assert shape_of(read(mixed)) == shape_of(read(tidy)) == shape_of(read(unused))


def test_depth_is_no_limit() -> None:
    chain = [node("null", "x"), *[node("_copy", f"n{i}", i) for i in range(20_000)]]
    assert len(read(document(chain)).nodes) == 20_001


OLD_NETWORK = [
    node("null", "data"),
    node("Convolution", "c", 0, param={**CONVOLUTION, "no_bias": "False"}, attr={}),
    node("Convolution", "d", 1, param={**CONVOLUTION, "no_bias": "True"}),
    node("BatchNorm", "b", 2, param={"eps": "0.001"}, backward_source_id=-1),
    node("LeakyReLU", "p", 3, param={"act_type": "prelu"}),
    node("LeakyReLU", "l", 4, param={"act_type": "leaky"}),
    node("Deconvolution", "u", 5, param=CONVOLUTION),
    node("FullyConnected", "f", 6, param={"num_hidden": "3"}),
    node("Softmax", "softmax", 7, param={}),
]
THREE_INPUTS = [
    *[node("null", name) for name in ("data", "g", "b")],
    node("BatchNorm", "bn", 0, 1, 2, param={}),
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("version", [None, 800, 899, 900, 903, 905])
@pytest.mark.parametrize(
    "nodes",
    [OLD_NETWORK, THREE_INPUTS, [node("Convolution", "lone", param=CONVOLUTION)]],
    ids=["network", "bn", "no data"],
)
def test_inputs_that_old_versions_left_out_are_those_mxnet_adds(
    nodes: list[Json], version: int | None
) -> None:
    symbol = document(nodes, version=version)
    expected = mxnet_variables(json.dumps(symbol))
    print(expected)
    assert variables(read(symbol)) == expected


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("key", ["attr", "attrs"])
@pytest.mark.parametrize("edge", [2, 3])
def test_arguments_and_states_are_mxnets(key: str, edge: int) -> None:
    symbol = small_network(key, 905 if key == "attr" else 10901, edge)
    assert variables(read(symbol)) == mxnet_variables(json.dumps(symbol))


HIDDEN = {"__lr_mult__": "2", "lr_mult": "2", "weight_lr_mult": "3", "wd_mult": "0.5"}
HIDDEN |= {
    "ctx_group": "g",
    "force_mirroring": "True",
    "mirror_stage": "1",
    "__mirror_stage__": "1",
}


@pytest.mark.needs_mxnet
def test_keys_that_mxnet_hides_are_dropped() -> None:
    attributes = {**CONVOLUTION, "no_bias": "True"}
    nodes = [node("null", "x"), node("null", "w")]
    symbol = document(
        [*nodes, node("Convolution", "c", 0, 1, attr={**attributes, **HIDDEN})], version=905
    )
    theirs = json.loads(import_mxnet().sym.load_json(json.dumps(symbol)).tojson())
    visible = {k: v for k, v in theirs["nodes"][2]["attrs"].items() if not k.startswith("__")}
    assert dict(read(symbol).find("c").node.attrs) == attributes == visible


UNREGISTERED = {"_sum"}  # known from no MXNet that can be asked
SAME_MEANING = {  # MXNet has both and computes the same
    "_grad_add": "elemwise_add",
    "BatchNorm_v1": "BatchNorm",
    "Convolution_v1": "Convolution",
}


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("alias", sorted(set(_ALIASES) - UNREGISTERED))
def test_an_old_spelling_means_the_operator_that_mxnet_makes_of_it(alias: str) -> None:
    ours = canonical_operator(alias)
    attributes: Json = {"Reshape": {"shape": "(1, 1)"}, "slice": {"begin": "(0,)", "end": "(1,)"}}
    attributes |= {"add_n": {"num_args": "2"}, "Convolution": CONVOLUTION}
    attributes |= {"Cast": {"dtype": "float32"}, "Concat": {"num_args": "1"}}
    attributes |= {"reverse": {"axis": "1"}, "SliceChannel": {"num_outputs": "1"}}
    attributes |= {"Pad": {"mode": "edge", "pad_width": "(0, 0, 0, 0, 1, 1, 1, 1)"}}
    given = attributes.get(ours, {"scalar": "2"} if ours.endswith("_scalar") else {})
    inputs = (0, 1) if ours.startswith("elemwise") or ours == "add_n" else (0,)
    nodes = [node("null", "x"), node("null", "y"), node(alias, "n", *inputs, param=given)]
    symbol = document(nodes, version=None)
    saved = json.loads(import_mxnet().sym.load_json(json.dumps(symbol)).tojson())
    theirs = next(entry["op"] for entry in saved["nodes"] if entry["op"] != "null")
    assert SAME_MEANING.get(theirs, theirs) == ours == read(symbol).find("n").node.op


def written_samples() -> dict[str, Json]:
    split = {"num_outputs": "2", "axis": "1"}
    return {
        "network": small_network(),
        "two outputs": document(
            [
                node("null", "x"),
                node("SliceChannel", "s", 0, attrs=split),
                node("elemwise_add", "a", [1, 1], [1, 0]),
            ],
            2,
            [1, 1],
        ),
        "variable as head": document([node("null", "x"), node("_copy", "a", 0)], 0, 1, 1),
        "letters": document([node("null", "größe/名"), node("_copy", 'ü"\\', 0)]),
    }


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", written_samples())
def test_what_we_write_mxnet_loads(case: str, tmp_path: Path) -> None:
    symbol = written_samples()[case]
    graph = read(symbol)
    text = write_symbol(graph)
    assert shape_of(read_symbol(text)) == shape_of(graph)
    mxnet = import_mxnet()
    path = tmp_path / "a-symbol.json"
    path.write_text(text, encoding="utf-8")
    ours = mxnet.sym.load(str(path))
    theirs = mxnet.sym.load_json(json.dumps(symbol, ensure_ascii=False))
    assert ours.list_arguments() == theirs.list_arguments()
    assert ours.list_auxiliary_states() == theirs.list_auxiliary_states()
    assert ours.list_outputs() == theirs.list_outputs()
    assert ours.tojson() == theirs.tojson() or case == "network"  # hidden keys are not written


X = node("null", "x")
A = node("_copy", "a", 0)
OPEN = '{"nodes": [], "heads": [], "a": '


def with_version(value: Any) -> str:
    return json.dumps({**document([X, A]), "attrs": {"mxnet_version": value}})


BAD: dict[str, tuple[str | Json, type[MobileFaceError], str]] = {
    "no JSON": ("PK\3\4", SourceFormatError, r"not JSON"),
    "empty": ("", SourceFormatError, r"not JSON"),
    "cut": (json.dumps(document([X, A]))[:-9], SourceFormatError, r"not JSON"),
    "deep": (OPEN + "[" * 200_000, SourceFormatError, r"not JSON"),
    "deep object": (OPEN + '{"a":' * 200_000, SourceFormatError, r"not JSON"),
    "long number": (OPEN + "1" * 10_000 + "}", SourceFormatError, r"not JSON"),
    "list": ("[]", SourceFormatError, r"not an MXNet symbol"),
    "text": ('"nodes"', SourceFormatError, r"not an MXNet symbol"),
    "no nodes": ({"heads": []}, SourceFormatError, r"no 'nodes' list"),
    "nodes by name": ({"nodes": {}, "heads": []}, SourceFormatError, r"no 'nodes' list"),
    "heads missing": ({"nodes": [X]}, SourceFormatError, r"no 'heads' list"),
    "no heads": ({"nodes": [X], "heads": []}, SourceFormatError, r"no heads"),
    "number as node": ({"nodes": [7], "heads": [[0, 0]]}, SourceFormatError, r"node 0: .*object"),
    "no name": (
        {"nodes": [{"op": "null", "inputs": []}], "heads": [[0, 0]]},
        SourceFormatError,
        r"node 0: 'op' and 'name'",
    ),
    "op no text": (document([X, {**A, "op": 3}]), SourceFormatError, r"node 1 'a': 'op' and"),
    "no inputs": (document([X, {"op": "_copy", "name": "a"}]), SourceFormatError, r"no 'inputs'"),
    "attrs list": (document([X, {**A, "attrs": ["k"]}]), SourceFormatError, r"'a': 'attrs' must"),
    "attr number": (document([X, {**A, "attr": {"k": 1}}]), SourceFormatError, r"'a': 'attr' must"),
    "edge empty": (document([X, {**A, "inputs": [[]]}]), SourceFormatError, r"node 1 'a': edge"),
    "edge long": (document([X, {**A, "inputs": [[0, 0, 0, 0]]}]), SourceFormatError, r"'a': edge"),
    "edge negative": (document([X, {**A, "inputs": [[-1, 0]]}]), SourceFormatError, r"'a': edge"),
    "edge truth": (document([X, {**A, "inputs": [[True, 0]]}]), SourceFormatError, r"'a': edge"),
    "edge float": (document([X, {**A, "inputs": [[0.0, 0]]}]), SourceFormatError, r"'a': edge"),
    "edge number": (document([X, {**A, "inputs": [0]}]), SourceFormatError, r"'a': edge"),
    "edge far": (document([X, node("_copy", "a", 9)]), GraphError, r"'a': edge to node 9"),
    "head far": (document([X, A], 2), GraphError, r"heads: edge to node 2"),
    "head text": ({"nodes": [X], "heads": ["x"]}, SourceFormatError, r"heads: edge 'x'"),
    "variable twice": (
        document([X, X, node("add_n", "a", 0, 1)]),
        GraphError,
        r"node 1 'x': .*sec",
    ),
    "cycle": (
        document([X, node("add_n", "a", 0, 2), node("_copy", "b", 1)]),
        GraphError,
        r"cycle .*'[ab]'",
    ),
    "loop": (document([X, node("_copy", "self", 1)]), GraphError, r"cycle .*'self'"),
    "version text": (with_version("1.9"), SourceFormatError, r"mxnet_version '1\.9'"),
    "version float": (with_version(["int", 1.5]), SourceFormatError, r"mxnet_version \["),
    "version short": (with_version(["int"]), SourceFormatError, r"mxnet_version \["),
    "version kind": (with_version(["str", "1"]), SourceFormatError, r"mxnet_version \["),
    "version truth": (with_version(["int", True]), SourceFormatError, r"mxnet_version \["),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_symbol_is_refused_with_file_and_place(case: str) -> None:
    content, kind, reason = BAD[case]
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(kind, match=reason) as caught:
        read_symbol(text, where="x-symbol.json")
    print(str(caught.value)[:200])
    assert type(caught.value) is kind
    assert str(caught.value).startswith("x-symbol.json")


def test_files_that_cannot_be_read_or_are_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.json.*cannot be read"):
        load_symbol(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceFormatError, match=r"b\.json.*not UTF-8"):
        load_symbol(tmp_path / "b.json")


REPLACEMENTS: tuple[Any, ...] = (None, True, -1, 0, 3, 10**30, 1.5, "", "null", "BatchNorm")
REPLACEMENTS += ([], {}, [[0, 0]], [0])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with every key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(value, key) for key, _ in items]
    for container, key in list(found):
        if isinstance(container[key], (dict, list)):
            found += places(container[key])
    return found


def mutated(original: Json, generator: random.Random) -> str:
    """The document with values replaced, swapped or removed, and sometimes with damaged text."""
    symbol = json.loads(json.dumps(original))
    for _ in range(generator.randint(1, 3)):
        container, key = generator.choice(places(symbol) or [({0: 0}, 0)])
        other, other_key = generator.choice(places(symbol) or [({0: 0}, 0)])
        action = generator.randrange(4)
        if action == 0:
            del container[key]
        elif action == 1:
            container[key] = json.loads(json.dumps(other[other_key]))
        else:
            container[key] = generator.choice(REPLACEMENTS)
    text = json.dumps(symbol)
    if generator.random() < 0.2:
        at = generator.randrange(len(text))
        text = text[:at] + generator.choice('[]{},"0') + text[at + generator.randrange(2) :]
    return text


def test_mutated_documents_are_read_or_refused() -> None:
    generator = random.Random(6)
    good = 0
    for number in range(2000):
        text = mutated(small_network(version=(None, 905)[number % 2]), generator)
        try:
            graph = read_symbol(text)
            assert shape_of(read_symbol(write_symbol(graph))) == shape_of(graph)
            good += 1
        except MobileFaceError as error:
            if not error.where.startswith("symbol"):
                pytest.fail(f"mutation {number}: no place in {error}\n{text}")
        except Exception as error:
            pytest.fail(f"mutation {number}: {error!r}\n{text}")
    print(f"{good} of 2000 read")
    assert 100 < good < 1900

"""Builds tests/models with the offline stage: networks of a few kilobytes for runtime tests.

    python tests/make_tiny_models.py [FOLDER]

Two embedding networks with seeded random weights, converted, indexed and certified like real ones:

    tiny_gray    20×20 grey, scaled outside the network, 8-d L2-normalised embeddings
    tiny_color   24×24 RGB, scaled outside the network, 16-d embeddings, not normalised

weights.npz contains their weights before conversion, in 64ths, for an independent evaluation.
Smaller networks outside the index have one fault each: no spec, an invalid spec, or a spec with an
output, an input, a size or a type that the network does not have. pixels/tiny_color.onnx is
tiny_color with uint8 input and L2-normalised embeddings.

Two runs with the same tools produce identical files; the certificates do not list tool versions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mobileface.models.index import IndexEntry, write_index
from mobileface.models.kinds import EmbeddingSpec
from mobileface.models.spec import METADATA_KEY, ModelSpec
from mobileface_convert.build.certificate import certificate, write_certificate
from mobileface_convert.graph.source_graph import Array, Edge, Graph, Node, variable
from mobileface_convert.makers import Built, PassRecord, spec_passes, to_optimised_onnx
from mobileface_convert.source_passes import prune

MODELS = Path(__file__).resolve().parent / "models"
OUTPUT = "embedding"
UNIT = 64
EPSILON = 1e-3

GRAY: dict[str, Any] = {
    "name": "tiny_gray",
    "title": "Random weights: gray 20x20, 8-d, for tests",
    "preference": 10,
    "input": {
        "name": "data",
        "height": 20,
        "width": 20,
        "color": "gray",
        "mean": [127.5],
        "std": [128.0],
    },
    "embedding": {"output": OUTPUT, "size": 8, "normalized": True, "crop": "mobileface"},
}
COLOR: dict[str, Any] = {
    "name": "tiny_color",
    "title": "Random weights: colour 24x24, 16-d, for tests",
    "preference": 20,
    "input": {
        "name": "data",
        "height": 24,
        "width": 24,
        "color": "rgb",
        "mean": [120.0, 110.5, 100.25],
        "std": [60.0, 50.5, 40.25],
    },
    "embedding": {"output": OUTPUT, "size": 16, "normalized": False, "crop": "arcface"},
}
PLAIN: dict[str, Any] = {
    "name": "plain",
    "title": "Two pixels to two numbers",
    "input": {"name": "data", "height": 1, "width": 2, "color": "gray"},
    "embedding": {"output": OUTPUT, "size": 2, "normalized": False, "crop": "mobileface"},
}
FAULTS: dict[str, Mapping[str, Any]] = {
    "bad_spec": {"input": {**PLAIN["input"], "height": "one"}},
    "other_output": {"embedding": {**PLAIN["embedding"], "output": "vector"}},
    "other_input": {"input": {**PLAIN["input"], "name": "picture"}},
    "other_size": {"embedding": {**PLAIN["embedding"], "size": 3}},
    "other_type": {"input": {**PLAIN["input"], "dtype": "uint8"}},
}


@dataclass
class NetworkWriter:
    """Builds a source graph from layers with random weights, which are multiples of 1/64."""

    seed: int
    params: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.RandomState(self.seed)

    def weight(self, name: str, low: int, high: int, *shape: int) -> Edge:
        """A uniformly distributed array between ``low`` / 64 and ``high`` / 64."""
        values = self.random.randint(low, high + 1, shape)
        self.params[name] = (values / UNIT).astype(np.float32)
        return variable(name)

    def convolution(self, x: Edge, channels: int, filters: int, size: int) -> Edge:
        """Convolution of non-overlapping patches, batch normalisation, ReLU."""
        weight = self.weight("conv_weight", -16, 16, filters, channels, size, size)
        attrs = {"kernel": f"({size}, {size})", "stride": f"({size}, {size})", "no_bias": "True"}
        attrs["num_filter"] = str(filters)
        x = Edge(Node("Convolution", "conv", attrs, (x, weight)))
        states = (
            self.weight("bn_gamma", 32, 96, filters),
            self.weight("bn_beta", -16, 16, filters),
            self.weight("bn_moving_mean", -16, 16, filters),
            self.weight("bn_moving_var", 32, 127, filters),
        )
        x = Edge(Node("BatchNorm", "bn", {"fix_gamma": "False", "eps": str(EPSILON)}, (x, *states)))
        return Edge(Node("Activation", "relu", {"act_type": "relu"}, (x,)))

    def fully_connected(self, x: Edge, width: int, size: int) -> Edge:
        weight = self.weight("fc_weight", -16, 16, size, width)
        bias = self.weight("fc_bias", -8, 8, size)
        attrs = {"num_hidden": str(size)}
        return Edge(Node("FullyConnected", "fc", attrs, (x, weight, bias)))

    def graph(self, output: Edge) -> Graph:
        auxiliary = frozenset(name for name in self.params if "moving" in name)
        return Graph((output,), self.params, auxiliary, origin="tiny")


def tiny_gray() -> Graph:
    writer = NetworkWriter(seed=1)
    x = writer.fully_connected(writer.convolution(variable("data"), 1, 4, 5), 4 * 4 * 4, 8)
    return writer.graph(Edge(Node("L2Normalization", "unit", {"mode": "instance"}, (x,))))


def tiny_color() -> Graph:
    writer = NetworkWriter(seed=2)
    x = writer.convolution(variable("data"), 3, 3, 6)
    return writer.graph(writer.fully_connected(x, 3 * 4 * 4, 16))


def plain() -> Graph:
    writer = NetworkWriter(seed=3)
    return writer.graph(writer.fully_connected(variable("data"), 2, 2))


def write_weights(path: Path, graphs: Mapping[str, Graph]) -> None:
    """Writes the weights before conversion; the four batch normalisation arrays are stacked."""
    arrays = {}
    for name, graph in graphs.items():
        found = {
            key: np.multiply(array, UNIT).astype(np.int8) for key, array in graph.params.items()
        }
        states = [found.pop(key) for key in list(found) if key.startswith("bn_")]
        found["bn"] = np.stack(states)
        arrays.update({f"{name}_{key}": array for key, array in found.items()})
    np.savez_compressed(path, **arrays)


def model_spec(fields: Mapping[str, Any]) -> ModelSpec:
    source = {
        "repository": "https://example.com/tiny",
        "commit": "0" * 40,
        "files": [{"path": f"{fields['name']}-symbol.json", "git_blob_sha1": "0" * 40}],
    }
    license_ = {
        "name": "CC0-1.0",
        "url": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    }
    rest = {"schema": 1, "task": "embedding", "license": license_, "source": source}
    return ModelSpec.from_dict({**rest, **fields})


def export(graph: Graph, spec: ModelSpec) -> tuple[onnx.ModelProto, list[PassRecord]]:
    """The ONNX model without its spec, and the records of the passes."""
    # The output is named because otherwise the last fully connected layer counts as a classifier.
    pruned = prune(graph, graph.outputs[0].node.name)
    image, embedding = spec.require_input(), spec.require(EmbeddingSpec)
    model, records = to_optimised_onnx(
        pruned.graph,
        {image.name: ("N", image.channels, image.height, image.width)},
        [embedding.output],
        first=spec_passes(spec),
        name=spec.name,
    )
    return model, [PassRecord("prune", pruned.report), *records]


def write_model(folder: Path, graph: Graph, spec: ModelSpec) -> IndexEntry:
    """Writes one model and its certificate; returns its index entry."""
    model, records = export(graph, spec)
    properties = {METADATA_KEY: spec.to_json(), "license": spec.license.name}
    onnx.helper.set_model_props(model, properties)
    path = folder / f"{spec.name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    nodes = len(model.graph.node)
    built = Built(spec, path.read_bytes(), nodes=nodes, passes=records)
    document = certificate(built, path.read_bytes(), path.name)
    document["tools"] = {}
    certificate_path = folder / f"{spec.name}.certificate.json"
    write_certificate(certificate_path, document)
    return IndexEntry(
        file=path.name,
        sha256=document["sha256"],
        bytes=document["bytes"],
        task=spec.task,
        preference=spec.preference,
        certificate=certificate_path.name,
    )


def write_faulty(folder: Path) -> None:
    spec = model_spec(PLAIN)
    model, _ = export(plain(), spec)
    (folder / "no_spec.onnx").write_bytes(model.SerializeToString(deterministic=True))
    for name, fault in FAULTS.items():
        text = json.dumps({**spec.to_dict(), **fault}, separators=(",", ":"))
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def write_pixels(folder: Path) -> None:
    """Writes tiny_color with uint8 NHWC input and L2-normalised embeddings."""
    image = {**COLOR["input"], "dtype": "uint8", "layout": "nhwc"}
    embedding = {**COLOR["embedding"], "normalized": True, "normalization_added": True}
    spec = model_spec({**COLOR, "input": image, "embedding": embedding})
    model, _ = export(tiny_color(), spec)
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    folder.mkdir(exist_ok=True)
    (folder / f"{spec.name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=MODELS)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {"tiny_gray": tiny_gray(), "tiny_color": tiny_color()}
    specs = {"tiny_gray": model_spec(GRAY), "tiny_color": model_spec(COLOR)}
    write_index(folder, {name: write_model(folder, graphs[name], specs[name]) for name in graphs})
    write_weights(folder / "weights.npz", graphs)
    write_faulty(folder)
    write_pixels(folder / "pixels")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        print(f"{path.stat().st_size:6} {path.name}")
    print(f"{sum(path.stat().st_size for path in files):6} in total")


if __name__ == "__main__":
    main()

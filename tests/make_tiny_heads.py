"""Makes tests/models/heads: attribute models with one head or two, for the runtime.

    python tests/make_tiny_heads.py

One matrix of seeded numbers each; tests compute the same from `tests.runtime.tiny.head_weights`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS.parent))

from mobileface.models.index import write_index  # noqa: E402
from mobileface.models.kinds import HeadsSpec  # noqa: E402
from mobileface.models.spec import ModelSpec  # noqa: E402
from mobileface_convert.graph.onnx_builder import GraphBuilder  # noqa: E402
from tests.make_tiny_analyzer import write  # noqa: E402
from tests.make_tiny_models import model_spec  # noqa: E402
from tests.runtime.tiny import head_weights  # noqa: E402

FOLDER = TESTS / "models" / "heads"

GENDER = {
    "output": "gender",
    "attribute": "gender",
    "probabilities": False,
    "classes": ["female", "male"],
}
AGE = {"output": "age", "attribute": "age", "probabilities": True, "years": [0.25, 20, 60]}
EXPRESSION = {
    "output": "expression",
    "attribute": "expression",
    "probabilities": True,
    "classes": ["angry", "happy", "sad", "neutral"],
}
MODELS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "tiny_gender": ("rgb", "arcface", [GENDER]),
    "tiny_age": ("rgb", "dlib_20", [AGE]),
    "tiny_expression": ("gray", "box", [EXPRESSION]),
    "tiny_two": ("rgb", "arcface", [GENDER, AGE]),
}
"""Colour of the input, crop and heads of each; tiny_two has a lower preference."""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, (color, crop, heads) in MODELS.items():
        image = {
            "name": "data", "height": 8, "width": 8, "color": color, "mean": [127.5], "std": [64.0],
        }  # fmt: skip
        fields = {
            "name": name,
            "task": "attributes",
            "title": "Random weights: heads on 8x8, for tests",
            "preference": 1 if name == "tiny_two" else 2,
            "input": image,
            "heads": {"crop": crop, "heads": heads},
        }
        spec = model_spec(fields)
        index[name] = write(spec, network(spec), FOLDER)
    write_index(FOLDER, index)


def network(spec: ModelSpec) -> Any:
    """A matrix for each head, with a softmax where the spec says so."""
    image = spec.require_input()
    builder = GraphBuilder(spec.name)
    flat = builder.op("Flatten", builder.input(image.name, np.float32, ("N", *image.shape)), axis=1)
    outputs, shapes = {}, {}
    for seed, head in enumerate(spec.require(HeadsSpec).heads):
        arrays = head_weights(seed + len(spec.name), int(np.prod(image.shape)), head.size)
        value = builder.op("Gemm", flat, *(builder.constant(a, np.float32) for a in arrays))
        if head.probabilities:
            value = builder.op("Softmax", value, axis=1)
        outputs[head.output], shapes[head.output] = value, ("N", head.size)
    return ir.to_proto(builder.build(outputs, shapes=shapes))


if __name__ == "__main__":
    main()

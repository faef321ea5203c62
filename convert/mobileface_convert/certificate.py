"""The certificate beside each model: what it was made from, how, and how well it agrees.

::

    {"schema": 1, "model": "identification_v2",
     "file": "identification_v2.onnx", "sha256": "…", "bytes": 3517000, "nodes": 73,
     "source": {"repository": "…", "commit": "…",
                "files": [{"path": "…", "git_blob_sha1": "…", "bytes": …}]},
     "tools": {"mobileface": "0.1.0", "onnx": "1.23.2", …, "python": "3.11.7", "machine": "x86_64"},
     "passes": [{"name": "fold_batchnorm", "changed": 38, "refused": []}],
     "verification": {"oracle": "MXNet 1.9.1",
                      "inputs": {"generator": "probes", "count": 16, "seed": 20200229},
                      "batch_sizes": [1, 8],
                      "max_abs_error": 2.9e-6, "min_cosine": 1.0, "scale": 14.1,
                      "bounds": {"max_abs_error": 5e-5, "min_cosine": 0.9999999}}}

``verification`` is null for a model that was converted with verification off.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mobileface.files import sha256, write_aside
from mobileface.spec import ModelSpec

from .passes import PassResult
from .verify import PROBE_COUNT, PROBE_SEED, Agreement, Bounds

__all__ = ["BATCH_SIZES", "PassRecord", "certificate", "write_certificate"]

BATCH_SIZES = (1, 8)
"""Batch sizes at which a model is compared with its oracle."""

_SCHEMA = 1
_TOOLS = ("mobileface", "onnx", "onnx-ir", "onnxsim", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did.

    Attributes:
        name: Name of the pass.
        result: What it returned.
    """

    name: str
    result: PassResult

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types."""
        refused = [asdict(refusal) for refusal in self.result.refused]
        return {"name": self.name, "changed": len(self.result.changed), "refused": refused}


def certificate(
    spec: ModelSpec,
    model: Path,
    file_name: str,
    nodes: int,
    passes: Sequence[PassRecord],
    agreement: Agreement | None,
    bounds: Bounds,
) -> dict[str, Any]:
    """The certificate of a converted model as JSON types.

    Args:
        spec: What the model is.
        model: The ONNX file.
        file_name: Its final name.
        nodes: Number of ONNX nodes.
        passes: What was rewritten.
        agreement: How it compares with its oracle; None: not verified.
        bounds: What was required.
    """
    return {
        "schema": _SCHEMA,
        "model": spec.name,
        "file": file_name,
        "sha256": sha256(model),
        "bytes": model.stat().st_size,
        "nodes": nodes,
        "source": spec.to_dict()["source"],
        "tools": _tools(),
        "passes": [record.to_dict() for record in passes],
        "verification": None if agreement is None else _verification(agreement, bounds),
    }


def write_certificate(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a certificate as JSON."""
    write_aside(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def _verification(agreement: Agreement, bounds: Bounds) -> dict[str, Any]:
    """The part that says how well the model agrees."""
    return {
        "oracle": agreement.oracle,
        "inputs": {"generator": "probes", "count": PROBE_COUNT, "seed": PROBE_SEED},
        "batch_sizes": list(BATCH_SIZES),
        "max_abs_error": agreement.max_abs_error,
        "min_cosine": agreement.min_cosine,
        "scale": agreement.scale,
        "bounds": asdict(bounds),
    }


def _tools() -> dict[str, str]:
    """Versions of everything that had a hand in it."""
    tools = {}
    for name in _TOOLS:
        try:
            tools[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**tools, "python": platform.python_version(), "machine": platform.machine()}

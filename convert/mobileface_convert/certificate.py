"""The certificate beside each model: what it was made from, how, and how well it agrees.

::

    {"schema": 1, "model": "identification_v2",
     "file": "identification_v2.onnx", "sha256": "…", "bytes": 3517000, "nodes": 73,
     "source": {"repository": "…", "commit": "…",
                "files": [{"path": "…", "git_blob_sha1": "…", "bytes": …}]},
     "tools": {"mobileface": "0.1.0", "onnx": "1.23.2", …, "python": "3.11.7", "machine": "x86_64"},
     "passes": [{"name": "fold_batchnorm", "changed": 38, "refused": []}],
     "weights": "float32",
     "verification": {"oracle": "MXNet 1.9.1",
                      "inputs": {"generator": "probes", "count": 16, "seed": 20200229},
                      "batch_sizes": [1, 8],
                      "max_abs_error": 2.9e-6, "min_cosine": 1.0, "scale": 14.1,
                      "bounds": {"max_abs_error": 5e-5, "min_cosine": 0.9999999}}}

``verification`` is null for a model that was converted with verification off. Where ``weights`` are
not stored as float32, ``verification_float32`` says how the model agreed before they were rounded.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mobileface.files import sha256, write_aside

from .bounds import Bounds
from .makers import Built, PassRecord
from .verify import BATCH_SIZES, PROBE_COUNT, PROBE_SEED, Agreement

__all__ = ["certificate", "export_certificate", "write_certificate"]

_SCHEMA = 1
_TOOLS = ("mobileface", "onnx", "onnx-ir", "onnxsim", "onnxruntime", "numpy")


def certificate(
    built: Built,
    model: Path,
    file_name: str,
    *,
    weights: str = "float32",
    verified: Mapping[str, tuple[Agreement, Bounds]] | None = None,
) -> dict[str, Any]:
    """The certificate of a converted model as JSON types.

    Args:
        built: What was made, and how.
        model: Its file.
        file_name: The file's final name.
        weights: How its weights are stored.
        verified: How it compares with its oracle and what was required, by how weights are stored;
            None: not verified.
    """
    found = {stored: _verification(*pair) for stored, pair in (verified or {}).items()}
    before = {"verification_float32": found["float32"]} if len(found) > 1 else {}
    return {
        "schema": _SCHEMA,
        "model": built.spec.name,
        "file": file_name,
        "sha256": sha256(model),
        "bytes": model.stat().st_size,
        "nodes": built.nodes,
        "source": built.spec.to_dict()["source"],
        "tools": _tools(),
        "passes": [_pass_to_dict(record) for record in built.passes],
        "weights": weights,
        "verification": found.get(weights),
        **before,
    }


def export_certificate(
    model: Path,
    file_name: str,
    *,
    sources: Sequence[Path],
    nodes: int,
    passes: Sequence[PassRecord],
    verification: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The certificate of a network that no recipe knows; of the same form.

    Args:
        model: Its file.
        file_name: The file's final name.
        sources: The checkpoint's files.
        nodes: Number of ONNX nodes.
        passes: What was rewritten.
        verification: Oracle, shapes and error of each output; None: not verified.
    """
    files = [
        {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sources
    ]
    return {
        "schema": _SCHEMA,
        "model": Path(file_name).stem,
        "file": file_name,
        "sha256": sha256(model),
        "bytes": model.stat().st_size,
        "nodes": nodes,
        "source": {"files": files},
        "tools": _tools(),
        "passes": [_pass_to_dict(record) for record in passes],
        "verification": verification,
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


def _pass_to_dict(record: PassRecord) -> dict[str, Any]:
    """What one pass did."""
    refused = [asdict(refusal) for refusal in record.result.refused]
    return {"name": record.name, "changed": len(record.result.changed), "refused": refused}


def _tools() -> dict[str, str]:
    """Versions of everything that had a hand in it."""
    tools = {}
    for name in _TOOLS:
        try:
            tools[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**tools, "python": platform.python_version(), "machine": platform.machine()}

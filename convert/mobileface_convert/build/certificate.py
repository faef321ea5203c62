"""The certificate next to each model: its sources, tools, passes and verification results.

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

``verification`` is null for a model that was converted without verification. If ``weights`` are not
stored as float32, ``verification_float32`` is the result before they were rounded.

Each variant has its own certificate, with these additional fields::

     "precision": "int8", "target": "portable",
     "verification_fp32": {"inputs": {"files": 67, "sha256": "…"}, "rows": 67,
                           "max_abs_error": 2.1, "min_cosine": 0.992, "mean_cosine": 0.997, …},
     "calibration": {"method": "…", "pictures": {"files": 133, "sha256": "…"},
                     "layers": 37, "float32_layers": ["conv1"]},
     "record": {…}

``verification_fp32`` is the comparison with the fp32 model. int8 variants, and fp16 variants if
there is a folder of images, are compared on its evaluation images, which are not used for
calibration; other variants on generated images. The int8 tolerances apply to this comparison; the
comparison with the reference on generated images is only recorded, with ``bounds`` null. For a
detector, rows are the fp32 detections, each compared with the one that overlaps it most; a lost
detection counts as cosine 0. ``record`` is replayed by ``mobileface certify``; see
`mobileface.models.replay`. The certificate of a model from a recipe outside the package
(``mobileface-convert adopt``) contains that recipe as ``recipe``, so that ``mobileface-convert
verify`` can compare the model with its source again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mobileface.host.files import sha256, write_aside
from mobileface.models.agreement import Bounds
from mobileface.models.sealed import sealed

from ..makers import Built, PassRecord
from ..oracles.verify import BATCH_SIZES, PROBE_COUNT, PROBE_SEED, Agreement
from .calibration_images import ImageSet

__all__ = [
    "certificate",
    "certificate_text",
    "export_certificate",
    "pass_to_dict",
    "tools_used",
    "write_certificate",
]

_SCHEMA = 1
_TOOLS = ("mobileface", "onnx", "onnx-ir", "onnxsim", "onnxruntime", "numpy")


def certificate(
    built: Built,
    content: bytes,
    file_name: str,
    *,
    weights: str = "float32",
    nodes: int | None = None,
    verified: Mapping[str, tuple[Agreement, Bounds | None]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The certificate of a converted model as JSON types.

    Args:
        built: The converted model.
        content: Of the model file.
        file_name: The file's name.
        weights: How weights are stored.
        nodes: Number of ONNX nodes; by default that of ``built``.
        verified: Agreement with the reference and tolerances, by how weights are stored; None if
            not verified.
        facts: Additional fields of a variant: ``precision``, ``target``, ``verification_fp32``
            (agreement, bounds, images), ``calibration`` and ``record``.
    """
    found = {stored: _verification(*pair) for stored, pair in (verified or {}).items()}
    before = {"verification_float32": found["float32"]} if len(found) > 1 else {}
    known = dict(facts or {})
    if "verification_fp32" in known:
        known["verification_fp32"] = _verification_fp32(*known["verification_fp32"])
    return {
        "schema": _SCHEMA,
        "model": built.spec.name,
        "file": file_name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "nodes": built.nodes if nodes is None else nodes,
        "source": built.spec.to_dict()["source"],
        "tools": tools_used(),
        "passes": [pass_to_dict(record) for record in built.passes],
        "weights": weights,
        "verification": found.get(weights),
        **before,
        **known,
    }


def export_certificate(
    content: bytes,
    file_name: str,
    *,
    sources: Sequence[Path],
    nodes: int,
    passes: Sequence[PassRecord],
    verification: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The certificate of a network without a recipe, in the same format.

    Args:
        content: Of the model file.
        file_name: The file's name.
        sources: The checkpoint's files.
        nodes: Number of ONNX nodes.
        passes: Results of the passes.
        verification: Reference, shapes and error of each output; None if not verified.
    """
    files = [
        {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sources
    ]
    return {
        "schema": _SCHEMA,
        "model": Path(file_name).stem,
        "file": file_name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "nodes": nodes,
        "source": {"files": files},
        "tools": tools_used(),
        "passes": [pass_to_dict(record) for record in passes],
        "verification": verification,
    }


def write_certificate(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a certificate; see `certificate_text`."""
    write_aside(path, certificate_text(document))


def certificate_text(document: Mapping[str, Any]) -> str:
    """A certificate as JSON, with its checksum (`mobileface.models.sealed`)."""
    return json.dumps(sealed(document), indent=2, allow_nan=False) + "\n"


def _verification(agreement: Agreement, bounds: Bounds | None) -> dict[str, Any]:
    """The field ``verification``: the comparison with the reference."""
    return {
        "oracle": agreement.oracle,
        "inputs": {"generator": "probes", "count": PROBE_COUNT, "seed": PROBE_SEED},
        "batch_sizes": list(BATCH_SIZES),
        **_measured(agreement, bounds),
    }


def _verification_fp32(
    agreement: Agreement, bounds: Bounds, images: ImageSet | None
) -> dict[str, Any]:
    """The field ``verification_fp32``: the comparison of a variant with the fp32 model."""
    inputs = {"generator": "probes"} if images is None else images.to_dict()
    return {"inputs": inputs, "rows": agreement.inputs, **_measured(agreement, bounds)}


def _measured(agreement: Agreement, bounds: Bounds | None) -> dict[str, Any]:
    return {
        "max_abs_error": agreement.max_abs_error,
        "min_cosine": agreement.min_cosine,
        "mean_cosine": agreement.mean_cosine,
        "scale": agreement.scale,
        "bounds": None if bounds is None else asdict(bounds),
    }


def pass_to_dict(record: PassRecord) -> dict[str, Any]:
    """The result of one pass as JSON types."""
    refused = [asdict(refusal) for refusal in record.result.refused]
    return {"name": record.name, "changed": len(record.result.changed), "refused": refused}


def tools_used(*more: str) -> dict[str, str]:
    """Versions of the installed tools, of Python and the machine.

    Args:
        more: Distributions besides those that every conversion uses.
    """
    tools = {}
    for name in (*_TOOLS, *more):
        try:
            tools[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**tools, "python": platform.python_version(), "machine": platform.machine()}

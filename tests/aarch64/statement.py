"""Records in certificates on which platforms a model was compared, and the deviations.

::

    "platforms": [{"machine": "aarch64", "cpu": "cortex-a72", "board": "Raspberry Pi 4",
                   "emulated": true, "compared_with": "x86_64",
                   "versions": {"numpy": "2.4.6", "onnxruntime": "1.32.0", …},
                   "largest": {"embedding": 2.3e-13, "photo-embedding": 2.0e-13}}]

The measures are those of `tests.aarch64.compare`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobileface.host.files import sha256
from mobileface.models.lookup import list_models
from mobileface_convert.build.certificate import write_certificate

__all__ = ["state_platforms"]

VERSIONS = ("numpy", "onnxruntime", "opencv_python_headless")


def state_platforms(folder: Path, report: Mapping[str, Any]) -> list[str]:
    """Writes ``platforms`` into the certificates of a folder's models.

    Args:
        folder: A models folder.
        report: The report of `tests.aarch64.run.verify`.

    Returns:
        The updated variants: those whose files are the ones that were run.
    """
    stated = []
    for model in list_models(folder):
        for stored in model.variants:
            name = f"{model.name}.{stored.variant.name}"
            if report["files"].get(name) != sha256(stored.path):
                continue
            document = json.loads(stored.certificate.read_text(encoding="utf-8"))
            document["platforms"] = [
                _entry(found, name, report["packages"]) for found in report["platforms"]
            ]
            write_certificate(stored.certificate, document)
            stated.append(name)
    return stated


def _entry(found: Mapping[str, Any], name: str, packages: list[str]) -> dict[str, Any]:
    """The entry of one platform for one variant."""
    kept = {field: found[field] for field in ("machine", "cpu", "board", "emulated")}
    largest = {
        key.partition("/")[0]: deviation["largest"]
        for key, deviation in found["deviations"].items()
        if key.partition("/")[2] == name
    }
    versions = dict(package.split("==") for package in packages)
    return {
        **kept,
        "compared_with": platform.machine(),
        "versions": {key.replace("_", "-"): versions[key] for key in VERSIONS if key in versions},
        "largest": largest,
    }

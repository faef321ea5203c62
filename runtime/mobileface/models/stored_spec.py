"""Reads the spec of a model from its file, without opening the network."""

from __future__ import annotations

import mmap
from pathlib import Path

from ..errors import ModelNotFoundError, SpecError
from ..host.files import reason
from .spec import METADATA_KEY, ModelSpec
from .wire_format import message_fields

__all__ = ["SPEC_ONLY", "read_stored_spec"]

SPEC_ONLY = ".json"
"""Suffix of models without a network: a spec and nothing else."""

_METADATA, _KEY, _VALUE = 14, 1, 2
"""Numbers of ``metadata_props``, ``key`` and ``value`` in ``onnx.proto``."""


def read_stored_spec(path: Path) -> ModelSpec:
    """The spec in an ONNX file's metadata, or of a model without a network.

    Raises:
        ModelNotFoundError: If the file cannot be read.
        SpecError: If it has no spec, or a broken one.
    """
    try:
        if path.suffix == SPEC_ONLY:
            text: bytes | None = path.read_bytes()
        else:
            text = _metadata(path).get(METADATA_KEY.encode())
    except OSError as error:
        raise ModelNotFoundError(f"cannot be read ({reason(error)})", where=str(path)) from error
    except (IndexError, ValueError) as error:
        raise SpecError("is not an ONNX file", where=str(path)) from error
    if text is None:
        raise SpecError(f"the ONNX file has no '{METADATA_KEY}' entry", where=str(path))
    return ModelSpec.from_json(text.decode("utf-8", "replace"), where=str(path))


def _metadata(path: Path) -> dict[bytes, bytes]:
    """The entries of an ONNX file's metadata; of the same key, the last."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        found = {}
        for number, start, end in message_fields(data, 0, len(data)):
            if number == _METADATA:
                parts = {n: data[first:last] for n, first, last in message_fields(data, start, end)}
                found[parts.get(_KEY, b"")] = parts.get(_VALUE, b"")
        return found

"""Checksums of indexes and certificates: damage by disks or other programs is found on reading.

The field ``checksum`` is a BLAKE2b of 16 bytes over the other fields, as JSON with sorted keys and
without spaces, in hexadecimal. It finds accidents, not forgeries: whoever can write the file can
write its checksum too. A document without the field, older or written by hand, is not checked: no
single damaged bit removes the field and changes another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelIntegrityError
from ..host.files import reason

__all__ = ["check_seal", "read_certificate", "sealed"]

_FIELD = "checksum"

_MAX_CERTIFICATE_BYTES = 16 << 20
"""Maximum size of a certificate file."""


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its checksum, which replaces an older one."""
    fields = {name: value for name, value in document.items() if name != _FIELD}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return {**fields, _FIELD: hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def check_seal(document: Mapping[str, Any], path: Path) -> None:
    """Checks the checksum of a document that was read from a file.

    Raises:
        ModelIntegrityError: If it is wrong.
    """
    if _FIELD in document and document[_FIELD] != sealed(document)[_FIELD]:
        raise ModelIntegrityError(
            "its checksum is wrong: the file is damaged",
            where=str(path),
            hint=f"fetch or convert it again; after an edit by hand, remove the line '{_FIELD}'",
        )


def read_certificate(path: Path) -> dict[str, Any]:
    """Reads a certificate as JSON types; its fields are not checked.

    Raises:
        ModelIntegrityError: If it cannot be read, is too large or no JSON object, or if its
            checksum is wrong.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_CERTIFICATE_BYTES + 1)
        if len(content) > _MAX_CERTIFICATE_BYTES:
            raise ModelIntegrityError("too large for a certificate", where=str(path))
        document = json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelIntegrityError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if not isinstance(document, dict):
        raise ModelIntegrityError("not a certificate", where=str(path))
    check_seal(document, path)
    return document

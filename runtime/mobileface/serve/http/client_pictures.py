"""Reads the bodies that clients of other face services send: forms, and base64 in JSON."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from ..compreface_subjects import CompreFaceError
from ..picture_analysis import Picture
from .answers import read_picture

__all__ = ["read_form", "read_json", "read_parts"]

_MOST_FILES, _MOST_FIELDS = 20, 50


@contextlib.asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """The form of a request, of either encoding; its files are closed in the end.

    Raises:
        HTTPException: 400 if it is broken, or has too many parts.
    """
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
        yield form


async def read_parts(request: Request, *names: str) -> tuple[Picture, ...]:
    """Pictures of a request to CompreFace's routes: parts of a form, or base64 in JSON.

    Raises:
        CompreFaceError: If one is missing, or is not base64.
        Problem: If one is empty.
    """
    if _is_json(request):
        body = await read_json(request)
        return tuple(_decoded(body, name) for name in names)
    async with read_form(request) as form:
        parts = [form.get(name) for name in names]
        for name, part in zip(names, parts, strict=True):
            if not isinstance(part, UploadFile):
                raise CompreFaceError(f"the part '{name}' is missing or no file", number=34)
        return tuple([await read_picture(part) for part in parts if isinstance(part, UploadFile)])


async def read_json(request: Request) -> Any:
    """The JSON body of a request, whatever its Content-Type.

    Raises:
        CompreFaceError: If it is not JSON.
    """
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise CompreFaceError("the body is not JSON", number=26) from error


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


def _decoded(body: Any, name: str) -> Picture:
    """A picture in base64; "data:image/jpeg;base64," in front of it does not matter."""
    text = body.get(name) if isinstance(body, dict) else None
    if not isinstance(text, str) or not text:
        raise CompreFaceError(f"'{name}' is missing or no text", number=34)
    head, comma, rest = text[:100].partition(",")
    if comma and head.startswith("data:"):
        text = rest + text[100:]
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CompreFaceError(f"'{name}' is not base64", number=21) from error
    if not data:
        raise CompreFaceError(f"'{name}' is empty", number=21)
    return data, name

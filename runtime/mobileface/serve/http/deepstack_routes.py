"""The face routes of DeepStack and CodeProject.AI."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile

from ..deepstack import (
    delete_userid,
    list_userids,
    match_faces,
    predict_faces,
    predict_userids,
    register_face,
)
from ..picture_analysis import Picture
from ..service import Service
from .answers import TheService, read_picture
from .client_forms import DeepStackRoute
from .client_pictures import read_form
from .failures import Problem
from .guard import Guard, key_of

__all__ = ["router"]

router = APIRouter(prefix="/v1", route_class=DeepStackRoute, include_in_schema=False)

_FACE_SCORE, _SIMILARITY = 0.4, 0.67
"""Values of min_confidence that DeepStack uses if none is given."""


@router.post("/vision/face")
async def detect(service: TheService, request: Request) -> dict[str, Any]:
    """Faces."""
    start = perf_counter()
    async with read_form(request) as form:
        _check_key(request, form)
        (picture,) = await _pictures(form, 1)
        least = _confidence(form, _FACE_SCORE)
    return await _timed(service, start, "detect", predict_faces, picture, least)


@router.post("/vision/face/recognize")
async def recognize(service: TheService, request: Request) -> dict[str, Any]:
    """Who the faces are."""
    start = perf_counter()
    async with read_form(request) as form:
        _check_key(request, form)
        (picture,) = await _pictures(form, 1)
        least = _confidence(form, _SIMILARITY)
    return await _timed(service, start, "recognize", predict_userids, picture, least)


@router.post("/vision/face/register")
async def register(service: TheService, request: Request) -> dict[str, Any]:
    """Adds faces to a person."""
    start = perf_counter()
    async with read_form(request) as form:
        _check_key(request, form)
        name, pictures = _userid(form), await _pictures(form)
    return await _timed(service, start, "register", register_face, name, pictures)


@router.post("/vision/face/match")
async def match(service: TheService, request: Request) -> dict[str, Any]:
    """Compares the faces of two pictures."""
    start = perf_counter()
    async with read_form(request) as form:
        _check_key(request, form)
        first, second = await _pictures(form, 2)
    return await _timed(service, start, "match", match_faces, (first, second))


@router.post("/vision/face/list")
async def names(service: TheService, request: Request) -> dict[str, Any]:
    """Everybody who has faces."""
    start = perf_counter()
    async with read_form(request) as form:
        _check_key(request, form)
    return await _timed(service, start, "list", list_userids)


@router.post("/vision/face/delete")
async def delete(service: TheService, request: Request) -> dict[str, Any]:
    """Deletes a person."""
    start = perf_counter()
    async with read_form(request) as form:
        _check_key(request, form)
        name = _userid(form)
    return await _timed(service, start, "delete", delete_userid, name)


@router.get("/status/ping")
@router.get("/server/status/ping")
async def ping() -> dict[str, Any]:
    """The process answers."""
    return {"success": True}


async def _timed(
    service: Service, start: float, command: str, function: Callable[..., Any], *arguments: Any
) -> dict[str, Any]:
    """Runs a function; adds the times and names that CodeProject.AI gives, and DeepStack's."""
    begun = 0.0

    def work() -> Any:
        nonlocal begun
        begun = perf_counter()
        return function(service, *arguments)

    answer: dict[str, Any] = await service.run(work)
    end = perf_counter()
    inference, whole = round(1000 * (end - begun)), round(1000 * (end - start))
    return {
        **answer,
        "duration": inference,
        "inferenceMs": inference,
        "processMs": inference,
        "analysisRoundTripMs": whole,
        "moduleId": "mobileface",
        "moduleName": "mobileface",
        "code": 200,
        "command": command,
    }


def _check_key(request: Request, form: FormData) -> None:
    """Checks the key of a form or a header.

    A form's key comes before `Authorization`, which a proxy in front may have set for itself.

    Raises:
        Problem: 401 or 429, see `Guard.require_key`.
    """
    given = (form.get("api_key"), form.get("admin_key"))
    named = [value for value in given if isinstance(value, str) and value]
    key = request.headers.get("x-api-key") or next(iter(named), None) or key_of(request.headers)
    guard: Guard = request.app.state.guard
    guard.require_key(key, request.client.host if request.client else "")


async def _pictures(form: FormData, count: int | None = None) -> list[Picture]:
    """The files of a form, whatever their names; ``count`` of them, or any number from 1.

    Raises:
        Problem: If there are fewer or more, or one is empty.
    """
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise Problem(400, "No valid image file found")
    if count is not None and len(files) != count:
        raise Problem(400, f"{count} image files are expected, not {len(files)}")
    return [await read_picture(file) for file in files]


def _confidence(form: FormData, default: float) -> float:
    """``min_confidence``.

    Raises:
        Problem: If it is not a number from 0 to 1.
    """
    value = form.get("min_confidence", "")
    if value == "":
        return default
    try:
        number = float(value) if isinstance(value, str) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:  # false for nan
        raise Problem(400, "must be a number from 0 to 1", where="min_confidence")
    return number


def _userid(form: FormData) -> str:
    """``userid``.

    Raises:
        Problem: If it is missing.
    """
    value = form.get("userid")
    if not isinstance(value, str) or not value.strip():
        raise Problem(400, "userid not specified")
    return value

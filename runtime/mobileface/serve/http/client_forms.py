"""Errors in the form that clients of other face services read.

CompreFace: ``{"message": …, "code": 28}``. DeepStack and CodeProject.AI:
``{"success": false, "error": …, "code": 400}``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteError

from ...errors import InputError, MobileFaceError
from ...tasks.face_choice import NoFaceError, SeveralFacesError
from ..compreface_subjects import CompreFaceError
from ..service import NoGalleryError
from .failures import Problem, as_problem, problem_answer

__all__ = ["CompreFaceRoute", "DeepStackRoute", "formed_answer"]

_COMPREFACE = tuple(
    f"/api/v1/{part}/" for part in ("recognition", "detection", "verification", "static")
)
_DEEPSTACK = ("/v1/vision/",)

_NUMBERS = {400: 21, 401: 10, 413: 21, 422: 26}
"""CompreFace's numbers of errors by status; 0 for others: "undefined"."""

_UNUSABLE, _NO_FACE, _SEVERAL = 21, 28, 31

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def formed_answer(problem: Problem, path: str) -> JSONResponse:
    """A problem as an answer, in the form that clients of its path read."""
    if path.startswith(_COMPREFACE):
        return _compreface(problem, _NUMBERS.get(problem.status_code, 0))
    if path.startswith(_DEEPSTACK):
        return _deepstack(problem)
    return problem_answer(problem)


class CompreFaceRoute(APIRoute):
    """A route whose errors have CompreFace's form."""

    def get_route_handler(self) -> Handler:
        """The handler, with errors as answers."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except (MobileFaceError, RequestValidationError, StarletteError) as error:
                problem = _problem_of(error)
                return _compreface(problem, _number(error, problem))

        return handler


class DeepStackRoute(APIRoute):
    """A route whose errors have DeepStack's form."""

    def get_route_handler(self) -> Handler:
        """The handler, with errors as answers."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except NoGalleryError as error:  # as DeepStack without faces; 404 is "bad URL" there
                return _deepstack(Problem(403, error.what, hint=error.hint))
            except (MobileFaceError, RequestValidationError, StarletteError) as error:
                return _deepstack(_problem_of(error))

        return handler


def _problem_of(error: Exception) -> Problem:
    """An error as a problem."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CompreFaceError):
        return Problem(error.status, error.what)
    if isinstance(error, MobileFaceError):
        return as_problem(error)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return Problem(422, str(first["msg"]), where=str(first["loc"][-1]))
    assert isinstance(error, StarletteError)
    return Problem(error.status_code, str(error.detail))


def _number(error: Exception, problem: Problem) -> int:
    """CompreFace's number of an error."""
    if isinstance(error, CompreFaceError):
        return error.number
    if isinstance(error, NoFaceError):
        return _NO_FACE
    if isinstance(error, SeveralFacesError):
        return _SEVERAL
    if isinstance(error, RequestValidationError):
        return 33 if error.errors()[0]["type"] == "missing" else 26
    if isinstance(error, InputError):
        return _UNUSABLE
    return _NUMBERS.get(problem.status_code, 0)


def _text(problem: Problem) -> str:
    failure = problem.failure
    parts = [f"{failure.where}: {failure.what}" if failure.where else failure.what, failure.hint]
    return "; ".join(part for part in parts if part)


def _compreface(problem: Problem, number: int) -> JSONResponse:
    status = 400 if problem.status_code == 422 else problem.status_code
    text = _text(problem)
    if number == _NO_FACE:
        text = "No face is found in the given image"
    return JSONResponse({"message": text, "code": number}, status, problem.headers)


def _deepstack(problem: Problem) -> JSONResponse:
    status = 400 if problem.status_code == 422 else problem.status_code
    body = {"success": False, "error": _text(problem), "code": status}
    return JSONResponse(body, status, problem.headers)

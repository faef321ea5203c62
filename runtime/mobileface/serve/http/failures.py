"""What errors look like: one JSON object, with a status that fits.

::

    {"error": {"code": "bad_input", "what": "no face found", "where": "a.jpg", "hint": ""}}

``where`` is what the client sent, never a path of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteError

from ...errors import (
    BusyError,
    GalleryError,
    InputError,
    MobileFaceError,
    ModelError,
    OutputError,
    shown,
)
from ..hidden_paths import without_paths
from ..people import NameTakenError, UnknownError
from ..service import NoGalleryError
from ..work_queue import CallerLeftError

__all__ = ["Failure", "FailureAnswer", "Problem", "add_failures", "as_problem", "problem_answer"]

_log = logging.getLogger("mobileface.serve")

_CODES = {
    400: "bad_input",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    429: "too_many",
    499: "left",
    500: "internal",
    503: "unavailable",
}
_AGAIN = {429: "60", 503: "1"}
"""Seconds of ``Retry-After``."""

_MOST = 300
"""Characters of what a client sent that an answer repeats."""


class Failure(BaseModel):
    """What went wrong: a code for programs, and the three parts of our errors."""

    code: str
    what: str
    where: str = ""
    hint: str = ""


class FailureAnswer(BaseModel):
    """The body of every answer from 400 on."""

    error: Failure


class Problem(HTTPException):
    """An answer that is an error.

    Args:
        status: The HTTP status.
        what: What is wrong.
        where: Part of the request that it is about.
        hint: What the client can do.
        code: Code for programs; by default that of the status.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: str = "",
        hint: str = "",
        code: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        extra = dict(headers or {})
        if status in _AGAIN:
            extra.setdefault("Retry-After", _AGAIN[status])
        super().__init__(status, what, extra)
        self.failure = Failure(
            code=code or _CODES.get(status, "error"),
            what=shown(what),
            where=shown(where),
            hint=shown(hint),
        )


def as_problem(error: MobileFaceError) -> Problem:
    """The answer to one of our errors.

    Errors of the server's own files are logged whole, and answered without their paths.
    """
    if isinstance(error, UnknownError):
        return Problem(404, error.what, where=error.where, hint=error.hint)
    if isinstance(error, NameTakenError):
        return Problem(409, error.what, where=error.where, hint=error.hint)
    if isinstance(error, InputError):
        return Problem(400, error.what, where=error.where, hint=error.hint)
    if isinstance(error, BusyError):
        return Problem(503, error.what, hint=error.hint, code="busy")
    if isinstance(error, CallerLeftError):
        return Problem(499, error.what)  # nobody reads it; it is counted
    if isinstance(error, NoGalleryError):
        return Problem(404, error.what, hint=error.hint, code="no_gallery")
    _log.error("%s", error)
    kinds = {GalleryError: "gallery", OutputError: "storage", ModelError: "model"}
    for kind, code in kinds.items():
        if isinstance(error, kind):
            return Problem(
                503, without_paths(error.what), hint=without_paths(error.hint), code=code
            )
    return Problem(500, "an error inside of the service", hint="its log says more")


def problem_answer(problem: Problem) -> JSONResponse:
    """A problem as an answer."""
    body = FailureAnswer(error=problem.failure).model_dump()
    return JSONResponse(body, problem.status_code, problem.headers)


def add_failures(app: FastAPI) -> None:
    """Makes all errors of an application look alike."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> JSONResponse:
        return problem_answer(error)

    @app.exception_handler(MobileFaceError)
    async def _ours(_: Request, error: MobileFaceError) -> JSONResponse:
        return problem_answer(as_problem(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem_answer(Problem(422, str(first["msg"])[:_MOST], where=where[:_MOST]))

    @app.exception_handler(StarletteError)
    async def _other(_: Request, error: StarletteError) -> JSONResponse:
        return problem_answer(Problem(error.status_code, str(error.detail), headers=error.headers))

    @app.exception_handler(Exception)
    async def _unknown(_: Request, __: Exception) -> JSONResponse:
        # It is raised again after this, and `Measured` logs it.
        return problem_answer(Problem(500, "an error inside of the service"))

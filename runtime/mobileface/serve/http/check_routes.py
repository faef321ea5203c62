"""Readiness, and the service's examination of itself."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from ..system_checks import doctor, measure_speed, model_list, readiness
from .answers import ERRORS, TheService

__all__ = ["router"]

router = APIRouter(tags=["service"])


class Ready(BaseModel):
    """Whether requests can be answered, and why not."""

    ready: bool
    reasons: list[str]


class FindingFacts(BaseModel):
    """The result of one check."""

    area: str = Field(description="python, packages, machine, models or tasks")
    name: str
    state: Literal["ok", "note", "missing", "failed"]
    text: str
    hint: str
    data: dict[str, Any]


class Doctor(BaseModel):
    """All checks; as ``mobileface doctor --json``, without paths."""

    schema_version: int = Field(alias="schema")
    version: str
    healthy: bool
    findings: list[FindingFacts]


class VariantFacts(BaseModel):
    """A file of a model, and whether it is the one that runs here."""

    name: str
    precision: str
    path: str = Field(description="Name of the file")
    bytes: int
    sha256: str
    condition: str
    picked: bool
    reason: str


class ModelFacts(BaseModel):
    """A model."""

    name: str
    task: str
    license: str | None = Field(description="SPDX identifier; null if the file cannot be read")
    path: str = Field(description="Name of the file")
    bytes: int
    sha256: str
    precision: str
    default: str
    preferred: bool
    reason: str | None
    variants: list[VariantFacts]


class Models(BaseModel):
    """All models; as ``mobileface models --json``, with names of files instead of paths."""

    models: list[ModelFacts]


class Speed(BaseModel):
    """Medians, measured on a drawn face in 640×480 pixels."""

    tasks: dict[str, float] = Field(description="Milliseconds by task, for one face")
    frames_per_second: float = Field(description="Images with one face through all tasks")


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    responses={503: {"model": Ready, "description": "Not ready: ``reasons`` says why"}},
)
async def ready(service: TheService, response: Response) -> Ready:
    """Whether models are loaded and the gallery, if there is one, can be read."""
    reasons = await run_in_threadpool(readiness, service)
    if reasons:
        response.status_code = 503
    return Ready(ready=not reasons, reasons=reasons)


@router.get("/api/v1/system/doctor", responses=ERRORS)
async def system_doctor(service: TheService) -> Doctor:
    """Checks packages, machine, models and tasks; takes some seconds, once for all who ask."""
    return Doctor.model_validate(await service.examination(lambda: service.run(doctor, service)))


@router.get("/api/v1/system/models", responses=ERRORS)
async def system_models(service: TheService) -> Models:
    """The installed models, and which of their variants run here."""
    return Models.model_validate(await service.run(model_list, service))


@router.get("/api/v1/system/speed", responses=ERRORS)
async def system_speed(service: TheService) -> Speed:
    """Measures each task; takes up to three seconds, once for all who ask."""
    found = await service.measurement(lambda: service.run(measure_speed, service))
    return Speed.model_validate(found)

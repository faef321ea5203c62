"""Effects on pictures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Response, UploadFile
from pydantic import BaseModel, Field

from ..effects_on_request import EFFECTS, apply_effect
from .answers import TheService, errors, read_picture
from .failures import Problem

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/effects", tags=["effects"])

_FORMATS = {"jpeg": (".jpg", "image/jpeg"), "png": (".png", "image/png")}


class OptionFacts(BaseModel):
    """An option of an effect: a form field."""

    name: str
    text: str
    kind: Literal["number", "switch", "choice", "text"]
    default: float | str | bool | None = Field(description="null: see ``text``")
    low: float | None = Field(description="Smallest number")
    high: float | None = Field(description="Largest number")
    choices: tuple[str, ...]


class EffectFacts(BaseModel):
    """An effect: its options, and whether it takes a second picture."""

    name: str
    options: list[OptionFacts]
    second: Literal["none", "required", "optional"]


class Effects(BaseModel):
    """All effects."""

    effects: list[EffectFacts]


Number = Annotated[float | None, Form(allow_inf_nan=False)]
Share = Annotated[float | None, Form(ge=0, le=1)]
Text = Annotated[str | None, Form(max_length=100)]


def _options(
    strength: Number = None,
    method: Text = None,
    gamma: Number = None,
    whiten: Number = None,
    smooth: Share = None,
    skin: Share = None,
    lips: Share = None,
    eyes: Share = None,
    blur: Number = None,
    color: Text = None,
    line_width: Number = None,
    darkness: Number = None,
    keep_background: Annotated[bool | None, Form()] = None,
    face: Text = None,
    second_face: Text = None,
) -> dict[str, Any]:
    """The options of all effects that a form has; ``GET /effects`` says which belong to which."""
    return dict(locals())  # the form fields by name


Options = Annotated[dict[str, Any], Depends(_options)]


@router.get("", responses=errors())
async def list_effects() -> Effects:
    """The effects with their options."""
    return Effects.model_validate({"effects": list(EFFECTS.values())}, from_attributes=True)


@router.post(
    "/{name}", response_class=Response, responses=errors(404, media=["image/jpeg", "image/png"])
)
async def apply(
    service: TheService,
    name: Annotated[str, Path(max_length=50)],
    file: UploadFile,
    options: Options,
    second: UploadFile | None = None,
    form: Annotated[Literal["jpeg", "png"] | None, Form(alias="format")] = None,
) -> Response:
    """Applies an effect to a picture, as the command of its name does.

    ``format`` is jpeg by default, for portrait png. A picture without a face is refused. What
    ``swap`` returns says in its metadata that it was altered.
    """
    if name not in EFFECTS:
        raise Problem(404, f"there is no effect '{name}'", hint=f"available: {', '.join(EFFECTS)}")
    suffix, media = _FORMATS[form or ("png" if name == "portrait" else "jpeg")]
    picture = await read_picture(file)
    other = None if second is None else await read_picture(second)
    content = await service.run(apply_effect, service, name, picture, other, options, suffix)
    return Response(content, media_type=media)

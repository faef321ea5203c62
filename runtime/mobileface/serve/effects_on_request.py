"""The effects of the commands on one picture, from bytes to bytes.

All functions run on a worker's thread and raise the errors of `mobileface.errors`; those about a
picture are the commands' own. Where a command warns that a picture has no face, and writes it
unchanged, this is an error: nobody would read the warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..effects.anonymize import NOTHING_COVERED, AnonymizeMethod, anonymize, check_anonymize
from ..effects.backdrops import COLORS, Backdrop
from ..effects.background_picture import change_behind
from ..effects.background_video import small_mask
from ..effects.enhance import enhance
from ..effects.makeup import makeup
from ..effects.makeup_transfer import makeup_of
from ..effects.mesh_faces import check_mesh_face, usable_faces
from ..effects.portrait import PortraitStyle, draw_portrait
from ..effects.swap import MARK, FaceSwapper
from ..errors import ImageError, InputError
from ..tasks.face_choice import CHOICES, check_choice, chosen_faces, only_face
from ..vision.image import Image
from ..vision.written_pictures import encode_picture
from .picture_analysis import Picture, open_picture
from .service import Service

__all__ = ["EFFECTS", "Effect", "EffectOption", "apply_effect"]

Second = Literal["none", "required", "optional"]
_Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EffectOption:
    """An option of an effect.

    Attributes:
        name: Name of the form field.
        text: What it does.
        kind: "number", "switch", "choice" (one of ``choices``) or "text".
        default: Value without it; None if that is not a value.
        low: Smallest number.
        high: Largest number.
        choices: The choices.
    """

    name: str
    text: str
    kind: Literal["number", "switch", "choice", "text"] = "number"
    default: float | str | bool | None = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


_Change = Callable[[Service, Image, str, "tuple[Image, str] | None", _Given], Image]


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect on one picture.

    Attributes:
        name: Name of the effect, that of its command.
        change: Applies it to an image with its name, a second one with its name, and options.
        options: Its options.
        second: Whether it takes a second picture.
        comment: What the metadata of the result say; "" for nothing.
    """

    name: str
    change: _Change = field(repr=False)
    options: tuple[EffectOption, ...]
    second: Second = "none"
    comment: str = ""


def apply_effect(
    service: Service,
    name: str,
    picture: Picture,
    second: Picture | None,
    given: Mapping[str, Any],
    suffix: str,
) -> bytes:
    """Applies an effect to a picture.

    Args:
        service: The service.
        name: Name of the effect, of `EFFECTS`.
        picture: The picture.
        second: The second picture.
        given: Options by name; those that are None do not count.
        suffix: Format of the result, ".jpg" or ".png".

    Returns:
        The content of the resulting file.

    Raises:
        ImageError: If a picture cannot be read or has no face.
        InputError: If an option does not belong to the effect or is out of range, or a second
            picture is missing or not taken.
        ModelError: If the effect's model is missing or damaged.
    """
    effect = EFFECTS[name]
    options = {option.name: option.default for option in effect.options}
    for key, value in given.items():
        if value is None:
            continue
        if key not in options:
            hint = f"available: {', '.join(options)}"
            raise InputError(f"'{name}' has no option '{key}'", where=key, hint=hint)
        options[key] = value
    if second is None and effect.second == "required":
        raise InputError(f"'{name}' needs a second picture", where="second")
    if second is not None and effect.second == "none":
        raise InputError(f"'{name}' takes no second picture", where="second")
    image = open_picture(service, picture)
    other = None if second is None else (open_picture(service, second), second[1])
    changed = effect.change(service, image, picture[1], other, options)
    return encode_picture(changed, suffix, comment=effect.comment, where=picture[1])


def _anonymize(
    service: Service, image: Image, where: str, _: tuple[Image, str] | None, given: _Given
) -> Image:
    settings = {"method": given["method"], "strength": given["strength"]}
    check_anonymize(**settings)
    analyzer = service.effect_models.covering()
    faces = analyzer.detect(image)
    if not faces:
        raise ImageError(NOTHING_COVERED, where=where)
    return anonymize(image, faces, **settings)


def _enhance(
    _: Service, image: Image, __: str, ___: tuple[Image, str] | None, given: _Given
) -> Image:
    return enhance(image, gamma=given["gamma"], strength=given["strength"])


def _makeup(
    service: Service, image: Image, where: str, second: tuple[Image, str] | None, given: _Given
) -> Image:
    own = ("whiten", "smooth") if second is None else ("skin", "lips", "eyes", "second_face")
    wrong = [name for name, value in given.items() if value is not None and name not in own]
    wrong = [name for name in wrong if name != "strength"]
    if wrong:
        belongs = "makeup by example" if second is None else "makeup without a second picture"
        raise InputError(f"{wrong[0]} belongs to {belongs}", where=wrong[0])
    if second is not None:
        return _makeup_like(service, image, where, second, given)
    faces = service.effect_models.skin()(image)
    if not faces:
        raise ImageError("no face found", where=where)
    rates = {"whiten_rate": given["whiten"], "share": given["smooth"]}
    rates = {name: value for name, value in rates.items() if value is not None}
    return makeup(image, faces, strength=given["strength"], **rates)


def _makeup_like(
    service: Service, image: Image, where: str, second: tuple[Image, str], given: _Given
) -> Image:
    strengths = {
        name: given["strength"] * (1.0 if given[name] is None else given[name])
        for name in ("skin", "lips", "eyes")
    }
    analyzer = service.effect_models.meshes()
    reference, name = second
    face = only_face(analyzer(reference), given["second_face"], name, "second_face")
    transfer = makeup_of(reference, face, name)
    faces, _ = usable_faces(analyzer(image), where)
    return transfer(image, faces, **strengths)


def _swap(
    service: Service, image: Image, where: str, second: tuple[Image, str] | None, given: _Given
) -> Image:
    assert second is not None
    target = given["face"]
    if target is not None and target.strip().lower() == "all":
        target = "all"
    elif target is not None:
        target = check_choice(target)
    analyzer = service.effect_models.meshes()
    source, name = second
    face = only_face(analyzer(source), given["second_face"], name, "second_face")
    check_mesh_face(face, name)
    swapper = FaceSwapper(source, face)
    faces, _ = usable_faces(chosen_faces(analyzer(image), target, where, "face"), where)
    return swapper(image, faces)


def _background(
    service: Service, image: Image, where: str, second: tuple[Image, str] | None, given: _Given
) -> Image:
    blur, color = given["blur"], given["color"]
    if blur is None and color is None and second is None:
        blur = 1.0
    backdrop = Backdrop(blur=blur, fill=color, picture=None if second is None else second[0])
    models = service.effect_models
    return change_behind(image, backdrop, models.segmenter(), models.detector(), where=where)


def _portrait(
    service: Service, image: Image, where: str, _: tuple[Image, str] | None, given: _Given
) -> Image:
    style = PortraitStyle(given["line_width"], given["darkness"])
    models = service.effect_models
    mask = None if given["keep_background"] else small_mask(models.segmenter(), image)
    try:
        return draw_portrait(image, models.drawn()(image), mask, style)
    except InputError as error:
        raise ImageError(error.what, where=where) from error


_STRENGTH = EffectOption(
    "strength", "Strength, 0 (unchanged) to 1 (full)", default=1.0, low=0, high=1
)
_SECOND_FACE = EffectOption(
    "second_face", f"Face of the second picture, if it has several: {CHOICES}", "text"
)


def _region(name: str, text: str) -> EffectOption:
    return EffectOption(name, f"With a second picture: strength on the {text}", low=0, high=1)


EFFECTS: Mapping[str, Effect] = {
    effect.name: effect
    for effect in (
        Effect(
            "anonymize",
            _anonymize,
            (
                EffectOption(
                    "method",
                    "What a face becomes: blurred cells, cells, black, or a drawn face of nobody",
                    "choice",
                    "blur",
                    choices=get_args(AnonymizeMethod),
                ),
                EffectOption(
                    "strength",
                    "At most 4 / strength cells across a face",
                    default=1.0,
                    low=1,
                    high=4,
                ),
            ),
        ),
        Effect(
            "enhance",
            _enhance,
            (
                _STRENGTH,
                EffectOption("gamma", "Gamma exponent; default: by the picture's brightness"),
            ),
        ),
        Effect(
            "makeup",
            _makeup,
            (
                _STRENGTH,
                EffectOption("whiten", "Brightness increase of the skin; default: 0.15", low=-1),
                EffectOption("smooth", "Share of the smoothed skin; default: 0.7", low=0, high=1),
                _region("skin", "skin"),
                _region("lips", "lips"),
                _region("eyes", "eye shadow"),
                _SECOND_FACE,
            ),
            "optional",
        ),
        Effect(
            "background",
            _background,
            (
                EffectOption(
                    "blur", "Strength of the blur; default without others: 1", low=0, high=4
                ),
                EffectOption("color", f"Fill it: #RRGGBB or one of {', '.join(COLORS)}", "text"),
            ),
            "optional",
        ),
        Effect(
            "portrait",
            _portrait,
            (
                EffectOption(
                    "line_width", "Factor of the width of lines", default=1.0, low=0.5, high=3
                ),
                EffectOption(
                    "darkness", "How much becomes black; 0: lines alone", default=1.0, low=0, high=2
                ),
                EffectOption("keep_background", "Draw what lies behind people", "switch", False),
            ),
        ),
        Effect(
            "swap",
            _swap,
            (
                EffectOption(
                    "face", f"Faces to replace, if there are several: all, {CHOICES}", "text"
                ),
                _SECOND_FACE,
            ),
            "required",
            MARK,
        ),
    )
}
"""All effects, by name."""

"""What made the embeddings of a gallery, and what they can be compared with."""

from __future__ import annotations

import dataclasses
import datetime
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .. import __version__
from ..errors import CalibrationError, GalleryError, InputError
from ..host.files import sha256
from ..matching.calibration import Calibration
from ..tasks.embedding import Embedder

__all__ = ["COLUMNS", "Stamp", "Storage", "fingerprint", "new_uid", "now", "read_json"]

Storage = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What made the embeddings of a gallery.

    Attributes:
        model: `Embedder.identity` of the model.
        model_sha256: SHA-256 of its file.
        size: Elements of an embedding.
        crop: How faces are cut out for it; a name in `mobileface.vision.crops`.
        height: Of the network's input in pixels.
        width: Of the network's input in pixels.
        color: Of the network's input: "gray", "rgb" or "bgr".
        storage: How embeddings are stored.
        keeps_crops: Pictures of the faces are stored, so that another model can embed them.
        calibration: What similarities of this model mean; None: not known.
        gallery: A number that no other gallery has, in hexadecimal.
        created: When the gallery was made, ISO 8601 in UTC.
        software: The version that made it.
    """

    model: str
    model_sha256: str
    size: int
    crop: str
    height: int
    width: int
    color: str
    storage: Storage = "float32"
    keeps_crops: bool = True
    calibration: Calibration | None = None
    gallery: str = ""
    created: str = ""
    software: str = ""

    @classmethod
    def of(
        cls,
        embedder: Embedder,
        *,
        storage: Storage = "float32",
        keeps_crops: bool = True,
        calibration: Calibration | None = None,
    ) -> Stamp:
        """The stamp of a new gallery for one model."""
        image = embedder.image
        return cls(
            model=embedder.identity,
            model_sha256=sha256(embedder.session.path),
            size=embedder.size,
            crop=embedder.crop,
            height=image.height,
            width=image.width,
            color=image.color,
            storage=storage,
            keeps_crops=keeps_crops,
            calibration=calibration,
            gallery=new_uid(),
            created=now(),
            software=f"mobileface {__version__}",
        )

    def to_dict(self) -> dict[str, Any]:
        """The stamp as JSON types; `from_dict` reads it back."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.calibration is not None:
            values["calibration"] = self.calibration.to_dict()
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> Stamp:
        """Reads what `to_dict` gave.

        Raises:
            GalleryError: It is no stamp.
        """
        kinds = {field.name: _KINDS.get(str(field.type)) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {name: data.get(name) for name in kinds}
        for name, kind in kinds.items():
            if kind is not None and type(values[name]) is not kind:
                raise GalleryError(f"damaged: its stamp has no {name}", where=where)
        if values["storage"] not in ("float32", "float16") or values["size"] < 1:
            raise GalleryError("damaged: its stamp makes no sense", where=where)
        if values["calibration"] is not None:
            try:
                values["calibration"] = Calibration.from_dict(values["calibration"], where)
            except CalibrationError as error:
                text = f"damaged: its calibration: {error.what}"
                raise GalleryError(text, where=where) from error
        return cls(**values)

    def to_row(self) -> tuple[Any, ...]:
        """The values of the table's columns, in the order of `COLUMNS`."""
        values = self.to_dict()
        if self.calibration is not None:
            values["calibration"] = json.dumps(values["calibration"], allow_nan=False)
        return tuple(values[name] for name in COLUMNS)

    @classmethod
    def from_row(cls, row: tuple[Any, ...], where: str) -> Stamp:
        """Reads what `to_row` gave.

        Raises:
            GalleryError: It is no stamp.
        """
        values = dict(zip(COLUMNS, row, strict=True))
        values["keeps_crops"] = bool(values["keeps_crops"])
        values["calibration"] = read_json(values["calibration"], where)
        return cls.from_dict(values, where)

    def require(self, identity: str, where: str = "") -> None:
        """Refuses embeddings of a model that these cannot be compared with.

        Variants of one model, which differ in how weights are stored, share a fingerprint and
        can be compared.

        Raises:
            InputError: Another model; names both.
        """
        if fingerprint(identity) != fingerprint(self.model):
            raise InputError(
                f"the gallery holds embeddings of {self.model}, these are of {identity}; "
                "they cannot be compared",
                where=where,
                hint="use the gallery's model, or embed its faces anew with "
                "'mobileface gallery migrate'",
            )


_KINDS = {"str": str, "int": int, "bool": bool, "Storage": str}
COLUMNS = tuple(field.name for field in dataclasses.fields(Stamp))
"""Of the table "stamp", without its id."""


def read_json(text: str | None, where: str) -> Any:
    """JSON that a column holds; None stays None.

    Raises:
        GalleryError: It is none.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"damaged: a column is no JSON ({error})", where=where) from error


def fingerprint(identity: str) -> str:
    """The part of a model's identity that variants of it share."""
    return identity.rpartition("@")[2]


def new_uid() -> str:
    """A number that nothing else has, in hexadecimal."""
    return secrets.token_hex(8)


def now() -> str:
    """The time, ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

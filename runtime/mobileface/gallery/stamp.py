"""A gallery's model stamp: which model computed its embeddings."""

from __future__ import annotations

import dataclasses
import datetime
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .. import __version__
from ..errors import CalibrationError, GalleryError, InputError, ModelNotFoundError
from ..host.files import sha256
from ..matching.calibration import Calibration
from ..tasks.embedding import Embedder

__all__ = ["COLUMNS", "Stamp", "Storage", "fingerprint", "new_uid", "now", "read_json"]

Storage = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A gallery's model stamp: the model that computed its embeddings, and how they are stored.

    Attributes:
        model: `Embedder.identity` of the model.
        model_sha256: SHA-256 of the model file.
        size: Number of elements of an embedding.
        crop: The model's face crop, a name in `mobileface.vision.crops`.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        color: Colour format of the network's input: "gray", "rgb" or "bgr".
        storage: Data type of stored embeddings.
        keeps_crops: True if face crops are stored, so that another model can re-embed them.
        calibration: Calibration of the model; None if not available.
        gallery: Unique ID of the gallery, in hexadecimal.
        created: Time of the gallery's creation, ISO 8601 in UTC.
        software: The version of mobileface that created it.
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
        """Reads the output of `to_dict`.

        Args:
            data: JSON types.
            where: Location for error messages.

        Raises:
            GalleryError: If ``data`` is not a valid stamp.
        """
        kinds = {field.name: _KINDS.get(str(field.type)) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {name: data.get(name) for name in kinds}
        for name, kind in kinds.items():
            if kind is not None and type(values[name]) is not kind:
                raise GalleryError(
                    f"corrupt: field '{name}' of the stamp is missing or has the wrong type",
                    where=where,
                )
        if values["storage"] not in ("float32", "float16") or values["size"] < 1:
            raise GalleryError("corrupt: the stamp is invalid", where=where)
        if values["calibration"] is not None:
            try:
                values["calibration"] = Calibration.from_dict(values["calibration"], where)
            except CalibrationError as error:
                text = f"corrupt: its calibration: {error.what}"
                raise GalleryError(text, where=where) from error
        return cls(**values)

    def to_row(self) -> tuple[Any, ...]:
        """The values of the columns of table "stamp", in the order of `COLUMNS`."""
        values = self.to_dict()
        if self.calibration is not None:
            values["calibration"] = json.dumps(values["calibration"], allow_nan=False)
        return tuple(values[name] for name in COLUMNS)

    @classmethod
    def from_row(cls, row: tuple[Any, ...], where: str) -> Stamp:
        """Reads the output of `to_row`.

        Raises:
            GalleryError: If ``row`` is not a valid stamp.
        """
        values = dict(zip(COLUMNS, row, strict=True))
        values["keeps_crops"] = bool(values["keeps_crops"])
        values["calibration"] = read_json(values["calibration"], where)
        return cls.from_dict(values, where)

    def require_model(self, embedder: Embedder | None, where: str = "") -> None:
        """Checks that a search uses the gallery's model.

        Args:
            embedder: The model of the search; None if there is none.
            where: Location for error messages.

        Raises:
            InputError: If it is a different model.
            ModelNotFoundError: If there is no model.
        """
        if embedder is None:
            raise ModelNotFoundError("no identification model to search the gallery with")
        self.require(embedder.identity, where)

    def require(self, identity: str, where: str = "") -> None:
        """Checks that embeddings of a model can be compared with those of the gallery.

        Variants of one model, which differ only in how weights are stored, share a fingerprint, and
        their embeddings can be compared.

        Args:
            identity: `Embedder.identity` of the model.
            where: Location for error messages.

        Raises:
            InputError: If the models differ; the error names both.
        """
        if fingerprint(identity) != fingerprint(self.model):
            raise InputError(
                f"the gallery contains embeddings of {self.model}, which cannot be compared with "
                f"those of {identity}",
                where=where,
                hint="use the gallery's model, or re-embed its faces with "
                "'mobileface gallery migrate'",
            )


_KINDS = {"str": str, "int": int, "bool": bool, "Storage": str}
COLUMNS = tuple(field.name for field in dataclasses.fields(Stamp))
"""Columns of the table "stamp", except its id."""


def read_json(text: str | None, where: str) -> Any:
    """Decodes the JSON text of a column; returns None for None.

    Raises:
        GalleryError: If ``text`` is not JSON.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"corrupt: a column is not JSON ({error})", where=where) from error


def fingerprint(identity: str) -> str:
    """The part of a model's identity that its variants share."""
    return identity.rpartition("@")[2]


def new_uid() -> str:
    """A new random 64-bit ID, in hexadecimal."""
    return secrets.token_hex(8)


def now() -> str:
    """The current time, ISO 8601 in UTC, in seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

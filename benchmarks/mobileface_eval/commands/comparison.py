"""Models that are compared: each on its own crop, all on the same images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileface.errors import InputError

from ..datasets.face_sets import FaceSet, read_folder
from ..embedding import Embedded, FaceSource
from .options import VECTORS, data_numbers, embed, read_vectors, sources

__all__ = ["Comparison", "compare_folder", "compare_models", "on_common_images"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The embeddings of one set by several models.

    Attributes:
        models: The embeddings by label of the model, all of the same images in the same order.
        own: The number of images that each model could use by itself.
    """

    models: dict[str, Embedded]
    own: dict[str, int]

    @property
    def first(self) -> Embedded:
        """One of them, for what they share."""
        return next(iter(self.models.values()))

    def data(self) -> dict[str, Any]:
        """The report's entry about the set; ``left_out`` says which models left an image out."""
        found: dict[tuple[str, str], list[str]] = {}
        for label, embedded in self.models.items():
            for item in embedded.skipped:
                found.setdefault((item.name, item.reason), []).append(label)
        left = [
            {"picture": name, "reason": reason, "models": labels}
            for (name, reason), labels in sorted(found.items())
        ]
        return {**data_numbers(self.first), "left_out": left}

    def text(self) -> str:
        """What the summary says about images that were left out; empty if there are none."""
        names = {item.name for found in self.models.values() for item in found.skipped}
        if not names:
            return ""
        text = f"; {len(names)} image{'' if len(names) == 1 else 's'} left out"
        if len(self.models) > 1:
            each = ", ".join(
                f"{label} {len(found.skipped)}" for label, found in self.models.items()
            )
            text += f" for all models, because at least one could not use them ({each})"
        return text


def compare_folder(
    options: argparse.Namespace, place: Path, *, people: int | None = None, flip: bool = False
) -> Comparison:
    """Embeds a folder with each selected model, or reads one embedding file.

    Raises:
        InputError: As for `compare_models`, or if the folder or file does not exist.
    """
    if place.suffix == VECTORS:
        found = read_vectors(place)
        return on_common_images({found.model.partition("@")[0]: found})
    return compare_models(options, read_folder(place, people), flip=flip)


def compare_models(
    options: argparse.Namespace, face_set: FaceSet, *, flip: bool = False
) -> Comparison:
    """Embeds a set with each selected model, each on the crop that its spec names.

    Raises:
        InputError: If images cannot be used, if no image can be used by all models, or if images
            are crops and the models need different ones.
    """
    chosen = sources(options)
    _check_crops(chosen, face_set, options.crops)
    return on_common_images(
        {source.label: embed(options, source, face_set, flip=flip) for source in chosen}
    )


def on_common_images(found: dict[str, Embedded]) -> Comparison:
    """Restricts all embeddings to the images that every model could use.

    Args:
        found: The embeddings by label of the model.

    Raises:
        InputError: If there is no such image.
    """
    each = [{image.name for image in embedded.set.images} for embedded in found.values()]
    common = set.intersection(*each)
    return Comparison(
        {label: embedded.only(common) for label, embedded in found.items()},
        {label: len(names) for label, names in zip(found, each, strict=True)},
    )


def _check_crops(chosen: Sequence[FaceSource], face_set: FaceSet, crops: bool) -> None:
    """Refuses to give one crop to models that need different ones."""
    first = {source.model.crop: source for source in reversed(chosen)}
    if len(first) < 2:
        return
    needs = ", ".join(f"{source.label} needs '{crop}'" for crop, source in first.items())
    if crops or any(image.crop for image in face_set.images):
        raise InputError(
            f"the images are face crops, but the models need different ones ({needs})",
            where=face_set.name,
            hint="leave out --crops, or pass only models with the crop of these images",
        )
    sizes: dict[tuple[int, int], str] = {}
    for source in chosen:
        spec = source.model.image
        if sizes.setdefault((spec.height, spec.width), source.model.crop) != source.model.crop:
            raise InputError(
                f"models with different crops have the same input size ({needs}), so an image of "
                "this size cannot be told to be the crop of one of them",
                where=face_set.name,
                hint="evaluate these models one by one",
            )

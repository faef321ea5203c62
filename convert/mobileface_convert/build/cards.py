"""Model cards: what people should know of a model before they use it, one Markdown file each.

Everything in a card comes from the recipe and the certificate; the text of the licence lies beside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError, ModelIntegrityError
from mobileface.host.files import write_aside
from mobileface.models.spec import ModelSpec

from ..recipes.recipe import Card, Recipe

__all__ = ["LICENSES", "card_text", "license_text", "write_cards"]

LICENSES = "licenses"
"""The folder with the texts of licences, beside the models."""


def write_cards(recipes: Sequence[Recipe], folder: Path) -> list[Path]:
    """Writes the card of each model that has one, and the text of its licence.

    Args:
        recipes: The models; they lie in the folder already.
        folder: A models folder.

    Returns:
        The files written.

    Raises:
        ModelIntegrityError: A certificate is absent or damaged.
        ConversionError: The text of a licence is not known.
        OutputError: The folder cannot be written.
    """
    written: dict[Path, str] = {}
    for recipe in recipes:
        if recipe.card is None:
            continue
        certificate = _read(folder / f"{recipe.name}.certificate.json")
        written[folder / f"{recipe.name}.md"] = card_text(recipe.spec, recipe.card, certificate)
        name = recipe.spec.license.text_name
        written[folder / LICENSES / f"{name}.txt"] = license_text(name)
    for path, text in written.items():
        write_aside(path, text)
    return list(written)


def card_text(spec: ModelSpec, card: Card, certificate: Mapping[str, Any]) -> str:
    """The card of one model, Markdown.

    Args:
        spec: Its facts.
        card: What people should know beside them.
        certificate: Its certificate, as JSON types.
    """
    lines = [
        f"# {spec.name}",
        "",
        f"{spec.title}.",
        "",
        card.purpose,
        "",
        f"- **Task**: {spec.task}",
        f"- **File**: {certificate['file']}, {certificate['bytes']:,} bytes, weights stored as "
        f"{certificate['weights']}, {certificate['nodes']} ONNX nodes",
        f"- **SHA-256**: `{certificate['sha256']}`",
        f"- **Licence**: [{spec.license.name}]({LICENSES}/{spec.license.text_name}.txt), "
        f"<{spec.license.url}>",
        f"- **Source**: {_source(certificate['source'])}",
        f"- **Input**: {_input(spec)}",
        f"- **Output**: {spec.kind.describe_output(spec.section)}",
        "",
        "## Accuracy",
        "",
        f"- **As published**: {card.published}",
        f"- **As measured here**: {card.measured}",
        *_parity(certificate),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in card.limits),
    ]
    return "\n".join(lines) + "\n"


def _parity(certificate: Mapping[str, Any]) -> list[str]:
    """How the model agrees with what it was made from."""
    found = certificate["verification"]
    if found is None:
        return ["- **Against the original**: not verified"]
    text = _agreement(found)
    before = certificate.get("verification_float32")
    if before is not None:
        text += f"; before its weights were rounded to {certificate['weights']}: "
        text += _agreement(before)
    count = found["inputs"]["count"]
    return [f"- **Against {found['oracle']}**, {count} generated pictures: {text}"]


def _agreement(found: Mapping[str, Any]) -> str:
    return (
        f"largest difference {found['max_abs_error']:.2g} of {found['scale']:.3g}, "
        f"smallest cosine {found['min_cosine']:.8f}"
    )


def _source(source: Mapping[str, Any]) -> str:
    parts = [f"<{source['repository']}>"]
    if source.get("commit"):
        parts.append(f"commit {source['commit']}")
    if source.get("package"):
        parts.append(f"package {source['package']}")
    parts += [f"{f['path']} (git blob {f['git_blob_sha1']})" for f in source.get("files") or ()]
    return ", ".join(parts)


def _input(spec: ModelSpec) -> str:
    if spec.input is not None:
        image = spec.input
        form = f"`{image.name}`, {image.dtype} (N, {', '.join(map(str, image.shape))})"
        means, stds = (", ".join(f"{v:g}" for v in values) for values in (image.mean, image.std))
        plain = (means, stds) == ("0", "1") or image.dtype == "uint8"
        scaled = "0..255" if plain else f"(0..255 − {means}) / {stds}"
        crop = f", the crop '{spec.crop}'" if spec.crop else ""
        return f"{form}, {image.color}, {scaled}{crop}"
    return spec.kind.describe_input(spec.section) or "see the spec in the file"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelIntegrityError(f"cannot be read ({error})", where=str(path)) from error
    if not isinstance(document, dict):
        raise ModelIntegrityError("no certificate", where=str(path))
    return document


def license_text(name: str) -> str:
    """The text of a licence.

    Args:
        name: Name of the file with it, usually the licence's short name in SPDX.

    Raises:
        ConversionError: It is not known.
    """
    path = resources.files("mobileface_convert") / LICENSES / f"{name}.txt"
    if not path.is_file():
        raise ConversionError(f"the text of the licence {name} is not in the package")
    return path.read_text(encoding="utf-8")

"""Model cards: purpose, input, output, accuracy and limits of a model, one Markdown file each.

The content comes from the recipe and the certificate. The licence text is written next to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError
from mobileface.host.files import write_together
from mobileface.models.sealed import read_certificate
from mobileface.models.spec import ModelSpec

from ..recipes.recipe import Card, Recipe

__all__ = ["LICENSES", "card_text", "license_text", "write_cards"]

LICENSES = "licenses"
"""Name of the folder with licence texts, inside a models folder."""


def write_cards(recipes: Sequence[Recipe], folder: Path) -> list[Path]:
    """Writes the cards of the models whose recipe has one, and their licence texts.

    Args:
        recipes: The models; their files and certificates must already be in the folder.
        folder: A models folder.

    Returns:
        The files written.

    Raises:
        ModelIntegrityError: If a certificate is missing or corrupt.
        ConversionError: If the text of a licence is not available.
        OutputError: If the folder is not writable.
    """
    written: dict[Path, str] = {}
    for recipe in recipes:
        if recipe.card is None:
            continue
        certificate = read_certificate(folder / f"{recipe.name}.certificate.json")
        written[folder / f"{recipe.name}.md"] = card_text(recipe.spec, recipe.card, certificate)
        name = recipe.spec.license.text_name
        words = recipe.upstream.license_words or license_text(name)
        written[folder / LICENSES / f"{name}.txt"] = words
    write_together(list(written.items()))
    return list(written)


def card_text(spec: ModelSpec, card: Card, certificate: Mapping[str, Any]) -> str:
    """The card of one model, in Markdown.

    Args:
        spec: Spec of the model.
        card: Texts from the recipe.
        certificate: Certificate of the model, as JSON types.
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
        f"{_address(spec.license.url)}",
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
    """The line about the verification against the original model."""
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
    parts = [_address(source["repository"])]
    if source.get("commit"):
        parts.append(f"commit {source['commit']}")
    if source.get("package"):
        parts.append(f"package {source['package']}")
    parts += [f"{f['path']} (git blob {f['git_blob_sha1']})" for f in source.get("files") or ()]
    return ", ".join(parts)


def _address(text: str) -> str:
    """A link, if it is one."""
    return f"<{text}>" if text.startswith(("https://", "http://")) else text


def _input(spec: ModelSpec) -> str:
    if spec.input is not None:
        image = spec.input
        form = f"`{image.name}`, {image.dtype} (N, {', '.join(map(str, image.shape))})"
        means, stds = (", ".join(f"{v:g}" for v in values) for values in (image.mean, image.std))
        plain = (means, stds) == ("0", "1") or image.dtype == "uint8"
        scaled = "0..255" if plain else f"(0..255 − {means}) / {stds}"
        crop = f", the crop '{spec.crop}'" if spec.crop else ""
        batch = ", one crop per run: batch fixed at 1" if image.batch else ""
        return f"{form}, {image.color}, {scaled}{crop}{batch}"
    return spec.kind.describe_input(spec.section) or "see the spec in the file"


def license_text(name: str) -> str:
    """The text of a licence.

    Args:
        name: Name of the file with the text, usually the short name of the licence in SPDX.

    Raises:
        ConversionError: If the package does not contain the text.
    """
    path = resources.files("mobileface_convert") / LICENSES / f"{name}.txt"
    if not path.is_file():
        raise ConversionError(f"the package has no text for the licence {name}")
    return path.read_text(encoding="utf-8")

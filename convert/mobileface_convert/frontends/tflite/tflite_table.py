"""The supported TensorFlow Lite operators, as a Markdown table and as JSON."""

from __future__ import annotations

from typing import Any

from .tflite_options import OPTIONS
from .tflite_registry import TfliteConversion, registered

__all__ = ["tflite_json", "tflite_markdown"]

_HEAD = """## TensorFlow Lite

What `mobileface-convert model FILE.tflite` converts to ONNX. Weights may be float32, float16, int8
or uint8 with scales, and sparse; everything that is computed is float32.

| Operator | ONNX | Options | Restrictions |
| --- | --- | --- | --- |
"""


def tflite_json() -> list[dict[str, Any]]:
    """One entry per operator: name, onnx, options, custom, restrictions."""
    return [
        {
            "name": found.name,
            "onnx": _summary(found),
            "options": _options(found),
            "custom": found.custom,
            "restrictions": found.restrictions,
        }
        for found in registered().values()
    ]


def tflite_markdown() -> str:
    """The section of OPERATORS.md."""
    rows = []
    for found in registered().values():
        options = ", ".join(f"`{name}`" for name in _options(found))
        name = f"`{found.name}`" + (" (custom)" if found.custom else "")
        rows.append(f"| {name} | {_summary(found)} | {options} | {found.restrictions} |\n")
    return _HEAD + "".join(rows)


def _options(found: TfliteConversion) -> list[str]:
    return list(OPTIONS[found.name].fields) if found.name in OPTIONS else []


def _summary(found: TfliteConversion) -> str:
    """The first line of a conversion's docstring."""
    return (found.convert.__doc__ or "").strip().partition("\n")[0]

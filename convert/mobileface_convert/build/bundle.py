"""Packs a folder of models into a wheel that contains nothing else.

::

    mobileface_models-0.1.0-py3-none-any.whl
      mobileface_models/  __init__.py  index.json  NAME.onnx  NAME.certificate.json  NAME.md
                          licenses/MIT.txt
      mobileface_models-0.1.0.dist-info/  METADATA  WHEEL  RECORD  licenses/…

If it is installed, the runtime finds the models without configuration (`mobileface.host.places`).
The wheel is built by hatchling, like the project's own wheel, and is reproducible.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobileface import __version__
from mobileface.errors import ConversionError, ModelError, ModelIntegrityError, OutputError
from mobileface.host.files import (
    check_inside,
    check_sha256,
    is_plain_name,
    reason,
    replacing,
    scratch_folder,
)
from mobileface.host.output_options import OutputFolder
from mobileface.host.places import MODELS_PACKAGE
from mobileface.models.index import INDEX_FILE, IndexEntry, read_index
from mobileface.models.spec import License
from mobileface.models.stored_spec import read_stored_spec

from .cards import LICENSES, license_text

__all__ = ["Bundle", "add_bundle", "make_bundle"]

_DISTRIBUTION = MODELS_PACKAGE.replace("_", "-")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?")
_INIT = '"""Models for mobileface: data only; the runtime finds them automatically."""\n'
_OLDEST_RUNTIME = ".".join(__version__.split(".")[:2])


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-convert bundle``."""
    parser.add_argument(
        "--models", type=Path, required=True, metavar="DIR", help="models folder to pack"
    )
    parser.add_argument(
        "--output", action=OutputFolder, required=True, metavar="DIST", help="folder for the wheel"
    )
    parser.add_argument(
        "--version", default=__version__, help="version of the wheel; default: %(default)s"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    bundle = make_bundle(options.models, options.output, options.version)
    print(f"{bundle.path}: {', '.join(bundle.models)}; {bundle.bytes / 1e6:.2f} MB")
    print(f"licences: {', '.join(bundle.licenses)}")
    return 0


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A wheel of models.

    Attributes:
        path: The wheel.
        models: Names of the models in it.
        licenses: Short names of the models' licences.
        bytes: Size of the wheel.
    """

    path: Path
    models: tuple[str, ...]
    licenses: tuple[str, ...]
    bytes: int


def make_bundle(models: Path, output: Path, version: str = __version__) -> Bundle:
    """Packs every model that a folder's index lists.

    Args:
        models: A models folder.
        output: Folder for the wheel.
        version: Version of the wheel: digits and dots, with an optional PEP 440 suffix.

    Raises:
        ModelError: If the folder has no models, or a file does not match the index.
        ConversionError: If the version is invalid, or the text of a licence is not available.
        OutputError: If the wheel cannot be written.
    """
    if not _VERSION.fullmatch(version):
        raise ConversionError(f"'{version}' is not a version", hint="for example 1.0 or 1.2.post3")
    index = read_index(models)
    if not index:
        raise ModelError(f"no {INDEX_FILE} with models in it", where=str(models))
    with scratch_folder() as temporary:
        project = Path(temporary)
        terms = [_license(models / entry.file) for entry in index.values()]
        names = sorted({term.name for term in terms})
        _copy(models, index, project / MODELS_PACKAGE)
        for name in sorted({term.text_name for term in terms}):
            text = _license_text(models, name)
            _write(project / MODELS_PACKAGE / LICENSES / f"{name}.txt", text)
        _write(project / "README.md", _readme(index))
        _write(project / "pyproject.toml", _pyproject(version, names))
        wheel = _build(project, output)
    return Bundle(wheel, tuple(sorted(index)), tuple(names), wheel.stat().st_size)


def _copy(models: Path, index: dict[str, IndexEntry], target: Path) -> None:
    """Copies the index, the files that it lists and the model cards; checks the hashes."""
    _write(target / "__init__.py", _INIT)
    names = {INDEX_FILE}
    for name, entry in index.items():
        for file, sha256 in _files(dataclasses.asdict(entry)):
            names.add(file)
            if sha256 is not None:
                check_sha256(models / file, sha256)
        if (models / f"{name}.md").is_file():
            names.add(f"{name}.md")
    for file in sorted(names):
        check_inside(models / file, models)
        try:
            shutil.copyfile(models / file, target / file)
        except OSError as error:
            raise ModelIntegrityError(
                f"cannot be read ({reason(error)})", where=str(models / file)
            ) from error


def _files(record: Any) -> Iterator[tuple[str, str | None]]:
    """All files in an index entry, at any depth, with their hash; None for certificates."""
    if isinstance(record, dict):
        if isinstance(record.get("file"), str):
            yield record["file"], record.get("sha256")
        if isinstance(record.get("certificate"), str):
            yield record["certificate"], None
        for value in record.values():
            yield from _files(value)
    elif isinstance(record, (list, tuple)):
        for value in record:
            yield from _files(value)


def _license(model: Path) -> License:
    """The licence in a model's spec."""
    terms = read_stored_spec(model).license
    if not is_plain_name(terms.text_name):
        raise ModelError(
            f"the licence {terms.text_name!r} cannot be the name of a file",
            where=str(model),
            hint="use its SPDX identifier, such as MIT",
        )
    return terms


def _license_text(models: Path, name: str) -> str:
    """The text of a licence, from the models folder or otherwise from this package."""
    own = models / LICENSES / f"{name}.txt"
    check_inside(own.parent, models)
    check_inside(own, models)
    return _text(own) if own.is_file() else license_text(name)


def _text(path: Path) -> str:
    """The text of a file.

    Raises:
        ModelError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read ({reason(error)})", where=str(path)) from error


def _readme(index: dict[str, IndexEntry]) -> str:
    lines = ["# Models for mobileface", "", "Data only. `mobileface models` lists them.", ""]
    lines += [f"- {name}: {index[name].task}, {index[name].bytes:,} bytes" for name in index]
    return "\n".join(lines) + "\n"


def _pyproject(version: str, licenses: list[str]) -> str:
    """The wheel's pyproject.toml; JSON strings are valid TOML strings."""
    facts = {
        "name": _DISTRIBUTION,
        "version": version,
        "description": "Models for mobileface",
        "readme": "README.md",
        "requires-python": ">=3.10",
        "license": " AND ".join(_expression(name) for name in licenses),
        "license-files": [f"{MODELS_PACKAGE}/{LICENSES}/*.txt"],
        "dependencies": [f"mobileface>={_OLDEST_RUNTIME}"],
    }
    lines = [
        "[build-system]",
        'requires = ["hatchling"]',
        'build-backend = "hatchling.build"',
        "[project]",
        *(f"{field} = {json.dumps(value)}" for field, value in facts.items()),
        "[tool.hatch.build.targets.wheel]",
        'core-metadata-version = "2.4"',  # the first with licence files; newer ones break old tools
        f'packages = ["{MODELS_PACKAGE}"]',
        "ignore-vcs = true",
    ]
    return "\n".join(lines) + "\n"


def _expression(name: str) -> str:
    """A licence as an SPDX expression; ``LicenseRef-…`` if SPDX does not list it."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        return f"LicenseRef-{re.sub('[^A-Za-z0-9.]', '-', name)}"


def _build(project: Path, output: Path) -> Path:
    """Builds the wheel and copies it to the output folder."""
    from hatchling.builders.wheel import WheelBuilder  # only needed by this command

    with scratch_folder() as folder:
        built = Path(next(WheelBuilder(str(project)).build(directory=folder)))
        target = output / built.name
        with replacing(target) as temporary:
            shutil.copyfile(built, temporary)
    return target


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot be written ({reason(error)})", where=str(path)) from error

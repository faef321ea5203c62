"""Converts several recipes, each from its own source, and prints the results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobileface.errors import SourceError, SourceIntegrityError

from ..oracles.verify import Agreement
from ..recipes.recipe import Recipe, Upstream
from ..sources.files import (
    ConsoleProgress,
    DirectorySource,
    DownloadSource,
    Source,
    open_source,
)
from ..sources.packages import PackageSource
from .pipeline import Artefact, convert
from .variants import Plan

__all__ = ["LOCAL_ADVICE", "agreement_text", "convert_recipes", "open_upstream"]

LOCAL_ADVICE = "the recipe pins this file by its hash: put the file there that it was written for"
"""What to do about a file that an adopted model's recipe names."""


def convert_recipes(
    recipes: Sequence[Recipe],
    folder: Path,
    *,
    location: str | None = None,
    complete: bool,
    verify: bool = True,
    plan: Plan | None = None,
) -> list[Artefact]:
    """Converts recipes into a folder and prints a line for each.

    Args:
        recipes: The recipes to convert.
        folder: The models folder.
        location: Folder or address of the upstream repository; the default is that of
            `open_source`. Not needed for files from installed packages.
        complete: Raise an error if a model's files are missing. Otherwise the model is skipped
            with a message, unless its files come from a download.
        verify: Same as for `pipeline.convert`.
        plan: Same as for `pipeline.convert`.

    Raises:
        SourceError: If files are missing, or no model could be converted.
        ConversionError: If a conversion fails.
    """
    sources: dict[Upstream, Source | None] = {}
    converted = []
    for recipe in recipes:
        if recipe.upstream not in sources:
            sources[recipe.upstream] = open_upstream(recipe.upstream, location)
        source = sources[recipe.upstream]
        start = time.perf_counter()
        try:
            artefact = convert(recipe, source, folder, verify=verify, plan=plan)
        except SourceIntegrityError:
            raise
        except SourceError as error:
            if complete or isinstance(source, DownloadSource):
                raise
            print(f"{recipe.name}: skipped, {error.what}", flush=True)
            continue
        converted.append(artefact)
        print(
            f"{artefact.name}: {artefact.nodes} nodes, {artefact.bytes / 1e6:.3f} MB, "
            f"{time.perf_counter() - start:.1f} s, {agreement_text(artefact.agreement)}",
            flush=True,
        )
        for line in _variant_lines(artefact):
            print(line, flush=True)
    if not converted:
        raise SourceError("the source has the files of none of the models", where=str(location))
    return converted


def agreement_text(agreement: Agreement | None) -> str:
    """The comparison of a model with its reference, in one line."""
    if agreement is None:
        return "not verified"
    return (
        f"max abs error {agreement.max_abs_error:.2g} of {agreement.scale:.3g}, "
        f"min cosine {agreement.min_cosine:.9f} against {agreement.oracle}"
    )


def _variant_lines(artefact: Artefact) -> Iterator[str]:
    """A line for each variant that was built, and for each that could not be built."""
    for built in artefact.built:
        line = f"  {built.name}: {len(built.content) / 1e6:.3f} MB, {built.nodes} nodes"
        if "verification_fp32" in built.facts:
            agreement, _, images = built.facts["verification_fp32"]
            count = f"{len(images.paths)} other" if images else "generated"
            line += (
                f", compared with fp32 on {count} images: max abs error "
                f"{agreement.max_abs_error:.2g} of {agreement.scale:.3g}, "
                f"mean cosine {agreement.mean_cosine:.6f}, min cosine {agreement.min_cosine:.6f}"
            )
        yield line
    for skipped in artefact.refused:
        if not skipped.expected:
            yield f"  {skipped.name} not built: {skipped.reason}"


def open_upstream(upstream: Upstream, location: str | None) -> Source | None:
    """Opens the source of an upstream's files and prints it; None if the upstream has no files.

    Args:
        upstream: The upstream.
        location: Same as for `convert_recipes`.

    Raises:
        SourceError: If the source does not exist or the location is invalid.
    """
    source: Source
    if upstream.folder is not None:
        source = DirectorySource(upstream.folder, advice=LOCAL_ADVICE)
    elif upstream.package is not None:
        source = PackageSource(upstream.package, upstream.extra or "", upstream.pinned)
    elif upstream.commit is not None:
        source = open_source(
            location,
            repository=upstream.repository,
            commit=upstream.commit,
            progress=ConsoleProgress(),
        )
    else:
        return None
    print(f"source: {source.describe()}", flush=True)
    return source

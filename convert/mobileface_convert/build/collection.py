"""Converts several recipes, each from its own place, and says how it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobileface.errors import SourceError, SourceIntegrityError

from ..oracles.verify import Agreement
from ..recipes.recipe import Recipe, Upstream
from ..sources.files import ConsoleProgress, DownloadSource, Source, open_source
from ..sources.packages import PackageSource
from .pipeline import Artefact, convert
from .variants import Plan

__all__ = ["agreement_text", "convert_recipes", "open_upstream"]


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
        recipes: What to make.
        folder: Where the models go.
        location: Folder or address of the upstream repository; by default as `open_source` says.
            Files that installed packages carry are found without it.
        complete: Raise if a model's files are absent; otherwise it is left out, unless they should
            have been downloaded.
        verify: As `pipeline.convert` takes it.
        plan: As `pipeline.convert` takes it.

    Raises:
        SourceError: Files are absent, or none of the models could be made.
        ConversionError: As `pipeline.convert`.
    """
    sources: dict[Upstream, Source | None] = {}
    made = []
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
        made.append(artefact)
        print(
            f"{artefact.name}: {artefact.nodes} nodes, {artefact.bytes / 1e6:.3f} MB, "
            f"{time.perf_counter() - start:.1f} s, {agreement_text(artefact.agreement)}",
            flush=True,
        )
        for line in _variant_lines(artefact):
            print(line, flush=True)
    if not made:
        raise SourceError("none of the models can be made from it", where=str(location))
    return made


def agreement_text(agreement: Agreement | None) -> str:
    """How a model compares with its oracle, in one line."""
    if agreement is None:
        return "not verified"
    return (
        f"max abs error {agreement.max_abs_error:.2g} of {agreement.scale:.3g}, "
        f"min cosine {agreement.min_cosine:.9f} against {agreement.oracle}"
    )


def _variant_lines(artefact: Artefact) -> Iterator[str]:
    """A line for each variant that was made, and for each that could not be."""
    for made in artefact.made:
        line = f"  {made.name}: {len(made.content) / 1e6:.3f} MB, {made.nodes} nodes"
        if "verification_fp32" in made.facts:
            agreement, _, pictures = made.facts["verification_fp32"]
            count = f"{len(pictures.paths)} other" if pictures else "generated"
            line += (
                f", to fp32 on {count} pictures: max abs error {agreement.max_abs_error:.2g} of "
                f"{agreement.scale:.3g}, cosine {agreement.mean_cosine:.6f} in the mean, "
                f"{agreement.min_cosine:.6f} at least"
            )
        yield line
    for refused in artefact.refused:
        if not refused.expected:
            yield f"  {refused.name} not made: {refused.reason}"


def open_upstream(upstream: Upstream, location: str | None) -> Source | None:
    """Where an upstream's files come from, which is said; None if it has none.

    Args:
        upstream: The upstream.
        location: As `convert_recipes` takes it.

    Raises:
        SourceError: There is no such place.
    """
    source: Source
    if upstream.package is not None:
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

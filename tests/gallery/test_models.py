"""Galleries with MobileFace's own models, on real faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mobileface import load_embedder, read_image
from mobileface.errors import InputError
from mobileface.gallery import Enroller, Gallery, NewFace, Stamp, migrate
from mobileface.tasks.embedding import Embedder
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

pytestmark = pytest.mark.needs_source

OWN = ("identification_v1", "identification_v2", "identification_v3")
RANK_1 = {
    "identification_v1": 64,
    "identification_v2": 47,
    "identification_v3": 39,
    "embedding_dlib": 79,
}
"""Number of correct rank-1 matches for 100 people, on crops aligned for V1."""


@pytest.fixture(scope="module")
def models(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in OWN:
        convert(load_recipe(name), DirectorySource(source), folder, verify=False)
    return folder


@pytest.fixture(scope="module")
def pairs(source: Path) -> list[tuple[str, Path, Path]]:
    """Name and two crops of each of the 100 people of LFW-Aligned-100Pair."""
    folder = source / "data" / "LFW-Aligned-100Pair"
    people = sorted(path for path in folder.iterdir() if path.is_dir())
    return [(person.name, *sorted(person.glob("*.jpg"))[:2]) for person in people]


@pytest.fixture(params=RANK_1)
def embedder(request: pytest.FixtureRequest, models: Path) -> Embedder:
    return load_embedder(request.param, models=models)


@pytest.fixture
def gallery(tmp_path: Path, embedder: Embedder) -> Iterator[Gallery]:
    with Gallery.create(tmp_path / "lfw.gallery", Stamp.of(embedder)) as made:
        yield made


def test_rank_1_is_that_of_brute_force(
    gallery: Gallery, embedder: Embedder, pairs: list[tuple[str, Path, Path]]
) -> None:
    """The first image of each person is enrolled, the second is searched."""
    enroller = Enroller(gallery, embedder)
    for name, first, _ in pairs:
        done = enroller.enrol(name, [first])
        assert (len(done.faces), done.refused) == (1, ())
    enrolled, asked = (
        embedder.embed([read_image(pair[side]) for pair in pairs]) for side in (1, 2)
    )
    products = asked.astype(np.float64) @ enrolled.T.astype(np.float64)
    found = gallery.search(asked, top=5)
    order = np.argsort(-products, axis=1)[:, :5]
    error = 0.0
    for row, result, best in zip(products, found, order, strict=True):
        assert [match.name for match in result.matches] == [pairs[number][0] for number in best]
        similar = [match.similarity for match in result.matches]
        error = max(error, float(np.abs(similar - row[best]).max()))
    hits = sum(result.matches[0].name == pair[0] for result, pair in zip(found, pairs, strict=True))
    print(f"{embedder.name}: rank 1 {hits} of {len(pairs)}; similarity error {error:.2g}")
    assert error < 1e-6  # enrolment embeds single crops, the reference a batch
    assert hits == (products.argmax(axis=1) == np.arange(len(pairs))).sum()
    assert abs(hits - RANK_1[embedder.name]) <= 1


@pytest.fixture
def enrolled(
    tmp_path: Path, models: Path, pairs: list[tuple[str, Path, Path]]
) -> Iterator[Gallery]:
    """Both images of forty people, embedded by V2."""
    embedder = load_embedder("identification_v2", models=models)
    with Gallery.create(tmp_path / "v2.gallery", Stamp.of(embedder)) as gallery:
        enroller = Enroller(gallery, embedder)
        for name, *files in pairs[:40]:
            enroller.enrol(name, files)
        yield gallery


def test_migration(enrolled: Gallery, models: Path, pairs: list[tuple[str, Path, Path]]) -> None:
    """Migration from V2 to V3, interrupted once, embeds the stored crops."""
    target = load_embedder("identification_v3", models=models)

    def stop(done: int, total: int) -> None:
        assert total == 80
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(enrolled, target, step=stop)
    before = load_embedder("identification_v2", models=models)
    assert enrolled.stamp.model == before.identity  # still the old model
    probes = [read_image(second) for _, _, second in pairs[:40]]
    assert enrolled.search(before.embed(probes[:1]))[0].matches[0].name == pairs[0][0]
    report = migrate(enrolled, target)
    print(report)
    assert (report.faces, report.resumed, report.dropped, report.compared) == (80, 32, 0, 80)
    names, files = zip(*((name, file) for name, *two in pairs[:40] for file in two), strict=True)
    nearest = []
    for model in (before, target):
        vectors = model.embed([read_image(file) for file in files])
        products = vectors @ vectors.T
        np.fill_diagonal(products, -1)
        nearest.append([names[number] for number in products.argmax(axis=1)])
    changed = sum(a != b for a, b in zip(*nearest, strict=True))
    assert abs(report.changed - changed) <= 2  # JPEG moves a near tie
    assert report.changed > 0
    with Gallery.open(enrolled.path, model=target.identity) as gallery:
        gallery.check()
        assert gallery.search(target.embed(probes[:1]))[0].matches[0].name == pairs[0][0]
        cosines = [
            float(record.face.embedding @ target.embed(read_image(file))[0])
            for name, *two in pairs[:40]
            for record, file in zip(gallery.faces(name), two, strict=True)
        ]
    print(f"minimum cosine to the embedding of the original image {min(cosines):.5f}")
    assert min(cosines) > 0.99
    with pytest.raises(InputError, match=r"already belongs to identification_v3"):
        migrate(enrolled, target)


def test_impossible_migrations(enrolled: Gallery, models: Path) -> None:
    """Without suitable crops, migration fails and changes nothing, or drops faces on request."""
    v1, v3 = (load_embedder(name, models=models) for name in (OWN[0], OWN[2]))
    with pytest.raises(InputError, match=r"80 faces cannot be .* crop of 'arcface'"):
        migrate(enrolled, v1)
    vector = next(enrolled.faces("Aaron_Peirsol")).face.embedding
    enrolled.add("without a crop", [NewFace(vector)])
    with pytest.raises(InputError, match=r"1 faces cannot be .*no crop is stored"):
        migrate(enrolled, v3)
    assert len(enrolled) == 41
    report = migrate(enrolled, v3, drop_failed=True)
    assert (report.faces, report.dropped) == (80, 1)
    assert len(enrolled) == 40

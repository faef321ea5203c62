"""Galleries: enrol people, then identify them in images and videos (1:N identification).

A gallery is one SQLite file that records which model computed its embeddings; see docs/gallery.md.

>>> from mobileface.gallery import Enroller, Gallery, Stamp
>>> gallery = Gallery.create("people.gallery", Stamp.of(embedder))     # doctest: +SKIP
>>> Enroller(gallery, analyzer).enrol("Ann", ["ann.jpg"])              # doctest: +SKIP
>>> gallery.search(embedder.embed(crop))[0].name                       # doctest: +SKIP
'Ann'
"""

from __future__ import annotations

from .backup import backup
from .enrol import Enroller
from .enrolment import EnrolledImage, Enrolment, Lookalike
from .entries import (
    FaceRecord,
    Identification,
    Match,
    MergedPerson,
    Merger,
    NewFace,
    Person,
    Removal,
)
from .gallery import Gallery
from .integrity import DamagedFace, find_damaged, repair
from .migrate import MigrationReport, migrate
from .quality import QualityLimits
from .recall import RecallReport, measure_recall, probes_like
from .stamp import Stamp
from .transfer import Imported, export_gallery, import_faces

__all__ = [
    "DamagedFace",
    "EnrolledImage",
    "Enroller",
    "Enrolment",
    "FaceRecord",
    "Gallery",
    "Identification",
    "Imported",
    "Lookalike",
    "Match",
    "MergedPerson",
    "Merger",
    "MigrationReport",
    "NewFace",
    "Person",
    "QualityLimits",
    "RecallReport",
    "Removal",
    "Stamp",
    "backup",
    "export_gallery",
    "find_damaged",
    "import_faces",
    "measure_recall",
    "migrate",
    "probes_like",
    "repair",
]

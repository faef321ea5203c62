"""The commands of ``mobileface gallery`` about people.

They are ``create | add | add-folder | remove | rename | merge | list | stats | calibrate``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..analyzer import FaceAnalyzer
from ..errors import InputError, ModelNotFoundError
from ..gallery import (
    Enroller,
    Enrolment,
    Gallery,
    QualityLimits,
    Stamp,
    find_damaged,
    measure_recall,
    probes_like,
    repair,
)
from ..gallery.erasing import require_absent
from ..gallery.integrity import require_intact
from ..tasks.loading import load_embedder
from .gallery_access import (
    Steps,
    calibration_of,
    engine_of,
    gallery_path,
    make_analyzer,
    make_worker,
    open_gallery,
    read_key,
)
from .inputs import find_pictures
from .output import print_json, print_text, say_chosen
from .progress import Progress

__all__ = [
    "run_add",
    "run_add_folder",
    "run_calibrate",
    "run_create",
    "run_list",
    "run_merge",
    "run_remove",
    "run_rename",
    "run_stats",
]


def run_create(options: argparse.Namespace) -> int:
    """Creates an empty gallery for the given model, or the preferred one."""
    path = gallery_path(options)
    require_absent(path)  # before models are loaded
    key = read_key(options) if options.encrypt else None
    if options.encrypt and key is None:
        raise InputError(
            "no key for the encryption", hint="pass --key-file, or set MOBILEFACE_GALLERY_KEY"
        )
    if options.embedder is None:  # the preferred one that the available landmarks allow
        embedder = FaceAnalyzer(options.models, detector=options.detector).embedder
        if embedder is None:
            raise ModelNotFoundError("no usable identification model found")
    else:
        embedder = load_embedder(options.embedder, models=options.models)
    stamp = Stamp.of(
        embedder,
        storage="float16" if options.float16 else "float32",
        keeps_crops=not options.no_crops,
        calibration=calibration_of(embedder.identity, options),
    )
    with Gallery.create(path, stamp, key=key) as gallery:
        _print_stamp(gallery, options.json)
    return 0


def run_add(options: argparse.Namespace) -> int:
    """Enrols images of one person."""
    paths = find_pictures(options.images)
    with open_gallery(options) as gallery:
        done = _enroller(options, gallery).enrol(options.name, paths, face=options.face)
        _report(done, options.json)
    return 2 if done.refused else 0


def run_add_folder(options: argparse.Namespace) -> int:
    """Enrols each subfolder as one person; images that are already enrolled are skipped."""
    if not options.folder.is_dir():
        raise InputError("not a folder", where=str(options.folder))
    people = [
        folder
        for folder in sorted(options.folder.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    ]
    if not people:
        raise InputError("no subfolders found", where=str(options.folder))
    failed = False
    with open_gallery(options) as gallery:
        enroller = _enroller(options, gallery)
        progress = Progress(len(people), "people")
        for folder in people:
            try:
                paths = find_pictures([str(folder)])
                done = enroller.enrol(folder.name, paths, face=options.face)
            except InputError as error:  # of this person alone; the others follow
                failed = True
                print(f"mobileface: error: {_at(error, folder)}", file=sys.stderr)
            else:
                failed = failed or bool(done.refused)
                _report(done, options.json)
            progress.step()
        progress.end()
    return 2 if failed else 0


def run_remove(options: argparse.Namespace) -> int:
    """Removes a person, or some of the person's faces."""
    with open_gallery(options) as gallery:
        done = gallery.remove(options.name, faces=options.face)
    if options.json:
        print_json({"name": options.name, **asdict(done)})
    else:
        print_text(f"{options.name}: {_count(done.faces, 'face')} removed")
    if not done.erased:
        _say_delayed()
    return 0


def run_rename(options: argparse.Namespace) -> int:
    """Renames a person."""
    with open_gallery(options) as gallery:
        gallery.rename(options.name, options.new)
    if options.json:
        print_json({"name": options.new})
    return 0


def run_merge(options: argparse.Namespace) -> int:
    """Moves the faces of one person to another."""
    with open_gallery(options) as gallery:
        done = gallery.merge(options.name, options.into)
    if options.json:
        print_json({"name": options.into, **asdict(done)})
    else:
        dropped = f", {done.dropped} of the same files removed" if done.dropped else ""
        print_text(f"{options.into}: {_count(done.moved, 'face')} of {options.name}{dropped}")
    if not done.erased:
        _say_delayed()
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Lists the enrolled people, or the faces of one person."""
    with open_gallery(options) as gallery:
        if options.name is not None:
            rows = [record.to_dict() for record in gallery.faces(options.name)]
            if options.json:
                print_json({"name": options.name, "faces": rows})
            for row in () if options.json else rows:
                quality = "  ".join(f"{key} {value:g}" for key, value in row["quality"].items())
                print_text(f"{row['face_id']:>8}  {row['source'] or ''}  {quality}")
            return 0
        people = gallery.people()
    if options.json:
        print_json({"people": [asdict(person) for person in people]})
    for person in () if options.json else people:
        print_text(f"{person.faces:>5}  {person.name}")
    return 0


def run_stats(options: argparse.Namespace) -> int:
    """Prints the size and the model of a gallery, and the recall of a search engine."""
    engine = engine_of(options)
    with open_gallery(options) as gallery:
        checked: dict[str, Any] = {}
        if options.repair:
            repaired, lost = repair(
                gallery, make_worker(options, gallery), step=Steps("damaged faces")
            )
            checked = {"repaired": [asdict(face) for face in repaired]}
            for face in () if options.json else repaired:
                print_text(f"embedded again: {face.named}")
        else:
            lost = find_damaged(gallery) if options.check else []
        for face in lost:
            print(f"mobileface: damaged: {face}", file=sys.stderr)
        if options.check or options.repair:
            gallery.check()
            checked |= {"damaged": [asdict(face) for face in lost], "intact": not lost}
        numbers: dict[str, Any] = gallery.stats()
        if engine is not None:
            probes = probes_like(gallery, options.probes)
            numbers["recall"] = asdict(measure_recall(gallery, engine, probes))
        _print_stamp(gallery, options.json, {**numbers, **checked})
        require_intact(lost, str(gallery.path))
    return 0


def run_calibrate(options: argparse.Namespace) -> int:
    """Stores a calibration of the gallery's model in the gallery."""
    with open_gallery(options) as gallery:
        calibration = calibration_of(gallery.stamp.model, options)
        if calibration is None:
            raise ModelNotFoundError(
                f"no calibration of {gallery.stamp.model} found",
                hint="create one with 'mobileface-eval calibrate'",
            )
        gallery.set_calibration(calibration)
        _print_stamp(gallery, options.json)
    return 0


def _say_delayed() -> None:
    print(
        "mobileface: the removed data is still in the gallery's log: another process reads an "
        "older state, or the disk is full; it is erased as soon as neither holds",
        file=sys.stderr,
    )


def _at(error: InputError, folder: Path) -> str:
    """The error with the folder it is about, if it does not say."""
    return str(error) if error.where else f"{folder}: {error}"


def _enroller(options: argparse.Namespace, gallery: Gallery) -> Enroller:
    if options.crops and options.face is not None:
        raise InputError("--face is for photos; with --crops each image is one face")
    defaults = QualityLimits(**({"face_size": 0.0} if options.crops else {}))
    given = {
        "face_size": options.min_face,
        "sharpness": options.min_sharpness,
        "frontality": options.min_frontality,
        "roll": options.max_roll,
    }
    values = {
        name: getattr(defaults, name) if value is None else value for name, value in given.items()
    }
    analyzer = make_analyzer(options, gallery)
    return Enroller(gallery, analyzer, limits=QualityLimits(**values), option="--face")


def _report(done: Enrolment, as_json: bool) -> None:
    """Prints the result of enrolling one person."""
    for error in done.refused:
        print(f"mobileface: error: {error}", file=sys.stderr)
    for image in done.images:
        if image.faces > 1 and image.bbox is not None:
            say_chosen(image.file, image.faces, image.bbox)
    for other in done.lookalikes:
        print(f"mobileface: warning: {other}", file=sys.stderr)
    if as_json:
        print_json(done.to_dict())
        return
    parts = [f"{_count(len(done.faces), 'face')} enrolled"]
    if done.known:
        parts.append(f"{len(done.known)} already enrolled")
    if done.refused:
        parts.append(f"{len(done.refused)} rejected")
    print_text(f"{done.name}: {', '.join(parts)}")


def _print_stamp(gallery: Gallery, as_json: bool, numbers: dict[str, Any] | None = None) -> None:
    """Prints the model stamp of a gallery, and its statistics."""
    values = gallery.stamp.to_dict()
    calibration = values["calibration"] and {
        name: values["calibration"][name] for name in ("basis", "lowest_false_match_rate")
    }
    document = {"file": str(gallery.path), **values, "calibration": calibration, **(numbers or {})}
    if as_json:
        print_json(document)
        return
    stamp = gallery.stamp
    rows = [
        ("model", stamp.model),
        ("SHA-256", stamp.model_sha256),
        ("input", f"crop '{stamp.crop}', {stamp.height}×{stamp.width} {stamp.color}"),
        ("stored", f"{stamp.size} × {stamp.storage}, {'' if stamp.keeps_crops else 'no '}crops"),
        ("calibration", str(calibration["basis"]["data"]) if calibration else "none"),
        ("created", f"{stamp.created} by {stamp.software}"),
    ]
    lists = {"damaged", "repaired"}
    rows += [
        (name, str(len(value) if name in lists else value))
        for name, value in (numbers or {}).items()
        if name != "recall"
    ]
    recall = (numbers or {}).get("recall")
    if recall is not None:
        times = (
            f"{recall['seconds'] * 1e3:.2f} ms per probe, exact search "
            f"{recall['exact_seconds'] * 1e3:.2f}"
        )
        rows.append(
            (recall["engine"], f"recall@{recall['top']} {recall['recall']:.4f}, {times} ms")
        )
    print_text(str(gallery.path))
    for name, value in rows:
        print_text(f"  {name:<14} {value}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

"""``mobileface swap``: puts the face of a photo onto faces of photos and videos.

What is written says so in its metadata, unless ``--no-mark`` is passed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..analyzer import FaceAnalyzer
from ..effects.mesh_faces import MESH_MODELS, MESH_TASKS, check_mesh_face, sorted_out
from ..effects.swap import MARK, FaceSwapper
from ..errors import InputError
from ..tasks.face_choice import CHOICES, check_choice, chosen_faces
from ..tracking.mesh_follower import MeshFollower
from ..types import Face
from ..vision.comments import holds_comment
from ..vision.image import Image
from ..vision.picture_files import read_image
from ..vision.video import VideoReader, is_video
from .faces import write_picture
from .inputs import ImageFiles
from .mesh_choice import accepted_faces, add_detect_every
from .options import (
    add_detector_options,
    add_face_choice,
    add_model_choice,
    add_models_folder,
    detector_options,
)
from .output import print_text
from .progress import Progress
from .rewriting import add_rewritten, planned_outputs, rewrite_video

__all__ = ["add_swap"]


def add_swap(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface swap``."""
    add_rewritten(parser)
    add = parser.add_argument
    add(
        "--face",
        type=Path,
        required=True,
        dest="source",
        metavar="SOURCE",
        help="photo with the face that is put onto others",
    )
    add_face_choice(add, "SOURCE must have one", name="--source-face")
    add(
        "--to",
        type=_targets,
        metavar="CHOICE",
        help=f"faces to replace: all, {CHOICES}; in a video as they are in the first frame with a "
        "face; default: the target must have one",
    )
    add_detect_every(parser)
    add("--no-mark", action="store_true", help="do not say in the metadata that a face was swapped")
    add_models_folder(parser)
    add_model_choice(parser, "detector")
    add_detector_options(parser)
    parser.set_defaults(run=run_swap)


def _targets(text: str) -> str:
    if text.strip().lower() == "all":
        return "all"
    try:
        return check_choice(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_swap(options: argparse.Namespace) -> int:
    """Swaps the faces of images and videos."""
    targets = planned_outputs(options, also=[options.source])
    comment = "" if options.no_mark else MARK
    for target in targets.values():
        if comment and not holds_comment(target):
            raise InputError(
                f"'{target.suffix}' files have no place for the note that a face was swapped",
                where=str(target),
                hint="write PNG, JPEG, MP4 or MOV, or pass --no-mark",
            )
    analyzer = FaceAnalyzer(
        options.models,
        MESH_TASKS,
        detector=options.detector,
        **MESH_MODELS,
        **detector_options(options),
    )
    MeshFollower(analyzer, detect_every=options.detect_every)  # refuses what is out of range
    source = read_image(options.source)
    where = str(options.source)
    faces = chosen_faces(analyzer(source), options.face, where, "--source-face")
    check_mesh_face(faces[0], where)
    swapper = FaceSwapper(source, faces[0])
    code = _swap_pictures(targets, analyzer, swapper, options.to, comment)
    for path in filter(is_video, targets):
        video = _SwappedVideo(path, analyzer, swapper, options.to, options.detect_every)
        try:
            video.choose()
        except InputError as error:
            code = _report(error)
            continue
        interrupted = video.write(targets[path], comment)
        if interrupted:
            return interrupted
    return code


def _swap_pictures(
    targets: Mapping[Path, Path],
    analyzer: FaceAnalyzer,
    swapper: FaceSwapper,
    choice: str | None,
    comment: str,
) -> int:
    """Swaps the faces of the images; returns the exit code."""
    files, code = ImageFiles([path for path in targets if not is_video(path)]), 0
    for path, image in files:
        try:
            faces = chosen_faces(analyzer(image), choice, str(path), "--to")
            faces = accepted_faces(faces, str(path))
        except InputError as error:
            code = _report(error)
            continue
        write_picture(targets[path], swapper(image, faces), comment=comment)
        print_text(f"{targets[path]} ({_count(len(faces), 'face')} swapped)")
    return 2 if files.failed else code


class _SwappedVideo:
    """One video whose faces are swapped."""

    def __init__(
        self,
        path: Path,
        analyzer: FaceAnalyzer,
        swapper: FaceSwapper,
        choice: str | None,
        detect_every: int,
    ) -> None:
        self._path, self._analyzer, self._swapper = path, analyzer, swapper
        self._choice, self._every = choice, detect_every
        self._tracks: set[int] | None = None
        self._swapped = 0

    def choose(self) -> None:
        """Chooses the faces in the first frame in which one can be swapped.

        Raises:
            InputError: If there is none in the whole video, or the choice does not fit.
        """
        reason = InputError("no face found", where=str(self._path))
        with VideoReader(self._path) as video:
            progress = Progress(video.count, "frames searched")
            for found in self._followed(video):
                progress.step()
                left, errors = sorted_out(found.values(), str(self._path))
                if not left:
                    reason = errors[0] if errors else reason
                    continue
                progress.end()
                faces = chosen_faces(list(found.values()), self._choice, str(self._path), "--to")
                if self._choice != "all":
                    check_mesh_face(faces[0], str(self._path))
                    self._tracks = {n for n, face in found.items() if face is faces[0]}
                return
            progress.end()
        raise reason

    def write(self, target: Path, comment: str) -> int:
        """Writes the video; returns the exit code of an interruption, otherwise 0."""
        with VideoReader(self._path) as video:
            frames = self._frames(video)
            return rewrite_video(
                video, self._path, target, frames, comment=comment, note=self._note
            )

    def _followed(self, video: VideoReader) -> Iterator[dict[int, Face]]:
        follow = MeshFollower(self._analyzer, detect_every=self._every)
        return (follow(image, time) for _, time, image in video.frames())

    def _frames(self, video: VideoReader) -> Iterator[tuple[Image, float]]:
        follow = MeshFollower(self._analyzer, detect_every=self._every)
        for _, time, image in video.frames():
            found = follow(image, time)
            faces = [f for n, f in found.items() if self._tracks is None or n in self._tracks]
            faces, _ = sorted_out(faces, str(self._path))
            self._swapped += bool(faces)
            yield (self._swapper(image, faces) if faces else image), time

    def _note(self) -> str:
        return f"a face swapped in {_count(self._swapped, 'frame')}"


def _report(error: InputError) -> int:
    print(f"mobileface: error: {error}", file=sys.stderr)
    return 2


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

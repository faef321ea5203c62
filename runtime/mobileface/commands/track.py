"""``mobileface track``: tracks the faces of a video or camera.

``--tracks`` writes JSON lines: a header, then one line per frame, then a summary::

    {"schema": 1, "video": "in.mp4", "width": 1280, "height": 720, "fps": 25.0,
     "models": {"detection": ["detection_hog"], …}}
    {"frame": 0, "time": 0.0, "detected": true, "faces": [
        {"track_id": 1, "bbox": […], "det_score": 2.1, "kps": […], "kps_names": […],
         "measured": ["bbox", "det_score", "kps", "embedding"], "predicted": [], "kept": []}]}
    {"summary": {"frames": 141, "broken": 0, "detections": 47, "tracks": 6, "complete": true,
                 "seconds": {"detection": …, "tracking": …, "tasks": …}}}

With ``--gallery``, the header contains ``gallery`` (``file``, ``model`` and the ``rule`` with its
threshold and error rates, null if there is none), and each face has an ``identity`` as
``mobileface gallery search --json`` prints it, or null without an embedding.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..host.ending import held
from ..host.output_options import OutputFile
from ..tasks.drawing import draw_faces
from ..tasks.records import face_values
from ..tracking.follower import FaceFollower, FollowedFace, FollowedFrame
from ..tracking.tracker import Confirmation
from ..vision.draw import plain_text, write_note
from ..vision.image import Image
from ..vision.video import VideoReader, VideoWriter
from ..vision.video_source import is_url, shown_url, source_place
from .faces import report_damaged
from .json_lines import JsonLines
from .options import (
    RenamedOption,
    add_detector_options,
    add_gallery_options,
    add_model_choice,
    add_models_folder,
    add_precision,
    add_thresholds,
    chosen_models,
    detector_options,
    thresholds_given,
)
from .output import print_text, say_interrupted
from .progress import Progress

if TYPE_CHECKING:
    from ..gallery import Identification
    from ..gallery.track_names import TrackNames

    People = Mapping[int, Identification] | None

__all__ = ["add_track"]


def add_track(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface track``."""
    add = parser.add_argument
    add("video", metavar="VIDEO", help="video file, index of a camera, or URL of a stream")
    add(
        "--output",
        action=OutputFile,
        metavar="OUT.mp4",
        help="write the annotated video to this file",
    )
    add("--tracks", action=OutputFile, metavar="OUT.jsonl", help="write one JSON line per frame")
    add("--tasks", nargs="+", metavar="TASK", help="run only these tasks; default: all available")
    add(
        "--detect-every",
        "--every",
        type=detect_every,
        default=1,
        metavar="N",
        help="run the detector on every Nth frame, or with 'auto' only when necessary; default: 1",
    )
    add("--max-cpu-fps", type=float, metavar="N", help="maximum detections per second of video")
    add("--show-fps", action="store_true", help="draw the frame rate on the video")
    _add_tracker(parser)
    add("--embeddings", action="store_true", help="include embeddings in the output of --tracks")
    add("--limit", type=int, metavar="N", help="stop after N frames")
    add_models_folder(parser)
    add_model_choice(parser, "detector", "landmarks", "embedder")
    add_detector_options(parser)
    add_precision(parser)
    add_gallery_options(parser, "identify the faces with this gallery")
    add_thresholds(add)
    add(
        "--name-threshold",
        dest="threshold",
        type=float,
        action=RenamedOption,
        help=argparse.SUPPRESS,
    )
    parser.set_defaults(run=run_track)


def _add_tracker(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the tracker itself."""
    add = parser.add_argument
    add(
        "--max-age",
        type=int,
        default=10,
        metavar="N",
        help="drop a track after N frames without its face; default: 10",
    )
    add(
        "--min-hits",
        type=int,
        default=3,
        metavar="N",
        help="report a track once its face was detected N times; default: 3",
    )
    add(
        "--confirmation",
        choices=get_args(Confirmation),
        default="once",
        help="report a face until its track ends, or, as SORT's published program does it, only "
        "while its streak of detections is at least --min-hits long; default: once",
    )
    add(
        "--track-iou",
        type=float,
        default=0.3,
        metavar="IOU",
        help="minimum IoU of a track and a detection; default: 0.3",
    )
    add(
        "--same-person",
        type=float,
        metavar="COSINE",
        help="resume a track after an occlusion or cut if the cosine similarity of its embeddings "
        "is at or above this value (depends on the embedding model)",
    )


def run_track(options: argparse.Namespace) -> int:
    """Tracks the faces of one video."""
    if options.output is None and options.tracks is None:
        raise InputError(
            "no output specified", hint="pass --output OUT.mp4, --tracks OUT.jsonl or both"
        )
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(VideoReader(source_place(options.video)))
        names = None
        if options.gallery is None:
            for name in thresholds_given(options):
                raise InputError(f"--{name} needs a gallery", hint="pass --gallery FILE")
        else:
            from .gallery_search import track_names  # SQLite is needed for nothing else

            names = stack.enter_context(track_names(options))
        analyzer = _analyzer(options, names)
        follower = FaceFollower(
            analyzer,
            detect_every=options.detect_every,
            max_detections=options.max_cpu_fps,
            fps=video.fps,
            live=video.live,
            max_age=options.max_age,
            min_hits=options.min_hits,
            confirmation=options.confirmation,
            iou_threshold=options.track_iou,
            same_person=options.same_person,
        )
        return _follow(options, video, analyzer, follower, names)


def _analyzer(options: argparse.Namespace, names: TrackNames | None) -> FaceAnalyzer:
    """The analyzer that the options select; by default with the model of the gallery, if any."""
    tasks = options.tasks and ["detection", *options.tasks]
    embedder = options.embedder
    if names is not None:
        embedder = embedder or names.gallery.stamp.model.partition("@")[0]
        tasks = tasks and list(dict.fromkeys([*tasks, "embedding"]))
    analyzer = FaceAnalyzer(
        options.models,
        tasks,
        precision=options.precision,
        stream=True,
        **{**chosen_models(options), "embedder": embedder},
        **detector_options(options),
    )
    report_damaged(analyzer)
    if names is not None:
        names.require(analyzer)
    return analyzer


def _follow(
    options: argparse.Namespace,
    video: VideoReader,
    analyzer: FaceAnalyzer,
    follower: FaceFollower,
    names: TrackNames | None,
) -> int:
    """Processes the frames; Ctrl-C completes the output files like the end of the video."""
    totals = _Totals()
    with contextlib.ExitStack() as stack:
        writer = None
        if options.output is not None:
            shape = (video.width, video.height)
            has_file = not (video.live or is_url(options.video))
            sound = Path(options.video) if has_file else None
            writer = VideoWriter(options.output, video.full_fps, *shape, sound=sound)
            stack.enter_context(writer)
        lines = None
        if options.tracks is not None:
            header = _header(shown_url(options.video), video, analyzer, names)
            lines = stack.enter_context(JsonLines(options.tracks, header))
        progress = Progress(video.count, "frames")
        ended: KeyboardInterrupt | None = None
        try:
            for number, time, frame in video.frames():
                if options.limit is not None and totals.frames >= options.limit:
                    break
                found = follower(frame, time=time)
                people = None if names is None else names(found.faces)
                rate = progress.rate if options.show_fps else None
                canvas = None if writer is None else _drawn(frame, found, people, rate)
                if lines is not None:
                    lines.open()
                with held():  # a frame is in both files and in the totals, or in none
                    if lines is not None:
                        lines.write(_record(number, time, found, people, options.embeddings))
                    if writer is not None and canvas is not None:
                        writer.write(canvas, time)
                    totals.add(found)
                    progress.step()
        except KeyboardInterrupt as error:
            if not progress.done:
                raise
            ended = error
        with held():
            progress.end()
            summary = totals.summary(video.broken, complete=ended is None)
            if lines is not None:
                lines.write({"summary": summary})
            if writer is not None and ended is not None:
                writer.hurry()
            stack.close()  # completes the files
    copied = "" if writer is None else writer.sound
    print_text(_text(options, summary, progress.rate, copied))
    return 0 if ended is None else say_interrupted(ended)


@dataclass(slots=True)
class _Totals:
    """What the frames so far add up to; ``seconds`` by stage."""

    frames: int = 0
    detections: int = 0
    identities: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, found: FollowedFrame) -> None:
        """Counts a frame."""
        self.frames += 1
        self.detections += found.detected
        self.identities = max([self.identities, *(face.track_id for face in found.faces)])
        for stage, spent in found.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def summary(self, broken: int, *, complete: bool) -> dict[str, Any]:
        """The last line of ``--tracks``."""
        return {
            "frames": self.frames,
            "broken": broken,
            "detections": self.detections,
            "tracks": self.identities,
            "complete": complete,
            "seconds": {stage: round(spent, 3) for stage, spent in self.seconds.items()},
        }


def _header(
    name: str, video: VideoReader, analyzer: FaceAnalyzer, names: TrackNames | None
) -> dict[str, Any]:
    header = {
        "schema": 1,
        "video": name,
        "width": video.width,
        "height": video.height,
        "fps": video.fps,
        "models": {task: list(models) for task, models in analyzer.models.items()},
    }
    if names is not None:
        gallery = names.gallery
        header["gallery"] = {
            "file": str(gallery.path),
            "model": gallery.stamp.model,
            "rule": None if names.rule is None else names.rule.to_dict(),
        }
    return header


def _record(
    number: int, time: float, found: FollowedFrame, people: People, embeddings: bool
) -> dict[str, Any]:
    return {
        "frame": number,
        "time": round(time, 3),
        "detected": found.detected,
        "faces": [_face(face, people, embeddings) for face in found.faces],
    }


def _face(followed: FollowedFace, people: People, embeddings: bool) -> dict[str, Any]:
    values = face_values(followed.face, embeddings)
    if math.isnan(values["det_score"]):
        values["det_score"] = None
    if people is not None:
        identity = people.get(followed.track_id)
        values["identity"] = None if identity is None else identity.to_dict()
    return {
        "track_id": followed.track_id,
        **values,
        "measured": list(followed.measured),
        "predicted": list(followed.predicted),
        "kept": list(followed.kept),
    }


def _drawn(frame: Image, found: FollowedFrame, people: People, rate: float | None) -> Image:
    names = [_label(face.track_id, people) for face in found.faces]
    canvas = draw_faces(frame, [face.face for face in found.faces], names)
    if rate is not None:
        write_note(canvas, f"{rate:.1f} fps")
    return canvas


def _label(track_id: int, people: People) -> str:
    """The label of a face, in ASCII."""
    identity = None if people is None else people.get(track_id)
    if identity is None or identity.name is None:
        return f"#{track_id}"
    return f"#{track_id} {plain_text(identity.name)}".rstrip()


def _text(options: argparse.Namespace, summary: dict[str, Any], rate: float, sound: str) -> str:
    """The human-readable summary."""
    parts = [
        f"{summary['frames']} frames, {rate:.1f}/s, detector in {summary['detections']}",
        f"{summary['tracks']} identities",
    ]
    if summary["broken"]:
        parts.append(f"{summary['broken']} broken frames skipped")
    if options.output is not None:
        parts.append(f"{options.output} {sound}".rstrip())
    if options.tracks is not None:
        parts.append(str(options.tracks))
    return f"{shown_url(options.video)}: {'; '.join(parts)}"


def detect_every(text: str) -> int | str:
    """The value of ``--detect-every``."""
    if text == "auto":
        return text
    if not text.isdecimal() or len(text) > 9 or not int(text):
        raise argparse.ArgumentTypeError(f"must be 'auto' or a number of at least 1, not '{text}'")
    return int(text)

"""``mobileface track``: a video or camera in, an annotated video and tracks out.

The tracks are JSON lines: a header, then a line a frame, then a summary::

    {"schema": 1, "video": "in.mp4", "width": 1280, "height": 720, "fps": 25.0,
     "models": {"detection": ["detection_hog"], …}}
    {"frame": 0, "time": 0.0, "detected": true, "faces": [
        {"track_id": 1, "bbox": […], "det_score": 2.1, "kps": […], "kps_names": […],
         "measured": ["bbox", "det_score", "kps", "embedding"], "predicted": [], "kept": []}]}
    {"summary": {"frames": 141, "broken": 0, "detections": 47, "tracks": 6, "complete": true,
                 "seconds": {"detection": …, "tracking": …, "tasks": …}}}

With ``--gallery`` the header names it (``gallery``: ``file``, ``model`` and the ``rule`` with its
threshold and error rates, null if there is none), and a face has an
``identity``: what ``mobileface gallery search --json`` prints, or null while it is not embedded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..host.files import replacing
from ..tasks.drawing import draw_faces
from ..tracking.follower import FaceFollower, FollowedFace, FollowedFrame
from ..vision.draw import write_note
from ..vision.image import Image
from ..vision.video import VideoReader, VideoWriter
from ..vision.video_source import is_url, shown_url
from .faces import face_values, report_damaged
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
from .output import INTERRUPTED, print_text, say_interrupted
from .progress import Progress

if TYPE_CHECKING:
    from ..gallery import Identification
    from .gallery_search import TrackNames

    People = Mapping[int, Identification] | None

__all__ = ["add_track"]


def add_track(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface track``."""
    add = parser.add_argument
    add(
        "video", metavar="VIDEO", help="video file, number of a camera, or URL (rtsp://…, http://…)"
    )
    add("--output", type=Path, metavar="OUT.mp4", help="write the annotated video here")
    add("--tracks", type=Path, metavar="OUT.jsonl", help="write a JSON line a frame here")
    add("--tasks", nargs="+", metavar="TASK", help="run these tasks only; default: all that can")
    add(
        "--detect-every",
        "--every",
        type=detect_every,
        default=1,
        metavar="N",
        help="frames from one detection to the next, or 'auto': as few as suffice; default: 1",
    )
    add("--max-cpu-fps", type=float, metavar="N", help="detections a second of video, at most")
    add("--show-fps", action="store_true", help="write the frame rate into the video")
    add(
        "--max-age",
        type=int,
        default=10,
        metavar="N",
        help="frames a face may be lost; default: 10",
    )
    add(
        "--min-hits",
        type=int,
        default=3,
        metavar="N",
        help="frames until a face counts; default: 3",
    )
    add("--track-iou", type=float, default=0.3, metavar="IOU", help="least overlap of a track; 0.3")
    add(
        "--same-person",
        type=float,
        metavar="COSINE",
        help="keep identities through occlusions and cuts: embeddings from this cosine on are one "
        "person's; the scale is the identification model's",
    )
    add("--embeddings", action="store_true", help="with --tracks, embeddings as well")
    add("--limit", type=int, metavar="N", help="stop after so many frames")
    add_models_folder(parser)
    add_model_choice(parser, "detector", "embedder")
    add_detector_options(parser)
    add_precision(parser)
    add_gallery_options(parser)
    add_thresholds(add)
    add(
        "--name-threshold",
        dest="threshold",
        type=float,
        action=RenamedOption,
        help=argparse.SUPPRESS,
    )
    parser.set_defaults(run=run_track)


def run_track(options: argparse.Namespace) -> int:
    """Follows the faces of one video."""
    if options.output is None and options.tracks is None:
        raise InputError("nothing to write to", hint="give --output OUT.mp4, --tracks OUT.jsonl")
    source = int(options.video) if options.video.isdecimal() else options.video
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(VideoReader(source))
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
            iou_threshold=options.track_iou,
            same_person=options.same_person,
        )
        return _follow(options, video, analyzer, follower, names)


def _analyzer(options: argparse.Namespace, names: TrackNames | None) -> FaceAnalyzer:
    """The analysis that the options ask for, with the model of the gallery if there is one."""
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
    """Runs through the frames; Ctrl-C ends the files as the end of the video does."""
    summary: dict[str, Any] = {"frames": 0, "broken": 0, "detections": 0}
    seconds: dict[str, float] = {}
    identities = 0
    with contextlib.ExitStack() as stack:
        writer = None
        if options.output is not None:
            shape = (video.width, video.height)
            has_file = not (video.live or is_url(options.video))
            sound = Path(options.video) if has_file else None
            writer = VideoWriter(options.output, video.full_fps, *shape, sound=sound)
            stack.enter_context(writer)
        lines = None if options.tracks is None else stack.enter_context(_lines(options.tracks))
        _write(lines, _header(shown_url(options.video), video, analyzer, names))
        progress = Progress(video.count, "frames")
        complete = False
        try:
            for number, time, frame in video.frames():
                if options.limit is not None and summary["frames"] >= options.limit:
                    break
                found = follower(frame, time=time)
                people = None if names is None else names(found.faces)
                summary["frames"] += 1
                summary["detections"] += found.detected
                identities = max([identities, *(face.track_id for face in found.faces)])
                for stage, spent in found.seconds.items():
                    seconds[stage] = seconds.get(stage, 0.0) + spent
                _write(lines, _record(number, time, found, people, options.embeddings))
                if writer is not None:
                    rate = progress.rate if options.show_fps else None
                    writer.write(_drawn(frame, found, people, rate), time)
                progress.step()
            complete = True
        except KeyboardInterrupt:
            progress.end()
            say_interrupted()
        progress.end()
        summary |= {"broken": video.broken, "tracks": identities, "complete": complete}
        summary["seconds"] = {stage: round(spent, 3) for stage, spent in seconds.items()}
        _write(lines, {"summary": summary})
    what = "" if writer is None else writer.sound
    print_text(_text(options, summary, progress.rate, what))
    return 0 if complete else INTERRUPTED


@contextlib.contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name at the end, also after an error."""
    failure: Exception | None = None
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        try:
            yield stream
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


def _write(lines: TextIO | None, record: dict[str, Any]) -> None:
    if lines is not None:
        lines.write(json.dumps(record, allow_nan=False) + "\n")


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
    """What is written at a face; OpenCV's font has the letters of ASCII alone."""
    identity = None if people is None else people.get(track_id)
    if identity is None or identity.name is None:
        return f"#{track_id}"
    plain = unicodedata.normalize("NFKD", identity.name).encode("ascii", "ignore").decode()
    return f"#{track_id} {plain}".rstrip()


def _text(options: argparse.Namespace, summary: dict[str, Any], rate: float, sound: str) -> str:
    """What was done, for people."""
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
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is neither 'auto' nor a number from 1 on")
    return int(text)

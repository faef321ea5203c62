"""What commands share that write a changed copy of each image and video."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from ..host.ending import held
from ..host.output_options import OutputPlace
from ..host.outputs import check_folder, check_outputs, unique_stems
from ..vision.image import Image
from ..vision.video import VideoReader, VideoWriter, is_video
from .inputs import find_pictures
from .output import print_text, say_interrupted
from .progress import Progress

__all__ = ["add_rewritten", "planned_outputs", "rewrite_video"]


def add_rewritten(parser: argparse.ArgumentParser) -> None:
    """Adds the inputs and ``--output``."""
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="images, videos, folders or glob patterns"
    )
    parser.add_argument(
        "--output",
        action=OutputPlace,
        required=True,
        metavar="OUT",
        help="output folder, or output file for a single input",
    )


def planned_outputs(options: argparse.Namespace, also: Sequence[Path] = ()) -> Mapping[Path, Path]:
    """The output of each input: files of a folder or, for a single input, a file.

    Args:
        options: The options of `add_rewritten`.
        also: Other files that are read, which no output may be.

    Raises:
        InputError: If there is no input, an output is an input, or several have one file.
        OutputError: If an output cannot be written.
    """
    paths = find_pictures(options.inputs, videos=True)
    to_file = not options.output.is_dir() and (
        options.output.suffix != "" or options.output.exists()
    )
    if to_file and len(paths) != 1:
        raise InputError(
            f"{len(paths)} inputs but only one output file", hint="pass a folder: --output DIR"
        )
    targets = dict.fromkeys(paths, options.output)
    if not to_file:
        check_folder(options.output)
        stems = unique_stems(paths, options.output, suffixes=(".png", ".mp4"))
        for path, stem in stems.items():
            targets[path] = options.output / f"{stem}.{'mp4' if is_video(path) else 'png'}"
    check_outputs(targets.values(), [*paths, *also])
    return targets


def rewrite_video(
    video: VideoReader,
    path: Path,
    target: Path,
    frames: Iterable[tuple[Image, float]],
    *,
    metadata: bool = True,
    comment: str = "",
    note: Callable[[], str] = str,
) -> int:
    """Writes the changed frames of a video; Ctrl-C or SIGTERM keeps those written so far.

    Args:
        video: The open video.
        path: Its file, whose sound is copied.
        target: The file to write.
        frames: The frames with their times in seconds, which read the video as they are needed.
        metadata: See `VideoWriter`.
        comment: See `VideoWriter`.
        note: What else to say about the result, if anything.

    Returns:
        0, or the exit code after an interruption.
    """
    interrupted: KeyboardInterrupt | None = None
    with contextlib.ExitStack() as stack:
        size = (video.width, video.height)
        writer = VideoWriter(
            target, video.full_fps, *size, sound=path, metadata=metadata, comment=comment
        )
        stack.enter_context(writer)
        progress = Progress(video.count, "frames")
        try:
            for image, time in frames:
                with held():  # a frame is written and counted, or neither
                    writer.write(image, time)
                    progress.step()
        except KeyboardInterrupt as error:
            if not progress.done:
                raise
            interrupted = error
            writer.hurry()
        progress.end()
    parts = [f"{progress.done} frames, {progress.rate:.1f}/s", note(), writer.sound]
    if video.broken:
        parts.append(f"{video.broken} broken frames skipped")
    print_text(f"{target} ({'; '.join(filter(None, parts))})")
    return 0 if interrupted is None else say_interrupted(interrupted)

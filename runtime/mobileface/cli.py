"""The ``mobileface`` command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import __version__
from .errors import InputError, MobileFaceError, OutputError
from .files import replacing
from .image import read_image
from .loading import load
from .store import list_models
from .tasks.embed import Embedder, cosine_similarity

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, or 2 after an error."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except MobileFaceError as error:
        print(f"mobileface: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mobileface: interrupted", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobileface", description="Face tasks on small machines, on ONNX Runtime and OpenCV."
    )
    parser.add_argument("--version", action="version", version=f"mobileface {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    embed = commands.add_parser("embed", help="turn face crops into embeddings")
    embed.add_argument("images", nargs="+", type=Path, metavar="IMG", help="picture files")
    _add_model_options(embed)
    embed.add_argument("--json", action="store_true", help="print one JSON object to stdout")
    embed.add_argument("--output", type=Path, metavar="OUT.npz", help="write embeddings here")
    embed.set_defaults(run=_embed)

    compare = commands.add_parser("compare", help="similarity of two face crops")
    compare.add_argument("a", type=Path, metavar="A", help="picture file")
    compare.add_argument("b", type=Path, metavar="B", help="picture file")
    _add_model_options(compare)
    compare.add_argument("--json", action="store_true", help="print one JSON object to stdout")
    compare.set_defaults(run=_compare)

    models = commands.add_parser("models", help="list the models that are found")
    models.add_argument("--models", type=Path, metavar="DIR", help="folder to look in")
    models.add_argument("--json", action="store_true", help="print one JSON object to stdout")
    models.set_defaults(run=_models)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crops",
        action="store_true",
        help="the pictures are aligned face crops, of any size (required for now)",
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to look for models in")
    parser.add_argument("--embedder", metavar="NAME", help="identification model to use")


def _load(options: argparse.Namespace) -> Embedder:
    if not options.crops:
        raise InputError(
            "faces are not searched for in photos yet",
            hint="pass aligned face crops and say so with --crops",
        )
    return load(options.embedder, models=options.models)


def _embed(options: argparse.Namespace) -> int:
    if not options.json and options.output is None:
        raise InputError("nothing to write to", hint="give --json, --output OUT.npz or both")
    if options.output is not None and options.output.suffix != ".npz":
        raise InputError(f"--output '{options.output}' does not end in .npz")
    embedder = _load(options)
    # One picture at a time is decoded, so that memory does not grow with their number.
    rows = [embedder.embed(read_image(path)) for path in options.images]
    embeddings = np.concatenate(rows)
    files = [str(path) for path in options.images]
    if options.output is not None:
        with replacing(options.output) as temporary, temporary.open("wb") as stream:
            np.savez(stream, embeddings=embeddings, files=np.array(files), model=embedder.spec.name)
    if options.json:
        document = {"model": embedder.spec.name, "files": files, "embeddings": embeddings.tolist()}
        _print_json(document)
    else:
        _print(f"{len(files)} × {embeddings.shape[1]} from {embedder.spec.name}: {options.output}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    embedder = _load(options)
    first, second = (embedder.embed(read_image(path)) for path in (options.a, options.b))
    similarity = float(cosine_similarity(first, second)[0, 0])
    if options.json:
        files = [str(options.a), str(options.b)]
        _print_json({"model": embedder.spec.name, "files": files, "similarity": similarity})
    else:
        print(f"{similarity:.4f}")
    return 0


def _models(options: argparse.Namespace) -> int:
    found = list_models(options.models)
    if options.json:
        _print_json(
            {
                "models": [
                    {
                        "name": model.name,
                        "task": model.entry.task,
                        "path": str(model.path),
                        "bytes": model.entry.bytes,
                        "sha256": model.entry.sha256,
                    }
                    for model in found
                ]
            }
        )
        return 0
    for model in found:
        size = f"{model.entry.bytes / 1e6:.2f} MB"
        _print(f"{model.entry.task:<12} {model.name:<22} {size:>9}  {model.path}")
    if not found:
        print("no models; convert some with 'mobileface-convert all'", file=sys.stderr)
    return 0


def _print(text: str) -> None:
    """Prints a line; characters that the terminal cannot show come as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _print_json(document: object) -> None:
    try:
        print(json.dumps(document, ensure_ascii=False))
    except UnicodeEncodeError as error:  # a file name that the terminal cannot show
        raise OutputError(f"stdout cannot show a file name ({error.reason})") from error


if __name__ == "__main__":
    sys.exit(main())

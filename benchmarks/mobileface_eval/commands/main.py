"""The ``mobileface-eval`` command."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from mobileface import __version__
from mobileface.host.output_options import run_checked
from mobileface.host.program import run_program

__all__ = ["main"]

_PACKAGES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""Packages that the extra installs, by import name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, or 2 after an error."""
    return run_program("mobileface-eval", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"mobileface-eval: error: {' and '.join(_PACKAGES[name] for name in missing)} not "
            "installed; install the extra with: pip install 'mobileface[eval]'",
            file=sys.stderr,
        )
        return 2
    options = _parser().parse_args(arguments)
    from ..report import report_files
    from .verification import PAIRS_FILE

    written = report_files(options.output, options.command)
    if getattr(options, "make_pairs", None) is not None:
        written.append(options.output / PAIRS_FILE)
    return run_checked(options, written)


def _parser() -> argparse.ArgumentParser:
    # Imported late, because these modules need the packages of the extra.
    from .calibration import add_calibrate
    from .maps import add_confusion, add_tsne
    from .search import add_megaface
    from .speed import add_speed
    from .verification import add_lfw, add_roc

    parser = argparse.ArgumentParser(
        prog="mobileface-eval",
        description="Evaluate and calibrate identification models.",
    )
    parser.add_argument("--version", action="version", version=f"mobileface {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, add in (
        ("lfw", "run the LFW protocol: ten-fold verification accuracy", add_lfw),
        ("roc", "compare the ROC curves of models", add_roc),
        ("tsne", "draw a t-SNE map of embeddings", add_tsne),
        ("confusion", "similarity of all people, and which are confused", add_confusion),
        ("megaface", "run the MegaFace protocol: identification among distractors", add_megaface),
        ("calibrate", "measure a model's error rates by similarity threshold", add_calibrate),
        ("speed", "measure the run time per crop", add_speed),
    ):
        add(commands.add_parser(name, help=text))
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The ``mobileface-eval`` command, also as ``python -m mobileface_eval``."""

from __future__ import annotations

import sys

from mobileface.host.extras import run_with_extra

__all__ = ["main"]

_PACKAGES = ("matplotlib", "sklearn")


def main() -> int:
    """Runs the command; returns its exit code."""
    return run_with_extra("mobileface-eval", "eval", _PACKAGES, _run)


def _run() -> int:
    from .commands.main import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())

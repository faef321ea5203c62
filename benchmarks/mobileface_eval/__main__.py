"""The ``mobileface-eval`` command, also as ``python -m mobileface_eval``."""

from __future__ import annotations

import sys

from mobileface.host.ending import held
from mobileface.host.extras import run_with_extra
from mobileface.host.program import run_program

__all__ = ["main"]

_PACKAGES = ("matplotlib", "sklearn")


def main() -> int:
    """Runs the command; returns its exit code."""

    def run() -> int:
        return run_with_extra("mobileface-eval", "eval", _PACKAGES, _run)

    return run_program("mobileface-eval", run, final=True)


def _run() -> int:
    with held():  # extension modules turn what a signal raises into errors of their own
        from .commands.main import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())

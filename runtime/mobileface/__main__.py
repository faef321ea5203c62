"""The ``mobileface`` command, also available as ``python -m mobileface``.

If a package cannot be imported, the command prints one line; ``mobileface doctor`` runs even then
and reports the cause.
"""

from __future__ import annotations

import argparse
import sys

from .host.ending import held
from .host.program import run_program

__all__ = ["main"]


def main() -> int:
    """Runs the command and returns its exit code."""
    return run_program("mobileface", _run, final=True)


def _run() -> int:
    try:
        with held():  # extension modules turn what a signal raises into errors of their own
            from .commands.main import main as command
    except ImportError as error:
        if sys.argv[1:2] != ["doctor"]:
            text = f"mobileface: error: {error}; run 'mobileface doctor' to find the cause"
            print(text, file=sys.stderr)
            return 2
        from .commands.doctor import add_doctor

        parser = argparse.ArgumentParser(prog="mobileface doctor")
        add_doctor(parser)
        options = parser.parse_args(sys.argv[2:])
        code: int = options.run(options)
        return code
    return command()


if __name__ == "__main__":
    sys.exit(main())

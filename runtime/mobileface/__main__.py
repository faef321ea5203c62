"""The ``mobileface`` command, also as ``python -m mobileface``.

Packages that cannot be imported here get one clear line, and ``mobileface doctor`` runs all the
same: it says what is wrong with them.
"""

from __future__ import annotations

import argparse
import sys

from .host.program import run_program

__all__ = ["main"]


def main() -> int:
    """Runs the command; returns its exit code."""
    return run_program("mobileface", _run, final=True)


def _run() -> int:
    try:
        from .commands.main import main as command
    except ImportError as error:
        if sys.argv[1:2] != ["doctor"]:
            text = f"mobileface: error: {error}; 'mobileface doctor' says what is wrong"
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

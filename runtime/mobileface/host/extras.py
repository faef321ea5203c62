"""Runs commands whose packages belong to an extra of the distribution. Standard library only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

__all__ = ["run_with_extra"]


def run_with_extra(
    program: str, extra: str, packages: Collection[str], run: Callable[[], int]
) -> int:
    """Runs a command; if a package of its extra is missing, prints the pip command to install it.

    Args:
        program: Name of the command, for the message.
        extra: The extra, e.g. "convert".
        packages: Top-level packages that the extra installs. The error for any other missing module
            is a bug of the project and is raised unchanged.
        run: Function that imports and runs the command.

    Returns:
        The command's exit code; 2 if a package is missing.
    """
    try:
        return run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in packages:
            raise
        print(
            f"{program}: error: the package '{missing}' is not installed; "
            f"run: pip install 'mobileface[{extra}]'",
            file=sys.stderr,
        )
        return 2

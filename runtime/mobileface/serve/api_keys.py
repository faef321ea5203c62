"""API keys, and the sessions that the web page gets for one."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections import OrderedDict
from pathlib import Path
from time import monotonic

from ..errors import InputError, OutputError
from ..host.files import reason
from ..host.outputs import write_all

__all__ = ["ApiKeys", "Sessions", "add_key", "readable_by_others"]

_LEAST_LENGTH, _MOST_LENGTH = 16, 256
_KEY = re.compile(rf"[!-~]{{{_LEAST_LENGTH},{_MOST_LENGTH}}}")
_MOST_BYTES = 1 << 20
"""Size up to which a file of keys is read."""

_MOST_KEYS = 1000
_SESSION_SECONDS = 7 * 24 * 3600.0
_MOST_SESSIONS = 256


class ApiKeys:
    """The accepted keys; without any, everybody is accepted.

    Only SHA-256 digests are kept. A key is compared with every one of them in constant time.

    Args:
        keys: The keys: 16 to 256 printable ASCII characters each, without spaces.

    Raises:
        InputError: If a key is too short or too long, or contains other characters.
    """

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        for number, key in enumerate(keys, 1):
            if not _KEY.fullmatch(key):
                raise InputError(
                    f"must be {_LEAST_LENGTH} to {_MOST_LENGTH} ASCII characters without spaces",
                    where=f"API key {number}",
                    hint="make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'",
                )
        self._digests = tuple(map(_digest, keys))

    @classmethod
    def read(cls, path: Path | None) -> ApiKeys:
        """Reads a file with one key a line; blank lines and lines that begin with # do not count.

        Raises:
            InputError: If the file cannot be read, contains no key, or a key is invalid.
        """
        if path is None:
            return cls()
        try:
            with path.open("rb") as file:
                lines = file.read(_MOST_BYTES).decode().splitlines()
        except (OSError, ValueError) as error:
            what = f"cannot be read ({reason(error)})"
            raise InputError(what, where=str(path), hint=_what_to_do(path, error)) from error
        stripped = [line.strip() for line in lines]
        keys = [line for line in stripped if line and not line.startswith("#")]
        if not keys or len(keys) > _MOST_KEYS:
            raise InputError(f"contains {len(keys)} keys", where=str(path), hint="one key a line")
        try:
            return cls(tuple(keys))
        except InputError as error:
            raise InputError(error.what, where=f"{path}, {error.where}", hint=error.hint) from error

    @property
    def required(self) -> bool:
        """True if a key is needed."""
        return bool(self._digests)

    @property
    def count(self) -> int:
        """Number of keys."""
        return len(self._digests)

    def accept(self, key: str | None) -> bool:
        """True if no key is needed, or this is one."""
        if not self.required:
            return True
        digest = _digest(key or "")
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found and key is not None


def add_key(path: Path) -> None:
    """Adds a new key of 256 bits to a file; a new file is readable by its owner only.

    Raises:
        OutputError: If the file cannot be written; it is as it was then.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    new = not path.exists()
    try:
        with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
            content = file.read()
            begin = b"" if not content or content.endswith(b"\n") else b"\n"
            try:
                write_all(file, begin + secrets.token_hex(32).encode() + b"\n")
            except OSError:
                file.truncate(len(content))
                if new:
                    path.unlink()
                raise
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot be written ({reason(error)})", where=str(path)) from error


def readable_by_others(path: Path) -> bool:
    """True if all users may read a file (always False on Windows).

    Raises:
        OSError: If there is no such file.
    """
    return os.name == "posix" and bool(path.stat().st_mode & 0o004)


class Sessions:
    """Sessions of browsers: random tokens that stand for a key, for seven days."""

    def __init__(self) -> None:
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def open(self) -> str:
        """Opens a session; returns its token."""
        token = secrets.token_urlsafe(32)
        self._ends[_digest(token)] = monotonic() + _SESSION_SECONDS
        while len(self._ends) > _MOST_SESSIONS:
            self._ends.popitem(last=False)
        return token

    def accept(self, token: str | None) -> bool:
        """True for the token of an open session."""
        return token is not None and self._ends.get(_digest(token), 0.0) > monotonic()

    def close(self, token: str | None) -> None:
        """Ends a session."""
        if token is not None:
            self._ends.pop(_digest(token), None)


def _what_to_do(path: Path, error: Exception) -> str:
    """What helps against an error that reading a file of keys gave."""
    if isinstance(error, FileNotFoundError):
        return f"make it with: mobileface serve --new-key {path}"
    if isinstance(error, IsADirectoryError):
        return "remove it: Docker makes a folder in place of a file that does not exist"
    if isinstance(error, PermissionError) and os.name == "posix":
        return f"user {os.geteuid()}, group {os.getegid()} must be able to read it"
    return ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

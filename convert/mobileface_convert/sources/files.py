"""Sources of a recipe's files: a local checkout, or a pinned download.

A recipe identifies each file by its path in the upstream repository and by the git blob SHA-1 of
its content, and by its SHA-256 if the recipe has one. Every source returns a file only if its
content matches.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from urllib.parse import quote, urlsplit

from mobileface.errors import SourceError, SourceIntegrityError
from mobileface.host.files import sha256

from .cache import default_cache_dir, exclusive_part
from .download import ConsoleProgress, Download, Progress, RetryPolicy

__all__ = [
    "ConsoleProgress",
    "DirectorySource",
    "DownloadSource",
    "Progress",
    "RetryPolicy",
    "Source",
    "SourceFile",
    "default_cache_dir",
    "git_blob_sha1",
    "open_source",
]

DEFAULT_MAX_BYTES = 256 * 1024 * 1024

_BLOCK = 1 << 20
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One pinned file of the upstream repository.

    Attributes:
        path: Path relative to the root of the repository, with forward slashes.
        git_blob_sha1: Git's hash of the content, 40 lower-case hexadecimal digits.
        size: Size in bytes, or None if it was not recorded.
        sha256: SHA-256 of the content, 64 lower-case hexadecimal digits, or None.

    Raises:
        SourceError: If the path could lead out of the repository, or hash or size is malformed.
    """

    path: str
    git_blob_sha1: str
    size: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        # Backslash and colon are ordinary characters in git, but separators on Windows.
        # PurePosixPath drops "." and doubled slashes: paths that it changes are rejected.
        plain = PurePosixPath(self.path)
        if (
            not plain.parts
            or plain.is_absolute()
            or ".." in plain.parts
            or str(plain) != self.path
            or any(character in self.path for character in "\\:\0")
        ):
            raise SourceError(
                "not a plain path inside the upstream repository",
                where=repr(self.path),
                hint="write it relative to the repository's root, with forward slashes",
            )
        if _SHA1.fullmatch(self.git_blob_sha1) is None:
            raise SourceError(
                f"{self.git_blob_sha1!r} is not a git blob SHA-1",
                where=self.path,
                hint="write the 40 lower-case digits that 'git ls-tree' shows",
            )
        if self.sha256 is not None and _SHA256.fullmatch(self.sha256) is None:
            raise SourceError(
                f"{self.sha256!r} is not a SHA-256",
                where=self.path,
                hint="write the 64 lower-case digits that 'sha256sum' shows",
            )
        if self.size is not None and self.size < 0:
            raise SourceError(f"{self.size} is not a size in bytes", where=self.path)


class Source(Protocol):
    """A source of pinned files."""

    def fetch(self, file: SourceFile) -> Path:
        """Returns the local path of a file whose content matches the pinned hash.

        Raises:
            SourceError: If the file is missing or not available.
            SourceIntegrityError: If the content does not match the pinned hash.
        """

    def describe(self) -> str:
        """Describes the source in readable form, for console output."""


def git_blob_sha1(content: str | os.PathLike[str] | BinaryIO) -> str:
    """Git's hash of a file: the SHA-1 of ``blob <size>``, a zero byte and the content.

    Args:
        content: A file to open, or a seekable binary stream, which is read as a whole.

    Returns:
        40 lower-case hexadecimal digits.

    Raises:
        OSError: If the file cannot be read, or the stream is not seekable.
    """
    if isinstance(content, (str, os.PathLike)):
        with Path(content).open("rb") as stream:
            return git_blob_sha1(stream)
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    # SHA-1 is git's choice. Here it identifies published files; it is not used as a signature.
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while block := content.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _matches(path: Path, file: SourceFile) -> bool:
    """Whether the file exists and matches its pinned size and hash."""
    return (
        path.is_file()
        and file.size in (None, path.stat().st_size)
        and git_blob_sha1(path) == file.git_blob_sha1
        and (file.sha256 is None or sha256(path) == file.sha256)
    )


def _mismatch(path: Path, file: SourceFile, *, where: str, hint: str) -> SourceIntegrityError:
    pinned = "size not recorded" if file.size is None else f"{file.size} bytes"
    if file.sha256 is not None and git_blob_sha1(path) == file.git_blob_sha1:
        return SourceIntegrityError(
            f"SHA-256 is {sha256(path)}, but {file.sha256} is pinned", where=where, hint=hint
        )
    return SourceIntegrityError(
        f"git blob SHA-1 is {git_blob_sha1(path)} ({path.stat().st_size} bytes), "
        f"but {file.git_blob_sha1} ({pinned}) is pinned",
        where=where,
        hint=hint,
    )


class DirectorySource:
    """A local folder with the layout of the upstream repository.

    Args:
        root: The folder that the files' paths are relative to.
        verify: Whether the content of each file must match its pinned hash.
        advice: What to do about a missing or changed file; by default for upstream's checkout.

    Raises:
        SourceError: If the folder does not exist.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, verify: bool = True, advice: str = ""
    ) -> None:
        self._root = Path(root).expanduser()
        self._verify = verify
        self._advice = advice
        if not self._root.is_dir():
            raise SourceError(
                "no such folder",
                where=str(self._root),
                hint="pass the root of a checkout of the upstream repository",
            )

    def fetch(self, file: SourceFile) -> Path:
        """Returns the path of a file under the root.

        Raises:
            SourceError: If the file is missing or unreadable, or is a link out of the root.
            SourceIntegrityError: If the content does not match the pinned hash.
        """
        path = self._root / file.path
        try:
            if not path.resolve().is_relative_to(self._root.resolve()):
                raise SourceError(
                    f"{file.path} is a link that leads out of the folder",
                    where=str(self._root),
                    hint="put a copy of the file there",
                )
            if not path.is_file():
                raise SourceError(
                    f"has no file {file.path}",
                    where=str(self._root),
                    hint=self._advice
                    or "pass the root of a complete checkout of the upstream repository",
                )
            if self._verify and not _matches(path, file):
                raise _mismatch(
                    path,
                    file,
                    where=str(path),
                    hint=self._advice
                    or "check out the pinned commit, with core.autocrlf off on Windows",
                )
        except (OSError, RuntimeError) as error:  # RuntimeError: a link loop, before 3.13
            raise SourceError(f"cannot be read: {error}", where=str(path)) from error
        return path

    def describe(self) -> str:
        """Returns the folder, with a remark if its files are not verified."""
        return f"folder {self._root}" + ("" if self._verify else " (not verified)")


class DownloadSource:
    """Files over http or https, kept in a cache and verified on every request.

    Several processes may share a cache: one of them downloads a file, the others wait for it.

    Args:
        base_url: The root address of the repository's raw files, at the pinned commit.
        cache_dir: The cache folder; it has the layout of the upstream repository.
        progress: Called for each block that arrives.
        retry: Number of attempts and delays.
        max_bytes: Maximum size in bytes of a file whose size was not recorded.

    Raises:
        SourceError: If ``base_url`` is not an http or https address.
    """

    def __init__(
        self,
        base_url: str,
        cache_dir: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        retry: RetryPolicy | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        _check_base_url(base_url)
        self._base_url = base_url.rstrip("/") + "/"
        self._cache_dir = Path(cache_dir).expanduser()
        self._progress = progress
        self._retry = RetryPolicy() if retry is None else retry
        self._max_bytes = max_bytes

    def fetch(self, file: SourceFile) -> Path:
        """Returns the path of a file in the cache; downloads it if necessary.

        Raises:
            SourceError: If the file cannot be downloaded, or the cache is not writable.
            SourceIntegrityError: If the downloaded content does not match the pinned hash; the
                download is deleted.
        """
        target = self._cache_dir / file.path
        try:
            if _matches(target, file):  # also in a read-only cache
                return target
            target.parent.mkdir(parents=True, exist_ok=True)
            with exclusive_part(target) as part:
                if not _matches(target, file):  # another process may have downloaded it
                    self._complete(file, part)
                    part.replace(target)
        except OSError as error:
            raise SourceError(
                f"the cache cannot be used: {error}",
                where=str(self._cache_dir),
                hint="set MOBILEFACE_CACHE to a writable folder",
            ) from error
        return target

    def describe(self) -> str:
        """Returns the address."""
        return f"download from {self._base_url}"

    def _complete(self, file: SourceFile, part: Path) -> None:
        """Completes and verifies the partial file; removes it if it does not match."""
        url = self._base_url + quote(file.path)
        left_by_earlier_run = part.exists()
        if left_by_earlier_run and _matches(part, file):  # interrupted just before the rename
            return
        download = Download(
            url,
            part,
            label=file.path,
            size=file.size,
            max_bytes=self._max_bytes,
            retry=self._retry,
            progress=self._progress,
        )
        download.run()
        if left_by_earlier_run and not _matches(part, file):
            # The bytes of the earlier run may be the wrong ones: download again from the start.
            part.unlink()
            download.run()
        if not _matches(part, file):
            hint = "the server does not serve the pinned commit; check the address"
            error = _mismatch(part, file, where=url, hint=hint)
            part.unlink()
            raise error


def _check_base_url(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None  # it would end up in reports and error messages
            and not (parts.query or parts.fragment)
            and parts.port != 0  # reading the port checks it
        )
    except ValueError:
        usable = False
    if not usable:
        raise SourceError(
            "not a plain http or https address",
            where=base_url,
            hint="pass the address of the raw files, or the path of a checkout",
        )


def open_source(
    location: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    repository: str,
    commit: str,
    progress: Progress | None = None,
) -> Source:
    """Opens the source of a recipe's files.

    Args:
        location: A folder, or the http(s) address of the repository's raw files. By default the
            environment variable ``MOBILEFACE_SOURCE``, otherwise the pinned upstream commit.
        cache_dir: The download cache; by default ``default_cache_dir()``.
        repository: The address of the upstream repository, on GitHub.
        commit: The pinned commit, 40 lower-case hexadecimal digits.
        progress: Called for each block that arrives.

    Returns:
        The source; nothing is downloaded yet.

    Raises:
        SourceError: If the folder does not exist, the address is invalid or the commit is not a
            full hash.
    """
    place = location or os.environ.get("MOBILEFACE_SOURCE") or _raw_files(repository, commit)
    if isinstance(place, str) and "://" in place:
        return DownloadSource(
            place, default_cache_dir() if cache_dir is None else cache_dir, progress
        )
    return DirectorySource(place)


def _raw_files(repository: str, commit: str) -> str:
    """The address at which GitHub serves the raw files of a commit."""
    match = _GITHUB.fullmatch(repository)
    if match is None:
        raise SourceError(
            "not the address of a GitHub repository",
            where=repository,
            hint="set MOBILEFACE_SOURCE to a checkout, or to the address of its raw files",
        )
    if _SHA1.fullmatch(commit) is None:
        raise SourceError(
            f"{commit!r} is not a full commit hash",
            where=repository,
            hint="branches and tags can move; write the 40 digits",
        )
    return f"https://raw.githubusercontent.com/{match[1]}/{match[2]}/{commit}/"

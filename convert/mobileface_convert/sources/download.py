"""Downloads one file over HTTP, with resume, retries and limits on size and waiting time.

This module only transfers bytes. The caller verifies them with a hash that does not come from the
server. Uses only the standard library.
"""

from __future__ import annotations

import email.utils
import re
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, TextIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from mobileface.errors import SourceError, SourceIntegrityError, shown

from .deadline import Deadline

__all__ = ["ConsoleProgress", "Download", "Progress", "RetryPolicy"]

_BLOCK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_CHECKOUT_HINT = "set MOBILEFACE_SOURCE to a checkout of the upstream repository"


class Progress(Protocol):
    """Callback for the progress of a download: called often, and once when it is complete."""

    def __call__(self, path: str, done: int, total: int | None) -> None:
        """Reports progress.

        ``done == total`` is reported exactly once, when the last byte has been written. After a
        restart ``done`` decreases.

        Args:
            path: Label of the file.
            done: Bytes downloaded so far.
            total: Size of the file in bytes; None if not known.
        """


class ConsoleProgress:
    """Prints one line per file: updated in place on a terminal, otherwise once at the end.

    Args:
        stream: Where to print; by default standard error.
        clock: Monotonic clock, in seconds.
    """

    _INTERVAL = 0.1  # seconds between updates, so that a slow terminal does not slow the download

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._path = ""
        self._started = 0.0
        self._first_done = 0
        self._drawn = float("-inf")
        self._width = 0

    def __call__(self, path: str, done: int, total: int | None) -> None:
        """Updates the line if enough time has passed."""
        now = self._clock()
        if path != self._path or done < self._first_done:
            self._path, self._started, self._first_done = path, now, done
        finished = done == total
        terminal = self._stream.isatty()
        if not finished and (not terminal or now - self._drawn < self._INTERVAL):
            return
        line = self._line(done, total, now - self._started)
        if terminal:
            # The carriage return comes last, so that an error message starts at column 1.
            self._stream.write(line.ljust(self._width) + ("\n" if finished else "\r"))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._drawn, self._width = now, len(line)
        if finished:
            self._path, self._drawn, self._width = "", float("-inf"), 0

    def _line(self, done: int, total: int | None, elapsed: float) -> str:
        percent = f"{100 * done // total:3d} %  " if total else ""
        # The rate of a resumed download counts only the bytes that arrived since.
        rate = (done - self._first_done) / elapsed / 1e6 if elapsed > 0 else 0.0
        name = shown(PurePosixPath(self._path).name)
        return f"{name}  {percent}{done / 1e6:.1f} MB  {rate:.1f} MB/s"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Number of attempts and delays for a download.

    Attributes:
        attempts: Maximum number of requests per file, including the first one.
        first_delay: Seconds before the second attempt; doubled before each further one.
        longest_delay: Maximum delay in seconds, even if the server asks for a longer one.
        timeout: Seconds without data after which a connection is considered dead.
        patience: Seconds that a file may take, with all attempts, before its size is considered.
        slowest: Bytes per second that a server must reach after that.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 30.0
    timeout: float = 30.0
    patience: float = 300.0
    slowest: float = 20_000.0


class _TransientError(Exception):
    """A failure that a further attempt may not have.

    Args:
        reason: Description of the failure.
        delay: Seconds until the next attempt; None for the delay of the retry policy.
    """

    def __init__(self, reason: str, *, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https addresses, but never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Rejects redirects that urllib would follow: to ftp, and from https to http.

        Raises:
            SourceError: If the redirect is not safe.
        """
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise SourceError(
                f"unsafe redirect to {newurl}", where=req.full_url, hint=_CHECKOUT_HINT
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _build_opener(deadline: Deadline) -> urllib.request.OpenerDirector:
    """An opener for http and https only; urllib's default also opens file:, ftp: and data:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),  # reads http_proxy, https_proxy and no_proxy
        urllib.request.UnknownHandler(),
        *deadline.handlers(),
        urllib.request.HTTPDefaultErrorHandler(),
        _SafeRedirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class Download:
    """A download into a partial file, which later runs can resume.

    Args:
        url: The http or https address.
        part: The partial file; bytes that it already holds are not requested again.
        label: The name of the file in progress reports.
        size: Expected size in bytes, or None if it is not known.
        max_bytes: Maximum size in bytes if ``size`` is not known.
        retry: Number of attempts and delays.
        progress: Called for each block, or None.
    """

    def __init__(
        self,
        url: str,
        part: Path,
        *,
        label: str,
        size: int | None,
        max_bytes: int,
        retry: RetryPolicy,
        progress: Progress | None,
    ) -> None:
        self._url = url
        self._part = part
        self._label = label
        self._size = size
        self._limit = max_bytes if size is None else size
        self._retry = retry
        self._progress = progress
        self._deadline: Deadline
        self._opener: urllib.request.OpenerDirector
        # Kept for this run only. The partial file of an earlier run may differ from the file that
        # the server has now, with or without a tag; only the caller's hash can tell.
        self._etag: str | None = None

    def run(self) -> None:
        """Completes the partial file.

        Raises:
            SourceError: If the request is rejected, the file is not found or too large, the last
                attempt fails, or all attempts together take too long (`RetryPolicy`). The partial
                file is kept unless the file is too large.
            SourceIntegrityError: If the server's file does not have the expected size.
            OSError: If the partial file cannot be written.
        """
        with Deadline(self._retry.patience + self._limit / self._retry.slowest) as self._deadline:
            self._opener = _build_opener(self._deadline)
            self._run()

    def _run(self) -> None:
        for attempt in range(1, self._retry.attempts + 1):
            try:
                self._attempt()
                return
            except _TransientError as problem:
                if not self._deadline.left:
                    raise SourceError(
                        f"not complete after {self._deadline.seconds:.0f} seconds, too slow",
                        where=self._url,
                        hint=f"run again to resume the download, or {_CHECKOUT_HINT}",
                    ) from problem
                if attempt == self._retry.attempts:
                    raise SourceError(
                        f"download failed after {attempt} attempts, last error: {problem}",
                        where=self._url,
                        hint=f"run again to resume the download, or {_CHECKOUT_HINT}",
                    ) from problem
                doubled = self._retry.first_delay * 2 ** (attempt - 1)
                delay = doubled if problem.delay is None else problem.delay
                time.sleep(min(delay, self._retry.longest_delay, self._deadline.left))

    def _attempt(self) -> None:
        offset = self._resume_offset()
        if offset and offset == self._size:
            return
        with self._request(offset) as response:
            start, total = self._parse_range(response, offset)
            self._check_size(total)
            etag = response.headers.get("ETag", "")
            # RFC 9110, 13.1.5: weak tags must not be used in If-Range.
            self._etag = None if etag.startswith("W/") else etag or None
            self._receive(response, start, total)

    def _resume_offset(self) -> int:
        offset = self._part.stat().st_size if self._part.exists() else 0
        if offset > self._limit:
            self._part.unlink()
            return 0
        return offset

    def _request(self, offset: int) -> HTTPResponse:
        # A compressed body could be neither resumed nor measured.
        headers = {"User-Agent": "mobileface-convert", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._etag is not None:
                headers["If-Range"] = self._etag
        try:
            request = urllib.request.Request(self._url, headers=headers)
            response: HTTPResponse = self._opener.open(request, timeout=self._retry.timeout)
        except HTTPError as error:
            with error:
                raise self._http_failure(error, offset) from error
        except ValueError as error:  # a redirect to an invalid address
            raise SourceError(f"invalid address: {error}", where=self._url) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise SourceError(
                    f"the server's certificate is not trusted: {reason.verify_message}",
                    where=self._url,
                    hint=_CHECKOUT_HINT,
                ) from error
            raise _TransientError(str(reason) or type(reason).__name__) from error
        return response

    def _http_failure(self, error: HTTPError, offset: int) -> Exception:
        """The exception for an HTTP error status: transient if a further attempt may succeed."""
        reason = f"HTTP {error.code} {error.reason}"
        if error.code == 416 and offset:
            self._part.unlink()
            return _TransientError(reason, delay=0.0)
        if error.code in (408, 429) or error.code >= 500:
            return _TransientError(reason, delay=_retry_after(error.headers.get("Retry-After")))
        return SourceError(reason, where=self._url, hint=_CHECKOUT_HINT)

    def _parse_range(self, response: HTTPResponse, offset: int) -> tuple[int, int | None]:
        """The offset at which the body starts, and the size of the whole file if known."""
        if response.status == 200:  # no range requested, or the server ignores it
            return 0, response.length
        if response.status != 206:
            raise SourceError(f"unexpected HTTP {response.status}", where=self._url)
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            self._part.unlink(missing_ok=True)
            raise _TransientError("the server sent a different range than requested", delay=0.0)
        return offset, int(match[2]) + 1 if match[3] == "*" else int(match[3])

    def _check_size(self, total: int | None) -> None:
        if total is None:
            return
        if self._size is not None and total != self._size:
            raise SourceIntegrityError(
                f"the server's file has {total} bytes, but {self._size} are pinned",
                where=self._url,
                hint=_CHECKOUT_HINT,
            )
        if total > self._limit:
            raise self._too_large()

    def _receive(self, response: HTTPResponse, start: int, total: int | None) -> None:
        """Writes the body after the first ``start`` bytes of the partial file."""
        # Without a known length, read up to one byte more than allowed to detect a longer body.
        bound = self._limit + 1 if total is None else total
        expected = self._size if total is None else total
        done = start
        with self._part.open("ab" if start else "wb") as stream:
            while done < bound and (block := _read(response, bound - done)):
                done += len(block)
                if done > self._limit:
                    break
                stream.write(block)
                if self._progress is not None and done != expected:
                    self._progress(self._label, done, expected)
        if done > self._limit:
            self._part.unlink()
            raise self._too_large()
        if expected is not None and done < expected:
            raise _TransientError(f"connection lost after {done} of {expected} bytes")
        if self._progress is not None:
            self._progress(self._label, done, done)

    def _too_large(self) -> SourceError:
        if self._size is not None:
            return SourceIntegrityError(
                f"the server sends more than the {self._size} pinned bytes",
                where=self._url,
                hint=_CHECKOUT_HINT,
            )
        return SourceError(
            f"larger than the {self._limit} bytes allowed for a file of unknown size",
            where=self._url,
            hint="pin the size of the file, or raise max_bytes",
        )


def _read(response: HTTPResponse, at_most: int) -> bytes:
    """The next bytes as soon as any arrive, so that a lost connection loses none of them."""
    try:
        return response.read1(min(_BLOCK, at_most))
    except (OSError, HTTPException) as error:
        raise _TransientError(f"connection lost: {error!r}") from error


def _retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, in seconds or as a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

"""One file over HTTP: resumed after a cut, bounded in bytes, in attempts and in waiting.

This module moves bytes and nothing else. Whether they are the wanted ones is for the caller to
decide, from a hash that does not come from the server. It uses the standard library only.
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

from mobileface.errors import SourceError, SourceIntegrityError

__all__ = ["ConsoleProgress", "Download", "Progress", "RetryPolicy"]

_BLOCK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)
_CHECKOUT_HINT = "set MOBILEFACE_SOURCE to a checkout of the upstream repository"


class Progress(Protocol):
    """Told how far a file is: often while it arrives, and once more when it is complete."""

    def __call__(self, path: str, done: int, total: int | None) -> None:
        """Reports ``done`` bytes of ``total`` (None: not known).

        ``done == total`` is reported exactly once, when the last byte has been written. After a
        restart ``done`` falls back.
        """


class ConsoleProgress:
    """One line a file: rewritten in place on a terminal, else printed once at the end.

    Args:
        stream: Where to print; standard error if not given.
        clock: Seconds that only go forward.
    """

    _INTERVAL = 0.1  # seconds between two drawings, so that a slow terminal does not slow us

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
        """Draws the line if it is time to."""
        now = self._clock()
        if path != self._path or done < self._first_done:
            self._path, self._started, self._first_done = path, now, done
        finished = done == total
        terminal = self._stream.isatty()
        if not finished and (not terminal or now - self._drawn < self._INTERVAL):
            return
        line = self._line(done, total, now - self._started)
        if terminal:
            # The return comes last: an error message printed next starts at the line's begin.
            self._stream.write(line.ljust(self._width) + ("\n" if finished else "\r"))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._drawn, self._width = now, len(line)
        if finished:
            self._path, self._drawn, self._width = "", float("-inf"), 0

    def _line(self, done: int, total: int | None, elapsed: float) -> str:
        percent = f"{100 * done // total:3d} %  " if total else ""
        # A resumed file did not arrive in this time as a whole, only what came since.
        rate = (done - self._first_done) / elapsed / 1e6 if elapsed > 0 else 0.0
        return f"{PurePosixPath(self._path).name}  {percent}{done / 1e6:.1f} MB  {rate:.1f} MB/s"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to insist.

    Attributes:
        attempts: Requests a file at most, the first one included.
        first_delay: Seconds before the second attempt; doubled before each further one.
        longest_delay: Seconds of waiting at most, also if the server asks for more.
        timeout: Seconds without a byte after which a connection counts as dead.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 30.0
    timeout: float = 30.0


class _TransientError(Exception):
    """An attempt that failed in a way the next one may not; ``delay`` None: wait by the policy."""

    def __init__(self, reason: str, *, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects between web addresses, never from https down to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuses what urllib would still allow: ftp, and the loss of encryption.

        Raises:
            SourceError: The new address must not be followed.
        """
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise SourceError(
                f"refused a redirect to {newurl}", where=req.full_url, hint=_CHECKOUT_HINT
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _build_opener() -> urllib.request.OpenerDirector:
    """An opener that cannot read file:, ftp: or data: addresses, unlike urllib's default one."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),  # reads http_proxy, https_proxy and no_proxy
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _SafeRedirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class Download:
    """The download of one address into one partial file, which later runs can continue.

    Args:
        url: The http or https address.
        part: The partial file; bytes it holds already are not asked for again.
        label: The name that progress is reported under.
        size: The only acceptable size in bytes, or None if it is not known.
        max_bytes: The most that is accepted while ``size`` is not known.
        retry: How long to insist.
        progress: Told about each block, or None.
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
        self._opener = _build_opener()
        # Kept for this run only. A part left by an earlier run may hold other bytes than the
        # server has now, with or without a tag: only the caller's hash can tell.
        self._etag: str | None = None

    def run(self) -> None:
        """Completes the partial file.

        Raises:
            SourceError: Refused, not found, too large, or still failing after the last attempt;
                what arrived of it stays in the partial file unless it was too large.
            SourceIntegrityError: The server's file is not of the size asked for.
            OSError: The partial file cannot be written.
        """
        for attempt in range(1, self._retry.attempts + 1):
            try:
                self._attempt()
                return
            except _TransientError as problem:
                if attempt == self._retry.attempts:
                    raise SourceError(
                        f"download failed after {attempt} attempts, at last with: {problem}",
                        where=self._url,
                        hint=f"run again to continue where it stopped, or {_CHECKOUT_HINT}",
                    ) from problem
                doubled = self._retry.first_delay * 2 ** (attempt - 1)
                delay = doubled if problem.delay is None else problem.delay
                time.sleep(min(delay, self._retry.longest_delay))

    def _attempt(self) -> None:
        offset = self._resume_offset()
        if offset and offset == self._size:
            return
        with self._request(offset) as response:
            start, total = self._announced(response, offset)
            self._check_announced(total)
            etag = response.headers.get("ETag", "")
            # RFC 9110, 13.1.5: a weak tag must not be used to continue a file.
            self._etag = None if etag.startswith("W/") else etag or None
            self._receive(response, start, total)

    def _resume_offset(self) -> int:
        offset = self._part.stat().st_size if self._part.exists() else 0
        if offset > self._limit:
            self._part.unlink()
            return 0
        return offset

    def _request(self, offset: int) -> HTTPResponse:
        # A compressed body could neither be continued nor measured.
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
                raise self._refusal(error, offset) from error
        except ValueError as error:  # a redirect to something that is no address
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

    def _refusal(self, error: HTTPError, offset: int) -> Exception:
        """What an answer that is not a success means: try again, or give up."""
        reason = f"HTTP {error.code} {error.reason}"
        if error.code == 416 and offset:
            self._part.unlink()
            return _TransientError(reason, delay=0.0)
        if error.code in (408, 429) or error.code >= 500:
            return _TransientError(reason, delay=_retry_after(error.headers.get("Retry-After")))
        return SourceError(reason, where=self._url, hint=_CHECKOUT_HINT)

    def _announced(self, response: HTTPResponse, offset: int) -> tuple[int, int | None]:
        """The offset the body begins at, and the size of the whole file if the server says so."""
        if response.status == 200:  # no range asked for, or ignored: the file from its begin
            return 0, response.length
        if response.status != 206:
            raise SourceError(f"unexpected HTTP {response.status}", where=self._url)
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            self._part.unlink(missing_ok=True)
            raise _TransientError("the server sent another range than asked for", delay=0.0)
        return offset, int(match[2]) + 1 if match[3] == "*" else int(match[3])

    def _check_announced(self, total: int | None) -> None:
        if total is None:
            return
        if self._size is not None and total != self._size:
            raise SourceIntegrityError(
                f"the server has {total} bytes, but {self._size} are pinned",
                where=self._url,
                hint=_CHECKOUT_HINT,
            )
        if total > self._limit:
            raise self._too_large()

    def _receive(self, response: HTTPResponse, start: int, total: int | None) -> None:
        """Writes the body behind the first ``start`` bytes of the partial file."""
        # Without a length, one byte more than allowed is read: it shows that the body is longer.
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
            raise _TransientError(f"connection cut after {done} of {expected} bytes")
        if self._progress is not None:
            self._progress(self._label, done, done)

    def _too_large(self) -> SourceError:
        if self._size is not None:
            return SourceIntegrityError(
                f"the server sends more than the {self._size} bytes pinned",
                where=self._url,
                hint=_CHECKOUT_HINT,
            )
        return SourceError(
            f"larger than the {self._limit} bytes allowed for a file of unknown size",
            where=self._url,
            hint="pin the size of the file, or allow more bytes",
        )


def _read(response: HTTPResponse, at_most: int) -> bytes:
    """The next bytes as soon as there are any, so that a cut loses none that arrived."""
    try:
        return response.read1(min(_BLOCK, at_most))
    except (OSError, HTTPException) as error:
        raise _TransientError(f"connection cut: {error!r}") from error


def _retry_after(value: str | None) -> float | None:
    """Seconds until a ``Retry-After`` is over, given in seconds or as a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

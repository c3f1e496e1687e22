"""Downloads that go on where they stopped: Range requests, retries, checksums; a file is whole or not there."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emovox.errors import CorpusError, MissingExtraError
from emovox.lab.corpora.cards import Remote
from emovox.lab.corpora.unpacking import Progress, require_space
from emovox.storage import cannot_write, partial

if TYPE_CHECKING:
    import httpx2

#: Answers after which it is tried again.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How long to go on trying.

    Attributes
    ----------
    tries : int
        How often in a row without a byte of progress.
    wait : float
        Seconds before the second try; each later wait is twice as long, or what the server asks for, `longest` at most.
    timeout : float
        Seconds without an answer or a byte.
    """

    tries: int = 6
    wait: float = 1.0
    longest: float = 60.0
    timeout: float = 60.0


class _AgainError(Exception):
    """It may work later: why, and after how many seconds if the server says so."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class _OtherPartError(_AgainError):
    """What is here is not the beginning of what is there."""


def fetch(
    remote: Remote,
    target: Path,
    progress: Progress = lambda stage, done, total: None,
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download a file, or the rest of it.

    Parameters
    ----------
    remote : Remote
        Address, and size and checksums where they are known.
    target : Path
        The file to write; while it is not whole it is called ``NAME.part``, and a later call goes on with it.
    progress : callable, optional
        Called with ("downloading", bytes done, bytes in all).
    patience : Patience, optional
        Retries.
    sleep : callable, optional
        What waits.

    Returns
    -------
    Path
        `target`.  It is not downloaded again if it is there and its size and checksums are right.

    Raises
    ------
    CorpusError
        The address answers with an error, the checksum is wrong, the server gives up, or there is no room.
    InputError
        The file cannot be written; what is there of it is kept.
    MissingExtraError
        httpx2 is not installed.
    """
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtraError("downloading a corpus", "train") from error
    patience = patience or Patience()
    if target.is_file() and not wrong(target, remote):
        return target
    part = partial(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with httpx2.Client(
        follow_redirects=True, timeout=patience.timeout, headers={"Accept-Encoding": "identity"}
    ) as client:
        _whole(client, remote, part, progress, patience, sleep)
    if reason := wrong(part, remote):
        part.unlink()
        _validator(part).unlink(missing_ok=True)
        raise CorpusError(
            f"{remote.file} from {remote.url} is not what it should be ({reason}): try again; if it stays so, the file "
            "was changed there, which is worth an issue"
        )
    part.replace(target)
    _validator(part).unlink(missing_ok=True)
    return target


def wrong(path: Path, remote: Remote) -> str:
    """Return what of a file differs from what is known of it, empty if nothing does."""
    size = path.stat().st_size
    if remote.bytes and size != remote.bytes:
        return f"{size} bytes, {remote.bytes} were expected"
    for kind in ("sha256", "md5"):
        expected = getattr(remote, kind)
        if expected:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, kind).hexdigest()
            return "" if found == expected else f"{kind} is {found}, {expected} was expected"
    return ""


def _whole(
    client: httpx2.Client,
    remote: Remote,
    part: Path,
    progress: Progress,
    patience: Patience,
    sleep: Callable[[float], None],
) -> None:
    """Try until the whole file is there; patience starts anew with every byte of progress."""
    failed = 0
    while True:
        before = _size(part)
        try:
            _go_on(client, remote, part, progress)
            return
        except _AgainError as error:
            failed = 1 if _size(part) > before else failed + 1
            if failed >= patience.tries:
                raise CorpusError(
                    f"cannot download {remote.url} ({error}): what is there is kept, try again later"
                ) from error
            sleep(min(error.after or patience.wait * 2 ** (failed - 1), patience.longest))


def _go_on(client: httpx2.Client, remote: Remote, part: Path, progress: Progress) -> None:
    """Ask for what is missing, and write it."""
    import httpx2

    have = _size(part)
    if remote.bytes and have == remote.bytes:
        return
    validator = _read(_validator(part))
    if not validator and not remote.checked:
        have = 0  # nothing could tell that the rest is of the same file
    headers = {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {}) if have else {}
    try:
        with client.stream("GET", remote.url, headers=headers) as answer:
            start, total = _answered(answer, remote, have)
            if start == total:
                return
            require_space(part.parent, (total or 0) - start)
            _store(_validator(part), answer.headers.get("etag", "") or answer.headers.get("last-modified", ""))
            _append(answer, part, start, total, progress)
    except _OtherPartError:
        part.unlink(missing_ok=True)
        raise
    except httpx2.TransportError as error:
        raise _AgainError(str(error) or type(error).__name__) from error
    if total and _size(part) < total:
        raise _AgainError(f"it broke off after {_size(part)} of {total} bytes")


def _answered(answer: httpx2.Response, remote: Remote, have: int) -> tuple[int, int | None]:
    """Return at which byte the answer begins, and the size of the whole file if it is known."""
    if remote.url.startswith("https:") and answer.url.scheme != "https":
        raise CorpusError(f"{remote.url} leads to {answer.url}, which is not encrypted: it is not downloaded")
    if answer.status_code == 416:
        if _total(answer) != have:
            raise _OtherPartError(f"it has no bytes after the {have} that are here")
        return have, have
    if answer.status_code in PASSING:
        after = answer.headers.get("retry-after", "")
        raise _AgainError(f"it answers {answer.status_code}", float(after) if after.isdigit() else None)
    if answer.status_code not in (200, 206):
        raise CorpusError(f"{remote.url} answers {answer.status_code}: download it by hand, then emovox data verify")
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise CorpusError(f"{remote.url} answers with a page, not with a file: download it by hand")
    if answer.status_code == 206:
        begin = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
        if begin is None or int(begin[1]) != have:
            raise _OtherPartError("it answers with another part than was asked for")
        return have, _total(answer)
    length = answer.headers.get("content-length", "")
    return 0, int(length) if length.isdigit() else remote.bytes or None


def _total(answer: httpx2.Response) -> int | None:
    """Return the size of the whole file from a partial answer."""
    total = answer.headers.get("content-range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _append(answer: httpx2.Response, part: Path, start: int, total: int | None, progress: Progress) -> None:
    """Write what comes, from a byte on."""
    done = start
    try:
        with part.open("r+b" if start else "wb") as out:
            if start:
                out.truncate(out.seek(start))
            for block in answer.iter_raw():
                out.write(block)
                done += len(block)
                progress("downloading", done, total)
    except OSError as error:
        raise cannot_write(part, error, "make room there or name another folder; what is there is kept") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _validator(part: Path) -> Path:
    """Return the file that remembers which version of a remote file is being downloaded."""
    return part.with_name(part.name + ".version")


def _read(path: Path) -> str:
    with suppress(OSError):
        text = path.read_text(encoding="utf-8")
        return "" if text.startswith("W/") else text  # a weak one says nothing of the bytes
    return ""


def _store(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

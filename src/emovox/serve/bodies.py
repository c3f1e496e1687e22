"""Recordings on their way in: a form with files and options, or the bytes of one recording as they are."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, Any

import anyio.to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from emovox.outputs.text import readable
from emovox.serve import parts
from emovox.serve.options import from_json
from emovox.serve.parts import Part, kept
from emovox.serve.problems import Problem

#: Bytes of the options of a request.
_OPTIONS = 65_536
#: Bytes of a recording that neither a form nor a body has put into a file.
_IN_MEMORY = min(parts.SPOOL, 1 << 20)
#: What a recording without a name is called.
NAMELESS = "recording"
#: Kinds of content that may be a recording.
_SOUND = ("audio/", "video/", "application/octet-stream", "application/ogg")
#: Raw PCM, whose options may stand in the header.
_PCM = ("audio/pcm", "audio/raw")


@dataclass
class Received:
    """What a request has brought.

    Attributes
    ----------
    parts : list of Part
        The recordings.
    options : dict
        What was asked, unchecked.
    """

    parts: list[Part] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def one(self) -> Part:
        """Return the only recording.

        Raises
        ------
        Problem
            There is none, or more than one.
        """
        if len(self.parts) != 1:
            raise Problem("bad_request", f"{len(self.parts)} recordings came: send one, as the part file or the body")
        return self.parts[0]


@asynccontextmanager
async def received(request: Request, *, files: int = 1) -> AsyncIterator[Received]:
    """Read the body of a request; temporary files are gone after the block.

    Parameters
    ----------
    request : Request
        Either a form with the recordings as parts ``file`` and options as the part ``options``, or a recording as it
        is; options may also stand in the query.
    files : int, default 1
        How many recordings may come.

    Raises
    ------
    Problem
        The body is no such thing.
    """
    found = Received(options=dict(request.query_params))
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise Problem("unsupported_media_type", f"content-encoding {coding[:40]!r}: send the recording as it is")
    try:
        kind, parameters = parse_options_header(request.headers.get("content-type", ""))
        if kind == b"multipart/form-data":
            await _form(request, files, found)
        elif kind.decode("latin-1").startswith(_SOUND):
            if kind.decode("latin-1") in _PCM:
                found.options |= _pcm(parameters)
            found.parts.append(await _raw(request, found.options))
        else:
            raise Problem(
                "unsupported_media_type",
                f"content of type {kind.decode('latin-1')[:80]!r}: send multipart/form-data, audio/* or "
                "application/octet-stream",
            )
        yield found
    except ClientDisconnect:
        raise Problem("bad_request", "the upload broke off") from None
    finally:
        for part in found.parts:
            part.close()


async def _form(request: Request, files: int, found: Received) -> None:
    async with request.form(max_files=files + 1, max_fields=20, max_part_size=_OPTIONS) as form:
        for name, value in form.multi_items():
            if name == "file" and isinstance(value, UploadFile):
                found.parts.append(await _kept(value.file, value.size or 0, value.filename))
            elif name == "options":
                text = await value.read(_OPTIONS) if isinstance(value, UploadFile) else value
                found.options |= from_json(text)
            elif isinstance(value, str):
                found.options[name] = value
            else:
                raise Problem("bad_request", f"a file came as the part {name[:40]!r}: expected file")
    if not found.parts:
        raise Problem("bad_request", "no recording came: send it as the part file, with a file name")


async def _raw(request: Request, options: Mapping[str, Any]) -> Part:
    with tempfile.SpooledTemporaryFile(parts.SPOOL) as spool:
        async for chunk in request.stream():
            if spool.tell() + len(chunk) > parts.SPOOL:
                await anyio.to_thread.run_sync(spool.write, chunk)
            else:
                spool.write(chunk)
        return await _kept(spool, spool.tell(), str(options.get("name") or ""))


async def _kept(file: IO[bytes], size: int, name: str | None) -> Part:
    """Keep a recording; one that is in memory costs less to keep at once than to hand to a thread."""
    if size <= _IN_MEMORY:
        return kept(file, plain(name))
    return await anyio.to_thread.run_sync(kept, file, plain(name))


def _pcm(parameters: Mapping[bytes, bytes]) -> dict[str, str]:
    """Read the options of raw PCM from the header: ``audio/pcm;encoding=s16le;rate=16000;channels=1``."""
    names = {b"encoding": "encoding", b"rate": "rate", b"channels": "pcm_channels"}
    given = {names[key]: value.decode("latin-1") for key, value in parameters.items() if key in names}
    return {"encoding": "s16le"} | given


def plain(name: str | None) -> str:
    r"""Return the last part of a file name: whatever a client calls its recording, it is no path here.

    Examples
    --------
    >>> plain("C:\\calls\\a.wav"), plain("../../etc/passwd"), plain("")
    ('a.wav', 'passwd', 'recording')
    """
    text = PurePosixPath(PureWindowsPath(readable(name or "").replace("\x00", "")).name).name
    return text[-255:] or NAMELESS

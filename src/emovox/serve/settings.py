"""Settings of the service, which are options of a command, and its errors in one shape."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from emovox.errors import (
    AudioError,
    EmovoxError,
    InputError,
    MissingExtraError,
    ModelError,
    NoSpeechError,
    ProfileError,
    TranscriptError,
)
from emovox.outputs.console import shown
from emovox.recognition.analysis import cores
from emovox.storage import home_folder

#: Media type of an error.
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of error.

    Attributes
    ----------
    status : int
        HTTP status.
    title : str
        What it is, in a few words; the same for every error of the kind.
    """

    status: int
    title: str


#: Every code that the service answers with.  A code is stable: programs may rely on it, on the wording they may not.
KINDS = {
    "bad_request": Kind(400, "The request cannot be understood"),
    "host_unknown": Kind(400, "This server is not called by that name"),
    "key_missing": Kind(401, "A key is needed"),
    "key_invalid": Kind(401, "There is no such key, or it is revoked or expired"),
    "scope_missing": Kind(403, "The key does not allow this"),
    "origin_forbidden": Kind(403, "That web page may not call"),
    "not_found": Kind(404, "There is nothing here"),
    "method_not_allowed": Kind(405, "There is no such method here"),
    "not_acceptable": Kind(406, "There is no such format"),
    "upload_too_slow": Kind(408, "The upload has stalled"),
    "exists": Kind(409, "There is one of that name already"),
    "idempotency_conflict": Kind(409, "The Idempotency-Key belongs to another request"),
    "not_finished": Kind(409, "The job is not finished"),
    "already_finished": Kind(409, "The job is finished already"),
    "upload_too_large": Kind(413, "The upload is too large"),
    "audio_too_long": Kind(413, "The recording is too long"),
    "unsupported_media_type": Kind(415, "That kind of content is not read here"),
    "options_invalid": Kind(422, "An option is not possible"),
    "audio_unreadable": Kind(422, "The recording cannot be read"),
    "no_speech": Kind(422, "Nobody speaks in the recording"),
    "model_unsuitable": Kind(422, "The model cannot do that"),
    "profile_unusable": Kind(422, "The profile cannot be used"),
    "words_unavailable": Kind(422, "The words cannot be recognised"),
    "worker_died": Kind(422, "Reading the recording ended the process that read it"),
    "timed_out": Kind(422, "The recording took too long to judge"),
    "rate_limited": Kind(429, "Too many requests"),
    "too_many_streams": Kind(429, "Too many live streams"),
    "too_many_jobs": Kind(429, "Too many unfinished jobs"),
    "head_too_large": Kind(431, "The head of the request is too large"),
    "internal_error": Kind(500, "A failure of the server"),
    "server_busy": Kind(503, "The server is busy"),
    "storage_full": Kind(507, "There is no room for more recordings"),
}

#: Codes of HTTP statuses that the framework answers with by itself.
BY_STATUS = {
    401: "key_missing",
    403: "scope_missing",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "upload_too_large",
    415: "unsupported_media_type",
    422: "options_invalid",
    503: "server_busy",
}

#: Codes of the library's exceptions, the particular before the general.
BY_EXCEPTION: tuple[tuple[type[EmovoxError], str], ...] = (
    (NoSpeechError, "no_speech"),
    (AudioError, "audio_unreadable"),
    (ModelError, "model_unsuitable"),
    (ProfileError, "profile_unusable"),
    (TranscriptError, "words_unavailable"),
    (MissingExtraError, "unsupported_media_type"),
    (InputError, "options_invalid"),
)


class Problem(Exception):  # noqa: N818 (RFC 9457's own word)
    """An error that a client is told.

    Parameters
    ----------
    code : str
        One of :data:`KINDS`.
    detail : str, optional
        One line: the value, what was expected, what to do.
    retry_after : float, optional
        Seconds after which trying again makes sense.
    errors : sequence of mapping, optional
        Single mistakes: ``pointer`` says where, ``detail`` what.
    headers : mapping of str to str, optional
        Further headers of the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: float | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code, self.kind = code, KINDS[code]
        self.detail = shown(detail)
        self.retry_after, self.errors = retry_after, tuple(errors)
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after + 0.5)))
        if self.kind.status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.code, self.detail, self.retry_after, self.errors)

    @classmethod
    def of(cls, error: EmovoxError) -> Problem:
        """Make a problem of an exception of the library, whose message is written for users.

        Examples
        --------
        >>> Problem.of(NoSpeechError("a.wav holds no speech")).code
        'no_speech'
        """
        code = next((code for kind, code in BY_EXCEPTION if isinstance(error, kind)), "internal_error")
        return cls(code, str(error) if code != "internal_error" else "")

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """Return the answer's body.

        Examples
        --------
        >>> Problem("not_found").to_dict("r-1")["status"]
        404
        """
        found: dict[str, Any] = {
            "type": f"urn:emovox:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "detail": self.detail or self.kind.title,
            "request_id": request_id,
        }
        return found | ({"errors": [dict(one) for one in self.errors]} if self.errors else {})

    def body(self, request_id: str) -> bytes:
        """Return the answer's body as it is sent."""
        return json.dumps(self.to_dict(request_id)).encode()


def _again(code: str, detail: str, retry_after: float | None, errors: tuple[Mapping[str, str], ...]) -> Problem:
    return Problem(code, detail, retry_after=retry_after, errors=errors)


def place_of(error: BaseException) -> str:
    """Say where an exception was raised, in our own terms: a function and a line, no path and no value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"


#: Bytes that are held in memory; more go into a temporary file.
SPOOL = 4_000_000
#: Where other processes of this user find the open files of this one.
_OPEN = f"/proc/{os.getpid()}/fd/"


@dataclass
class Part:
    """A recording that has come.

    Attributes
    ----------
    content : bytes or str
        Its bytes, or the path of a temporary file that holds them.
    name : str
        What the client calls it.
    size : int
        How many bytes there are.
    """

    content: bytes | str
    name: str
    size: int

    def close(self) -> None:
        """Delete the temporary file."""
        if isinstance(self.content, str):
            with suppress(OSError):
                if self.content.startswith(_OPEN):
                    os.close(int(self.content.rpartition("/")[2]))
                else:
                    Path(self.content).unlink()


def kept(file: IO[bytes], name: str) -> Part:
    """Keep what has come: in memory, or in a temporary file that a worker process can open.

    On Linux that file has no name: nothing is left of it, however this process ends.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= SPOOL:
        return Part(file.read(), name, size)
    if Path(_OPEN).is_dir():
        return Part(f"{_OPEN}{os.open(f'{_OPEN}{file.fileno()}', os.O_RDONLY)}", name, size)
    handle, path = tempfile.mkstemp(prefix="emovox-")
    try:
        with os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
    except OSError:
        Path(path).unlink()
        raise Problem("storage_full", "there is no room for the recording: send it later") from None
    return Part(path, name, size)


#: What every variable begins with.
PREFIX = "EMOVOX_"


def setting(default: Any, help: str, *, least: float | None = None, section: str = "") -> Any:
    """Declare a setting: its default, what it means, the least value it may have, its section of the help page."""
    return field(default=default, metadata={"help": help, "least": least, "section": section})


_LIMITS, _PRIVACY = "Limits", "Access"
#: Settings that the help page leaves out; the documentation has them.
RARE = "Rarer limits"


@dataclass(frozen=True)
class Settings:
    """What the service is told; each field is an option of `emovox serve` and a variable ``EMOVOX_<NAME>``.

    Raises
    ------
    InputError
        A value is out of its range.

    Examples
    --------
    >>> Settings(port=8080).address
    'http://127.0.0.1:8080'
    """

    host: str = setting("127.0.0.1", "Address to listen on; beyond this machine a key must exist.")
    port: int = setting(8000, "Port to listen on; 0 takes a free one.", least=0)
    data: str = setting("", "Folder of the database; the default is the user's data folder.")
    database: str = setting("", "URL of a PostgreSQL database instead of SQLite in the data folder.")
    model: str = setting("", "Model file, run folder or built-in name that judges by default.")
    asr: str = setting("", "Whisper model for words: a folder, a name or a hub id.")
    workers: int = setting(0, "Processes for recognition; 0: one per core.", least=0)
    job_workers: int = setting(0, "Processes for jobs, at low priority; 0 is as many as workers.", least=0)
    on: str = setting("", "Dask scheduler for the work of jobs, such as tcp://host:8786: [cluster] extra.")
    log: str = setting("info", "Least level of the log on standard error: debug, info, warning or error.")

    hosts: str = setting("", "Host names that clients may call, with commas.", section=_PRIVACY)
    origins: str = setting("", "Web pages that may call (CORS), with commas.", section=_PRIVACY)
    proxies: str = setting("", "Addresses of proxies whose X-Forwarded-For is believed.", section=_PRIVACY)
    webhook_networks: str = setting("", "Private networks that webhooks may reach, with commas.", section=_PRIVACY)

    rate: int = setting(600, "Requests a minute of one key or address; 0 is any number.", least=0, section=_LIMITS)
    connections: int = setting(2000, "Open connections.", least=1, section=RARE)
    queue: int = setting(64, "Requests that wait for a worker.", least=1, section=RARE)
    upload_mb: float = setting(200.0, "Megabytes of one upload.", least=0.001, section=_LIMITS)
    upload_stall: float = setting(20.0, "Seconds that an upload may bring nothing.", least=0.1, section=RARE)
    seconds: float = setting(900.0, "Seconds of sound of one recording, jobs apart.", least=1, section=_LIMITS)
    timeout: float = setting(120.0, "Seconds of computing for one request.", least=0.1, section=_LIMITS)
    streams: int = setting(100, "Live streams at a time.", least=1, section=_LIMITS)
    streams_each: int = setting(50, "Live streams at a time of one key.", least=1, section=RARE)
    stream_seconds: float = setting(14400.0, "Seconds of sound of one live stream.", least=1, section=RARE)
    idle: float = setting(30.0, "Seconds after which a silent connection of a stream ends.", least=0.1, section=RARE)
    resume: float = setting(60.0, "Seconds that a broken stream waits for its client.", least=0, section=RARE)
    jobs: int = setting(100, "Unfinished jobs of one key.", least=1, section=_LIMITS)
    job_recordings: int = setting(1000, "Recordings of one job.", least=1, section=RARE)
    job_seconds: float = setting(36000.0, "Seconds of sound of one recording of a job.", least=1, section=RARE)
    job_timeout: float = setting(7200.0, "Seconds of computing for one recording of a job.", least=1, section=RARE)
    lease: float = setting(30.0, "Seconds until the work of a dead server is taken over.", least=1, section=RARE)
    keep: float = setting(86400.0, "Seconds that results are kept.", least=1, section=_LIMITS)
    storage_mb: float = setting(10000.0, "Megabytes of sound that waits for jobs.", least=0.001, section=RARE)

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value, least = getattr(self, one.name), one.metadata["least"]
            if least is not None and not value >= least:
                raise InputError(f"{one.name.replace('_', '-')} is {value:g}: expected {least:g} or more")
        if self.port > 65535:
            raise InputError(f"port is {self.port}: expected 0 to 65535")
        if self.log not in ("debug", "info", "warning", "error"):
            raise InputError(f"log is {self.log!r}: expected debug, info, warning or error")
        if self.database and not re.match(r"postgres(ql)?(\+psycopg)?://", self.database):
            raise InputError("database is no URL of PostgreSQL: expected postgresql://USER:PASSWORD@HOST/NAME")
        for network in split(self.webhook_networks):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise InputError(f"webhook-networks has {network!r}: expected networks such as 10.0.0.0/8") from error

    @classmethod
    def of(cls, given: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
        """Put settings together: what was given, else the variables, else the defaults.

        Parameters
        ----------
        given : mapping of str to value, optional
            What was written on the command line; None is nothing.
        environment : mapping of str to str, optional
            The variables; the default is those of this process.

        Raises
        ------
        InputError
            A variable is not a number where one is expected, or a value is out of its range.

        Examples
        --------
        >>> Settings.of({"port": 9000}, {"EMOVOX_PORT": "1", "EMOVOX_RATE": "5"}).rate
        5
        """
        environment = os.environ if environment is None else environment
        found: dict[str, Any] = {}
        for one in dataclasses.fields(cls):
            name = variable(one.name)
            if (value := (given or {}).get(one.name)) is not None:
                found[one.name] = value
            elif environment.get(name):
                kind: Any = type(one.default)
                try:
                    found[one.name] = kind(environment[name])
                except ValueError as error:
                    raise InputError(f"{name} is {environment[name]!r}: expected a number") from error
        return cls(**found)

    @property
    def address(self) -> str:
        """Where the service is called."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can call."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def folder(self) -> Path:
        """Folder of the service's own files."""
        return Path(self.data) if self.data else data_folder()

    @property
    def url(self) -> str:
        """URL of the database, as SQLAlchemy takes it."""
        if not self.database:
            return f"sqlite:///{self.folder / 'serve.sqlite'}"
        return re.sub("^postgres(ql)?://", "postgresql+psycopg://", self.database)

    @property
    def processes(self) -> int:
        """Number of processes that judge."""
        return self.workers or cores()

    @property
    def job_processes(self) -> int:
        """Number of processes for jobs."""
        return self.job_workers or self.processes

    @property
    def upload_bytes(self) -> int:
        """Bytes of one upload at most."""
        return round(self.upload_mb * 1e6)


def split(text: str) -> tuple[str, ...]:
    """Take a list with commas apart.

    Examples
    --------
    >>> split("a.example, b.example,")
    ('a.example', 'b.example')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def variable(name: str) -> str:
    """Return the name of a setting's variable.

    Examples
    --------
    >>> variable("upload_mb")
    'EMOVOX_UPLOAD_MB'
    """
    return PREFIX + name.upper()


def option(name: str) -> str:
    """Return the name of a setting's option.

    Examples
    --------
    >>> option("upload_mb")
    '--upload-mb'
    """
    return "--" + name.replace("_", "-")


def table() -> Iterator[str]:
    """Write the table of the documentation, line by line."""
    yield "| option | variable | default | what it is |"
    yield "|---|---|---|---|"
    for one in dataclasses.fields(Settings):
        default = f"{one.default:g}" if isinstance(one.default, float) else str(one.default)
        yield f"| `{option(one.name)}` | `{variable(one.name)}` | {default or '-'} | {one.metadata['help']} |"


def data_folder() -> Path:
    """Return the folder of what the user keeps: the default of the operating system."""
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support" / "emovox"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME")
    return (Path(base) if base else home_folder() / ".local" / "share") / "emovox"

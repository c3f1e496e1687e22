"""The settings of the service: one table, from which options, variables and documentation are made."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emovox.errors import InputError
from emovox.recognition.many import cores
from emovox.writing import home_folder

#: What every variable begins with.
PREFIX = "EMOVOX_"


def setting(default: Any, help: str, *, least: float | None = None, section: str = "") -> Any:
    """Declare a setting: its default, what it means, the least value it may have, its section of the help page."""
    return field(default=default, metadata={"help": help, "least": least, "section": section})


_LIMITS, _PRIVACY = "Limits", "Who may call"
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
    workers: int = setting(0, "Processes that judge; 0 is one a processor core.", least=0)
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

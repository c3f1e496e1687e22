"""Jobs in a database, and the webhooks that tell of them.

A recording that is worked on is leased: the lease has a token and an end, which the server puts off while it works.  A
result is written only with the token of the lease that is in force, in one transaction with all that follows from it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import secrets
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import sqlalchemy as sa

from emovox import __version__
from emovox.errors import InputError, MissingExtraError
from emovox.serve.settings import Problem, Settings, split

METADATA = sa.MetaData()
#: What is raised where the database is away, for a while or for good.
AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError)

#: Keys of clients; of a key only its digest is stored.
KEYS = sa.Table(
    "keys",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("scopes", sa.String(200), nullable=False),
    sa.Column("rate", sa.Integer),
    sa.Column("streams", sa.Integer),
    sa.Column("jobs", sa.Integer),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sa.Column("revoked", sa.Float),
)

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("owner", sa.String(16), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("finished", sa.Float),
    sa.Column("expires", sa.Float),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("idempotency", sa.String(200)),
    sa.Column("digest", sa.String(64)),
    sa.Column("webhook", sa.Text),
    sa.UniqueConstraint("owner", "idempotency"),
    sa.Index("jobs_owner", "owner", "created"),
)

RECORDINGS = sa.Table(
    "recordings",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("duration", sa.Float),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("lease", sa.String(32)),
    sa.Column("until", sa.Float),
    sa.Column("result", sa.Text),
    sa.Column("problem", sa.Text),
    sa.UniqueConstraint("job", "number"),
    sa.Index("recordings_state", "state", "until"),
)

#: Sound that waits for a job, in pieces, so that no server needs the disk of another one.
SOUND = sa.Table(
    "sound",
    METADATA,
    sa.Column("recording", sa.String(32), sa.ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

#: Messages to clients that are to be delivered.
DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("due", sa.Float, nullable=False),
    sa.Column("lease", sa.String(32)),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("answer", sa.String(200)),
    sa.Index("deliveries_due", "state", "due"),
)


class Database:
    """Opens transactions; safe to use from many threads.

    Parameters
    ----------
    settings : Settings
        Where the database is.

    Raises
    ------
    InputError
        It cannot be opened.
    MissingExtraError
        PostgreSQL is asked for, and its driver is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        url = settings.url
        self.is_sqlite = url.startswith("sqlite")
        try:
            if self.is_sqlite:
                settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                (settings.folder / "serve.sqlite").touch(mode=0o600)  # sound that waits is for nobody else to read
                self._engine = sa.create_engine(url, connect_args={"timeout": 60})
                sa.event.listen(self._engine, "connect", _prepare)
                sa.event.listen(self._engine, "begin", _begin)
            else:
                self._engine = sa.create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
            self._create()
        except ModuleNotFoundError as error:
            raise MissingExtraError("PostgreSQL", "postgres") from error
        except (sa.exc.SQLAlchemyError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            where = sa.engine.make_url(url).render_as_string(hide_password=True)
            raise InputError(
                f"the database {where} cannot be opened ({reason}): check --database and --data"
            ) from error

    def _create(self) -> None:
        """Create what is missing; several servers may start at once."""
        for attempt in (1, 2):
            try:
                with self._engine.begin() as connection:
                    if not self.is_sqlite:
                        connection.execute(sa.text("select pg_advisory_xact_lock(734512)"))
                    METADATA.create_all(connection)
                return
            except sa.exc.DBAPIError:
                if attempt == 2:
                    raise

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction: all of the block takes effect, or nothing."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that changes nothing: it waits for no other one."""
        with self._engine.connect().execution_options(reads=True) as connection, connection.begin():
            yield connection

    def now(self, connection: sa.Connection) -> float:
        """Return the time in seconds, of one clock for all servers that share the database."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(sa.text("select extract(epoch from clock_timestamp())")).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _prepare(connection: Any, _record: Any) -> None:
    """Set SQLite up: readers do not wait for a writer, and what is committed survives a killed process."""
    connection.isolation_level = None  # transactions are begun by hand, below
    for line in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=60000"):
        connection.execute(f"PRAGMA {line}")


def _begin(connection: sa.Connection) -> None:
    """Take SQLite's lock for writing at once: one that is asked for later may be refused instead of waited for."""
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")


#: Bytes of sound in a row of the database.
CHUNK = 1 << 20
#: Leases that a recording may have: whoever held the others has died.
ATTEMPTS = 8
#: States of jobs and recordings that do not change any more.
FINISHED = ("succeeded", "failed", "cancelled")
_OPEN = ("queued", "running")


@dataclass(frozen=True)
class Job:
    """A job, as it is now.

    Attributes
    ----------
    id : str
    state : str
        queued, running, succeeded, failed or cancelled.
    options : mapping
        What was asked.
    created, finished, expires : float or None
        In seconds since 1970.
    total : int
        Number of recordings.
    counts : mapping of str to int
        Recordings by state.
    seconds : float
        Seconds of sound analysed so far.
    """

    id: str
    state: str
    options: Mapping[str, Any]
    created: float
    finished: float | None
    expires: float | None
    total: int
    counts: Mapping[str, int]
    seconds: float

    @property
    def place(self) -> str:
        """Where it stands among the jobs of its owner: two of one instant have different places."""
        return f"{self.created!r}:{self.id}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        counts = {state: self.counts.get(state, 0) for state in (*_OPEN, *FINISHED)}
        return {
            "id": self.id,
            "state": self.state,
            "created": self.created,
            "finished": self.finished,
            "expires": self.expires,
            "recordings": {"total": self.total, **counts},
            "seconds": self.seconds,
            "options": dict(self.options),
        }


@dataclass
class Claim:
    """A recording that this server works on.

    Attributes
    ----------
    recording, job : str
        Ids.
    owner : str
        Id of the key whose job it is.
    name : str
        What its client calls it.
    options : mapping
        What was asked.
    token : str
        Token of the lease.
    attempts : int
        How many leases it has had.
    seconds : float
        Seconds of sound analysed so far.
    """

    recording: str
    job: str
    owner: str
    name: str
    options: Mapping[str, Any]
    token: str
    attempts: int
    seconds: float = 0.0


class Sound:
    """A recording that comes with a new job: its name, its size, and its bytes when they are written."""

    def __init__(self, name: str, size: int, chunks: Iterator[bytes]) -> None:
        self.name, self.size, self.chunks = name, size, chunks


class Jobs:
    """The jobs in a database.

    Parameters
    ----------
    database : Database
    settings : Settings
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def create(
        self,
        owner: str,
        options: Mapping[str, Any],
        sounds: Sequence[Sound],
        *,
        webhook: Mapping[str, Any] | None = None,
        idempotency: tuple[str, str] | None = None,
        most: int | None = None,
    ) -> tuple[Job, bool]:
        """Make a job.

        Parameters
        ----------
        owner : str
            Id of the key.
        options : mapping
            What is asked about each recording.
        sounds : sequence of Sound
            The recordings.
        webhook : mapping, optional
            Where to tell that it is finished: url and secret.
        idempotency : (str, str), optional
            A client's name for the request, and a digest of it.
        most : int, optional
            Unfinished jobs that the owner may have; the default is the server's setting.

        Returns
        -------
        Job
        bool
            Whether it was made now; False where the same request came before.

        Raises
        ------
        Problem
            There are too many jobs, there is no room, or the name belongs to another request.
        """
        try:
            with self._database.begin() as connection:
                if idempotency and (known := self._known(connection, owner, idempotency)):
                    return self._job(connection, known), False
                self._require_room(connection, owner, most, sum(sound.size for sound in sounds))
                name = f"job-{secrets.token_hex(12)}"
                values = {
                    "id": name,
                    "owner": owner,
                    "state": "queued",
                    "options": json.dumps(dict(options)),
                    "created": self._database.now(connection),
                    "total": len(sounds),
                    "webhook": json.dumps(dict(webhook)) if webhook else None,
                }
                if idempotency:
                    values |= {"idempotency": idempotency[0], "digest": idempotency[1]}
                connection.execute(sa.insert(JOBS).values(values))
                for number, sound in enumerate(sounds, 1):
                    self._add(connection, name, number, sound)
                return self._job(connection, name), True
        except sa.exc.IntegrityError:  # another server has just made it
            with self._database.read() as connection:
                if idempotency and (known := self._known(connection, owner, idempotency)):
                    return self._job(connection, known), False
            raise
        except sa.exc.OperationalError as error:
            if "full" in str(error.orig):
                raise Problem("storage_full", "the disk of the database is full: send it later") from error
            raise

    def _known(self, connection: sa.Connection, owner: str, idempotency: tuple[str, str]) -> str | None:
        """Find the job of a request that came before."""
        name, digest = idempotency
        where = (JOBS.c.owner == owner) & (JOBS.c.idempotency == name)
        row = connection.execute(sa.select(JOBS.c.id, JOBS.c.digest).where(where)).first()
        if row is not None and row.digest != digest:
            raise Problem("idempotency_conflict", f"the key {name[:80]!r} came with another request: choose a new one")
        return None if row is None else str(row.id)

    def _require_room(self, connection: sa.Connection, owner: str, most: int | None, size: int) -> None:
        where = (JOBS.c.owner == owner) & JOBS.c.state.in_(_OPEN)
        count = connection.execute(sa.select(sa.func.count()).select_from(JOBS).where(where)).scalar_one()
        if count >= (most or self._settings.jobs):
            raise Problem("too_many_jobs", f"{count} jobs are unfinished: wait for one, or cancel one", retry_after=10)
        held = sa.select(sa.func.coalesce(sa.func.sum(RECORDINGS.c.size), 0)).where(RECORDINGS.c.state.in_(_OPEN))
        if connection.execute(held).scalar_one() + size > self._settings.storage_mb * 1e6:
            raise Problem("storage_full", f"{self._settings.storage_mb:g} MB of sound wait already: send it later")

    def _add(self, connection: sa.Connection, job: str, number: int, sound: Sound) -> None:
        """Write a recording and its sound."""
        name = secrets.token_hex(16)
        row = {"id": name, "job": job, "number": number, "name": sound.name, "size": sound.size, "state": "queued"}
        connection.execute(sa.insert(RECORDINGS).values(row))
        for place, data in enumerate(sound.chunks):
            connection.execute(sa.insert(SOUND).values(recording=name, number=place, data=data))

    def find(self, owner: str, job: str) -> Job:
        """Return a job of an owner.

        Raises
        ------
        Problem
            There is none.
        """
        with self._database.read() as connection:
            self._require(connection, owner, job)
            return self._job(connection, job)

    def all(self, owner: str, *, state: str | None = None, before: str | None = None, limit: int = 50) -> list[Job]:
        """Return the jobs of an owner, the newest first; of one instant, by their ids.

        Parameters
        ----------
        owner : str
            Id of the key.
        state : str, optional
            Only jobs in this state.
        before : str, optional
            Only jobs that follow the one with this :attr:`Job.place`, which may be forgotten meanwhile.
        limit : int, default 50
            How many at most.
        """
        place = sa.tuple_(JOBS.c.created, JOBS.c.id)
        query = sa.select(JOBS.c.id).where(JOBS.c.owner == owner).limit(limit)
        query = query.order_by(JOBS.c.created.desc(), JOBS.c.id.desc())
        if state is not None:
            query = query.where(JOBS.c.state == state)
        if before is not None:
            created, _, name = before.partition(":")
            query = query.where(place < sa.tuple_(float(created), name))
        with self._database.read() as connection:
            return [self._job(connection, row.id) for row in connection.execute(query).all()]

    def recordings(self, owner: str, job: str, *, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return recordings of a job in order: number, name, state, seconds, duration and problem."""
        columns = [RECORDINGS.c[name] for name in ("number", "name", "size", "state", "seconds", "duration", "problem")]
        where = (RECORDINGS.c.job == job) & (RECORDINGS.c.number > after)
        with self._database.read() as connection:
            self._require(connection, owner, job)
            rows = connection.execute(sa.select(*columns).where(where).order_by(RECORDINGS.c.number).limit(limit)).all()
        return [{**row._mapping, "problem": None if row.problem is None else json.loads(row.problem)} for row in rows]

    def results(self, job: str, *, page: int = 50) -> Iterator[tuple[int, str, dict[str, Any] | None, dict[str, Any]]]:
        """Yield number, name, result or None, and problem of each recording, in memory that does not grow."""
        columns = [RECORDINGS.c[name] for name in ("number", "name", "result", "problem")]
        after = 0
        while True:
            where = (RECORDINGS.c.job == job) & (RECORDINGS.c.number > after)
            query = sa.select(*columns).where(where).order_by(RECORDINGS.c.number).limit(page)
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                after = row.number
                yield row.number, row.name, row.result and json.loads(row.result), json.loads(row.problem or "{}")
            if len(rows) < page:
                return

    def one(self, job: str, number: int) -> tuple[dict[str, Any] | None, dict[str, Any] | None] | None:
        """Return result and problem of a recording, None where there is no such recording."""
        where = (RECORDINGS.c.job == job) & (RECORDINGS.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(sa.select(RECORDINGS.c.result, RECORDINGS.c.problem).where(where)).first()
        return row and tuple(None if text is None else json.loads(text) for text in row)  # type: ignore[return-value]

    def cancel(self, owner: str, job: str) -> Job:
        """Cancel a job: what is done stays, what is not is forgotten with its sound.

        Raises
        ------
        Problem
            There is none, or it is finished.
        """
        with self._database.begin() as connection:
            if self._require(connection, owner, job, lock=True) in FINISHED:
                raise Problem("already_finished", "the job is finished: DELETE forgets its results")
            where = (RECORDINGS.c.job == job) & RECORDINGS.c.state.in_(_OPEN)
            self._silence(connection, where)
            connection.execute(sa.update(RECORDINGS).where(where).values(state="cancelled", lease=None, until=None))
            self._ended(connection, job, "cancelled")
            return self._job(connection, job)

    def delete(self, owner: str, job: str) -> None:
        """Cancel a job if it is not finished, and forget all of it.

        Raises
        ------
        Problem
            There is none.
        """
        with self._database.begin() as connection:
            self._require(connection, owner, job, lock=True)
            connection.execute(sa.delete(JOBS).where(JOBS.c.id == job))

    def sound(self, recording: str) -> Iterator[bytes]:
        """Yield the bytes of a recording."""
        number = 0
        while True:
            where = (SOUND.c.recording == recording) & (SOUND.c.number == number)
            with self._database.read() as connection:
                data = connection.execute(sa.select(SOUND.c.data).where(where)).scalar_one_or_none()
            if data is None:
                return
            yield bytes(data)
            number += 1

    def claim(self, most: int) -> list[Claim]:
        """Lease recordings that nobody works on, the oldest first."""
        with self._database.read() as connection:
            if not connection.execute(self._claimable(self._database.now(connection)).limit(1)).first():
                return []
        found = []
        with self._database.begin() as connection:
            now = self._database.now(connection)
            query = self._claimable(now).limit(most).with_for_update(skip_locked=True, of=RECORDINGS)
            for row in connection.execute(query).all():
                token = secrets.token_hex(16)
                values = {"state": "running", "lease": token, "until": now + self._settings.lease}
                values |= {"attempts": row.attempts + 1, "seconds": 0.0}
                connection.execute(sa.update(RECORDINGS).where(RECORDINGS.c.id == row.id).values(values))
                where = (JOBS.c.id == row.job) & (JOBS.c.state == "queued")
                connection.execute(sa.update(JOBS).where(where).values(state="running"))
                options = json.loads(row.options)
                found.append(Claim(row.id, row.job, row.owner, row.name, options, token, row.attempts + 1))
        return found

    def _claimable(self, now: float) -> sa.Select[Any]:
        free = (RECORDINGS.c.state == "queued") | ((RECORDINGS.c.state == "running") & (RECORDINGS.c.until < now))
        columns = [RECORDINGS.c[name] for name in ("id", "job", "name", "attempts")]
        query = sa.select(*columns, JOBS.c.options, JOBS.c.owner).join(JOBS, JOBS.c.id == RECORDINGS.c.job)
        return query.where(free, JOBS.c.state.in_(_OPEN)).order_by(JOBS.c.created, RECORDINGS.c.number)

    def beat(self, claims: Sequence[Claim]) -> list[Claim]:
        """Put off the ends of leases, and tell how far the work is; return those that are no longer in force."""
        lost = []
        with self._database.begin() as connection:
            until = self._database.now(connection) + self._settings.lease
            for one in claims:
                values = {"until": until, "seconds": one.seconds}
                if not connection.execute(sa.update(RECORDINGS).where(_held(one)).values(values)).rowcount:
                    lost.append(one)
        return lost

    def finish(self, claim: Claim, result: Mapping[str, Any] | None, problem: Mapping[str, Any] | None) -> bool:
        """Write the result of a recording or why there is none; return False where its lease is no longer in force."""
        values: dict[str, Any] = {"lease": None, "until": None}
        if result is not None:
            values |= {"state": "succeeded", "result": json.dumps(result)}
            values |= {"duration": result["duration"], "seconds": result["duration"]}
        else:
            values |= {"state": "failed", "problem": json.dumps(problem)}
        with self._database.begin() as connection:
            # The job's row first: of two servers that finish its last two recordings, one sees both.
            connection.execute(sa.select(JOBS.c.id).where(JOBS.c.id == claim.job).with_for_update())
            if not connection.execute(sa.update(RECORDINGS).where(_held(claim)).values(values)).rowcount:
                return False
            self._silence(connection, RECORDINGS.c.id == claim.recording)
            states = {state for state, _ in self._counts(connection, claim.job)}
            if not states & set(_OPEN):
                self._ended(connection, claim.job, "succeeded" if "succeeded" in states else "failed")
        return True

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Give leases back unused: another server may begin at once."""
        with self._database.begin() as connection:
            for one in claims:
                values = {"state": "queued", "lease": None, "until": None, "attempts": one.attempts - 1}
                connection.execute(sa.update(RECORDINGS).where(_held(one)).values(values))

    def sweep(self) -> int:
        """Forget jobs whose time is over; return how many."""
        with self._database.read() as connection:
            over = JOBS.c.expires < self._database.now(connection)
            if not connection.execute(sa.select(JOBS.c.id).where(over).limit(1)).first():
                return 0
        with self._database.begin() as connection:
            return int(connection.execute(sa.delete(JOBS).where(over)).rowcount)

    def _ended(self, connection: sa.Connection, job: str, state: str) -> None:
        """Write that a job is finished, and that its client is to be told."""
        now = self._database.now(connection)
        values = {"state": state, "finished": now, "expires": now + self._settings.keep}
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(values))
        if connection.execute(sa.select(JOBS.c.webhook).where(JOBS.c.id == job)).scalar_one():
            row = {"id": f"msg-{secrets.token_hex(12)}", "job": job, "due": now, "state": "waiting"}
            connection.execute(sa.insert(DELIVERIES).values(row))

    def _silence(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
        """Delete the sound of recordings."""
        chosen = sa.select(RECORDINGS.c.id).where(where)
        connection.execute(sa.delete(SOUND).where(SOUND.c.recording.in_(chosen)))

    def _require(self, connection: sa.Connection, owner: str, job: str, *, lock: bool = False) -> str:
        """Return the state of a job of an owner."""
        query = sa.select(JOBS.c.state).where(JOBS.c.id == job, JOBS.c.owner == owner)
        state = connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()
        if state is None:
            raise Problem("not_found", "there is no such job, or its time is over")
        return str(state)

    def _counts(self, connection: sa.Connection, job: str) -> list[tuple[str, int]]:
        columns = RECORDINGS.c.state, sa.func.count()
        rows = connection.execute(sa.select(*columns).where(RECORDINGS.c.job == job).group_by(RECORDINGS.c.state))
        return [(str(state), int(count)) for state, count in rows]

    def _job(self, connection: sa.Connection, job: str) -> Job:
        row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job)).one()
        seconds = sa.select(sa.func.coalesce(sa.func.sum(RECORDINGS.c.seconds), 0.0)).where(RECORDINGS.c.job == job)
        return Job(
            row.id,
            row.state,
            json.loads(row.options),
            row.created,
            row.finished,
            row.expires,
            row.total,
            dict(self._counts(connection, job)),
            float(connection.execute(seconds).scalar_one()),
        )


def _held(claim: Claim) -> sa.ColumnElement[bool]:
    """Say that a lease is in force."""
    found: sa.ColumnElement[bool] = sa.and_(
        RECORDINGS.c.id == claim.recording, RECORDINGS.c.lease == claim.token, RECORDINGS.c.state == "running"
    )
    return found


LOG = logging.getLogger("emovox.serve")

#: Seconds that a client's server has to answer.
TIMEOUT = 10.0
#: How often a message is sent at most.
TRIES = 10
#: Seconds after which a server that sent a message and died is no longer waited for.
_LEASE = 60.0
#: Seconds until the second try; each further one waits twice as long, up to an hour.
_PAUSE, _LONGEST = 5.0, 3600.0
#: Answers of the 4xx after which trying again makes sense.
_AGAIN = (408, 425, 429)
_LOOK = 2.0


def signature(secret: str, message: str, timestamp: int, body: bytes) -> str:
    """Sign a message, as the Standard Webhooks specification has it.

    Parameters
    ----------
    secret : str
        What the client and the server share.
    message : str
        Id of the message: the same for every try.
    timestamp : int
        When it is sent, in seconds since 1970.
    body : bytes

    Returns
    -------
    str
        Value of the header ``webhook-signature``.

    Source
    ------
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

    Examples
    --------
    >>> signature("secret", "msg-1", 1700000000, b"{}")
    'v1,bxoCRqIU3K0tTdDuvhsXEfYxEVUqJmCYC9pDrP7Vkjs='
    """
    text = f"{message}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), text, hashlib.sha256)).decode()


def checked(url: str, networks: Sequence[str]) -> SplitResult:
    """Make sure that a message may be sent to an address, as far as the address itself tells.

    Raises
    ------
    Problem
        It is not https, names no host, holds a password, or names a private address.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    if parts.scheme != "https" or not host or parts.username is not None or len(url) > 2000 or not url.isprintable():
        raise Problem("options_invalid", "a webhook is an https URL without a password")
    if " " in url:
        raise Problem("options_invalid", "a webhook has a space in its URL: write %20")
    literal = _address(host)
    if literal is not None and not allowed(literal, networks):
        raise Problem(
            "options_invalid",
            f"a webhook to {host[:80]!r}: expected a public address, --webhook-networks allows others",
        )
    return parts


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read a host that is no name: an address as it is written today, or as `inet_aton` takes it (127.1, 0x7f.1)."""
    if host == "localhost" or host.endswith(".localhost"):
        return ipaddress.ip_address("127.0.0.1")
    for read in (ipaddress.ip_address, lambda text: ipaddress.ip_address(socket.inet_aton(text))):
        try:
            return read(host)
        except (ValueError, OSError):
            continue
    return None


def allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[str]) -> bool:
    """Say whether a message may be sent to an address.

    Examples
    --------
    >>> [allowed(ipaddress.ip_address(one), ()) for one in ("192.168.1.1", "::ffff:10.0.0.1", "8.8.8.8")]
    [False, False, True]
    """
    plain = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if any(plain in ipaddress.ip_network(one) for one in networks):
        return True
    return plain.is_global and not (plain.is_multicast or plain.is_reserved)


class _Pinned(http.client.HTTPSConnection):
    """A connection to an address that was looked at: what the name means later plays no part."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=TIMEOUT, context=context)
        self._address, self._context_used = address, context

    def connect(self) -> None:
        """Connect to the address; the certificate must be that of the name."""
        plain = socket.create_connection((self._address, self.port), TIMEOUT)
        self.sock = self._context_used.wrap_socket(plain, server_hostname=self.host)


def send(url: str, secret: str, message: str, body: bytes, networks: Sequence[str]) -> int:
    """Send a message; return the status of the answer.

    Raises
    ------
    OSError
        The address is private or cannot be reached, or the certificate is not its.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    if not addresses or not all(allowed(ipaddress.ip_address(one.partition("%")[0]), networks) for one in addresses):
        raise PermissionError("a private address")
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"emovox/{__version__}",
        "webhook-id": message,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secret, message, now, body),
    }
    connection = _Pinned(host, port, addresses[0], ssl.create_default_context())
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        return connection.getresponse().status  # redirects are not followed, the answer's body is not read
    finally:
        connection.close()


class Webhooks:
    """Delivers the messages in a database.

    Parameters
    ----------
    database : Database
    settings : Settings
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._networks = split(settings.webhook_networks)
        self._news = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Say that a job may be finished."""
        self._news.set()

    async def stop(self) -> None:
        """Stop delivering; what is being sent is sent again by another server, under the same id."""
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                while await asyncio.to_thread(self.deliver_one):
                    pass
            except sa.exc.SQLAlchemyError as error:
                LOG.warning("the database does not answer", extra={"reason": type(error).__name__})
            self._news.clear()
            try:
                async with asyncio.timeout(_LOOK):
                    await self._news.wait()
            except TimeoutError:
                continue

    def deliver_one(self) -> bool:
        """Send one message that is due; return False where there is none."""
        taken = self._taken()
        if taken is None:
            return False
        row, lease = taken
        webhook = json.loads(row.webhook)
        body = json.dumps(
            {"type": "job.finished", "job": {"id": row.job, "state": row.job_state, "finished": row.finished}}
        ).encode()
        try:
            status = send(webhook["url"], webhook["secret"], row.id, body, self._networks)
            answer = str(status)
        except (OSError, http.client.HTTPException, ValueError) as error:
            status, answer = 0, type(error).__name__
        over = 200 <= status < 300 or (400 <= status < 500 and status not in _AGAIN) or row.attempts + 1 >= TRIES
        state = "waiting" if not over else "delivered" if 200 <= status < 300 else "given up"
        LOG.info("webhook", extra={"job": row.job, "status": status, "reason": state})
        with self._database.begin() as connection:
            pause = min(_LONGEST, _PAUSE * 2**row.attempts) * (0.75 + secrets.randbelow(500) / 1000)
            values = {"state": state, "attempts": row.attempts + 1, "answer": answer, "lease": None}
            values["due"] = self._database.now(connection) + pause
            where = (DELIVERIES.c.id == row.id) & (DELIVERIES.c.lease == lease)
            connection.execute(sa.update(DELIVERIES).where(where).values(values))
        return True

    def _taken(self) -> tuple[sa.Row[Any], str] | None:
        """Lease a message that is due."""
        columns = [DELIVERIES.c.id, DELIVERIES.c.job, DELIVERIES.c.attempts, JOBS.c.webhook, JOBS.c.finished]
        query = sa.select(*columns, JOBS.c.state.label("job_state")).join(JOBS, JOBS.c.id == DELIVERIES.c.job)
        query = query.where(DELIVERIES.c.state == "waiting").order_by(DELIVERIES.c.due).limit(1)
        with self._database.read() as connection:
            if not connection.execute(query.where(DELIVERIES.c.due <= self._database.now(connection))).first():
                return None
        with self._database.begin() as connection:
            now = self._database.now(connection)
            due = query.where(DELIVERIES.c.due <= now).with_for_update(skip_locked=True, of=DELIVERIES)
            row: Any = connection.execute(due).first()
            if row is None:
                return None
            lease = secrets.token_hex(16)
            values = {"lease": lease, "due": now + _LEASE}
            connection.execute(sa.update(DELIVERIES).where(DELIVERIES.c.id == row.id).values(values))
            return row, lease

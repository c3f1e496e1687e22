"""Jobs in the database: made, leased, finished and forgotten, so that no server's death loses one or ends one twice.

A recording that is worked on is leased: the lease has a token and an end, which the server puts off while it works.  A
result is written only with the token of the lease that is in force, in one transaction with all that follows from it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from emovox.serve.database import DELIVERIES, JOBS, RECORDINGS, SOUND, Database
from emovox.serve.problems import Problem
from emovox.serve.settings import Settings

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

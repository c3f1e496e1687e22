"""Keys of clients: made once, stored as digests, with scopes, a rate and an end."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from emovox.errors import InputError, did_you_mean
from emovox.serve.database import KEYS, Database

#: What a key may allow.
SCOPES = {
    "predict": "judge recordings, and recognise their words",
    "stream": "open live streams",
    "jobs": "make, see and delete its own jobs",
    "profiles": "make, list and delete profiles of speakers and settings",
    "metrics": "read the server's metrics",
}
#: How a key begins.
MARK = "emovox"
#: Seconds for which a key that was found is not looked up again: a revoked one works so much longer at most.
REMEMBERED = 2.0


@dataclass(frozen=True)
class Key:
    """A key, without its secret.

    Attributes
    ----------
    id : str
        What it is called in lists and logs.
    name : str
        Whose it is.
    scopes : tuple of str
        What it allows, of :data:`SCOPES`.
    rate, streams, jobs : int or None
        Requests a minute, live streams at a time, unfinished jobs; None is the server's setting.
    created : float
        When it was made, in seconds since 1970.
    expires : float or None
        When it ends.
    revoked : float or None
        When it was revoked.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    rate: int | None = None
    streams: int | None = None
    jobs: int | None = None
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None

    def valid(self, now: float) -> bool:
        """Say whether it works at a time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Keys:
    """The keys in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[str, tuple[float, Key | None]] = {}
        self._exists: tuple[float, bool] = (-REMEMBERED, False)

    def create(
        self, name: str, scopes: Sequence[str] = (), *, days: float | None = None, **limits: int | None
    ) -> tuple[Key, str]:
        """Make a key.

        Parameters
        ----------
        name : str
            Whose it is.
        scopes : sequence of str, optional
            What it allows; the default is all.
        days : float, optional
            After so many days it ends; the default is never.
        **limits : int, optional
            `rate` requests a minute, `streams` at a time, unfinished `jobs`; the default is the server's setting.

        Returns
        -------
        Key
        str
            The key as clients send it; it is not stored, and cannot be shown again.

        Raises
        ------
        InputError
            There is no such scope, or a number is not positive.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise InputError(f"a key has no scope {scope!r}: {did_you_mean(scope, SCOPES)}")
        for what, limit in limits.items():
            if limit is not None and limit < 1:
                raise InputError(f"a key with {what} {limit}: expected 1 or more, or none for the server's")
        if days is not None and not 0 < days < 40000:
            raise InputError(f"a key for {days:g} days: expected more than 0 and less than 40000")
        if not name or len(name) > 200:
            raise InputError(f"a key cannot be called {name[:40]!r}: give 1 to 200 characters")
        key = Key(
            secrets.token_hex(6),
            name,
            tuple(scopes) or tuple(SCOPES),
            created=time.time(),
            expires=None if days is None else time.time() + 86400 * days,
            **limits,
        )
        secret = secrets.token_urlsafe(32)
        with self._database.begin() as connection:
            connection.execute(
                sa.insert(KEYS).values(
                    id=key.id,
                    digest=_digest(secret),
                    name=name,
                    scopes=" ".join(key.scopes),
                    rate=key.rate,
                    streams=key.streams,
                    jobs=key.jobs,
                    created=key.created,
                    expires=key.expires,
                )
            )
        self._exists = (-REMEMBERED, False)
        return key, f"{MARK}-{key.id}-{secret}"

    def all(self) -> list[Key]:
        """Return all keys, the oldest first."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(sa.select(KEYS).order_by(KEYS.c.created))]

    def revoke(self, ids: Iterable[str]) -> list[str]:
        """Revoke keys by their ids; return those that were revoked now.

        Raises
        ------
        InputError
            There is no such key.
        """
        done = []
        with self._database.begin() as connection:
            known = [row.id for row in connection.execute(sa.select(KEYS.c.id))]
            for one in ids:
                if one not in known:
                    raise InputError(f"there is no key {one!r}: {did_you_mean(one, known)}")
                values = {"revoked": time.time()}
                where = (KEYS.c.id == one) & KEYS.c.revoked.is_(None)
                if connection.execute(sa.update(KEYS).where(where).values(values)).rowcount:
                    done.append(one)
        self._found.clear()
        return done

    def exist(self) -> bool:
        """Say whether a key was ever made, revoked ones included: from then on all calls need one."""
        _, found = self._exists
        if self.stale:
            with self._database.read() as connection:
                found = connection.execute(sa.select(KEYS.c.id).limit(1)).first() is not None
            self._exists = (time.monotonic(), found)
        return found

    @property
    def stale(self) -> bool:
        """Say whether :meth:`exist` must ask the database."""
        asked, found = self._exists
        return not found and time.monotonic() - asked > REMEMBERED

    def find(self, text: str) -> Key | None:
        """Return the key that a client has sent; None where it is unknown, revoked or has ended."""
        digest = _digest(text)
        asked, key = self._found.get(digest, (-REMEMBERED, None))
        if time.monotonic() - asked > REMEMBERED:
            key = self._looked_up(text)
            if len(self._found) > 10_000:
                self._found.clear()
            self._found[digest] = (time.monotonic(), key)
        return key if key and key.valid(time.time()) else None

    def remembered(self, text: str) -> bool:
        """Say whether :meth:`find` can answer without the database."""
        asked, _ = self._found.get(_digest(text), (-REMEMBERED, None))
        return time.monotonic() - asked <= REMEMBERED

    def _looked_up(self, text: str) -> Key | None:
        mark, _, rest = text.partition("-")
        name, _, secret = rest.partition("-")
        if mark != MARK or not name or len(text) > 200:
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(KEYS).where(KEYS.c.id == name)).first()
        if row is None or not hmac.compare_digest(row.digest, _digest(secret)):
            return None
        return _key(row)


def _digest(secret: str) -> str:
    """Return what is stored of a secret: it is random and long, so that nobody can find it by trying."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    values = {name: value for name, value in row._mapping.items() if name != "digest"}
    return Key(**{**values, "scopes": tuple(row.scopes.split())})

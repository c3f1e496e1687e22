"""The database of the service: its tables, and transactions that SQLite and PostgreSQL keep alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from emovox.errors import InputError, MissingExtraError
from emovox.serve.settings import Settings

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

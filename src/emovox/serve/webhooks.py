"""Messages to clients whose jobs are finished: signed, tried again, and never a way into anybody's network."""

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
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

import sqlalchemy as sa

from emovox.serve.database import DELIVERIES, JOBS, Database
from emovox.serve.problems import Problem
from emovox.serve.settings import Settings, split
from emovox.version import __version__

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

"""How much one client may ask for: requests a minute."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

#: Clients that are remembered: the one that has not called for the longest time is forgotten first.
_CLIENTS = 20_000
_MINUTE = 60.0


@dataclass(frozen=True)
class Allowance:
    """What a client may still ask for.

    Attributes
    ----------
    allowed : bool
        Whether this request may go on.
    quota : int
        Requests a minute.
    remaining : int
        Requests that may follow at once.
    wait : float
        Seconds until the next one may come, where none may.
    """

    allowed: bool
    quota: int
    remaining: int
    wait: float

    def headers(self) -> dict[str, str]:
        """Return the headers that tell it (IETF draft, RateLimit header fields for HTTP)."""
        refill = _MINUTE / self.quota
        left = max(0.0, (self.quota - self.remaining) * refill)
        return {
            "RateLimit-Policy": f'"requests";q={self.quota};w=60',
            "RateLimit": f'"requests";r={self.remaining};t={round(left)}',
        }


class Rates:
    """A bucket of tokens for each client: it holds those of a minute, and fills up evenly.

    Examples
    --------
    >>> rates = Rates()
    >>> [rates.ask("anna", 2, now=0.0).allowed for _ in range(3)], rates.ask("anna", 2, now=30.0).allowed
    ([True, True, False], True)
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def ask(self, client: str, quota: int, *, now: float | None = None) -> Allowance:
        """Take a token of a client, if it has one."""
        now = time.monotonic() if now is None else now
        tokens, last = self._buckets.pop(client, (float(quota), now))
        tokens = min(float(quota), tokens + (now - last) * quota / _MINUTE)
        allowed = tokens >= 1
        tokens -= allowed
        self._buckets[client] = (tokens, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        wait = 0.0 if tokens >= 1 else (1 - tokens) * _MINUTE / quota
        return Allowance(allowed, quota, int(tokens), wait)

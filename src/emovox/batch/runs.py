"""The coordinator: entries to an engine, outcomes to parts; what is done is done, whatever is killed when."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from emovox.batch.places import Entry, Inputs, Place
from emovox.batch.plan import FAILURES, PARTS, Engine, Plan, failure_line
from emovox.batch.summary import Report
from emovox.batch.tasks import Failed, Outcome, Values, encode
from emovox.errors import EmovoxError, InputError, WorkerError
from emovox.outputs.console import readable

#: Seconds after which the engine is asked whether it is still there, where nothing comes of it.
_SILENCE = 5.0
#: Recordings that must be done before a share of failures means something.
_ENOUGH = 100


class TooManyFailuresError(EmovoxError):
    """More recordings failed than the user allows."""

    code = "too_many_failures"


@dataclass(frozen=True)
class Allowance:
    """How many failures are allowed.

    Attributes
    ----------
    most : float
        A number of recordings, or a share in [0, 1] of those done.
    share : bool
        Whether it is a share; it counts once 100 recordings are done.

    Examples
    --------
    >>> Allowance.of("5%"), Allowance.of("20").exceeded(21, 400), Allowance.of("5%").exceeded(21, 400)
    (Allowance(most=0.05, share=True), True, True)
    """

    most: float
    share: bool

    @classmethod
    def of(cls, text: str) -> Allowance:
        """Read ``N`` or ``P%``."""
        share = text.endswith("%")
        try:
            most = float(text.removesuffix("%")) / (100 if share else 1)
        except ValueError:
            most = -1.0
        if most < 0 or (share and most > 1) or (not share and most != int(most)):
            raise InputError(
                f"--max-errors {text}: expected a number of recordings, such as 100, or a share, such as 5%"
            )
        return cls(most, share)

    def exceeded(self, failed: int, done: int) -> bool:
        """Tell whether it is exceeded."""
        return (done >= _ENOUGH and failed > self.most * done) if self.share else failed > self.most


@dataclass(frozen=True)
class Shard:
    """Which parts a process does, of those that share an output: each N-th.

    Examples
    --------
    >>> [part for part in range(5) if Shard.of("2/3").has(part)]
    [1, 4]
    """

    number: int = 1
    of_all: int = 1

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read ``I/N``, the first is 1."""
        first, slash, last = text.partition("/")
        if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise InputError(f"--shard {text}: expected I/N with I from 1 to N, such as 3/8")
        return cls(int(first), int(last))

    def has(self, part: int) -> bool:
        """Tell whether a part is one of this process's."""
        return part % self.of_all == self.number - 1


@dataclass
class _Open:
    """A part that is being done."""

    entries: list[Entry]
    outcomes: dict[int, tuple[tuple[Values, ...], tuple[Failed, ...]]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        return len(self.outcomes) == len(self.entries)


class Run:
    """One call of the command: does what is not done.

    Parameters
    ----------
    plan : Plan
        Of the run; its manifest is in the output already.
    inputs : Inputs
        The recordings that it was made of.
    place : Place
        The output.
    engine : Engine
        Who does the work.
    report : Report
        Who is told.
    shard : Shard
        Which parts.
    allowance : Allowance or None
        How many failures of this call are allowed.
    retry_failed : bool
        Whether recordings that failed before are tried again.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Inputs,
        place: Place,
        engine: Engine[Entry, Outcome],
        report: Report,
        *,
        shard: Shard = Shard(),
        allowance: Allowance | None = None,
        retry_failed: bool = False,
    ) -> None:
        self._plan, self._inputs, self._place, self._engine, self._report = plan, inputs, place, engine, report
        self._shard, self._allowance = shard, allowance
        self._done = plan.done(place)
        self._again = plan.failing(place) if retry_failed else set[int]()
        self._came: queue.SimpleQueue[tuple[int, int, Outcome | EmovoxError]] = queue.SimpleQueue()
        self._open: dict[int, _Open] = {}
        self._running = 0
        self.recordings = self.failed = 0

    def __call__(self) -> None:
        """Do it.

        Raises
        ------
        TooManyFailuresError
            More failed than allowed; the parts that were whole by then stay.
        InputError
            The recogniser cannot be made, the cluster is gone, the output cannot be written.
        """
        for part, entries in self._parts():
            self._begin(part, entries)
            for index, entry in enumerate(entries):
                if index not in self._open[part].outcomes:
                    self._submit(part, index, entry)
            if self._open[part].whole:  # nothing in it had to be done again
                del self._open[part]
        while self._running:
            self._take()

    def _parts(self) -> Iterator[tuple[int, list[Entry]]]:
        """Give the parts that are to be done, with their entries."""
        part: list[Entry] = []
        for number, entry in enumerate(self._inputs):
            index = number // self._plan.part_size
            if self._shard.has(index) and (index not in self._done or index in self._again):
                part.append(entry)
                if len(part) == self._plan.size_of(index):
                    yield index, part
                    part = []

    def _begin(self, part: int, entries: list[Entry]) -> None:
        """Open a part; of one that is done again, only what failed is open."""
        opened = self._open[part] = _Open(entries)
        if part not in self._again:
            return
        failed = {name for name, _ in self._plan.failures(self._place, part)}
        at = {readable(entry.id): index for index, entry in enumerate(entries)}
        rows: dict[str, list[Values]] = {}
        width = len(self._plan.columns) - len(self._plan.carried(entries[0]))
        for row in self._plan.rows(self._place, part):
            rows.setdefault(row[0], []).append(row[:width])
        for name, index in at.items():
            if name not in failed:
                opened.outcomes[index] = (tuple(rows.get(name, ())), ())

    def _submit(self, part: int, index: int, entry: Entry) -> None:
        while self._running >= self._engine.width:
            self._take()
        self._running += 1
        self._engine.submit(entry.bare(), lambda outcome: self._came.put((part, index, outcome)))

    def _take(self) -> None:
        """Take the next outcome, and write its part if that is whole with it."""
        began = time.monotonic()
        while True:
            try:
                part, index, found = self._came.get(timeout=_SILENCE)
                break
            except queue.Empty:
                self._engine.check()
                self._report.waiting(time.monotonic() - began)
        self._running -= 1
        self._report.deaths(self._engine.deaths)
        outcome = self._outcome(found)
        opened = self._open[part]
        opened.outcomes[index] = (outcome.rows, outcome.failures)
        opened.seconds += outcome.seconds
        self.recordings += 1
        entry = opened.entries[index]
        for failed in outcome.failures:
            self._report.failure(entry.id, failed)
        self.failed += bool(outcome.failures)
        self._report.recording(outcome.seconds, failed=bool(outcome.failures))
        if self._allowance and self._allowance.exceeded(self.failed, self.recordings):
            raise TooManyFailuresError(
                f"stopped: {self.failed} of {self.recordings} recordings failed, more than --max-errors allows; "
                f"the first lines with 'failed' in the log say why"
            )
        if opened.whole:
            self._write(part, self._open.pop(part))

    def _outcome(self, found: Outcome | EmovoxError) -> Outcome:
        """Make an outcome of the error of a worker; what is wrong with all of them ends the run."""
        if isinstance(found, Outcome):
            return found
        if not isinstance(found, WorkerError):
            raise found
        return Outcome(failures=(Failed(found.code, str(found)),))

    def _write(self, part: int, opened: _Open) -> None:
        """Write a part: failures first, for the part's own file says that it is done."""
        rows: list[Values] = []
        lines: list[str] = []
        for index, entry in enumerate(opened.entries):
            found, failures = opened.outcomes[index]
            carried = self._plan.carried(entry)
            rows += [(*row, *carried) for row in found]
            lines += [failure_line(entry.id, failed) for failed in failures]
        name, failures_name = f"{PARTS}/{self._plan.part_name(part)}", f"{FAILURES}/part-{part:06d}.jsonl"
        if part in self._again:
            self._place.remove(name)  # until it is whole again, it counts as not done
        if lines:
            self._place.write(failures_name, "".join(lines).encode())
        else:
            self._place.remove(failures_name)  # of an attempt before this one
        self._place.write(name, encode(rows, self._plan.columns, self._plan.form))
        self._report.part(part, len(opened.entries), len(lines), opened.seconds)

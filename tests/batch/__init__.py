"""What the tests of batches share: a fake recogniser, an engine without processes, outputs as bytes.

Worker processes import this package: it imports no test library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emovox.batch.places import Entry, Inputs, Place, place
from emovox.batch.plan import Done, Plan
from emovox.batch.runs import Run
from emovox.batch.summary import Log, Report, finish
from emovox.batch.tasks import Facts, Outcome, PartFormat, Task
from emovox.errors import EmovoxError
from emovox.testing import FakeRecognizer


@dataclass(frozen=True)
class FakeRecipe:
    """How a fake recogniser is made."""

    labels: tuple[str, ...] = ("neutral", "happy", "sad", "angry")
    answer: str | None = None
    spoken: bool = False
    model: str | None = None

    def __call__(self) -> FakeRecognizer:
        return FakeRecognizer(self.labels, answer=self.answer)

    def facts(self) -> Facts:
        return Facts(self().card, hashlib.sha256(repr(self).encode()).hexdigest())

    def options(self) -> dict[str, Any]:
        return asdict(self)


class Inline:
    """An engine that does the work at once; it dies after so many recordings, as a coordinator that is killed would."""

    def __init__(
        self,
        task: Task,
        *,
        dies_after: int | None = None,
        fails: Sequence[str] = (),
        fault: EmovoxError | None = None,
        width: int = 3,
    ) -> None:
        self.width, self.deaths = width, 0
        self.seen: list[str] = []
        self._work = task()
        self._left, self._fails, self._fault = dies_after, fails, fault

    def submit(self, entry: Entry, done: Done) -> None:
        if self._left is not None:
            if not self._left:
                raise KilledError
            self._left -= 1
        self.seen.append(entry.id)
        done(self._fault or EmovoxError("no") if entry.id in self._fails else self._work(entry, lambda what=None: None))

    def check(self) -> None: ...

    def close(self, *, wait: bool = True) -> None: ...


class KilledError(BaseException):
    """What an engine that dies raises."""


def run(
    inputs: Inputs,
    output: Path | Place,
    task: Task | None = None,
    engine: Inline | None = None,
    *,
    part_size: int = 2,
    form: PartFormat = PartFormat.JSONL,
    **options: Any,
) -> Run:
    """Do a run, or a part of one; returns it when it is done."""
    task = task or Task(FakeRecipe())
    where = place(str(output)) if isinstance(output, Path) else output
    plan = Plan.of(inputs, task, part_size=part_size, form=form)
    plan.claim(where)
    report = Report(plan, Log(where))
    done = Run(plan, inputs, where, engine or Inline(task), report, **options)
    done()
    report.end("done")
    finish(plan, where)
    return done


def content(output: Path) -> dict[str, bytes]:
    """Return what an output holds, but for what tells times."""
    files = {path.relative_to(output).as_posix(): path for path in output.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items()) if not name.startswith(("logs/", "report"))}


__all__ = ["FakeRecipe", "Inline", "KilledError", "Outcome", "content", "run"]

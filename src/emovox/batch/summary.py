"""What came of a batch: its summary, its page, and its parts merged."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from html import escape
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from emovox.batch.places import Folder, Place
from emovox.batch.plan import FAILED, LOGS, PAGE, SUMMARY, Plan, failure_line
from emovox.batch.tasks import Failed, Values, parquet_writer
from emovox.errors import InputError
from emovox.outputs import formats
from emovox.outputs.console import Console, Progress, csv_line, is_terminal, json_line, readable, say
from emovox.outputs.formats import Format
from emovox.storage import replacing
from emovox.types import Prediction

#: Speakers and folders that are listed one by one, those with most recordings; the others are counted.
LISTED = 1000


@dataclass
class Tally:
    """What is counted of some rows.

    Attributes
    ----------
    rows, recordings, abstained : int
        How many.
    seconds : float
        Sound that was heard.
    labels : Counter
        Rows by label, abstentions not among them.
    """

    rows: int = 0
    recordings: int = 0
    abstained: int = 0
    seconds: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, label: str | None, abstained: bool | None, seconds: float, *, new: bool) -> None:
        """Count a row; `new` says that it is the first of its recording."""
        self.rows += 1
        if new:
            self.recordings += 1
            self.seconds += seconds
        if abstained:
            self.abstained += 1
        elif label:
            self.labels[label] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "recordings": self.recordings,
            "rows": self.rows,
            "abstained": self.abstained,
            "hours": round(self.seconds / 3600, 6),
            "labels": dict(sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))),
        }


def summarise(plan: Plan, place: Place) -> dict[str, Any]:
    """Go through all parts, and return what ``summary.json`` holds.

    Parameters
    ----------
    plan : Plan
        Of the output.
    place : Place
        The output; every part must be there.

    Returns
    -------
    dict
        Plain values, the same for the same parts.
    """
    total, codes, failed, partly = Tally(), Counter[str](), set[str](), set[str]()
    speakers: dict[str, Tally] = defaultdict(Tally)
    folders: dict[str, Tally] = defaultdict(Tally)
    answers = "label" in plan.columns
    wanted = ["id", "file", "duration", "speaker", "unread", *(("label", "abstained") if answers else ())]
    for part in range(plan.parts):
        before = None
        for name, file, duration, speaker, unread, *answer in plan.rows(place, part, wanted):
            label, abstained = answer or (None, None)
            if unread not in (None, "", "[]", []):
                partly.add(name)
            groups = [total, folders[file.rpartition("/")[0] or "."]]
            groups += [speakers[speaker]] if speaker else []
            for one in groups:
                one.add(label, abstained, duration, new=name != before)
            before = name
        for name, failure in plan.failures(place, part):
            codes[failure.code] += 1
            failed.add(name)
    return {
        "fingerprint": plan.fingerprint,
        "output": plan.manifest["output"],
        "recordings": plan.recordings,
        "failed": len(failed),
        "failures": dict(sorted(codes.items())),
        "partly": len(partly),
        "total": total.to_dict(),
        "speakers": _listed(speakers),
        "folders": _listed(folders),
    }


def _listed(groups: Mapping[str, Tally]) -> dict[str, Any]:
    ranked = sorted(groups.items(), key=lambda item: (-item[1].recordings, item[0]))
    return {
        "count": len(groups),
        "listed": {name: tally.to_dict() for name, tally in sorted(ranked[:LISTED])},
    }


def finish(plan: Plan, place: Place) -> dict[str, Any] | None:
    """Write ``failed.jsonl``, ``summary.json`` and the page, once every part is there; the same bytes each time.

    Parameters
    ----------
    plan : Plan
        Of the output.
    place : Place
        The output.

    Returns
    -------
    dict or None
        The summary; None where parts are still missing.
    """
    if len(plan.done(place)) < plan.parts:
        return None
    lines = (
        failure_line(name, one) for part in sorted(plan.failing(place)) for name, one in plan.failures(place, part)
    )
    place.write(FAILED, "".join(lines).encode())
    summary = summarise(plan, place)
    place.write(SUMMARY, (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    write_page(plan, place, summary)
    return summary


#: Rows of a table, and failures, that the page shows; ``summary.json`` and ``failed.jsonl`` have them all.
SHOWN = 200

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1,h2{line-height:1.2}table{border-collapse:collapse;width:100%;margin:1rem 0}caption{text-align:left;color:#57606a}
th,td{padding:.25rem .6rem;border-bottom:1px solid #d0d7de;text-align:right}
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}
.bar{background:#0969da;height:.8rem;display:inline-block;vertical-align:middle}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem}
dt{color:#57606a}dd{margin:0;overflow-wrap:anywhere}td.share{text-align:left;width:50%}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}}
"""


def write_page(plan: Plan, place: Place, summary: Mapping[str, Any]) -> None:
    """Write the page into an output.

    Parameters
    ----------
    plan : Plan
        Of the output.
    place : Place
        The output; what its logs say of speed is the one thing on the page that differs from run to run.
    summary : mapping
        That of :func:`emovox.batch.summary.summarise`.
    """
    place.write(PAGE, page(plan, summary, speed(place), _failures(plan, place)).encode())


def speed(place: Place) -> dict[str, float]:
    """Add up what the logs say: seconds spent and seconds of sound heard by all processes, recordings done."""
    last: dict[str, dict[str, Any]] = {}
    for event in events(place, ("part", "end")):
        last[event["log"]] = event
    spent = sum(event["seconds"] for event in last.values())
    sound = sum(event["sound_total"] for event in last.values())
    return {"seconds": spent, "sound": sound, "recordings": sum(event["done"] for event in last.values())}


def _failures(plan: Plan, place: Place) -> list[tuple[str, str, str]]:
    found = (
        (name, one.code, one.message)
        for part in sorted(plan.failing(place))
        for name, one in plan.failures(place, part)
    )
    return list(islice(found, SHOWN))


def page(
    plan: Plan, summary: Mapping[str, Any], speed: Mapping[str, float], failures: Sequence[tuple[str, str, str]]
) -> str:
    """Make the page.

    Parameters
    ----------
    plan : Plan
    summary : mapping
        That of :func:`emovox.batch.summary.summarise`.
    speed : mapping
        That of :func:`speed`.
    failures : sequence of (id, code, message)
        The first ones.

    Returns
    -------
    str
        HTML that needs nothing from elsewhere.
    """
    total = summary["total"]
    body = [
        f"<h1>emovox batch: {escape(plan.manifest['output'])}</h1>",
        _facts(_overview(plan, summary, speed)),
    ]
    if total["labels"]:
        body += ["<h2>Labels</h2>", _labels(total)]
    for title in ("speakers", "folders"):
        if summary[title]["listed"]:
            body += [f"<h2>By {title[:-1]}</h2>", _groups(title[:-1], summary[title], list(total["labels"]))]
    if failures:
        note = f"The first {len(failures)}; all are in {FAILED}." if summary["failed"] > len(failures) else ""
        body += ["<h2>Failures</h2>", _table(("id", "code", "message"), failures, note)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>emovox batch</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _overview(plan: Plan, summary: Mapping[str, Any], speed: Mapping[str, float]) -> list[tuple[str, str]]:
    total, model = summary["total"], plan.manifest["model"]
    factor = f"{speed['seconds'] / speed['sound']:.4f}" if speed["sound"] else "unknown"
    failures = ", ".join(f"{code} {count}" for code, count in summary["failures"].items())
    return [
        ("input", str(plan.manifest["input"]["source"])),
        ("recordings", f"{summary['recordings']:,}"),
        ("failed", f"{summary['failed']:,}" + (f" ({failures})" if failures else "")),
        ("read in part", f"{summary['partly']:,}"),
        ("rows", f"{total['rows']:,}"),
        ("abstentions", f"{total['abstained']:,} ({total['abstained'] / max(1, total['rows']):.1%})"),
        ("sound", f"{total['hours']:,.2f} hours"),
        ("time spent", f"{clock(speed['seconds'])}, all processes together; real-time factor {factor}"),
        ("model", f"{model['name']} ({model['sha256'][:12]})" if model else "none"),
        ("emovox", str(plan.manifest["versions"]["emovox"])),
        ("fingerprint", plan.fingerprint),
    ]


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"


def _labels(total: Mapping[str, Any]) -> str:
    counts = {**total["labels"], "don't know": total["abstained"]}
    rows = max(1, total["rows"])
    lines = (
        f"<tr><td>{escape(label)}</td><td>{count:,}</td><td>{count / rows:.1%}</td>"
        f'<td class="share"><span class="bar" style="width:{100 * count / rows:.1f}%"></span></td></tr>'
        for label, count in counts.items()
    )
    return f"<table><tr><th>label</th><th>rows</th><th>share</th><th></th></tr>{''.join(lines)}</table>"


def _groups(title: str, groups: Mapping[str, Any], labels: Sequence[str]) -> str:
    head = (title, "recordings", "hours", "don't know", *labels)
    listed = sorted(groups["listed"].items(), key=lambda item: (-item[1]["recordings"], item[0]))[:SHOWN]
    rows = [
        (
            name,
            f"{one['recordings']:,}",
            f"{one['hours']:.2f}",
            f"{one['abstained'] / max(1, one['rows']):.0%}",
            *(f"{one['labels'].get(label, 0) / max(1, one['rows']):.0%}" for label in labels),
        )
        for name, one in listed
    ]
    note = f"{len(rows)} of {groups['count']:,}, those with most recordings." if len(rows) < groups["count"] else ""
    return _table(head, rows, note)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{escape(note)}</caption>" if note else ""
    return f"<table>{caption}<tr>{top}</tr>{lines}</table>"


#: Seconds between two lines or objects of progress, between two of a log's copies elsewhere, and of the rate's memory.
LINES, COPIES, MEMORY = 10.0, 60.0, 60.0


class Telling(StrEnum):
    """How progress is told."""

    AUTO = "auto"
    BAR = "bar"
    LINES = "lines"
    JSON = "json"
    NONE = "none"


class Log:
    """The log of one process in an output: a line of JSON an event, with its time.

    A folder gets each line at once; a place elsewhere, where nothing can be appended, all of them once a minute.
    """

    def __init__(self, place: Place) -> None:
        now = datetime.now(UTC)
        self.name = f"{LOGS}/{now:%Y%m%dT%H%M%S}-{platform.node() or 'host'}-{os.getpid()}.jsonl"
        self._place = place
        self._lines: list[str] = []
        self._copied = time.monotonic()
        self._here = place if isinstance(place, Folder) else None

    def __call__(self, event: str, **values: Any) -> None:
        """Write an event."""
        line = json_line({"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **values}) + "\n"
        if self._here is not None:
            self._here.append(self.name, line)
            return
        self._lines.append(line)
        if time.monotonic() - self._copied > COPIES:
            self.flush()

    def flush(self) -> None:
        """Write what is not written."""
        self._copied = time.monotonic()
        if self._lines:
            self._place.write(self.name, "".join(self._lines).encode())


class Report:
    """Takes note of what happens, and tells it.

    Parameters
    ----------
    plan : Plan
        Of the run.
    log : Log
        Where it is written down.
    telling : Telling
        How it is told meanwhile.
    todo : int
        How many recordings this process has to do.
    now : callable
        The clock, in seconds.
    """

    def __init__(
        self,
        plan: Plan,
        log: Log,
        telling: Telling = Telling.NONE,
        *,
        todo: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if telling is Telling.AUTO:
            telling = Telling.BAR if is_terminal(sys.stderr) else Telling.LINES
        self._plan, self._log, self._telling, self._now, self._todo = plan, log, telling, now, todo
        self.done = self.failed = self._silences = self._deaths = 0
        self.sound = 0.0
        self.began = self._told = now()
        self._recent: deque[tuple[float, int]] = deque([(self.began, 0)])
        self._bar: Progress | None = None
        self._stack = ExitStack()
        log("begin", fingerprint=plan.fingerprint, recordings=plan.recordings, todo=todo, pid=os.getpid())

    def recording(self, seconds: float, *, failed: bool) -> None:
        """Take note of a recording that is done."""
        self.done += 1
        self.failed += failed
        self._silences = 0
        self.sound += seconds
        now = self._now()
        if now - self._recent[-1][0] >= 1:
            self._recent.append((now, self.done))
            while len(self._recent) > 2 and now - self._recent[0][0] > MEMORY:
                self._recent.popleft()
            self._tell(now)

    def failure(self, name: str, failed: Failed) -> None:
        """Take note of what failed."""
        self._log("failed", id=readable(name), code=failed.code, message=failed.message, channel=failed.channel)

    def part(self, number: int, recordings: int, failures: int, seconds: float) -> None:
        """Take note of a part that is written."""
        self._log(
            "part", part=number, recordings=recordings, failures=failures, sound=round(seconds, 3), **self.state()
        )

    def waiting(self, seconds: float) -> None:
        """Take note that nothing has come for so long; the log hears of it once a minute."""
        if seconds >= COPIES * (1 + self._silences):
            self._silences += 1
            self._log("waiting", silent=round(seconds), **self.state())

    def deaths(self, number: int) -> None:
        """Take note of how many workers have died so far."""
        if number > self._deaths:
            self._deaths = number
            self._log("deaths", workers=number)

    def end(self, how: str) -> None:
        """Take note of the end: ``done``, ``stopped`` or why it could not go on."""
        self._tell(self._now(), last=True)
        self._log("end", how=how, **self.state())
        self._log.flush()

    @property
    def rate(self) -> float:
        """Recordings a second, of the last minute."""
        (then, before), now = self._recent[0], self._now()
        return (self.done - before) / (now - then) if now > then else 0.0

    def state(self) -> dict[str, Any]:
        """Return how far it is, in plain values."""
        spent, rate = self._now() - self.began, self.rate
        left = (self._todo - self.done) / rate if rate else None
        return {
            "done": self.done,
            "todo": self._todo,
            "failed": self.failed,
            "rate": round(rate, 2),
            "seconds": round(spent, 1),
            "seconds_left": None if left is None else round(left),
            "sound_total": round(self.sound, 1),
        }

    def _tell(self, now: float, *, last: bool = False) -> None:
        if self._telling is Telling.BAR:
            self._draw(last)
        elif self._telling is not Telling.NONE and (last or now - self._told >= LINES):
            self._told = now
            if self._telling is Telling.JSON:
                say(json_line({"event": "end" if last else "progress", **self.state()}))
            else:
                say(self.sentence())

    def sentence(self) -> str:
        """Say how far it is."""
        state = self.state()
        left = "" if state["seconds_left"] is None else f", {clock(state['seconds_left'])} left"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self._todo} recordings, {self.rate:.1f} a second{left}{failed}"

    def _draw(self, last: bool) -> None:
        if self._bar is None:
            self._bar = self._stack.enter_context(Progress(Console(sys.stderr)).shown())
        failed = f", {self.failed} failed" if self.failed else ""
        self._bar(f"recordings: {self.rate:.1f} a second{failed}", self.done, self._todo)
        if last:
            self._stack.close()


def events(place: Place, kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Read events of all logs of an output, in order of time."""
    found: list[dict[str, Any]] = []
    for name in place.names(LOGS):
        for line in (place.read(f"{LOGS}/{name}") or b"").decode("utf-8", "replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # the process was killed while it wrote
                continue
            if event.get("event") in kinds:
                found.append({**event, "log": name})
    return sorted(found, key=lambda event: str(event.get("time")))


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Examples
    --------
    >>> clock(59), clock(3725), clock(200_000)
    ('59 s', '1 h 02 min', '2 d 07 h')
    """
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24:02d} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{int(seconds)} s"


class Merged(StrEnum):
    """What parts become."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    RTTM = "rttm"
    TEXTGRID = "textgrid"
    VTT = "vtt"
    SRT = "srt"
    AUDACITY = "audacity"

    @property
    def one_each(self) -> bool:
        """Whether there is a file for each recording."""
        return self in (Merged.TEXTGRID, Merged.VTT, Merged.SRT, Merged.AUDACITY)


def form_of(target: str, form: Merged | None) -> Merged:
    """Tell the format of what is merged: that which is asked for, or the one of the target's name.

    Raises
    ------
    InputError
        The name tells none.

    Examples
    --------
    >>> form_of("all.parquet", None).value, form_of("tracks/", Merged.TEXTGRID).value
    ('parquet', 'textgrid')
    """
    if form is not None:
        return form
    ending = Path(target).suffix.lower().removeprefix(".")
    if ending not in ("csv", "jsonl", "parquet", "rttm"):
        raise InputError(
            f"the name {target} tells no format: end it in .csv, .jsonl, .parquet or .rttm, or add --format"
        )
    return Merged(ending)


def merge(plan: Plan, place: Place, target: Path, form: Merged) -> int:
    """Write the rows of all parts that are there, in the order of the inputs.

    Parameters
    ----------
    plan : Plan
        Of the output.
    place : Place
        The output.
    target : Path
        The file to write, or the folder for formats with a file a recording.
    form : Merged
        Its format.

    Returns
    -------
    int
        How many rows were written.

    Raises
    ------
    InputError
        The output has no answers, and the format is about answers; the rows of a recording lie apart, and the format is
        a file for each; or nothing can be written there.
    """
    if form in (Merged.CSV, Merged.JSONL, Merged.PARQUET):
        return _merged_table(plan, place, target, form)
    if form is Merged.RTTM:
        with replacing(target) as part, part.open("w", encoding="utf-8") as file:
            lines = formats.to_rttm(one for one, _ in answers(plan, place))
            return sum(bool(file.write(line)) for line in lines)
    return _tracks(plan, place, target, Format(form.value))


def rows(plan: Plan, place: Place) -> Iterator[Values]:
    """Give the rows of all parts that are there, in order."""
    for part in sorted(plan.done(place)):
        yield from plan.rows(place, part)


def answers(plan: Plan, place: Place) -> Iterator[tuple[Prediction, Mapping[str, Any]]]:
    """Give all rows as predictions, each with the row it comes from.

    Raises
    ------
    InputError
        The output holds features or embeddings.
    """
    if "label" not in plan.columns:
        raise InputError(f"{place.name} holds {plan.manifest['output']}, not answers: merge it to CSV or Parquet")
    for values in rows(plan, place):
        row = dict(zip(plan.columns, values, strict=True))
        yield _prediction(row, plan.labels), row


def _prediction(row: Mapping[str, Any], labels: list[str]) -> Prediction:
    return Prediction(
        file=row["file"],
        start=row["start"],
        end=row["end"],
        label=row["label"],
        probabilities={label: row[f"p_{label}"] for label in labels},
        confidence=row["confidence"],
        abstained=row["abstained"],
        model=row["model"],
        speaker=row["speaker"],
        transcript=row.get("transcript"),
        channel=row["channel"],
    )


def _merged_table(plan: Plan, place: Place, target: Path, form: Merged) -> int:
    count = 0
    with replacing(target) as part:
        if form is Merged.PARQUET:
            with parquet_writer(part, plan.columns) as write:
                for number in sorted(plan.done(place)):
                    count += write(list(plan.rows(place, number)))
            return count
        with part.open("w", encoding="utf-8", newline="") as file:
            if form is Merged.CSV:
                file.write(csv_line(plan.columns))
            for values in rows(plan, place):
                line = json_line(dict(zip(plan.columns, values, strict=True))) + "\n"
                file.write(line if form is Merged.JSONL else csv_line(_cells(values)))
                count += 1
    return count


def _cells(values: Values) -> Iterator[str | float]:
    """Write values as cells: nothing where there is none, JSON where there is more than a cell holds."""
    for value in values:
        if value is None:
            yield ""
        elif isinstance(value, bool):
            yield str(value).lower()
        elif isinstance(value, str | int | float):
            yield value
        else:
            yield json.dumps(value)


def _require_together(plan: Plan, place: Place) -> None:
    """Make sure, before anything is written, that the rows of a recording follow each other."""
    over: set[str] = set()
    before = None
    for one, _ in answers(plan, place):
        if one.file in over and one.file != before:
            raise InputError(
                f"the rows of {one.file} lie apart in this output, and a track holds a whole recording: sort the input "
                "by file, or merge to CSV, JSON lines, Parquet or RTTM"
            )
        over.add(one.file)
        before = one.file


def _tracks(plan: Plan, place: Place, target: Path, form: Format) -> int:
    """Write a file for each recording."""
    _require_together(plan, place)
    names, count = formats.Names(), 0
    for file, group in groupby(answers(plan, place), key=lambda one: one[0].file):
        found = list(group)
        length = max(max(one.end, row["duration"]) for one, row in found)
        with replacing(target / (names(file) + form.ending)) as part, part.open("w", encoding="utf-8") as written:
            pieces = formats.pieces(form, [one for one, _ in found], plan.labels, duration=length)
            written.writelines(pieces)
        count += len(found)
    return count

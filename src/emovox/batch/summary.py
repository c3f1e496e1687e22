"""What a finished run adds up to: failures in one file, a page with numbers by label, speaker and folder."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import islice
from typing import Any

from emovox.batch.places import Place
from emovox.batch.plan import FAILED, PAGE, SUMMARY, Plan, failure_line
from emovox.batch.report import clock, events

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
    wanted = ["id", "file", "duration", "speaker", *(("label", "abstained", "unread") if answers else ())]
    for part in range(plan.parts):
        before = None
        for name, file, duration, speaker, *answer in plan.rows(place, part, wanted):
            label, abstained, unread = answer or (None, None, None)
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

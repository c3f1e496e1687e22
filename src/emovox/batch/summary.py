"""What a finished run adds up to: failures in one file, numbers by label, speaker and folder."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emovox.batch.page import write_page
from emovox.batch.places import Place
from emovox.batch.plan import FAILED, SUMMARY, Plan, failure_line

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
    total, codes, failed = Tally(), Counter[str](), set[str]()
    speakers: dict[str, Tally] = defaultdict(Tally)
    folders: dict[str, Tally] = defaultdict(Tally)
    answers = "label" in plan.columns
    wanted = ["id", "file", "duration", "speaker", *(("label", "abstained") if answers else ())]
    for part in range(plan.parts):
        before = None
        for name, file, duration, speaker, *answer in plan.rows(place, part, wanted):
            label, abstained = answer or (None, None)
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

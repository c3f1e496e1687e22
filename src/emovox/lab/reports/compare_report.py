"""Report of a comparison: one self-contained HTML page, Markdown, JSON, and the plots as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from emovox import __version__
from emovox.lab.evaluation.comparison import ALPHA, MAX_MISSED, Group, to_dict
from emovox.lab.reports import compare_plots, page
from emovox.storage import creating_folder

#: Template of the page, beside this module.
TEMPLATE = "compare_report.html.j2"
#: Misclassified clips listed in the Markdown.
LISTED = 15


def write(groups: Sequence[Group], folder: Path) -> None:
    """Write ``comparison.html``, ``comparison.md``, ``comparison.json`` and the plots into a new folder.

    Parameters
    ----------
    groups : sequence of Group
        From `emovox.lab.evaluation.comparison.compare`.
    folder : Path
        Created atomically: complete, or not at all.

    Raises
    ------
    InputError
        The folder exists already, or cannot be written.
    """
    with creating_folder(folder) as part:
        places = [_pictures(groups, number) for number in range(1, len(groups) + 1)]
        drawn = [compare_plots.write(part / place, group) for place, group in zip(places, groups, strict=True)]
        text = json.dumps(to_dict(groups), indent=1, ensure_ascii=False)
        (part / "comparison.json").write_text(text + "\n", encoding="utf-8", newline="\n")
        (part / "comparison.html").write_text(render(groups, drawn, places), encoding="utf-8", newline="\n")
        sections = [f"# Comparison of {sum(len(group.runs) for group in groups)} runs\n"]
        sections += [markdown(group, f"{place}/{{}}.png") for group, place in zip(groups, places, strict=True)]
        (part / "comparison.md").write_text("\n".join(sections), encoding="utf-8", newline="\n")


def _pictures(groups: Sequence[Group], number: int) -> str:
    """Return the folder of the plots of a group."""
    return "plots" if len(groups) == 1 else f"plots/test-{number}"


def title(group: Group) -> str:
    """Return the title of a group: what it tested.

    Returns
    -------
    str
        For example "ravdess, 8 emotions, protocol emobox".
    """
    results = group.results
    corpora = ", ".join(results["corpora"])
    return f"{corpora}, {len(results['labels'])} emotions, protocol {results['protocol']['name']}"


def render(groups: Sequence[Group], drawn: Sequence[Mapping[str, str]], places: Sequence[str]) -> str:
    """Render the page.

    Parameters
    ----------
    groups : sequence of Group
        What is compared.
    drawn : sequence of mapping of str to str
        SVG elements of each group by name, from `emovox.lab.reports.compare_plots.write`.
    places : sequence of str
        Folder of the plots of each group, relative to the page.

    Returns
    -------
    str
        HTML.
    """
    return page.template(
        TEMPLATE
    ).render(
        title=title(groups[0]) if len(groups) == 1 else f"{len(groups)} different tests",
        count=sum(len(group.runs) for group in groups),
        software=__version__,
        alpha=ALPHA,
        groups=[
            {
                "title": title(group),
                "results": group.results,
                "folder": place,
                "plots": {name: Markup(svg) for name, svg in pictures.items()},  # our own drawing, escaped there
                "elsewhere": [one for one in group.results["published"] if not one["same"]],
                "learning": any(name.startswith("learning-") for name in pictures),
                "missed": group.results["missed"][:MAX_MISSED],
                "spread": _spread(group.results),
            }
            for group, pictures, place in zip(groups, drawn, places, strict=True)
        ],
    )


def _spread(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the lowest, median and highest UAR over speakers of each run."""
    rows = []
    for run in results["runs"]:
        scores = sorted((one["uar"], name) for name, one in run["speakers"].items())
        if scores:
            values = [value for value, _ in scores]
            middle = float(np.median(values))
            rows.append(
                {"name": run["name"], "worst": values[0], "median": middle, "best": values[-1], "who": scores[0][1]}
            )
    return rows


def markdown(group: Group, picture: str) -> str:
    """Render a group as Markdown.

    Parameters
    ----------
    group : Group
        What is compared.
    picture : str
        Path of a plot, with ``{}`` for its name.

    Returns
    -------
    str
        A section with a second-level heading.
    """
    return "\n".join(_markdown(group, picture)) + "\n"


def _markdown(group: Group, picture: str) -> Iterator[str]:
    results = group.results
    protocol = results["protocol"]
    yield from (f"## {title(group)}", "", protocol["note"], "")
    if not protocol["speaker_independent"]:
        yield from ("**These scores are not speaker-independent.** They need not hold for new voices.", "")
    speakers = results["speakers"] or "unknown"
    yield f"{results['clips']} clips that all runs tested, {speakers} speakers. Scores in percent, means over folds and"
    yield "seeds; the interval is a 95 % bootstrap over whole speakers."
    yield f"Chance is a UAR of {page.score(results['chance'])}."
    yield ""
    yield from _ranking(results)
    yield from (f"![UAR of each run]({picture.format('ranking')})", "")
    yield from _elsewhere(results)
    yield from _tests(results, picture)
    yield from _emotions(results, picture)
    if results["speakers"] and results["speakers"] > 1:
        yield from ("### Speakers", "", f"![UAR of each speaker]({picture.format('speakers')})", "")
    yield from _costs(results)
    yield from _missed(results)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Render a table; vertical bars are escaped, because they would end a cell."""
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    yield ""


def _ranking(results: Mapping[str, Any]) -> Iterator[str]:
    """Render the ranking of the runs, then published results of the same protocol."""
    head = ("run", "family, features", "UAR", "95 % by speaker", "± folds", "± seeds", "WA", "macro-F1", "ECE", "")
    rows = []
    for place, run in enumerate(results["runs"]):
        interval = run["interval"]
        span = f"{page.score(interval['low'])} to {page.score(interval['high'])}" if interval else "–"
        spread = [page.score(run[key]) for key in ("sd_folds", "sd_seeds")]
        scores = [page.score(value) for value in (run["wa"], run["macro_f1"], run["calibration"]["ece"])]
        level = "not shown to differ from the first" if place and run["level_with_best"] else ""
        uar = f"**{page.score(run['uar'])}**"
        rows.append([f"`{run['name']}`", f"{run['family']}, {run['features']}", uar, span, *spread, *scores, level])
    for one in results["published"]:
        if one["same"]:
            scores = [page.score(one[key]) for key in ("uar", "wa", "macro_f1")]
            source = f"[{one['source']}]({one['url']})"
            rows.append([f"*{one['system']}*", "*published*", scores[0], "–", "–", "–", *scores[1:], "–", source])
    yield from _table(head, rows)


def _elsewhere(results: Mapping[str, Any]) -> Iterator[str]:
    """Render published results of other protocols, with a warning."""
    others = [one for one in results["published"] if not one["same"]]
    if not others:
        return
    yield from ("Published by **other protocols**, so not to be ranked with the table above:", "")
    rows = [
        [
            one["system"],
            page.score(one["uar"]),
            page.score(one["wa"]),
            one["by"] + ("" if one["speaker_independent"] else " (leaks speakers)"),
            f"[{one['source']}]({one['url']})",
        ]
        for one in others
    ]
    yield from _table(("system", "UAR", "WA", "protocol", "source"), rows)


def _tests(results: Mapping[str, Any], picture: str) -> Iterator[str]:
    """Render the pairwise tests."""
    if not results["pairs"]:
        return
    count = len(results["pairs"])
    yield from ("### Is the difference real?", "")
    yield "Difference of UAR in points, first less second, with interval and p from resampling whole speakers, and p of"
    yield f"McNemar's exact test; both corrected for {count} comparison{'s' if count > 1 else ''} (Holm)."
    if results["least_p"] and results["least_p"] >= ALPHA:
        yield f"{results['speakers']} speakers cannot show a difference between models in so many comparisons, however"
        yield f"large: no p can be below {results['least_p']:.2g}. Look at the intervals."
    yield ""
    rows = []
    for pair in results["pairs"]:
        difference = "–" if pair["difference"] is None else f"{100 * pair['difference']:+.1f}"
        span = "–" if pair["low"] is None else f"{100 * pair['low']:+.1f} to {100 * pair['high']:+.1f}"
        difference = f"**{difference}**" if pair["differ"] else difference
        names = (f"`{pair['first']}`", f"`{pair['second']}`")
        rows.append([*names, difference, span, page.p_value(pair["p_holm"]), page.p_value(pair["mcnemar_holm"])])
    yield from _table(("first", "second", "difference", "95 %", "p, speakers", "p, McNemar"), rows)
    if any(pair["difference"] is not None for pair in results["pairs"]):
        yield from (f"![Differences between the runs]({picture.format('pairs')})", "")


def _emotions(results: Mapping[str, Any], picture: str) -> Iterator[str]:
    """Render F1 of each emotion, and the confusion matrix of the best run."""
    yield from ("### Emotions", "", "F1 in percent:", "")
    rows = [
        [f"`{run['name']}`", *(page.score(run["per_class"][label]["f1"]) for label in results["labels"])]
        for run in results["runs"]
    ]
    yield from _table(("run", *results["labels"]), rows)
    yield from (f"![F1 of each emotion and run]({picture.format('per_class')})", "")
    yield from (f"Confusions of `{results['runs'][0]['name']}`, rows are the truth:", "")
    yield from (f"![Confusions of the best run]({picture.format('confusion-1')})", "")


def _costs(results: Mapping[str, Any]) -> Iterator[str]:
    """Render the costs of each model."""
    yield from ("### Costs", "")
    timed = any(run["costs"]["clip_ms"] is not None for run in results["runs"])
    if timed:
        yield from ("Latency is that of the whole chain, for 3 s of speech on one thread of the machine at hand.", "")
    rows = []
    for run in results["runs"]:
        cost = run["costs"]
        size = "–" if cost["bytes"] is None else f"{cost['bytes'] / 1e6:.2f}"
        inside = "–" if cost["parameters"] is None else f"{cost['parameters']:,}"
        latency = "–" if cost["clip_ms"] is None else f"{cost['clip_ms']:.1f}"
        fitting = "–" if cost["fit_seconds"] is None else f"{cost['fit_seconds'] / 60:.1f}"
        rows.append([f"`{run['name']}`", size, inside, fitting, *([latency] if timed else [])])
    head = ["run", "file, MB", "numbers inside", "fit of a fold, min", *(["latency, ms"] if timed else [])]
    yield from _table(head, rows)


def _missed(results: Mapping[str, Any]) -> Iterator[str]:
    """Render the list of misclassified clips."""
    yield from ("### Clips to listen to", "")
    count = len(results["missed"])
    if not count:
        yield from ("No clip is missed by more than half of the answers.", "")
        return
    yield f"{count} clips are missed by more than half of the answers; the worst {min(LISTED, count)}:"
    yield ""
    rows = [
        [f"`{one['file']}`", one["label"], f"{one['taken_for']} ({page.percent(one['taken_for_share'])})"]
        for one in results["missed"][:LISTED]
    ]
    yield from _table(("file", "truth", "mostly taken for"), rows)

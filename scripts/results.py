"""Train every family on every available corpus, and write the evaluation reports of docs/results.

::

    python scripts/results.py --corpora DIR [--runs runs/results] [--out docs/results] [--jobs -1] [--pages-only]

DIR contains the corpora by name (``DIR/ravdess``, ``DIR/tess``, ``DIR/nemo``); missing ones are skipped.  Existing runs
are not trained again, so an interrupted call can be resumed.  The pages are generated from the existing runs;
``--pages-only`` trains nothing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emovox.errors import EmovoxError
from emovox.lab.evaluation.comparison import Group, compare
from emovox.lab.experiments import experiment, recipe
from emovox.lab.reports import compare_plots
from emovox.lab.reports.compare_report import markdown
from emovox.lab.reports.page import score

#: Plots on a page; `emovox compare` generates more.
SHOWN = ("ranking", "pairs", "per_class", "speakers", "confusion-1")


@dataclass(frozen=True)
class Report:
    """One page.

    Attributes
    ----------
    name, title : str
        Name of the file, and title of the page.
    corpus, protocol : str
        Tested corpus, and protocol.
    recipes : tuple of str
        Recipes in the package, for this corpus or, unchanged, for another one.
    """

    name: str
    title: str
    corpus: str
    protocol: str
    recipes: tuple[str, ...]

    def run(self, name: str) -> str:
        """Return the run folder of a recipe: its name, with what differs from it if anything does."""
        own = recipe.load(name)
        if self.corpus in own.corpora and own.protocol.name == self.protocol:
            return name
        family = name.removeprefix("ravdess-").removeprefix(f"{self.corpus}-")
        plain = "loso" if self.corpus != "ravdess" else "emobox"
        return f"{self.corpus}-{family}" + ("" if self.protocol == plain else f"-{self.protocol.split('-')[0]}")

    def load(self, name: str) -> recipe.Recipe:
        """Load a recipe with this corpus and protocol."""
        own = recipe.load(name)
        if self.corpus in own.corpora and own.protocol.name == self.protocol:
            return own
        changes: dict[str, Any] = {"protocol.name": self.protocol, "name": self.run(name)}
        if self.corpus not in own.corpora:
            changes |= {"corpora": {self.corpus: {}}, "description": f"The recipe {name} on {self.corpus}"}
        return recipe.load(name, changes)


FAMILIES = ("ravdess-svm", "ravdess-mlp", "ravdess-ann", "ravdess-ann-modern", "ravdess-comprehensive")
NETWORKS = ("ravdess-cnn", "ravdess-rnn", "ravdess-stack")
ENCODERS = ("ravdess-whisper-frozen", "default", "ravdess-stack-encoder")
CLASSIC = ("ravdess-svm", "ravdess-mlp", "ravdess-comprehensive", "ravdess-whisper-frozen")
TESS = ("tess-ann", "tess-cnn", "tess-rnn")
NEMO = ("nemo-ann", "nemo-cnn", "nemo-rnn")
RANDOM = (*FAMILIES, *NETWORKS, "ravdess-random")
REPORTS = (
    Report("ravdess", "RAVDESS speech, new speakers", "ravdess", "emobox", (*FAMILIES, *NETWORKS, *ENCODERS)),
    Report("ravdess-random", "RAVDESS speech, random split", "ravdess", "random-70/30", RANDOM),
    Report("tess", "TESS, the other woman", "tess", "loso", (*TESS, "tess-stack", "tess-default", *CLASSIC)),
    Report("tess-random", "TESS, random split", "tess", "random-70/30", (*TESS, "tess-stack", *CLASSIC)),
    Report("nemo", "nEMO (Polish), new speakers", "nemo", "loso", (*NEMO, "nemo-stack", *CLASSIC)),
)


def known(report: Report) -> tuple[str, ...]:
    """Return the recipes of a report that are in the package."""
    return tuple(name for name in report.recipes if name in recipe.builtin())


def train(report: Report, corpora: Path, runs: Path, jobs: int) -> None:
    """Train missing runs; a recipe that fails is reported and skipped."""
    for name in known(report):
        folder = runs / report.run(name)
        one = report.load(name)
        missing = [corpus for corpus in one.corpora if not (corpora / corpus).exists()]
        if folder.exists() or missing:
            print(f"{folder.name}: " + (f"no corpus {missing[0]}" if missing else "is there"), flush=True)
            continue
        try:
            results = experiment.run(one, {corpus: corpora / corpus for corpus in one.corpora}, folder, jobs=jobs)
        except EmovoxError as error:
            print(f"{folder.name}: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{folder.name}: UAR {score(results['uar'])}", flush=True)


def write(report: Report, runs: Path, out: Path) -> Group | None:
    """Write one page with its plots; a page needs two runs."""
    folders = [runs / report.run(name) for name in known(report)]
    folders = [folder for folder in folders if (folder / "metrics.json").exists()]
    if len(folders) < 2:
        print(f"{report.name}: {len(folders)} of {len(known(report))} runs are there, a page needs two", flush=True)
        return None
    # Latency depends on the load of the machine, so it is not part of a versioned page.
    (group,) = compare(folders, measure=False)
    pictures = out / "images" / report.name
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        compare_plots.write(Path(folder), group)
        for name in SHOWN:
            if (drawn := Path(folder) / f"{name}.png").exists():
                shutil.copy(drawn, pictures / drawn.name)
    body = markdown(group, f"images/{report.name}/{{}}.png")
    made = {run.folder: run.metrics["protocol"]["seeds"] for run in group.runs}
    told = [(name, made.get(runs / report.run(name))) for name in known(report)]
    commands = "\n".join(command(report, name, seeds) for name, seeds in told if seeds)
    text = f"# {report.title}\n\n{body}\n## How these runs were made\n\n```bash\n{commands}\n```\n"
    (out / f"{report.name}.md").write_text(text, encoding="utf-8", newline="\n")
    return group


def command(report: Report, name: str, seeds: Sequence[int] = ()) -> str:
    """Return the command of a run, with seeds if they differ from those of the recipe."""
    own = recipe.load(name)
    corpora = own.corpora if report.corpus in own.corpora else [report.corpus]
    words = [f"emovox train {name}", *(f"--corpus {corpus}={corpus.upper()}" for corpus in corpora)]
    if report.corpus not in own.corpora:
        words.append(f"--set 'corpora={{{report.corpus}={{}}}}'")
    if own.protocol.name != report.protocol:
        words.append(f"--protocol {report.protocol}")
    if seeds and tuple(seeds) != own.protocol.seeds:
        words += [f"--seed {seed}" for seed in seeds]
    return " ".join(words)


def index(groups: Sequence[tuple[Report, Group]]) -> Iterator[str]:
    """Write the list of pages with the best run of each."""
    yield from ("# Results", "")
    yield "Evaluation reports of the recipes in the package, each a comparison of runs of one test (how to read one:"
    yield "[comparing](../comparing.md)). They are made by"
    made = "python scripts/results.py --corpora CORPORA --runs runs/results --out docs/results"
    yield from ("", "```bash", made, "```", "")
    yield from ("| report | protocol | runs | best | UAR | 95 % by speaker |", "|---|---|---|---|---|---|")
    for report, group in groups:
        best = group.results["runs"][0]
        span = best["interval"]
        interval = f"{score(span['low'])} to {score(span['high'])}" if span else "–"
        leak = "" if group.results["protocol"]["speaker_independent"] else ", leaks speakers"
        yield (
            f"| [{report.title}]({report.name}.md) | {report.protocol}{leak} | {len(group.runs)} | `{best['name']}` "
            f"| {score(best['uar'])} | {interval} |"
        )
    yield ""
    yield "Two women speak in TESS: an interval by speaker and a test of two models have nothing to resample. What a"
    yield "random split says stands beside what is true of new voices, to show the size of the leak."
    yield ""


def main() -> int:
    """Train and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpora", type=Path, required=True, help="folder of the corpora, by name")
    parser.add_argument("--runs", type=Path, default=Path("runs/results"), help="folder of the run folders")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="where the pages go")
    parser.add_argument("--jobs", type=int, default=-1, help="processes, -1 is one a core")
    parser.add_argument("--pages-only", action="store_true", help="train nothing")
    options = parser.parse_args()
    if not options.corpora.is_dir():
        parser.error(f"there is no folder {options.corpora}")
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.pages_only:
        for report in REPORTS:
            train(report, options.corpora, options.runs, options.jobs)
    written = [(report, group) for report in REPORTS if (group := write(report, options.runs, options.out))]
    (options.out / "index.md").write_text("\n".join(index(written)), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

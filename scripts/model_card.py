"""Generate the page of a model card from the card in a model file, or check that the page is up to date.

::

    python scripts/model_card.py                                  the built-in model, to docs/model-card.md
    python scripts/model_card.py runs/mine -o card.md             another one
    python scripts/model_card.py --check                          write nothing; 1 if the page is not up to date

The sections are those of Mitchell M et al. (2019), Model cards for model reporting, arXiv 1810.03993.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from emovox.errors import EmovoxError
from emovox.lab.corpora.cards import cards
from emovox.lab.experiments import recipe
from emovox.model.file import DEFAULT, ModelCard, load
from emovox.outputs import pages as words
from emovox.outputs.pages import Section

PAGE = Path(__file__).parents[1] / "docs" / "model-card.md"

USERS = (
    "For people who do research on expressive speech, who teach, or who write assistive and creative software in which "
    "the speaker wants the analysis, sees it and can correct it."
)
FORBIDDEN = (
    "The European Union prohibits inferring emotions of people at work and in education, and regulates most other uses "
    "(Regulation 2024/1689): [responsible use](responsible-use.md) has the articles."
)
NOT_LOOKED_AT = (
    "Not looked at, because the recordings say too little of it: age, accent, dialect, health, spontaneous speech, "
    "several people at once."
)
METRICS = (
    "All in percent. The *unweighted average recall* (UAR) is the mean of the emotions' recalls and weighs each alike, "
    "however many clips it has: chance is 100 over the number of emotions. WA is the share of clips that are right. "
    "Scores are means over folds, then over seeds; tables by emotion, sex and corpus pool folds and seeds. The "
    "interval is a bootstrap over whole speakers.",
    "The *expected calibration error* (ECE) is the mean distance between confidence and accuracy in 15 bins. The "
    "threshold for abstaining is the smallest whose answers keep the promise, by a lower confidence bound that knows "
    "that clips of one speaker resemble each other (`emovox.lab.evaluation.selective`).",
)
ETHICS = (
    "The label is the emotion that the voice expresses, as actors were asked to express it; it is not what somebody "
    "feels. Whether inner states can be read from expressions at all is disputed. Voices are personal data, and can be "
    "biometric data of a special category. Where a table above shows that one group of speakers is recognised less "
    "well than another, expect the same, and worse, for groups that the recordings do not have.",
    "The file holds no recording, and emovox sends nothing anywhere.",
)
CAVEATS = (
    "Before you rely on the model, evaluate it on labelled recordings of your speakers, microphone and language, by "
    "speaker and by sex, with `emovox evaluate`.",
)


def page(card: ModelCard) -> str:
    """Return the whole page."""
    return "\n".join(_page(card)).rstrip() + "\n"


def _page(card: ModelCard) -> Iterator[str]:
    yield f"# Model card: {card.name}\n"
    yield "<!-- Written by scripts/model_card.py from the card inside the model file: do not edit. -->\n"
    yield "`emovox models` shows this in a terminal; with `--json` all of it, recipe and unrounded numbers included.\n"
    yield from _section(words.details(card), "Model details")
    yield from _section(Section("Intended use", tuple(filter(None, (card.intended_use, USERS)))))
    yield from _section(Section("Out-of-scope and forbidden uses", tuple(f"- {use}" for use in words.NOT_INTENDED)))
    yield f"{FORBIDDEN}\n"
    yield from _section(Section("Factors", tuple(_factors(card))))
    yield from _section(Section("Metrics", METRICS))
    data = words.training_data(card)
    yield from _section(Section(data.title, tuple(f"- {line}" for line in data.text)))
    yield from _attribution(card)
    analyses = words.analyses(card)
    yield from _section(Section("Evaluation data", tuple(_evaluation(card))))
    yield "## Quantitative analyses\n"
    for part in (*analyses, words.risk_curve(card)):
        yield from _section(part, level="###")
    yield from _section(Section("Ethical considerations", ETHICS))
    yield from _section(Section("Caveats and recommendations", tuple(filter(None, (card.limitations, *CAVEATS)))))
    yield from _again(card)


def _section(part: Section, title: str = "", level: str = "##") -> Iterator[str]:
    """Yield a section, if it has content."""
    if not part.text and not part.rows:
        return
    yield f"{level} {title or part.title}\n"
    for paragraph in part.text:
        yield paragraph if paragraph.startswith("- ") else f"{paragraph}\n"
    if part.text and part.text[-1].startswith("- "):
        yield ""
    if part.rows:
        width = len(part.rows[0])
        yield _row(part.head or ("",) * width)
        yield "|---|" + ("---:|" if part.head else "---|") * (width - 1)
        yield from map(_row, part.rows)
        yield ""


def _row(cells: tuple[str, ...]) -> str:
    """Write one row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _factors(card: ModelCard) -> Iterator[str]:
    """Describe the factors by which scores are broken down."""
    known = {
        "emotion": "per_class",
        "sex of the speaker": "sexes",
        "corpus, and with it language and recording room": "corpora",
        "noise, room, line and codec": "robustness",
    }
    shown = [name for name, key in known.items() if card.evaluation.get(key)]
    if shown:
        yield f"The scores are broken down by {'; '.join(shown)}."
    yield NOT_LOOKED_AT


def _attribution(card: ModelCard) -> Iterator[str]:
    """Return the attribution of the corpora."""
    known = cards()
    named = [(one.name, known[one.name].provenance) for one in card.corpora if one.name in known]
    for name, source in named:
        if source.citation:
            yield f"- {name}: {source.citation}. <{source.url}>"
    if named:
        yield ""


def _evaluation(card: ModelCard) -> Iterator[str]:
    """Describe how the scores were measured."""
    if note := card.evaluation.get("protocol", {}).get("note"):
        yield (
            "Recordings of the training data, each scored by a model of the same recipe that was fitted without its "
            f"fold. {note} The model in the file is then fitted on all of them by the same recipe."
        )
    if scored := card.evaluation.get("dimensions"):
        yield (
            f"Emotion dimensions: recordings of the training data in {scored['folds']} folds of speakers, each "
            "scored by a regression that has not heard the speaker. The one in the file is then fitted on all of them."
        )


def _again(card: ModelCard) -> Iterator[str]:
    """Return the instructions to reproduce the model."""
    yield "## How to reproduce\n"
    name = card.recipe.get("name", card.name)
    if name in recipe.builtin():
        corpora = " ".join(f"--corpus {shlex.quote(f'{one.name}=DIR')}" for one in card.corpora)
        yield f"<!-- skip: needs a corpus -->\n\n```console\n$ emovox train {shlex.quote(name)} {corpora}\n```\n"
    yield (
        f"Made with emovox {card.software or '(version not stated)'}. The complete recipe is in the file: "
        "`emovox models` with `--json` prints it."
    )


def main(command: Sequence[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT, help="model file, run folder or built-in name")
    parser.add_argument("-o", "--out", type=Path, default=PAGE, help="the page (docs/model-card.md)")
    parser.add_argument("--check", action="store_true", help="compare the page with the model, and write nothing")
    arguments = parser.parse_args(command)
    try:
        text = page(load(arguments.model).card)
        if not arguments.check:
            arguments.out.write_text(text, encoding="utf-8", newline="\n")
        elif arguments.out.read_text(encoding="utf-8") != text:
            again = "" if arguments.model == DEFAULT else f" {arguments.model}"
            print(f"{arguments.out.name} is not up to date: run python scripts/model_card.py{again}", file=sys.stderr)
            return 1
    except EmovoxError as error:
        print(f"model_card: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"model_card: {arguments.out}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

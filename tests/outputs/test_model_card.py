"""The model card in words: the page is that of the model in the package, and nothing measured is lost."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from click.testing import CliRunner

from emovox.cli.commands import app
from emovox.lab.evaluation.scores import score
from emovox.model.file import CARD_KEY, DEFAULT, CorpusSummary, ModelCard, builtin, load
from emovox.outputs import pages as words
from emovox.types import FeatureSpec
from tests import CLASSIC, ROOT

SCRIPT = ROOT / "scripts" / "model_card.py"
LABELS = ("angry", "happy", "sad")
#: Sections of a model card, in the order of Mitchell et al. 2019, table 1, and how to make the model again.
MITCHELL = (
    "Model details",
    "Intended use",
    "Out-of-scope and forbidden uses",
    "Factors",
    "Metrics",
    "Training data",
    "Evaluation data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
    "How to reproduce",
)


NAMES = runpy.run_path(str(SCRIPT))
page: Callable[[ModelCard], str] = NAMES["page"]


def script(*arguments: str | Path) -> int:
    code: int = NAMES["main"]([str(part) for part in arguments])
    return code


def shown(value: float) -> str:
    return f"{100 * value:.1f}"


def evaluation() -> dict[str, Any]:
    """Score invented predictions of two corpora, three seeds and four folds, and add what others measure."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        [
            {"seed": seed, "fold": f"fold {who % 4}", "corpus": ("near", "far")[who // 8], "speaker": f"s{who}"}
            | {"sex": ("female", "male")[who % 2], "label": label}
            for seed in range(3)
            for who in range(16)
            for label in LABELS
            for _ in range(10)
        ]
    )
    logits = rng.normal(size=(len(rows), 3))
    logits[np.arange(len(rows)), rows["label"].map(LABELS.index)] += 2
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = rows.assign(predicted=np.array(LABELS)[given.argmax(axis=1)])
    rows[[f"p_{label}" for label in LABELS]] = given
    found = score(rows, LABELS)
    headline = {key: found[key] for key in ("uar", "wa", "interval", "sd_folds", "n", "calibration", "corpora")}
    return {
        **found,
        "protocol": {"name": "speaker-4", "note": "A note.", "seeds": [0, 1, 2], "speaker_independent": True},
        "enrolled": {**headline, "clips": 2, "uar": 0.8765},
        "setting": {**headline, "clips": 50, "uar": 0.8321},
        "promise": {
            **headline,
            "protocol": {"name": "cross-corpus", "note": "Of strangers.", "speaker_independent": True},
            "selective": {**found["selective"], "threshold": 0.77},
            "setting": {**headline, "uar": 0.7654, "selective": {**found["selective"], "threshold": None}},
        },
        "robustness": {"clean": {"uar": 0.78, "loss": 0.0}, "babble 10 dB": {"uar": 0.7111, "loss": 0.0689}},
        "cross_corpus": {"elsewhere": {"uar": 0.6012, "enrolled_uar": 0.7834, "ece": 0.1256}},
        "cost": {"bytes": 9_876_543, "real_time_factor": 0.0123, "predict_seconds": 0.76, "machine": "a laptop"},
    }


@pytest.fixture(scope="module")
def full() -> ModelCard:
    found = evaluation()
    return ModelCard(
        name="demo",
        family="adaptive",
        labels=LABELS,
        features=FeatureSpec("classic193", 1, 193),
        threshold=found["selective"]["threshold"],
        corpora=(
            CorpusSummary("ravdess", "CC BY-NC-SA 4.0", 1440, 24, LABELS),
            CorpusSummary("own", "-", 9, 0, ("sad",)),
        ),
        licence="non-commercial use only",
        evaluation=json.loads(json.dumps(found)),
        recipe={"name": "classic"},
        intended_use="To be tested.",
        limitations="Not a model.",
        software="0.1.0",
        created="2026-11-21",
    )


@pytest.fixture(scope="module")
def both(full: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the card as the page and as the command line show it."""
    graph = onnx.load_from_string(CLASSIC.read_bytes())
    # The graph stays what it is, and so must what the card says of its input and output.
    classic = load(CLASSIC).card
    card = dataclasses.replace(full, labels=classic.labels, features=classic.features)
    for entry in graph.metadata_props:
        if entry.key == CARD_KEY:
            entry.value = json.dumps(card.to_dict())
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    onnx.save(graph, path)
    done = CliRunner().invoke(app, ["models", str(path)])
    assert done.exit_code == 0
    as_json = CliRunner().invoke(app, ["models", str(path), "--json"])
    assert json.loads(as_json.stdout) == [json.loads(json.dumps(card.to_dict()))]
    text = page(full)
    # Tables of the page and of the terminal differ in their bars and padding only.
    return {"page": re.sub(r" *\| *", " ", text), "terminal": re.sub(r" +", " ", done.stdout)}


def test_the_page_is_that_of_the_model_in_the_package() -> None:
    assert script("--check") == 0
    assert load(DEFAULT).card.name in (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("name", [*builtin(), "full"])
def test_the_page_has_the_sections_of_a_model_card_in_order(name: str, full: ModelCard) -> None:
    text = page(full if name == "full" else load(name).card)
    assert tuple(re.findall(r"(?m)^## (.+)$", text)) == MITCHELL
    for heading, below in re.findall(r"(?m)^##+ (.+)\n\n(.*)$", text):
        assert below, f"nothing under {heading}"
    assert "None" not in text
    assert "{" not in text


def test_a_page_that_is_not_up_to_date_is_told_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "card.md"
    assert script("-o", target) == 0
    stale = target.read_text(encoding="utf-8").replace("UAR", "URA", 1)
    target.write_text(stale, encoding="utf-8")
    assert script("-o", target, "--check") == 1
    assert capsys.readouterr().err == "card.md is not up to date: run python scripts/model_card.py\n"
    assert target.read_text(encoding="utf-8") == stale


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("nothing",), "no model 'nothing'"), (("--check", "-o", "missing.md"), "No such file")],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert script(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("where", ["page", "terminal"])
def test_every_score_is_shown(both: dict[str, str], full: ModelCard, where: str) -> None:
    text, found = both[where], full.evaluation
    interval = found["interval"]
    bounds = f"95 % by speaker {shown(interval['low'])} to {shown(interval['high'])}"
    spreads = f"± {shown(found['sd_folds'])} over folds, ± {shown(found['sd_seeds'])} over seeds"
    expected = [f"UAR {shown(found['uar'])}, {bounds}, {spreads}", f"WA {shown(found['wa'])}", "A note."]
    expected += [f"{one['fold']} {one['seed']} 120 {shown(one['uar'])} {shown(one['wa'])}" for one in found["folds"]]
    for name, one in found["per_class"].items():
        # 16 speakers with 10 clips of each emotion, whatever the number of seeds.
        expected.append(f"{name} {shown(one['precision'])} {shown(one['recall'])} {shown(one['f1'])} 160")
    for name, one in found["sexes"].items():
        expected.append(f"{name} {shown(one['uar'])} {shown(one['wa'])} {shown(one['macro_f1'])}")
    for name, one in found["corpora"].items():
        scores = " ".join(shown(one[key]) for key in ("uar", "wa", "macro_f1", "ece_tempered"))
        expected.append(f"{name} {scores}")
    assert [line for line in expected if line not in text] == []


@pytest.mark.parametrize("where", ["page", "terminal"])
def test_what_is_promised_and_what_it_is_worth_is_shown(both: dict[str, str], full: ModelCard, where: str) -> None:
    text, told = both[where], full.evaluation["selective"]
    honest = told["cross_fitted"]
    assert f"abstains below a confidence of {full.threshold:.2f}" in text
    promise = f"At a threshold of {told['threshold']:.2f} (the model's own) at least 85.0 % of the answers are right"
    assert promise in text
    assert f"answers {shown(told['coverage'])} % of the tested clips, and {shown(told['accuracy'])} %" in text
    groups = {"all": honest, **honest["corpora"], **honest["sexes"], **honest["labels"]}
    for name, one in groups.items():
        assert f"{name} {shown(one['coverage'])} {shown(one['accuracy'])}" in text


@pytest.mark.parametrize("where", ["page", "terminal"])
def test_what_others_measured_is_shown(both: dict[str, str], where: str) -> None:
    text = both[where]
    for line in (
        "With 2 neutral clips of each test speaker as the baseline: UAR 87.6, 95 % by speaker",
        "With 50 clips of each tested corpus as the setting: UAR 83.2, 95 % by speaker",
        "corpus UAR, setting known speaker known",
        "Temperature and threshold of the model come from these answers. Of strangers.",
        "known UAR ECE threshold answered of these right",
        "condition UAR loss, points",
        "babble 10 dB 71.1 6.9",
        "corpus UAR UAR with enrolment ECE",
        "elsewhere 60.1 78.3 12.6",
        "file 9.9 MB",
        "real-time factor, one CPU thread, 3 s clips 0.0123",
        "whole process 0.76 s",
        "machine a laptop",
        "ravdess: 1440 clips, 24 speakers; angry, happy, sad; licence: CC BY-NC-SA 4.0",
        "own: 9 clips, unknown speakers",
        "non-commercial use only",
        "To be tested.",
        "Not a model.",
        "lie detection",
    ):
        assert line in text


def test_the_page_names_the_authors_and_draws_the_curve(both: dict[str, str], full: ModelCard) -> None:
    assert "Livingstone SR, Russo FA (2018)" in both["page"]
    assert "emovox train classic --corpus ravdess=DIR" in both["page"]
    curve = full.evaluation["selective"]["curve"]
    for point in curve[::2]:
        assert f"{shown(point['coverage'])} {shown(point['accuracy'])} {point['threshold']:.2f}" in both["page"]


def test_what_was_not_measured_is_left_out(full: ModelCard) -> None:
    bare = dataclasses.replace(full, evaluation={}, corpora=(), limitations="", intended_use="")
    assert [part.title for part in words.sections(bare)] == ["Details", "Not intended"]
    text = page(bare)
    assert not re.findall(r"(?m)^### ", text)
    part = dataclasses.replace(full, evaluation={"cross_corpus": {"far": {"uar": 0.5, "ece": None}}})
    (table,) = words.analyses(part)
    assert (table.head, table.rows) == (("corpus", "UAR"), (("far", "50.0"),))


@pytest.mark.parametrize(
    ("selective", "protocol", "message"),
    [
        ({"threshold": None}, {}, "No threshold promises that at least 85.0 % of the answers are right"),
        ({"cross_fitted": None}, {}, "the model's own"),
        ({"cross_fitted": None, "threshold": 0.0}, {}, "Without abstaining at least 85.0 % of the answers are right"),
        ({}, {"speaker_independent": False}, "nothing is promised for new speakers"),
    ],
)
def test_what_cannot_be_promised(
    full: ModelCard, selective: dict[str, Any], protocol: dict[str, Any], message: str
) -> None:
    found = full.evaluation
    changed = {
        **found,
        "selective": {**found["selective"], **selective},
        "protocol": {**found["protocol"], **protocol},
    }
    parts = words.analyses(dataclasses.replace(full, evaluation=changed))
    (part,) = [one for one in parts if one.title == "Abstaining"]
    assert message in part.text[0]
    assert part.rows == ()


def test_a_threshold_of_somebody_elses_choice_is_told_apart(full: ModelCard) -> None:
    text = page(dataclasses.replace(full, threshold=0.25))
    assert "(the model's own is 0.25)" in text
    assert "| abstains | below a confidence of 0.25 |" in text
    assert "| abstains | never by itself |" in page(dataclasses.replace(full, threshold=0.0))
    told = dataclasses.replace(full, recipe={"description": "Two encoders, side by side"})
    assert "| recipe | Two encoders, side by side |" in page(told)


def test_names_cannot_break_a_table(full: ModelCard) -> None:
    text = page(dataclasses.replace(full, name="a|b"))
    assert "| name | a\\|b |" in text


def test_every_use_that_is_not_intended_is_on_the_page_that_says_why() -> None:
    prose = " ".join((ROOT / "docs" / "responsible-use.md").read_text(encoding="utf-8").split())
    assert [use for use in words.NOT_INTENDED if use not in prose] == []


def test_dimensions_have_their_scores() -> None:
    card = load("intensity").card
    scores = card.evaluation["dimensions"]["intensity"]
    (table,) = [section for section in words.analyses(card) if section.title == "Emotion dimensions"]
    low, high = scores["auc_interval"]
    assert table.rows[0][:2] == ("intensity", str(scores["n"]))
    assert table.rows[0][3] == f"{scores['auc']:.3f} ({low:.3f} to {high:.3f})"
    assert "in 6 folds of speakers" in page(card)

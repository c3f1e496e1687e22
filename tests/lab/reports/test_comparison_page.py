"""The page that compares runs, and the command that writes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from emovox.errors import InputError
from emovox.lab.evaluation.comparison import Group, compare, published, to_dict
from emovox.lab.reports import compare_report
from emovox.types import COMMON
from tests.cli import emovox_command
from tests.lab import LABELS, table, write_run
from tests.lab.reports import Page

# ---- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(group: Group, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison") / "out"
    compare_report.write([group], folder)
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "comparison.html").read_text(encoding="utf-8"))


def test_the_folder_is_complete(written: Path, group: Group) -> None:
    names = {path.name for path in written.iterdir()}
    assert names == {"comparison.html", "comparison.md", "comparison.json", "plots"}
    assert not list(written.parent.glob("*.part"))
    told = json.loads((written / "comparison.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(to_dict([group])))
    pictures = {path.name for path in (written / "plots").glob("*.png")}
    several = {f"{kind}-{k}.png" for kind in ("confusion", "reliability") for k in (1, 2, 3)}
    assert pictures - {"learning-2.png", "learning-3.png"} == {
        *("ranking.png", "pairs.png", "per_class.png", "speakers.png"),
        *several,
    }
    assert len(list((written / "plots").glob("learning-*.png"))) == 1  # one run has curves


def test_the_page_needs_no_network(page: Page, written: Path) -> None:
    assert not page.named("script")
    assert not page.named("img")
    assert [one for one in page.named("link") if one["href"] != "data:,"] == []
    assert "default-src 'none'" in page.html
    assert not re.search(r"@import|url\((?!#)", page.html)
    for link in page.named("a"):
        if not link["href"].startswith(("#", "https://")):
            assert (written / link["href"]).exists(), link


def test_the_page_shows_the_results(page: Page, group: Group) -> None:
    results = group.results
    rows = page.table("Scores in percent, means over folds")
    assert [row[0] for row in rows] == [run["name"] for run in results["runs"]]
    assert [row[1] for row in rows] == [f"{100 * run['uar']:.1f}" for run in results["runs"]]
    pairs = page.table("Paired tests")
    assert [row[:2] for row in pairs] == [[pair["first"], pair["second"]] for pair in results["pairs"]]
    assert [row[2] for row in pairs] == [f"{100 * pair['difference']:+.1f}" for pair in results["pairs"]]
    costs = {row[0]: row[1:] for row in page.table("What each exported model costs")}
    assert costs["good"] == ["–", "1,234", "–", "1.5"]
    missed = page.table("Clips that most runs miss")
    assert [row[0] for row in missed] == [one["file"] for one in results["missed"]][:40]
    for heading in ("Ranking", "Confusions", "Speakers", "Calibration", "Learning", "Clips to listen to"):
        assert heading in page.text


def test_the_markdown_shows_the_same(written: Path, group: Group) -> None:
    text = (written / "comparison.md").read_text(encoding="utf-8")
    for row in group.results["runs"]:
        assert f"| `{row['name']}` | ann, classic193 | **{100 * row['uar']:.1f}** |" in text
    for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (written / path).exists()
    for block in re.findall(r"(?m)(?:^\|.*\n)+", text):
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1


@pytest.mark.usefixtures("words_alone")
def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    attack = "<b>x|y</b>"
    runs = [write_run(tmp_path / "a", corpus="demo"), write_run(tmp_path / "b<i>|", features=attack)]
    groups = compare(runs, measure=False)
    compare_report.write(groups, tmp_path / "out")
    page = Page((tmp_path / "out" / "comparison.html").read_text(encoding="utf-8"))
    assert "b<i>|" in page.text
    assert attack in page.text
    assert not page.named("i")
    assert not page.named("b")


@pytest.mark.usefixtures("words_alone")
def test_published_scores_stand_beside_ours_only_where_the_protocol_is_the_same(tmp_path: Path) -> None:
    kind: dict[str, Any] = {"labels": COMMON, "corpus": "ravdess", "protocol": "emobox"}
    groups = compare([write_run(tmp_path / name, **kind) for name in ("a", "b")], measure=False)
    found = groups[0].results["published"]
    assert {one["system"] for one in found if one["same"]} >= {"Whisper large-v3, frozen, last layer"}
    assert any(not one["same"] and not one["speaker_independent"] for one in found)
    compare_report.write(groups, tmp_path / "out")
    page = Page((tmp_path / "out" / "comparison.html").read_text(encoding="utf-8"))
    shown = [row[0] for row in page.table("Scores in percent, means over folds")]
    assert shown[2:] == [one["system"] for one in found if one["same"]]
    assert [row[0] for row in page.table("Scores in percent that others published")] == [
        one["system"] for one in found if not one["same"]
    ]
    assert "The protocol differs" in page.text
    fewer: dict[str, Any] = {"labels": LABELS, "corpus": "ravdess", "protocol": "emobox"}
    (four,) = compare([write_run(tmp_path / name, **fewer) for name in ("c", "d")], measure=False)
    assert four.results["published"] == []


def test_every_published_score_has_its_source() -> None:
    for one in published():
        assert one["url"].startswith("https://"), one
        assert one["source"]
        assert ("protocol" in one) != ("by" in one), one
        assert all(20 < one[key] <= 100 for key in ("uar", "wa", "macro_f1") if key in one)
        assert "uar" in one or "wa" in one


@pytest.mark.usefixtures("words_alone")
def test_different_tests_stand_apart_on_the_page(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", protocol="random-70/30", independent=False)]
    compare_report.write(compare(runs, measure=False, separate=True), tmp_path / "out")
    page = Page((tmp_path / "out" / "comparison.html").read_text(encoding="utf-8"))
    assert "2 different tests stand apart" in page.text
    assert "These scores are not speaker-independent" in page.text
    assert (tmp_path / "out" / "plots" / "test-2" / "ranking.png").exists()


def test_an_existing_folder_is_never_overwritten(group: Group, written: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        compare_report.write([group], written)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        compare_report.write([group], tmp_path / "file" / "out")


def test_scores_of_a_class_are_scikit_learns(group: Group, three: list[Path]) -> None:
    rows = table(three[1])
    expected = f1_score(rows["label"], rows["predicted"], average=None, labels=list(LABELS))
    found = [group.results["runs"][0]["per_class"][label]["f1"] for label in LABELS]
    np.testing.assert_allclose(found, expected)


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("words_alone")
def test_the_command_compares(three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(folder) for folder in three]
    code, out, errors = emovox_command("compare", *names, "--out", "out", "--no-latency")
    assert code == 0, errors
    assert "demo, 4 emotions, protocol speaker-6" in out
    assert "good" in out.splitlines()[2]
    assert (tmp_path / "out" / "comparison.html").exists()


def test_the_command_refuses_in_one_line(three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = write_run(tmp_path / "other", protocol="loso")
    code, _, errors = emovox_command("compare", str(three[0]), str(other), "--out", "out")
    assert code == 2
    assert errors.startswith("emovox: these runs cannot be ranked together")
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()

"""Dimensions beside classes: columns, the loss, scores by speaker, and one file that everything reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.model_selection import GroupKFold

from emovox import EmotionRecognizer, ModelError
from emovox.errors import CorpusError
from emovox.lab.estimators.dimension_head import DimensionHead, HeadOptions, concordance
from emovox.lab.evaluation import dimensions as scores
from emovox.lab.experiments import dimensions
from emovox.lab.extraction.cache import FeatureCache
from emovox.model.file import Model, load

NAMES = ("arousal", "valence")


def table(**columns: list[str]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"label": ["sad"] * size} | columns)


@pytest.fixture(scope="module")
def base() -> Model:
    return load("default")


@pytest.fixture(scope="module")
def rows(base: Model) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((60, base.card.features.dimension)).astype(np.float32)


@pytest.fixture(scope="module")
def head(rows: np.ndarray) -> DimensionHead:
    return DimensionHead(HeadOptions(epochs=3)).fit(rows, rows[:, :2].astype(float))


def test_columns_are_numbers_or_words_of_strength() -> None:
    found = dimensions.targets(
        table(arousal=["1", "", "-0.5"], intensity=["strong", "normal", ""]), ["arousal", "intensity"]
    )
    np.testing.assert_array_equal(found, [[1, 1], [np.nan, 0], [-0.5, np.nan]])
    neutral = table(intensity=["normal", "strong"], label=["neutral", "sad"])
    assert np.isnan(dimensions.targets(neutral, ["intensity"])[0, 0])


@pytest.mark.parametrize("cells", [["high-ish"], ["inf"], [""]])
def test_a_column_of_anything_else_is_refused(cells: list[str]) -> None:
    with pytest.raises(CorpusError, match="number"):
        dimensions.targets(table(arousal=cells), ["arousal"])
    with pytest.raises(CorpusError, match="no column 'valence'"):
        dimensions.targets(table(arousal=cells), ["valence"])


def test_the_concordance_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(50)
    found = 0.7 * truth + rng.standard_normal(50) + 0.3
    r, factor = pearsonr(truth, found)[0], truth.std() * found.std()
    expected = 2 * r * factor / (truth.var() + found.var() + (truth.mean() - found.mean()) ** 2)
    assert scores.ccc(truth, found) == pytest.approx(expected)
    given, wanted = (torch.from_numpy(one)[:, None] for one in (found, truth))
    known = torch.ones_like(given, dtype=torch.bool)
    assert concordance(given, wanted, known).item() == pytest.approx(expected)
    holes = known.clone()
    holes[:10] = False
    assert concordance(given, wanted, holes).item() == pytest.approx(scores.ccc(truth[10:], found[10:]))


def test_scores_draw_whole_speakers_and_know_two_values() -> None:
    truth = np.array([0.0, 1.0] * 6 + [np.nan])
    speakers = np.repeat(["a", "b", "c"], [6, 6, 1])
    perfect = scores.score(truth, truth, speakers)
    assert (perfect["ccc"], perfect["auc"], perfect["n"], perfect["interval"]) == (1.0, 1.0, 12, [1.0, 1.0])
    assert "auc" not in scores.score(np.arange(13.0), np.arange(13.0), speakers)
    assert scores.score(truth[:6], truth[:6], speakers[:6])["interval"] is None


def test_classes_stay_and_dimensions_come_with_them(
    base: Model, head: DimensionHead, rows: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "both.onnx"
    dimensions.write(base, head, NAMES, {"arousal": {"ccc": 0.1}}, (), out, alone=False)
    both = load(out)
    np.testing.assert_array_equal(both.run(rows).probabilities, base.run(rows).probabilities)
    assert np.abs(np.asarray(both.run(rows).dimensions) - head.predict(rows)).max() < 1e-3
    assert both.card.evaluation["dimensions"] == {"arousal": {"ccc": 0.1}}
    prediction = EmotionRecognizer(out).predict("examples/plain.wav")
    assert prediction.label in base.card.labels
    assert set(prediction.dimensions or {}) == set(NAMES)
    with pytest.raises(ModelError, match="has dimensions already"):
        dimensions.run(out, {}, NAMES, out)


def test_dimensions_alone_make_a_small_file(base: Model, head: DimensionHead, tmp_path: Path) -> None:
    out = tmp_path / "alone.onnx"
    dimensions.write(base, head, NAMES, {}, (), out, alone=True)
    assert out.stat().st_size < 100_000
    found = EmotionRecognizer(out).timeline("examples/plain.wav")
    assert [set(one.dimensions or {}) for one in found] == [set(NAMES)]
    assert found.summary().dimensions


def test_a_manifest_becomes_a_model(base: Model, toy_manifest: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(toy_manifest)
    frame["file"] = [str(toy_manifest.parent / file) for file in frame["file"]]
    frame["arousal"] = np.where(frame["label"].isin(["angry", "happy"]), 0.8, -0.6)
    few = frame.groupby(["speaker", "label"]).head(2)
    few.to_csv(tmp_path / "ratings.csv", index=False)
    results = dimensions.run(
        None,
        {"ratings": tmp_path / "ratings.csv"},
        ["arousal"],
        tmp_path / "out.onnx",
        options=HeadOptions(epochs=20, learning_rate=1e-3, decay=0.1),
        cache=FeatureCache(tmp_path / "cache"),
        jobs=1,
    )
    assert results["arousal"]["n"] == len(few)
    assert results["arousal"]["auc"] > 0.9
    assert results["setting"]["epochs"] == 20
    assert load(tmp_path / "out.onnx").card.dimensions == ("arousal",)


def test_speakers_are_needed(rows: np.ndarray) -> None:
    with pytest.raises(CorpusError, match="name the speaker"):
        dimensions._held_out(rows, rows[:, :1].astype(float), np.full(len(rows), ""), dimensions.SETTINGS)


def test_each_fold_chooses_without_the_speakers_that_it_is_scored_on(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((80, 3)).astype(np.float32)
    speakers, y = np.repeat([f"s{number}" for number in range(8)], 10), X[:, :1].astype(float)
    bad, good = HeadOptions(epochs=1), HeadOptions(epochs=40, learning_rate=0.05, decay=0.0, dropout=0.0)
    assert dimensions._chosen(X, y, speakers, (bad, good)) == good
    assert dimensions._chosen(X[:10], y[:10], speakers[:10], (bad, good)) == bad  # one speaker: nobody to choose on
    asked: list[set[str]] = []

    def chosen(X: np.ndarray, y: np.ndarray, speakers: np.ndarray, settings: tuple[HeadOptions, ...]) -> HeadOptions:
        asked.append(set(speakers))
        return settings[len(asked) % 2]

    monkeypatch.setattr(dimensions, "_chosen", chosen)
    found, of_folds = dimensions._held_out(X, y, speakers, (bad, good))
    assert of_folds == [good, bad] * 3
    for (train, test), known, one in zip(GroupKFold(6).split(X, groups=speakers), asked, of_folds, strict=True):
        assert known == set(speakers[train])
        np.testing.assert_array_equal(found[test], DimensionHead(one).fit(X[train], y[train]).predict(X[test]))

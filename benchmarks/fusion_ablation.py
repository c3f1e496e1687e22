"""Ablation of fusion: voice alone, words alone, and each fusion, with and without decision rules.

    python benchmarks/word_set/speak.py WORDS
    python benchmarks/fusion_ablation.py --corpus ravdess=DIR --words WORDS [--recognised] [--json ablation.json]

RAVDESS on the EmoBox folds, whose two sentences are neutral: fusion should not reduce accuracy.  And the word test set,
by cell, for the built-in model and for networks trained on all of RAVDESS: emotional words should help.  Nothing is
fitted or selected on the word test set, and no synthetic voice is among the training clips.

The words of RAVDESS are the reference transcripts of its two sentences, and recognised ones for ``--sample`` clips.
The word test set is evaluated with reference and, with ``--recognised``, with recognised transcripts.  Confidence is
reported beside accuracy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox import EmotionRecognizer, GateOptions
from emovox.errors import InputError
from emovox.lab.commands.options import named_folders
from emovox.lab.corpora import splits
from emovox.lab.estimators import families
from emovox.lab.estimators.fusion import LateFusionOptions, fit_pool, pair
from emovox.lab.estimators.training import TrainingSet
from emovox.lab.evaluation.metrics import confusion, ece, uar
from emovox.lab.evaluation.paired import bootstrap_difference, by_group
from emovox.lab.experiments import recipe
from emovox.lab.experiments.dataset import features_of, load
from emovox.lab.experiments.spoken import development_sentences, words_of
from emovox.lab.extraction.sequences import Inputs
from emovox.outputs.console import progress_bars
from emovox.text.fusion import DEFAULT, EMOTIONS, GATE_INPUTS, Mixture, Pool, apply
from emovox.text.words import NAMES, words_vector
from emovox.types import COMMON, Float32Array, Transcript

#: Sentences of RAVDESS by their number.
SAID = {"kids": "Kids are talking by the door.", "dogs": "Dogs are sitting by the door."}
ANN = {
    "hidden": [256],
    "dropout": 0.6,
    "input_dropout": 0.5,
    "batch_norm": True,
    "label_smoothing": 0.1,
    "learning_rate": 0.002,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "batch_size": 64,
    "epochs": 40,
}
#: Probabilities by name of the model or fusion.
Answers = dict[str, NDArray[np.float64]]
#: Predicted labels by name of the model or fusion.
Labels = dict[str, NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class Speech:
    """Clips with features and words.

    Attributes
    ----------
    X : ndarray, shape (n, n_features)
        Acoustic features.
    words : ndarray, shape (n, len(NAMES))
        Linguistic features.
    y, speakers : ndarray of str, shape (n,)
        Labels and speakers.
    """

    X: Float32Array
    words: Float32Array
    y: NDArray[np.str_]
    speakers: NDArray[np.str_]

    @property
    def both(self) -> Inputs:
        """Acoustic and linguistic features, as two inputs."""
        return Inputs({"features": self.X, "words": self.words})

    def of(self, rows: NDArray[Any]) -> Speech:
        """Select clips."""
        return Speech(self.X[rows], self.words[rows], self.y[rows], self.speakers[rows])


def fitted(table: Mapping[str, Any], speech: Speech, seed: int) -> Any:
    """Fit a model, with words if it uses them."""
    pipeline = families.build(*families.parse(table, seed))
    takes = families.family(str(table["family"])).takes_words
    X: Any = speech.both if takes else speech.X
    sentences = development_sentences() if takes else None
    return families.fit(pipeline, TrainingSet(X, speech.y, speech.speakers, sentences=sentences))


def models(speech: Speech, seed: int) -> dict[str, Any]:
    """Fit all models of the tables; late fusion is fitted to predictions for held-out speakers."""
    gated = fitted({"family": "fusion-gated", "acoustic": {"family": "adaptive"}}, speech, seed)
    learner = gated.named_steps["model"]
    pairs = pair(speech.y, speech.words, development_sentences(), 1, seed, disputed=True)
    own = pair(speech.y, speech.words, None, 0, seed)
    penalty = LateFusionOptions().penalty
    return {
        "gated": gated,
        "late": fit_pool(Pool, learner.held_out_[pairs.clips], pairs, learner.classes_, (), penalty),
        "own words only": fit_pool(Mixture, learner.held_out_, own, learner.classes_, tuple(GATE_INPUTS), penalty),
        "ann": fitted({"family": "ann", **ANN}, speech, seed),
        "feature": fitted({"family": "fusion-feature", **ANN, "sentences": 1}, speech, seed),
        "feature, own words only": fitted({"family": "fusion-feature", **ANN}, speech, seed),
    }


def answers(found: Mapping[str, Any], test: Speech, voice: NDArray[np.float64] | None = None) -> Answers:
    """Predict with every model; `voice` replaces the acoustic model with which the fusions were fitted."""
    silent = Inputs({"features": test.X, "words": np.zeros_like(test.words)})
    order = [found["gated"].classes_.tolist().index(label) for label in COMMON]
    heard = found["gated"].predict_proba(silent)[:, order] if voice is None else voice

    def pooled(pool: Pool) -> NDArray[np.float64]:
        return pool.combine(heard, test.words, COMMON)[0]

    gate = found["gated"].named_steps["model"].pool_
    said = test.words[:, EMOTIONS].astype(np.float64)
    return {
        "voice alone": heard,
        "words alone": np.where(said.any(axis=1, keepdims=True), said, 1 / len(COMMON)),
        "late fusion": pooled(found["late"]),
        "gated fusion": pooled(gate),
        "gated fusion, own words only": pooled(found["own words only"]),
        "network, voice alone": found["ann"].predict_proba(test.X)[:, order],
        "feature-level fusion": found["feature"].predict_proba(test.both)[:, order],
        "feature-level fusion, own words only": found["feature, own words only"].predict_proba(test.both)[:, order],
    }


def with_rules(probabilities: NDArray[np.float64], words: Float32Array) -> NDArray[np.str_]:
    """Apply the default decision rules."""
    result = []
    for row, said in zip(probabilities, words, strict=True):
        by_label = dict(zip(COMMON, row.tolist(), strict=True))
        result.append(apply(DEFAULT, by_label, dict(zip(NAMES, said.tolist(), strict=True))).label)
    return np.array(result)


def decided(found: Answers, words: Float32Array) -> dict[str, NDArray[np.str_]]:
    """Convert probabilities to labels, without and with rules."""
    plain = {name: np.array(COMMON)[one.argmax(axis=1)] for name, one in found.items()}
    return {
        **plain,
        **{f"{name}, rules": with_rules(one, words) for name, one in found.items() if name != "words alone"},
    }


def ravdess(root: Path, progress: Any) -> tuple[Speech, Any]:
    """Read RAVDESS with the encoder's embeddings and its two sentences as words."""
    made = recipe.load("ravdess-whisper-frozen")
    data = load(made, {"ravdess": root}, progress=progress)
    vectors = {text: words_vector(Transcript(said), 3.0) for text, said in SAID.items()}
    texts = ["kids" if "kid" in str(text).lower() else "dogs" for text in data.table["text"]]
    words = np.stack([vectors[text] for text in texts])
    speakers = data.speakers
    if speakers is None:
        raise InputError("these clips have no speakers: give RAVDESS")
    return Speech(np.asarray(data.X), words, data.y, speakers), data


def on_ravdess(
    speech: Speech, data: Any, sample: NDArray[np.intp], recognised: Float32Array, seed: int, progress: Any
) -> tuple[Labels, Labels]:
    """Predict each clip with models of other speakers, and a sample also with recognised words."""
    protocol = splits.by_name("emobox", data.table, seed)
    heard = speech.words.copy()
    heard[sample] = recognised
    said: Labels = {"fold": np.empty(len(speech.y), dtype="<U12")}
    sampled: Labels = {}
    for number, fold in enumerate(protocol.folds):
        found = models(speech.of(fold.train), seed)
        drawn = np.intersect1d(fold.test, sample)
        for rows, words, into in ((fold.test, speech.words, said), (drawn, heard, sampled)):
            test = Speech(speech.X[rows], words[rows], speech.y[rows], speech.speakers[rows])
            for name, labels in decided(answers(found, test), test.words).items():
                into.setdefault(name, np.empty(len(speech.y), dtype="<U12"))[rows] = labels
        said["fold"][fold.test] = fold.name
        progress("folds", number + 1, len(protocol.folds))
    return said, sampled


def ravdess_table(said: dict[str, NDArray[np.str_]], speech: Speech) -> dict[str, dict[str, Any]]:
    """Tabulate UAR, its standard deviation over folds, and the difference from voice alone with its p value."""
    truth = _codes(speech.y)
    result: dict[str, dict[str, Any]] = {}
    for name, labels in said.items():
        if name == "fold":
            continue
        network = "network" in name or "feature" in name
        base = said["network, voice alone" if network else "voice alone"]
        folds = [
            float(uar(confusion(speech.y[said["fold"] == one], labels[said["fold"] == one], COMMON)))
            for one in np.unique(said["fold"].astype(str))
        ]
        counts = [by_group(speech.speakers, truth, _codes(one), len(COMMON))[1] for one in (labels, base)]
        difference = bootstrap_difference(counts[0], counts[1])
        result[name] = {
            "uar": float(np.mean(folds)),
            "sd_folds": float(np.std(folds, ddof=1)),
            "difference": None
            if difference is None
            else [difference.value, difference.low, difference.high, difference.p],
        }
    return result


def _codes(labels: NDArray[np.str_]) -> NDArray[np.intp]:
    return np.array([COMMON.index(label) for label in labels], dtype=np.intp)


def word_set(
    folder: Path, asr: str | None, each: int | None, progress: Any
) -> tuple[pd.DataFrame, dict[str, Float32Array], NDArray[np.float64], Float32Array]:
    """Read the word test set: table, linguistic features by transcript, built-in predictions, embeddings."""
    table = pd.read_csv(folder / "manifest.csv")
    if each:
        table = table.groupby(["cell", "label_words"]).head(each).reset_index(drop=True)
    paths = [folder / name for name in table["file"]]
    words = {"true words": np.stack([words_vector(Transcript(text), 2.5) for text in table["text"]])}
    if asr:
        words["recognised words"], _ = words_of([(path, 0.0, float("inf")) for path in paths], asr, None, progress)
    recognizer = EmotionRecognizer(gate=GateOptions(threshold=0))
    voice = []
    for number, path in enumerate(paths):
        found = recognizer.predict(path).probabilities
        voice.append([found[label] for label in COMMON])
        progress("voices", number + 1, len(paths))
    index = pd.MultiIndex.from_arrays(
        [table["file"], [0.0] * len(table), [np.inf] * len(table)], names=["file", "start", "end"]
    )
    spec = recipe.load("ravdess-whisper-frozen").feature_spec()
    X, kept, _ = features_of(
        paths, pd.DataFrame({"label": table["label_words"].to_numpy()}, index=index), spec, None, -1, progress
    )
    if not kept.all():
        raise InputError("some clips of the word set cannot be analysed: make it again")
    return table, words, np.array(voice), np.asarray(X)


def word_table(said: Mapping[str, NDArray[np.str_]], table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Tabulate macro-F1 of each model in each cell; where voice and words disagree, against both references."""
    result: dict[str, dict[str, float]] = {}
    words, voices, cells = (table[column].to_numpy(str) for column in ("label_words", "label_voice", "cell"))
    for name, labels in said.items():
        row = {}
        for cell in dict.fromkeys(cells):
            rows = cells == cell
            if cell == "both neutral":
                row[cell] = float(np.mean(labels[rows] == "neutral"))
            elif cell == "disagree":
                row["disagree: words"] = _f1(words[rows], labels[rows])
                row["disagree: voice"] = _f1(voices[rows], labels[rows])
            else:
                row[cell] = _f1((voices if cell == "words neutral" else words)[rows], labels[rows])
        result[name] = row
    once = np.isin(cells, ["both neutral", "voice neutral"])
    result["words alone"]["all sentences"] = _f1(words[once], said["words alone"][once])
    return result


def calibration_table(found: Answers, table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Tabulate accuracy, mean confidence and ECE of each cell, in percent.

    Where voice and words disagree there is no single reference: the table has the mean probability of the label of the
    words and of the label of the voice.
    """
    words, voices, cells = (table[column].to_numpy(str) for column in ("label_words", "label_voice", "cell"))
    result: dict[str, dict[str, str]] = {}
    for name in ("voice alone", "words alone", "late fusion", "gated fusion"):
        row = {}
        for cell in dict.fromkeys(cells):
            given = found[name][cells == cell]
            at = np.arange(len(given))
            true, other = _codes(words[cells == cell]), _codes(voices[cells == cell])
            if cell == "disagree":
                row["disagree: words, voice"] = (
                    f"{100 * given[at, true].mean():.0f}, {100 * given[at, other].mean():.0f}"
                )
                continue
            true = other if cell == "words neutral" else true
            right, sure = np.mean(given.argmax(axis=1) == true), given.max(axis=1).mean()
            row[cell] = f"{100 * right:.0f} at {100 * sure:.0f}, error {100 * ece(given, true):.1f}"
        result[name] = row
    return result


def _f1(true: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    """Return macro-F1 over the classes that occur; other predictions count as errors."""
    present = [label for label in COMMON if label in set(true)]
    each = []
    for label in present:
        hit = float(np.sum((true == label) & (predicted == label)))
        each.append(2 * hit / max(1.0, float(np.sum(true == label) + np.sum(predicted == label))))
    return float(np.mean(each))


def show(title: str, rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str], scale: float) -> None:
    print(f"\n{title}\n\n| | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name, row in rows.items():
        cells = ["" if row.get(column) is None else _cell(row[column], scale) for column in columns]
        print(f"| {name} | {' | '.join(cells)} |")


def _cell(value: Any, scale: float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"{scale * value[0]:+.1f} ({scale * value[1]:+.1f} to {scale * value[2]:+.1f}, p {value[3]:.2g})"
    return f"{scale * value:.1f}" if scale != 1 else f"{value:.2f}"


def write_pool(pool: Pool, path: Path) -> None:
    """Write the fusion weights that are part of emovox."""
    made = {"made_by": "benchmarks/fusion_ablation.py --pool", "sentences": len(development_sentences().labels)}
    path.write_text(json.dumps({"pool": pool.to_dict(), **made}, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[], metavar="ravdess=DIR")
    parser.add_argument("--words", type=Path, help="folder that word_set/speak.py wrote")
    parser.add_argument("--recognised", action="store_true", help="judge the word set with recognised words, too")
    parser.add_argument("--asr", default="tiny.en", help="Whisper model")
    parser.add_argument("--sample", type=int, default=0, help="clips of RAVDESS with recognised words")
    parser.add_argument("--each", type=int, help="only so many clips of each emotion in each cell of the word set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["ravdess", "words"], help="one of the two tables")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--pool", type=Path, help="write the gated pool, fitted on all of RAVDESS, here")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"seed": arguments.seed}
    try:
        with progress_bars() as progress:
            speech, data = ravdess(named_folders(arguments.corpus)["ravdess"], progress)
            if arguments.only != "words":
                rows = np.random.default_rng(arguments.seed).permutation(len(speech.y))[: arguments.sample]
                stretches = [(data.paths[row], 0.0, float("inf")) for row in rows]
                words = words_of(stretches, arguments.asr, None, progress)[0] if len(rows) else speech.words[:0]
                said, sampled = on_ravdess(speech, data, rows, words, arguments.seed, progress)
                results["ravdess"] = ravdess_table(said, speech)
                for name, labels in sampled.items() if len(rows) else ():
                    true = confusion(speech.y[rows], said[name][rows], COMMON)
                    results["ravdess"][name]["sample, written"] = float(uar(true))
                    results["ravdess"][name]["sample, recognised"] = float(
                        uar(confusion(speech.y[rows], labels[rows], COMMON))
                    )
            if arguments.only != "ravdess" and arguments.words:
                asr = arguments.asr if arguments.recognised else None
                table, words_by, voice, X = word_set(arguments.words, asr, arguments.each, progress)
                fitted_on_all = models(speech, arguments.seed)
                if arguments.pool:
                    write_pool(fitted_on_all["gated"].named_steps["model"].pool_, arguments.pool)
                labels, speakers = table["label_words"].to_numpy(str), table["speaker"].to_numpy(str)
                for whose, words in words_by.items():
                    found = answers(fitted_on_all, Speech(X, words, labels, speakers), voice)
                    results[f"word set, {whose}"] = word_table(decided(found, words), table)
                    results[f"calibration, {whose}"] = calibration_table(found, table)
    except (InputError, KeyError, OSError) as error:
        print(f"fusion_ablation: {error}", file=sys.stderr)
        return 2
    if "ravdess" in results:
        columns = ["uar", "sd_folds", "difference", "sample, written", "sample, recognised"]
        show("RAVDESS, EmoBox folds, UAR", results["ravdess"], columns, 100)
    for title in (title for title in results if "words" in title):
        columns = list(dict.fromkeys(column for row in results[title].values() for column in row))
        show(title, results[title], columns, 1)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

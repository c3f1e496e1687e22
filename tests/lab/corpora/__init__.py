"""Folders that look like corpora, sounds, tables of clips, and what every protocol promises."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from hypothesis import assume
from hypothesis import strategies as st

from emovox.lab.corpora.protocol import Protocol
from emovox.lab.corpora.table import INDEX, Clip, Corpus, Provenance, from_clips


def tree(root: Path, *names: str) -> Path:
    """Make files of one byte; readers look at names only."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return root


def files_of(corpus: Corpus) -> list[str]:
    return corpus.table.index.get_level_values("file").tolist()


def reasons(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    return {group.reason: group.files for group in corpus.skipped}


def sound(seconds: float = 0.3, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, round(16000 * seconds))
    soundfile.write(buffer, samples, 16000, format="WAV")
    return buffer.getvalue()


#: Some recordings of SAVEE.
SAVEE = [
    f"AudioData/{speaker}/{emotion}0{take}.wav"
    for speaker in ("DC", "KL")
    for emotion in ("a", "sa")
    for take in (1, 2)
]


# --- nEMO

NEMO_HEAD = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def write_nemo(root: Path, *lines: str) -> None:
    (root / "data.tsv").write_text(NEMO_HEAD + "".join(line + "\n" for line in lines), encoding="utf-8")


# --- manifests


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


Key = tuple[str, float, float]


def table_of(clips: list[Clip]) -> pd.DataFrame:
    """Make a table in which a speaker's prefix says the corpus."""
    table = from_clips(clips, "demo", Provenance())
    return table.assign(corpus=table["speaker"].str.partition("/")[0])


def keys(table: pd.DataFrame, positions: np.ndarray) -> frozenset[Key]:
    return frozenset(table.index[positions].tolist())


def factorial(speakers: int = 4, labels: int = 3, texts: int = 2, takes: int = 2, corpora: int = 1) -> list[Clip]:
    """Every speaker says every text in every emotion."""
    return [
        Clip(
            file=f"{speaker}/{label}-{text}-{take}.wav",
            label=f"label{label}",
            speaker=f"corpus{speaker % corpora}/{speaker}",
            sex="female" if speaker % 2 else "male",
            text=f"Text {text}",
            split=("train", "valid", "test", "")[speaker % 4],
        )
        for speaker in range(speakers)
        for label in range(labels)
        for text in range(texts)
        for take in range(takes)
    ]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Anything between a complete design and a few stray clips, its rows in any order."""
    corpora = draw(st.integers(1, 3))
    clips = factorial(
        speakers=draw(st.integers(1, 7)),
        labels=draw(st.integers(1, 4)),
        texts=draw(st.integers(1, 5)),
        takes=draw(st.integers(1, 2)),
        corpora=corpora,
    )
    keep = draw(st.sampled_from([1.0, 1.0, 0.9, 0.5]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kept = [clip for clip in clips if rng.random() < keep]
    if draw(st.integers(0, 9)) == 0 and kept:
        kept[0] = replace(kept[0], speaker="", text="")
    assume(kept)
    table = table_of(kept)
    return table.iloc[rng.permutation(len(table))]


def assert_promises(protocol: Protocol, table: pd.DataFrame) -> None:
    """Check with plain sets what `verify` checks with arrays."""
    rows = table.reset_index().to_dict("records")
    tested: list[int] = []
    taking_part: set[int] = set()
    for fold in protocol.folds:
        train, test = set(fold.train.tolist()), set(fold.test.tolist())
        assert train
        assert test
        assert not train & test
        assert len(train) == len(fold.train)
        assert fold.train.tolist() == sorted(train)
        labels_train, labels_test = ({rows[i]["label"] for i in part} for part in (train, test))
        assert labels_test <= labels_train
        assert len(labels_train) >= 2
        if protocol.speaker_independent:
            assert not {rows[i]["speaker"] for i in train} & {rows[i]["speaker"] for i in test}
        if protocol.text_independent:
            assert not {rows[i]["text"] for i in train} & {rows[i]["text"] for i in test}
        tested += fold.test.tolist()
        taking_part |= train | test
    assert taking_part == set(protocol.clips.tolist())
    if protocol.tests_each_once:
        assert sorted(tested) == sorted(taking_part - set(protocol.trained_only.tolist()))
    assert not set(tested) & set(protocol.trained_only.tolist())


def crema_like(sentences: tuple[str, ...] = ("DFA", "ITH", "TIE", "WSI", "IWW")) -> pd.DataFrame:
    clips = [
        Clip(f"AudioWAV/{actor}_{sentence}_{emotion}_XX.wav", label, f"crema-d/{actor}")
        for actor in range(1001, 1092)
        for sentence in sentences
        for emotion, label in (("SAD", "sad"), ("DIS", "disgust"), ("FEA", "fearful"), ("NEU", "neutral"))
    ]
    clips = [replace(clip, file=clip.file.replace("1040_ITH_SAD_XX", "1040_ITH_SAD_X")) for clip in clips]
    return from_clips(clips, "crema-d", Provenance())


def row(corpus: Corpus, file: str) -> dict[str, str]:
    records = corpus.table.reset_index().to_dict("records")
    (found,) = (record for record in records if record["file"] == file)
    assert (found["start"], found["end"]) == (0.0, math.inf), "a whole file"
    return {str(column): str(value) for column, value in found.items() if column not in INDEX}

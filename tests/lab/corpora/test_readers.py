"""Corpora: readers, manifests, the registry, and everything that can be wrong with a folder."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from emovox.lab.corpora.readers import folder
from emovox.lab.corpora.registry import check, detect, load
from emovox.lab.corpora.table import Corpus, combine
from tests.lab.corpora import files_of, reasons, row, tree, write_nemo

nemo, ravdess, tess = (partial(load, name) for name in ("nemo", "ravdess", "tess"))
RAVDESS_EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]


# --- the real corpora


def test_ravdess_is_complete(corpora: Path, real: Callable[[str], Corpus]) -> None:
    corpus = real("ravdess")
    assert check(corpus) == []
    assert all(path.is_file() for path in corpus.paths())
    # Counted from the names with another method than the reader's: fields by position.
    names = [path.stem for path in (corpora / "ravdess").rglob("*.flac")]
    expected = Counter(RAVDESS_EMOTIONS[int(name[6:8]) - 1] for name in names)
    assert corpus.table["label"].value_counts().to_dict() == expected
    assert corpus.table["speaker"].value_counts().to_dict() == Counter(f"ravdess/{name[-2:]}" for name in names)
    assert corpus.table.groupby("sex").size().to_dict() == {"female": 720, "male": 720}
    assert corpus.table.groupby("text").size().to_list() == [720, 720]


def test_tess_lacks_exactly_the_two_damaged_files(real: Callable[[str], Corpus]) -> None:
    corpus = real("tess")
    assert len(corpus.table) == 2798
    assert corpus.skipped == ()
    assert "label 'angry': 399 clips, 400 were published" in check(corpus)
    assert "label 'sad': 399 clips, 400 were published" in check(corpus)
    # 200 words by two women with seven emotions: every word but the two damaged ones is there 14 times.
    words = corpus.table["text"].value_counts()
    assert len(words) == 200
    assert words[words != 14].to_dict() == {"back": 13, "beg": 13}
    misspelt = row(corpus, "OAF_neutral/OA_bite_neutral.ogg")
    assert (misspelt["speaker"], misspelt["text"]) == ("tess/OAF", "bite")


def test_nemo_matches_its_own_table(corpora: Path, real: Callable[[str], Corpus]) -> None:
    corpus = real("nemo")
    assert check(corpus) == []
    published = pd.read_csv(corpora / "nemo" / "data.tsv", sep="\t", quoting=csv.QUOTE_NONE, dtype=str)
    published.index = pd.Index("samples/" + published["file_id"].str.replace(".wav", ".ogg"))
    table = corpus.table.droplevel(["start", "end"])
    assert (table["text"] == published["raw_text"].reindex(table.index)).all()
    assert (table["sex"] == published["gender"].reindex(table.index)).all()
    assert set(table["speaker"]) == {"nemo/" + name.strip() for name in published["speaker_id"]}
    assert table["text"].nunique() == 90


@pytest.mark.parametrize("name", ["ravdess", "tess", "nemo"])
def test_corpora_are_recognised(corpora: Path, name: str) -> None:
    assert detect(corpora / name) == name
    assert load(corpora / name).name == name


def test_real_corpora_combine(real: Callable[[str], Corpus]) -> None:
    parts = [real(name) for name in ("ravdess", "tess")]
    table = combine(parts)
    paths = [path for part in parts for path in part.paths()]
    assert len(table) == len(paths) == 1440 + 2798
    for file, path in zip(table.index.get_level_values("file"), paths, strict=True):
        assert path.as_posix().endswith(file)
    assert set(table["licence"]) == {"CC BY-NC-SA 4.0", "CC BY-NC-ND 4.0"}


# --- RAVDESS


def test_ravdess_decodes_a_name(tmp_path: Path) -> None:
    corpus = ravdess(tree(tmp_path, "Actor_12/03-01-06-02-02-01-12.wav"))
    assert row(corpus, "Actor_12/03-01-06-02-02-01-12.wav") == {
        "speaker": "ravdess/12",
        "sex": "female",
        "text": "Dogs are sitting by the door",
        "intensity": "strong",
        "label": "fearful",
        "licence": "CC BY-NC-SA 4.0",
        "corpus": "ravdess",
    }


def test_ravdess_separates_speech_song_and_video(tmp_path: Path) -> None:
    speech, song = "a/03-01-03-01-01-01-01.WAV", "b/03-02-03-01-01-01-01.ogg"
    tree(tmp_path, speech, song, "v/01-01-03-01-01-01-01.mp4", "v/02-01-03-01-01-01-01.mp4", "intro.wav")
    assert files_of(ravdess(tmp_path)) == [speech]
    assert files_of(ravdess(tmp_path, kind="song")) == [song]
    both = ravdess(tmp_path, kind="both")
    assert files_of(both) == [speech, song]
    assert set(both.table["corpus"]) == {both.name} == {"ravdess-both"}
    assert both.table["speaker"].nunique() == 1, "an actor has one voice"
    assert reasons(ravdess(tmp_path)) == {
        "not named like RAVDESS": ("intro.wav",),
        "song, not speech": (song,),
        "video (modality 01 or 02)": ("v/01-01-03-01-01-01-01.mp4", "v/02-01-03-01-01-01-01.mp4"),
    }


def test_kaggle_copies_do_not_double_the_clips(tmp_path: Path) -> None:
    names = [f"Actor_0{actor}/03-01-0{emotion}-01-01-01-0{actor}.wav" for actor in (1, 2) for emotion in (1, 3)]
    tree(tmp_path, *names, *(f"audio_speech_actors_01-24/{name}" for name in names))
    corpus = ravdess(tmp_path)
    assert files_of(corpus) == names
    assert reasons(corpus)["second copies of a clip"] == tuple(f"audio_speech_actors_01-24/{name}" for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "03-01-09-01-01-01-01.wav",  # no ninth emotion
        "03-01-03-03-01-01-01.wav",
        "03-01-03-01-01-01-25.wav",
        "03-01-03-01-01-01.wav",
        "03-01-03-01-01-01-01 (1).wav",
    ],
)
def test_names_that_are_nearly_ravdess_are_left_out(tmp_path: Path, name: str) -> None:
    corpus = ravdess(tree(tmp_path, "03-01-03-01-01-01-01.wav", name))
    assert reasons(corpus) == {"not named like RAVDESS": (name,)}


def test_song_is_checked_against_its_own_numbers(tmp_path: Path) -> None:
    actors = [actor for actor in range(1, 25) if actor != 18]
    tree(
        tmp_path,
        *(
            f"Actor_{actor:02d}/03-02-{emotion:02d}-{strength:02d}-{text:02d}-{take:02d}-{actor:02d}.wav"
            for actor in actors
            for emotion in range(1, 7)
            for strength in ((1,) if emotion == 1 else (1, 2))
            for text in (1, 2)
            for take in (1, 2)
        ),
    )
    corpus = load("ravdess-song", tmp_path)
    assert len(corpus.table) == 1012
    assert check(corpus) == []
    (tmp_path / "Actor_05" / "03-02-04-01-01-01-05.wav").unlink()
    assert check(load("ravdess-song", tmp_path)) == [
        "1011 clips, 1012 were published",
        "label 'sad': 183 clips, 184 were published",
        "speaker 'ravdess/05': 43 clips, 44 were published",
    ]


# --- TESS


@pytest.mark.parametrize(
    ("file", "speaker", "label"),
    [
        ("OAF_Fear/OAF_back_fear.wav", "tess/OAF", "fearful"),
        ("OAF_Pleasant_surprise/OAF_back_ps.wav", "tess/OAF", "surprised"),
        ("YAF_pleasant_surprised/YAF_back_ps.wav", "tess/YAF", "surprised"),
        ("OAF_neutral/OA_back_neutral.wav", "tess/OAF", "neutral"),
        ("YAF_neutral/OAF_back_neutral.wav", "tess/YAF", "neutral"),  # the folder has the last word
        ("OA_back_sad.flac", "tess/OAF", "sad"),
        ("YAF_back_disgust.ogg", "tess/YAF", "disgust"),
        ("TESS Toronto emotional speech set data/YAF_happy/yaf_back_happy.WAV", "tess/YAF", "happy"),
    ],
)
def test_tess_layouts(tmp_path: Path, file: str, speaker: str, label: str) -> None:
    found = row(tess(tree(tmp_path, file)), file)
    assert (found["speaker"], found["label"], found["text"], found["sex"]) == (
        speaker,
        label,
        "back",
        "female",
    )


def test_tess_twice_nested_is_one_corpus(tmp_path: Path) -> None:
    outer = "TESS Toronto emotional speech set data"
    names = ["OAF_angry/OAF_back_angry.wav", "YAF_sad/YAF_back_sad.wav"]
    tree(tmp_path, *(f"{outer}/{name}" for name in names), *(f"{outer}/{outer}/{name}" for name in names))
    assert files_of(tess(tmp_path)) == [f"{outer}/{name}" for name in names]


def test_nemo_joins_by_stem_and_strips_speakers(tmp_path: Path) -> None:
    tree(tmp_path, "samples/AB0_anger_1.flac", "samples/AB0_fear_1.wav", "samples/stray.wav")
    write_nemo(
        tmp_path,
        'AB0_anger_1.wav\tanger\tŻycie "jest" piękne.\tżycie\t        AB0\tfemale\t23',
        "AB0_fear_1.wav\tfear\tKot.\tkot\t AB0\tfemale\t23",
        "AB0_sadness_1.wav\tsadness\tKot.\tkot\tAB0\tfemale\t23",
    )
    corpus = nemo(tmp_path)
    found = row(corpus, "samples/AB0_anger_1.flac")
    assert (found["speaker"], found["label"], found["text"]) == ("nemo/AB0", "angry", 'Życie "jest" piękne.')
    assert reasons(corpus) == {
        "listed in data.tsv but not there": ("AB0_sadness_1.wav",),
        "not listed in data.tsv": ("samples/stray.wav",),
    }


# --- a folder for each label


def test_folder_with_and_without_speakers(tmp_path: Path) -> None:
    tree(tmp_path, "Happiness/ann/1.wav", "Happiness/bob/take2/1.wav", "boredom/1.mp3", "loose.wav")
    corpus = folder(tmp_path, name="mine")
    assert row(corpus, "Happiness/ann/1.wav")["speaker"] == "mine/ann"
    assert row(corpus, "Happiness/bob/take2/1.wav")["speaker"] == "mine/bob"
    assert row(corpus, "boredom/1.mp3")["speaker"] == ""
    assert corpus.table["label"].tolist() == ["happy", "happy", "boredom"]
    assert [str(group) for group in corpus.skipped] == ["skipped 1 file, not inside a label's folder: loose.wav"]
    assert check(corpus) == [
        "1 of 3 clips have no speaker: protocols that hold out speakers fail",
        "label 'boredom' has only 1 clip",
    ]


def test_what_is_not_a_recording_is_reported(tmp_path: Path) -> None:
    tree(tmp_path, "sad/1.wav", "sad/._1.wav", "sad/notes.txt", ".cache/sad/2.wav", "__MACOSX/sad/._1.wav")
    (tmp_path / "sad" / "empty.wav").touch()
    (tmp_path / "sad" / "broken.wav").symlink_to(tmp_path / "gone.wav")
    corpus = folder(tmp_path)
    assert files_of(corpus) == ["sad/1.wav"]
    assert reasons(corpus) == {
        "macOS resource forks, not recordings": ("__MACOSX/sad/._1.wav", "sad/._1.wav"),
        "empty (0 bytes)": ("sad/empty.wav",),
        "broken links": ("sad/broken.wav",),
    }


def test_file_names_need_not_be_text(tmp_path: Path) -> None:
    tree(tmp_path, "sad/\u00fc\u202f1.wav", "sad/2.wav")
    try:
        (tmp_path / "sad" / os.fsdecode(b"\xff.wav")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    corpus = folder(tmp_path)
    assert [unicodedata.normalize("NFC", file) for file in files_of(corpus)] == [
        "sad/2.wav",
        "sad/\u00fc\u202f1.wav",
    ]
    assert reasons(corpus) == {"names that are not text": (r"'sad/\udcff.wav'",)}


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "1.wav")
    tree(tmp_path / "corpus", "sad/1.wav")
    (tmp_path / "corpus" / "happy").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "corpus" / "sad" / "loop").symlink_to(tmp_path / "corpus", target_is_directory=True)
    assert files_of(folder(tmp_path / "corpus")) == ["happy/1.wav", "sad/1.wav"]

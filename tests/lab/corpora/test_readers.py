"""Corpora: readers, manifests, the registry, and everything that can be wrong with a folder."""

from __future__ import annotations

import csv
import math
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emovox.errors import CorpusError
from emovox.lab.corpora import readers, registry
from emovox.lab.corpora.manifest import manifest
from emovox.lab.corpora.readers import folder, nemo, ravdess, tess
from emovox.lab.corpora.registry import check, detect, load
from emovox.lab.corpora.table import INDEX, Clip, Corpus, Provenance, combine, from_clips, validate

RAVDESS_EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]


def tree(root: Path, *names: str) -> Path:
    """Make files of one byte; readers look at names only."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return root


def files_of(corpus: Corpus) -> list[str]:
    return corpus.table.index.get_level_values("file").tolist()


def row(corpus: Corpus, file: str) -> dict[str, str]:
    records = corpus.table.reset_index().to_dict("records")
    (found,) = (record for record in records if record["file"] == file)
    assert (found["start"], found["end"]) == (0.0, math.inf), "a whole file"
    return {str(column): str(value) for column, value in found.items() if column not in INDEX}


def reasons(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    return {group.reason: group.files for group in corpus.skipped}


# --- the real corpora


def test_ravdess_is_complete(corpora: Path) -> None:
    corpus = load("ravdess", corpora / "ravdess")
    assert check(corpus) == []
    assert all(path.is_file() for path in corpus.paths())
    # Counted from the names with another method than the reader's: fields by position.
    names = [path.stem for path in (corpora / "ravdess").rglob("*.flac")]
    expected = Counter(RAVDESS_EMOTIONS[int(name[6:8]) - 1] for name in names)
    assert corpus.table["label"].value_counts().to_dict() == expected
    assert corpus.table["speaker"].value_counts().to_dict() == Counter(f"ravdess/{name[-2:]}" for name in names)
    assert corpus.table.groupby("sex").size().to_dict() == {"female": 720, "male": 720}
    assert corpus.table.groupby("text").size().to_list() == [720, 720]


def test_tess_lacks_exactly_the_two_damaged_files(corpora: Path) -> None:
    corpus = load("tess", corpora / "tess")
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


def test_nemo_matches_its_own_table(corpora: Path) -> None:
    corpus = load("nemo", corpora / "nemo")
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


def test_real_corpora_combine(corpora: Path) -> None:
    parts = [load(name, corpora / name) for name in ("ravdess", "tess")]
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
    assert files_of(ravdess(tmp_path, "song")) == [song]
    both = ravdess(tmp_path, "both")
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


# --- nEMO

NEMO_HEAD = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def write_nemo(root: Path, *lines: str) -> None:
    (root / "data.tsv").write_text(NEMO_HEAD + "".join(line + "\n" for line in lines), encoding="utf-8")


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


# --- manifests


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_manifest_with_every_column(tmp_path: Path) -> None:
    tree(tmp_path, "audio/a.wav", "audio/b.wav")
    path = write(
        tmp_path / "calls.csv",
        "file,label,speaker,start,end,split,sex,text,intensity\n"
        'audio/a.wav,Happiness,01,0,1.5,Training,F,"Yes, please",strong\n'
        "audio/a.wav,sad,01,1.5,,dev,f,No,\n"
        "audio/b.wav,angry,02,,,test,male,,\n",
    )
    corpus = manifest(path, licence="CC0")
    assert corpus.name == "calls"
    assert corpus.table.index.tolist() == [
        ("audio/a.wav", 0.0, 1.5),
        ("audio/a.wav", 1.5, math.inf),
        ("audio/b.wav", 0.0, math.inf),
    ]
    assert corpus.table.iloc[0].to_dict() == {
        "speaker": "calls/01",
        "sex": "female",
        "text": "Yes, please",
        "intensity": "strong",
        "label": "happy",
        "licence": "CC0",
        "corpus": "calls",
        "split": "train",
    }
    assert corpus.table["split"].tolist() == ["train", "valid", "test"]
    assert corpus.paths()[0] == tmp_path / "audio" / "a.wav"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "file,label\na.wav,sad\n"),
        ("m.csv", "\ufefffile,label\r\na.wav,sad\r\n\r\n"),
        ("m.csv", "file;label\na.wav;sad"),
        ("m.tsv", "label\tfile\nsad\ta.wav\n"),
        ("m.CSV", "file , label\n .\\a.wav , sad \n"),
    ],
)
def test_manifest_dialects(tmp_path: Path, name: str, text: str) -> None:
    tree(tmp_path, "a.wav")
    corpus = manifest(write(tmp_path / name, text))
    assert files_of(corpus) == ["a.wav"]
    assert corpus.table["label"].tolist() == ["sad"]
    assert "split" not in corpus.table.columns


def test_manifest_paths_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    tree(tmp_path, "m/a.wav", "b.wav", "c.wav")
    (tmp_path / "m" / "list.csv").write_text(
        f"file,label\n{tmp_path}/m/a.wav,sad\n../b.wav,sad\n{tmp_path}/c.wav,sad\n"
    )
    corpus = manifest(tmp_path / "m" / "list.csv")
    assert files_of(corpus) == ["../b.wav", str(tmp_path / "c.wav"), "a.wav"]
    assert all(path.is_file() for path in corpus.paths())


def test_parquet_manifest_equals_the_csv(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav", "b.wav")
    frame = pd.DataFrame(
        {
            "file": ["a.wav", "b.wav"],
            "label": ["sad", "joy"],
            "start": [0.5, np.nan],
            "end": [2.0, None],
            "speaker": ["7", None],
        }
    )
    frame.to_csv(tmp_path / "m.csv", index=False)
    frame.to_parquet(tmp_path / "m.parquet")
    frame.set_index("file").to_parquet(tmp_path / "indexed.parquet")
    expected = manifest(tmp_path / "m.csv", name="m").table
    pd.testing.assert_frame_equal(manifest(tmp_path / "m.parquet", name="m").table, expected)
    pd.testing.assert_frame_equal(manifest(tmp_path / "indexed.parquet", name="m").table, expected)


def test_empty_recordings_of_a_manifest_are_reported(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav")
    (tmp_path / "b.wav").touch()
    corpus = manifest(write(tmp_path / "m.csv", "file,label\na.wav,sad\nb.wav,sad\n"))
    assert files_of(corpus) == ["a.wav"]
    assert reasons(corpus) == {"empty (0 bytes)": ("b.wav",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: its first line must name the columns"),
        ("\n\n", "is empty: its first line must name the columns"),
        ("file,label\n", "names no recording"),
        (
            "file,lable\na.wav,sad\n",
            r"unknown column 'lable': did you mean 'label'\? choose one of file, label, speaker",
        ),
        ("file,label,mood\na.wav,sad,x\n", "unknown column 'mood'"),
        ("file,label,\na.wav,sad,\n", "unknown column ''"),
        ("file,label,label\na.wav,sad,sad\n", "column 'label' twice"),
        ("file\na.wav\n", "has no column 'label'"),
        ("label\nsad\n", "has no column 'file'"),
        ("file,label\na.wav,\n", "line 2 of manifest 'm.csv' has no label"),
        ("file,label\n,sad\n", "line 2 of manifest 'm.csv' has no file"),
        ("file,label\na.wav,sad,oops\n", "line 2 of manifest 'm.csv' has 3 cells, its header 2"),
        ("file,label\na.wav\n", "line 2 of manifest 'm.csv' has 1 cells, its header 2"),
        ("file,label\nb.wav,sad\nc.wav,sad\n", "names 2 files that are not there, the first is 'b.wav'"),
        ("file,label\n.,sad\n", "names 1 files that are not there, the first is '.'"),
        (f"file,label\n{'x' * 5000},sad\n", "names 1 files that are not there"),
        ("file,label\na.wav,sad\na.wav,happy\n", "'a.wav' from 0.0 s to inf s is in corpus 'm' twice"),
        ("file,label,start,end\na.wav,sad,2,1\n", "line 2 .* goes from 2.0 s to 1.0 s: start must be"),
        ("file,label,start,end\na.wav,sad,1,1\n", "line 2 .* goes from 1.0 s to 1.0 s"),
        ("file,label,start\na.wav,sad,-1\n", "line 2 .* goes from -1.0 s to inf s"),
        ("file,label,start\na.wav,sad,inf\n", "line 2 .* goes from inf s to inf s"),
        ("file,label,start\na.wav,sad,soon\n", "start 'soon' in line 2 .* is not a number: give seconds"),
        ("file,label,end\na.wav,sad,nan\n", "end 'nan' in line 2 .* is not a number"),
        ("file,label,sex\na.wav,sad,woman\n", "sex 'woman' in line 2"),
        ("file,label,split\na.wav,sad,trian\n", "split 'trian' in line 2 .*: did you mean 'train'"),
        ('file,label\n"a.wav,sad\n', "line 2 of manifest 'm.csv' has 1 cells"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, message: str) -> None:
    tree(tmp_path, "a.wav")
    with pytest.raises(CorpusError, match=message) as caught:
        manifest(write(tmp_path / "m.csv", text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"file,label\n\xff\xfe,sad\n", "'m.csv' is not UTF-8 text: save it as UTF-8"),
        ("m.parquet", b"not parquet", "'m.parquet' is not Parquet that can be read"),
        ("m.parquet", b"", "'m.parquet' is not Parquet that can be read"),
        ("m.xlsx", b"PK", r"is not a manifest: give a .csv, .tsv, .parquet file"),
    ],
)
def test_files_that_are_no_manifests(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        manifest(tmp_path / name)


def test_manifest_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"manifest '.*gone.csv' does not exist"):
        manifest(tmp_path / "gone.csv")
    with pytest.raises(CorpusError, match="is not a manifest"):
        manifest(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(alphabet='file,label\n\r\t;"a.wvsd\x00\u2028é', max_size=80).map(str.encode),
        st.lists(st.lists(st.text(max_size=6), min_size=2, max_size=2), max_size=4).map(
            lambda rows: ("file,label\n" + "".join(f"{a},{b}\n" for a, b in rows)).encode("utf-8", "surrogatepass")
        ),
    ),
    st.sampled_from(["m.csv", "m.tsv", "m.parquet"]),
)
def test_any_bytes_are_a_manifest_or_one_line_of_refusal(tmp_path: Path, content: bytes, name: str) -> None:
    tree(tmp_path, "a.wav")
    (tmp_path / name).write_bytes(content)
    try:
        corpus = manifest(tmp_path / name)
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        validate(corpus.table, corpus.name)


# --- folders that are no corpora


@pytest.mark.parametrize("name", ["ravdess", "ravdess-song", "tess", "nemo", "folder"])
def test_bad_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"corpus folder '.*gone' does not exist: give the folder"):
        load(name, tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CorpusError, match=r"no recordings in '.*empty'|no data.tsv in '.*empty'"):
        load(name, empty)
    with pytest.raises(CorpusError, match="is a file, not a corpus folder"):
        load(name, tree(tmp_path, "one.wav") / "one.wav")


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("ravdess", ["sad/1.wav", "sad/2.wav"], r"none of the 2 recordings in '.*' is RAVDESS speech audio"),
        ("ravdess", ["03-02-03-01-01-01-01.wav"], "is RAVDESS speech audio"),
        ("ravdess-song", ["03-01-03-01-01-01-01.wav"], r"is RAVDESS song audio \(named like 03-02-"),
        ("tess", ["sad/1.wav", "OAF_back_bored.wav"], r"none of the 2 recordings in '.*' is TESS"),
        ("folder", ["1.wav"], "is in a folder that is named after its label"),
    ],
)
def test_folders_of_something_else(tmp_path: Path, name: str, files: list[str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        load(name, tree(tmp_path, *files))


def test_bad_nemo_tables(tmp_path: Path) -> None:
    tree(tmp_path, "samples/AB0_anger_1.wav")
    (tmp_path / "data.tsv").write_text("file\tlabel\n")
    with pytest.raises(CorpusError, match=r"data.tsv' is not nEMO's: it must have the columns emotion, file_id"):
        nemo(tmp_path)
    write_nemo(tmp_path, "other.wav\tanger\tKot.\tkot\tAB0\tfemale\t23")
    with pytest.raises(CorpusError, match=r"none of the 1 recordings .* is listed in its data.tsv"):
        nemo(tmp_path)
    write_nemo(tmp_path, "AB0_anger_1.wav")
    with pytest.raises(CorpusError, match="have no label"):
        nemo(tmp_path)
    (tmp_path / "data.tsv").write_bytes(NEMO_HEAD.encode() + b"AB0_anger_1.wav\tanger\t\xff\t\tAB0\tfemale\t1\n")
    with pytest.raises(CorpusError, match="is not UTF-8 text"):
        nemo(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_folder(tmp_path: Path) -> None:
    tree(tmp_path, "sad/1.wav").joinpath("sad").chmod(0)
    try:
        with pytest.raises(CorpusError, match="cannot read folder"):
            folder(tmp_path)
    finally:
        (tmp_path / "sad").chmod(0o700)


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match=r"cannot read folder '.*': Permission denied; change its permissions"):
        readers.folder(tmp_path)


# --- the registry


def test_every_published_number_is_consistent() -> None:
    for name, entry in registry.CORPORA.items():
        assert sum(entry.labels.values()) == entry.clips, name
        assert not entry.per_speaker or entry.per_speaker * entry.speakers == entry.clips, name
        assert bool(entry.clips) == bool(
            entry.provenance.licence and entry.provenance.citation and entry.provenance.url
        ), name


def test_load_guesses_and_names(tmp_path: Path) -> None:
    tree(tmp_path, "sad/1.wav", "happy/1.wav")
    write(tmp_path / "list.csv", "file,label\nsad/1.wav,sad\n")
    assert load(tmp_path).name == tmp_path.name
    assert load(str(tmp_path / "list.csv")).name == "list"
    assert load("mine", tmp_path).name == "mine"
    assert load("mine", tmp_path / "list.csv").table["corpus"].tolist() == ["mine"]
    assert load("folder", tmp_path, licence="CC0").licence == "CC0"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (
            ["a/03-01-03-01-01-01-01.wav", "a/03-01-03-01-01-01-02.wav", "b/03-02-03-01-01-01-01.wav"],
            "ravdess",
        ),
        (["b/03-02-03-01-01-01-01.wav"], "ravdess-song"),
        (["OAF_back_fear.wav"], "tess"),
        (["sad/1.wav", "sad/2.wav", "sad/OAF_back_fear.wav"], "folder"),
    ],
)
def test_detect(tmp_path: Path, files: list[str], kind: str) -> None:
    assert detect(tree(tmp_path, *files)) == kind


def test_registry_refusals(tmp_path: Path) -> None:
    tree(tmp_path, "1.wav", "notes.txt")
    with pytest.raises(CorpusError, match="corpus 'tess' needs its folder: give it as tess=DIR"):
        load("tess")
    with pytest.raises(CorpusError, match=r"unknown corpus 'ravdes': did you mean 'ravdess'\?"):
        load("ravdes", tmp_path)
    with pytest.raises(CorpusError, match=r"corpus 'ravdess' has no option 'kidn': did you mean 'kind'\?"):
        load("ravdess", tmp_path, kidn="song")
    with pytest.raises(CorpusError, match="corpus 'tess' has no option 'kind': it has none"):
        load("tess", tmp_path, kind="song")
    with pytest.raises(CorpusError, match=r"unknown kind 'sing' of RAVDESS: did you mean 'song'\?"):
        load("ravdess", tmp_path, kind="sing")
    with pytest.raises(CorpusError, match=r"nothing in '.*' is a corpus"):
        detect(tmp_path)
    with pytest.raises(CorpusError, match=r"notes.txt' is not a corpus: give a folder or a .csv"):
        detect(tmp_path / "notes.txt")
    with pytest.raises(CorpusError, match="corpus folder 'gone' does not exist"):
        load("gone")


# --- the table


def small(**changes: Any) -> pd.DataFrame:
    return from_clips([Clip("b.wav", "sad"), Clip("a.wav", "happy", **changes)], "small", Provenance())


def test_table_is_sorted_and_joins_on_its_key() -> None:
    table = small()
    assert table.index.get_level_values("file").tolist() == ["a.wav", "b.wav"]
    scores = pd.DataFrame({"score": [1.0, 2.0]}, index=table.index[::-1])
    assert table.join(scores)["score"].tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (small().iloc[:0], "has no clips"),
        (small().reset_index(), r"must be keyed by \(file, start, end\)"),
        (small().drop(columns="speaker"), "lacks speaker"),
        (small().assign(speaker=[1, 2]), "column 'speaker' .* must hold text"),
        (small().assign(text=["x", math.nan]), "column 'text' .* must hold text"),
        (small(sex="woman"), "sex 'woman' .*: expected female, male or nothing"),
        (small(split="later"), "split 'later' .*: expected train, valid, test or nothing"),
        (small(start=-1.0), "'a.wav' .* goes from -1.0 s"),
        (small(end=math.nan), "'a.wav' .* to nan s"),
        (small().assign(label=["sad", " "]), "1 clips of corpus 'small' have no label, the first is 'b.wav'"),
        (pd.concat([small(), small()]), "'a.wav' from 0.0 s to inf s is in corpus 'small' twice"),
    ],
)
def test_validate_refuses(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        Corpus("small", Path(), Provenance(), table)


def test_combine_keeps_equal_files_apart() -> None:
    one = Corpus("one", Path("1"), Provenance(), from_clips([Clip("a.wav", "sad", split="test")], "one", Provenance()))
    two = Corpus("two", Path("2"), Provenance(), from_clips([Clip("a.wav", "sad")], "two", Provenance()))
    table = combine([one, two])
    assert table.index.get_level_values("file").tolist() == ["one/a.wav", "two/a.wav"]
    assert table["split"].tolist() == ["test", ""]
    with pytest.raises(CorpusError, match="two corpora are named 'one'"):
        combine([one, two, one])
    with pytest.raises(CorpusError, match="no corpus given"):
        combine([])


def test_no_table_holds_a_path_of_this_machine(corpora: Path) -> None:
    for name in ("ravdess", "tess", "nemo"):
        for file in files_of(load(name, corpora / name)):
            assert not re.match(r"/|\.\.|[A-Za-z]:", file)

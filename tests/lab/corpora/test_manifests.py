"""Manifests: every column, every dialect, and what is refused."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emovox.errors import CorpusError
from emovox.lab.corpora.manifest import manifest
from emovox.lab.corpora.table import validate
from tests import examples
from tests.lab.corpora import files_of, reasons, tree, write


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
        ("file,lable\na.wav,sad\n", r"has no column 'label': is it 'lable'\?"),
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
        ('file,label\n"a.wav,sad\n', "names 1 files that are not there, the first is '\"a.wav'"),
        ('file,label\n"a.wav\n', "line 2 of manifest 'm.csv' has 1 cells"),
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


def test_rows_are_not_swallowed_by_lone_quotes(tmp_path: Path) -> None:
    names = [f"{k}.wav" for k in range(6)]
    tree(tmp_path, *names)
    texts = ['"Well', '"Well, no', 'he said "no"', '"yes" she said', '"so"', 'end"']
    expected = ['"Well', '"Well, no', 'he said "no"', '"yes" she said', "so", 'end"']
    for ending, separator in ((".tsv", "\t"), (".csv", ";")):
        lines = ["file label speaker text".replace(" ", separator)]
        lines += [separator.join((name, "sad", "a", text)) for name, text in zip(names, texts, strict=True)]
        corpus = manifest(write(tmp_path / f"m{ending}", "\n".join(lines)))
        assert corpus.table["text"].tolist() == expected


def test_quoted_cells_hold_separators_quotes_and_line_breaks(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav", "b.wav", "c,d.wav")
    rows = [["a.wav", "sad", "one\ntwo, three"], ["b.wav", "happy", 'a "quoted" word'], ["c,d.wav", "sad", "x"]]
    frame = pd.DataFrame(rows, columns=["file", "label", "text"])
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        frame.to_csv(tmp_path / f"m{ending}", index=False, sep=separator)
        corpus = manifest(tmp_path / f"m{ending}")
        assert files_of(corpus) == ["a.wav", "b.wav", "c,d.wav"]
        assert corpus.table["text"].tolist() == ["one two, three", 'a "quoted" word', "x"]


def test_usual_names_of_columns_are_taken_and_told(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav", "b.wav")
    path = write(tmp_path / "m.csv", "Path,Emotion,Speaker ID,noise_db,corpus,\na.wav,Joy,1,10,x,\nb.wav,sad,2,20,y,\n")
    corpus = manifest(path)
    assert corpus.table["label"].tolist() == ["happy", "sad"]
    assert corpus.table["speaker"].tolist() == ["m/1", "m/2"]
    assert corpus.table["noise_db"].tolist() == ["10", "20"], "kept along"
    assert corpus.table["manifest corpus"].tolist() == ["x", "y"], "emovox has a column of this name itself"
    assert corpus.notes == (
        "columns read under other names: 'Path' as 'file', 'Emotion' as 'label', 'Speaker ID' as 'speaker'",
        "further columns, kept along: 'noise_db', 'manifest corpus'",
    )


def test_a_columns_own_name_goes_before_its_other_names(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav")
    corpus = manifest(write(tmp_path / "m.csv", "emotion,filename,label,file,speakr\nx,y,sad,a.wav,1\n"))
    assert (files_of(corpus), corpus.table["label"].tolist()) == (["a.wav"], ["sad"])
    assert corpus.table["emotion"].tolist() == ["x"]
    assert corpus.notes == ("further columns, kept along: 'emotion', 'filename', 'speakr' (did you mean 'speaker'?)",)


def test_what_looks_the_same_is_the_same(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{k}.wav" for k in range(4)), unicodedata.normalize("NFD", "Ü.wav"))
    lines = ["file,label,speaker"]
    for k, blank in enumerate(("", "\u200b", "\u00a0", "  ")):
        label, speaker = (unicodedata.normalize("NFD" if k % 2 else "NFC", word) for word in ("Fröhlich", "Zoë B."))
        lines.append(f"{k}.wav,{label}{blank},{blank}{speaker}")
    lines.append(f"{unicodedata.normalize('NFC', 'Ü.wav')},fröhlich,zoë b.")
    corpus = manifest(write(tmp_path / "m.csv", "\n".join(lines)))
    assert set(corpus.table["label"]) == {"fröhlich"}
    assert set(corpus.table["speaker"]) == {"m/Zoë B."}
    assert len(corpus.table) == 5, "a file of another Unicode form than its name in the manifest is found"
    assert corpus.notes == ("speakers 'Zoë B.', 'zoë b.' are taken for one speaker",)


def test_manifest_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"manifest '.*gone.csv' does not exist"):
        manifest(tmp_path / "gone.csv")
    with pytest.raises(CorpusError, match="is not a manifest"):
        manifest(tmp_path)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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

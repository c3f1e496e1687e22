"""The registry and the table of clips: folders that are no corpora, published numbers, tables that do not fit."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovox.errors import CorpusError
from emovox.lab.corpora import readers, registry
from emovox.lab.corpora.files import other_files
from emovox.lab.corpora.readers import folder
from emovox.lab.corpora.registry import detect, load
from emovox.lab.corpora.table import Clip, Corpus, Provenance, combine, from_clips
from tests.lab.corpora import NEMO_HEAD, files_of, reasons, tree, write, write_nemo

nemo = partial(load, "nemo")

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
    tree(tmp_path, "sad/1.wav").chmod(0)
    try:
        with pytest.raises(CorpusError, match="cannot read folder"):
            folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match=r"cannot read folder '.*': Permission denied; change its permissions"):
        readers.folder(tmp_path)


# --- the registry


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


def test_corpora_below_a_folder_are_found(tmp_path: Path) -> None:
    song, talk = "03-02-03-01-01-01-01.wav", "03-01-03-01-01-01-02.wav"
    tree(tmp_path, f"a/r/Actor_01/{talk}", f"a/r/Actor_02/{talk}", f"a/r/Actor_02/{song}", "a/t/x/OAF_back_fear.wav")
    tree(tmp_path, "n/samples/AB0_anger_1.wav", "mine/sad/1.wav", "mine/sad/2.wav", "n/samples/OAF_back_fear.wav")
    write_nemo(tmp_path / "n", "AB0_anger_1.wav\tanger\tKot.\tkot\tAB0\tfemale\t23")
    found = [(kind, str(path.relative_to(tmp_path))) for kind, path in registry.find(tmp_path)]
    assert found == [("ravdess", "a/r"), ("ravdess-song", "a/r/Actor_02"), ("tess", "a/t/x"), ("nemo", "n")]
    assert registry.strangers(tmp_path, [path for _, path in registry.find(tmp_path)]) == [("mine", 2)]
    for inside, kind in (("a/r/Actor_01", "ravdess"), ("a/t", "tess"), ("n", "nemo"), ("mine", "folder")):
        assert registry.find(tmp_path / inside) == [(kind, tmp_path / inside)]
    listed = write(tmp_path / "list.csv", "file,label\nmine/sad/1.wav,sad\n")
    assert registry.find(listed) == [("manifest", listed)]


def test_files_of_other_endings_are_counted(tmp_path: Path) -> None:
    tree(tmp_path, "sad/1.wav", "sad/1.txt", "sad/2.TXT", "README", ".hidden", "happy/x.npy")
    assert sorted(other_files(tmp_path)) == [("", 1), (".npy", 1), (".txt", 2)]


def test_a_folder_below_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "sad/1.wav", "happy/1.wav")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "happy":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reasons(folder(tmp_path)) == {"in folders that cannot be read (change their permissions)": ("happy",)}


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


def test_no_table_holds_a_path_of_this_machine(real: Callable[[str], Corpus]) -> None:
    for name in ("ravdess", "tess", "nemo"):
        for file in files_of(real(name)):
            assert not re.match(r"/|\.\.|[A-Za-z]:", file)

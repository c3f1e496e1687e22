"""The indexes of recordings: those of the package, those by schemes and tables, those of several copies."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner

from emovox.cli.commands import app
from emovox.errors import CorpusError
from emovox.lab.corpora import cards, index, readers
from emovox.lab.corpora.cards import card
from emovox.lab.corpora.readers import groups
from emovox.lab.corpora.registry import load
from emovox.lab.extraction.verification import verify
from tests.lab.corpora import SAVEE, sound, tree

_CARDS = Path(cards.__file__).parent / "cards"
_WITH_FILE = sorted(path.name.removesuffix(".index.tsv.gz") for path in _CARDS.glob("*.gz"))
_BY_SCHEME = [name for name, one in cards.cards().items() if one.names]


@pytest.mark.parametrize("name", _WITH_FILE)
def test_the_indexes_hold_what_was_published(name: str) -> None:
    rows, one = index.published(card(name)), card(name)
    assert one.index
    assert not one.clips or len(rows) in (one.clips, one.clips - (2 if name == "tess" else 0))
    content = (_CARDS / f"{name}.index.tsv.gz").read_bytes()
    assert index.render(index.parse(content, name)) == content


@pytest.mark.parametrize("name", _BY_SCHEME)
def test_schemes_make_as_many_clips_of_each_label_and_speaker_as_were_published(name: str, tmp_path: Path) -> None:
    one = card(name)
    assert one.index.startswith("names by the published scheme; no checksums; ")
    names = index.scheme(one)
    assert len(index.published(one)) == len(names) == one.clips
    paths = [PurePosixPath(f"{name}.wav") for name in names]
    told = [readers._clip(one, path, groups(one, path) or {}) for path in paths]
    assert Counter(clip.label for clip in told) == one.labels
    speakers = Counter(clip.speaker for clip in told)
    assert len(speakers) == one.speakers
    assert not one.per_speaker or set(speakers.values()) == {one.per_speaker}
    some = tree(tmp_path, *(f"{file}.wav" for file in names[:: len(names) // 7]))
    assert index.keys(load(name, some), one).keys() <= index.published(one).keys()


def test_eighteen_corpora_have_an_index() -> None:
    assert len(set(_WITH_FILE)) + len(_BY_SCHEME) >= 18
    for name, one in cards.cards().items():
        assert bool(one.index) == (name in {*_WITH_FILE, *_BY_SCHEME} or one.reader.listing is not None), name
        assert not (name in _WITH_FILE and one.names), "one or the other"


def test_the_tables_of_a_copy_tell_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "samples.csv").write_text(
        "file_name,actor,sentence,emotion_expressed\n1.wav,ana,Una.,joy\n2.wav,ana,Una.,fear\n"
    )
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "1.wav").write_bytes(sound())
    done = CliRunner().invoke(app, ["data", "verify", str(tmp_path), "-j1"])
    assert done.exit_code == 1
    assert "(names by its own samples.csv, which must lie beside the recordings; no checksums): 1 names" in done.output
    assert "1 missing: 2" in done.output


def test_several_corpora_below_one_folder_are_verified_each(tmp_path: Path) -> None:
    root, run = tmp_path / "all", CliRunner()
    names = [f"{root}/polish/{name}.wav" for name in index.scheme(card("polish-emotions"))]
    for name in names[:3]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(sound(0.1))
    for number, name in enumerate(SAVEE):
        (root / "savee" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "savee" / name).write_bytes(sound(seed=number))
    done = run.invoke(app, ["data", "verify", str(root), "-j1"])
    assert done.exit_code == 1
    assert "polish-emotions: 3 clips" in done.output
    assert "447 missing: m1.a_nie_4" in done.output
    assert "472 missing: dc a03" in done.output
    recorded = run.invoke(app, ["data", "verify", str(root), "-j1", "--json", "--record"])
    assert [one["corpus"] for one in json.loads(recorded.output)] == ["polish-emotions", "savee"]
    assert run.invoke(app, ["data", "verify", str(root), "-j1"]).exit_code == 0
    Path(names[3]).write_bytes(sound(0.1))
    only = run.invoke(app, ["data", "verify", str(Path(names[0]).parent), "-j1"])
    assert "1 not in the index: m1.a_nie_4" in only.output
    repaired = run.invoke(app, ["data", "repair", str(root), "-j1", "--json"])
    assert [one["repaired"] for one in json.loads(repaired.output)] == [[], []]
    audited = run.invoke(app, ["data", "audit", str(root), "-j1", "--json", "--out", str(tmp_path / "audits")])
    assert [one["corpus"] for one in json.loads(audited.output)] == ["polish-emotions", "savee"]
    assert sorted(path.parent.name for path in (tmp_path / "audits").rglob("audit.html")) == [
        "polish-emotions",
        "savee",
    ]


def test_copies_that_share_a_folder_have_an_index_each(tmp_path: Path) -> None:
    for name in ("DC_a01.wav", "gio-f2-b2.wav"):
        (tmp_path / name).write_bytes(sound())
    found = [load(name, tmp_path) for name in ("emovo", "savee")]
    for corpus in found:
        index.record(corpus, card(corpus.name))
    assert [list(index.known(card(corpus.name), tmp_path)[0]) for corpus in found] == [["gio-f2-b2"], ["dc a01"]]


def test_a_name_without_checksum_is_no_promise_about_bytes(tmp_path: Path) -> None:
    for name in index.scheme(card("indowave")):
        (tmp_path / f"{name}.wav").write_bytes(sound(0.02))
    done = CliRunner().invoke(app, ["data", "verify", str(tmp_path), "-j1"])
    assert done.exit_code == 0, done.output
    assert "300 names, 0 durations, 0 checksums" in done.output
    assert done.output.splitlines()[-1] == "whole by names; whether lengths and bytes are right is not known"


@pytest.mark.parametrize("content", [b"", b"no gzip", index.render({})[:-9]])
def test_a_damaged_index_is_told(content: bytes) -> None:
    with pytest.raises(CorpusError, match="is not an index of recordings"):
        index.parse(content, "it")


@pytest.mark.long
def test_the_real_copies_are_whole(corpora: Path) -> None:
    verdict = verify(load("emodb", corpora / "emodb"), card("emodb"), index.published(card("emodb")), 1)
    assert verdict.whole
    assert verdict.compared == {"names": 535, "durations": 535, "checksums": 0}

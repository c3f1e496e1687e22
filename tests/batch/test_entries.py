"""Inputs of all kinds become entries, in an order that is always the same."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from emovox import audio
from emovox.batch.places import Entry, Inputs, readable, rows
from emovox.errors import AudioError, InputError
from emovox.outputs.formats import read
from tests.batch.conftest import write_tone


def test_folders_and_patterns_in_order(calls: Path) -> None:
    names = ["a/call0.wav", "a/call1.wav", "a/call2.wav", "a/silent.wav", "b/broken.wav", "b/call3.wav", "b/call4.wav"]
    assert [one.id for one in Inputs(str(calls))] == names
    assert [one.file for one in Inputs(str(calls))] == [str(calls / name) for name in names]
    assert [Path(one.file).name for one in Inputs(f"{calls}/*/call?.wav")] == [f"call{n}.wav" for n in range(5)]
    assert [one.id for one in Inputs(str(calls / "a" / "call0.wav"))] == ["call0.wav"]
    assert [one.id for one in Inputs(str(calls), limit=2)] == names[:2]


MANIFEST = """id,path,begin,end,Speaker,channel,age,label
one,a/call0.wav,,,Eve,,31,sad
two,a/call0.wav,0.1,0.25,Eve,1,31,happy
three,/elsewhere/x.wav,,,,2,,
"""


@pytest.mark.parametrize(
    "text",
    [
        'file,note\na.wav,"Well\nb.wav,Well\n',
        'file,note\n\na.wav,"Well"\n,\nb.wav,"so, so"\n',
        "file\tnote\na.wav\tx\r\nb.wav\ty\r\n",
        'file,note\na.wav,"Well,\nno"\nb.wav,\n',
        "\ufefffile;note\na.wav;x\nb.wav;y",
    ],
)
def test_every_recording_of_a_manifest_is_found_whatever_its_quotes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert [Path(one.file).name for one in Inputs(str(path))] == ["a.wav", "b.wav"]
    table = read(path, "calls.csv")
    assert [cells[0] for _, cells in table] == ["file", "a.wav", "b.wav"]


def test_a_manifest_may_come_through_a_pipe_or_from_elsewhere(tmp_path: Path) -> None:
    text = "file,note\n/a.wav,x\n/b.wav,y\n"
    path = tmp_path / "calls.csv"
    os.mkfifo(path)
    writing = threading.Thread(target=path.write_text, args=(text,))
    writing.start()
    assert [one.file for one in Inputs(str(path))] == ["/a.wav", "/b.wav"]
    writing.join()
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe_file("/entries/calls.csv", text.encode())
    assert len(list(Inputs("memory://entries/calls.csv"))) == 2


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_manifests_of_all_kinds_say_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"calls{suffix}"
    header, *lines = (line.split(",") for line in MANIFEST.splitlines())
    if suffix in (".csv", ".tsv"):
        path.write_text("\n".join(("," if suffix == ".csv" else "\t").join(line) for line in [header, *lines]))
    else:
        found = [{name: cell or None for name, cell in zip(header, line, strict=True)} for line in lines]
        if suffix == ".jsonl":
            path.write_text("".join(json.dumps(one) + "\n" for one in found))
        else:
            arrow = pytest.importorskip("pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(arrow.Table.from_pylist(found), path)
    first, second, third = Inputs(str(path))
    assert first == Entry("one", str(tmp_path / "a/call0.wav"), speaker="Eve", more={"age": "31", "label": "sad"})
    assert (second.start, second.end, second.channel) == (0.1, 0.25, 1)
    assert (third.file, third.speaker, third.channel) == ("/elsewhere/x.wav", None, 2)


def test_rows_without_id_are_named_by_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("file;start;end;channel\na.wav;;;\na.wav;1;2.5;\na.wav;3;;2\n")
    assert [one.id for one in Inputs(str(path))] == ["a.wav", "a.wav[1-2.5]", "a.wav[3-]:2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\na.wav\n", "has no column 'file'"),
        ("file,start\na.wav,soon\n", r"start 'soon' in line 2 of .* is not a number"),
        ("file,start,end\na.wav,2,1\n", "goes from 2 s to 1.0 s"),
        ("file,channel\na.wav,0\n", "channel 0: the first is 1"),
        ("file,age\na.wav\n", r"line 2 .* has 1 cells, its header 2"),
        ("file\n\na,b\n", "has 2 cells"),
        ("file,age\n,3\n", "has no file"),
    ],
)
def test_slips_in_manifests_are_told_with_their_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        list(Inputs(str(path)))


def test_json_lines_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"file": "a.wav"}\n\n[1]\n')
    with pytest.raises(InputError, match=r"line 3 of .* is not an object"):
        list(rows(str(path)))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Write a tar archive as webdataset has them."""
    path = tmp_path / "shards" / "calls-000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for number in range(3):
            sound = write_tone(tmp_path / "x.wav", number).read_bytes()
            note = json.dumps({"speaker": f"s{number}", "age": number}).encode()
            for name, data in ((f"d/{number:03d}.wav", sound), (f"d/{number:03d}.json", note)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def test_members_of_archives_are_read_in_place(shard: Path, tmp_path: Path) -> None:
    found = list(Inputs(str(shard.parent)))
    assert [one.id for one in found] == [f"calls-000.tar/d/{number:03d}.wav" for number in range(3)]
    assert [(one.speaker, one.more) for one in found] == [(f"s{number}", {"age": number}) for number in range(3)]
    with readable(found[1]) as source:
        assert (audio.read(source).samples == audio.read(write_tone(tmp_path / "x.wav", 1)).samples).all()


def test_archives_that_cannot_be_used(shard: Path) -> None:
    compressed = shard.with_suffix(".tar.gz")
    compressed.write_bytes(gzip.compress(shard.read_bytes()))
    with pytest.raises(InputError, match="is compressed"):
        list(Inputs(str(compressed)))
    shard.write_bytes(b"no archive at all" * 100)
    with pytest.raises(InputError, match="not a whole tar archive"):
        list(Inputs(str(shard)))


def test_a_file_that_is_not_there_by_its_url() -> None:
    with pytest.raises(AudioError, match="there is no file"), readable(Entry("x", "memory://nowhere/x.wav")):
        pass

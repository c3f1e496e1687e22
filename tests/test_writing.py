"""Whole files: written in one step, also by several writers at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox.errors import InputError
from emovox.storage import creating_folder, replacing


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "entry.json"
    with replacing(path, unique=True) as first, replacing(path, unique=True) as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
        assert not path.exists()
    assert path.read_text() == "first"  # which ended last
    assert [one.name for one in path.parent.iterdir()] == ["entry.json"]


@pytest.mark.parametrize("unique", [False, True])
def test_a_failure_leaves_the_file_as_it_was(unique: bool, tmp_path: Path) -> None:
    path = tmp_path / "entry.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path, unique=unique) as part:
            part.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "one"
    with creating_folder(path) as part:
        (part / "plots").mkdir()
        (part / "plots" / "a.png").write_bytes(b"picture")
        assert not path.exists()
        assert part.parent == path.parent  # on the same disk: the last step is a rename
    assert (path / "plots" / "a.png").read_bytes() == b"picture"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with creating_folder(tmp_path / "one") as part:
            (part / "half").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_writers_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one"

    def late() -> None:
        with creating_folder(path) as part:
            (part / "writer").write_text("late")
            with creating_folder(path) as other:
                (other / "writer").write_text("early")

    with pytest.raises(InputError, match=r"cannot write .*one"):
        late()
    assert (path / "writer").read_text() == "early"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="exists already"):
        late()


def test_advice_takes_the_place_of_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*: make room$"):
        replacing(tmp_path / "file" / "entry", advice="make room").__enter__()

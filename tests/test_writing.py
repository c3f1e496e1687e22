"""Whole files: written in one step, also by several writers at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox.writing import replacing


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

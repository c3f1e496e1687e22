"""Where profiles are kept, on each platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovox.model.profiles import default_folder


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "{base}/emovox/profiles"),
        ("win32", "LOCALAPPDATA", "{base}/emovox/profiles"),
        ("linux", None, "{home}/.local/share/emovox/profiles"),
        ("darwin", None, "{home}/Library/Application Support/emovox/profiles"),
    ],
)
def test_the_folder_is_the_platforms_own(
    platform: str, variable: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EMOVOX_PROFILES", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "base"))
    assert default_folder() == Path(expected.format(base=tmp_path / "base", home=tmp_path / "home"))

"""Statements and numbers of the pages that the code itself can check."""

from __future__ import annotations

import re

from emovox.cli.models import kept
from tests import ROOT

PACKAGE = ROOT / "src" / "emovox"


def page(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def test_the_size_of_the_built_in_model() -> None:
    files = (PACKAGE / "pretrained" / "default.onnx", PACKAGE / "features" / "encoder.onnx")
    size = sum(file.stat().st_size for file in files) / 1e6
    (told,) = re.findall(r"the built-in model: parts of Whisper's two smallest encoders, (\d+) MB", page("README.md"))
    assert abs(float(told) - size) <= 0.5


def test_what_is_kept_on_disk_is_what_the_command_knows() -> None:
    told = page("docs/install.md").partition("## Files on disk")[2]
    assert {one.what for one in kept()} == {"features", "content", "transcripts", "profiles"}
    for word in ("features and digests", "transcripts", "Profiles of voices", "keeps nothing else"):
        assert word in told


def test_the_voices_of_the_first_command_are_described_and_licensed() -> None:
    described = page("voices/README.md")
    names = {file.name for file in (ROOT / "voices").iterdir()} - {"README.md", "LICENSE"}
    assert names == set(re.findall(r"\| `(\w+\.ogg)` \|", described))
    assert (ROOT / "voices" / "LICENSE").read_text().lstrip().startswith("GNU GENERAL PUBLIC LICENSE")
    assert "emovox predict voices" in page("README.md")

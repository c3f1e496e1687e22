"""The audit: what is measured of a clip, what is found in a corpus, and the page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import signal

from emovox.cli.commands import app
from emovox.lab.corpora.registry import load
from emovox.lab.corpora.table import Corpus
from emovox.lab.extraction.audit import Audit, audit, measure
from tests.conftest import speech

RATE = 16000


def lowpassed(samples: NDArray[np.float32], cutoff: float) -> NDArray[np.float32]:
    filtered = signal.sosfiltfilt(signal.ellip(10, 0.1, 90, cutoff, fs=RATE, output="sos"), samples)
    return np.asarray(filtered, dtype=np.float32)


def noisy(seconds: float, seed: int) -> NDArray[np.float32]:
    """Speech with a little noise of all frequencies, as every microphone has it."""
    rng = np.random.default_rng(seed)
    return np.asarray(speech(seconds, seed) + rng.normal(0, 0.002, round(seconds * RATE)), dtype=np.float32)


@pytest.mark.parametrize("cutoff", [3400.0, 5000.0, 7000.0])
def test_bandwidth_is_that_of_the_filter(cutoff: float) -> None:
    found = measure(lowpassed(noisy(2, 0), cutoff), RATE).bandwidth
    assert cutoff - 100 <= found <= 1.1 * cutoff + 100


@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize("ceiling", [0.2, 0.5])
def test_flat_tops_are_found_at_any_level(gain: float, ceiling: float) -> None:
    samples = noisy(2, 1)
    samples *= 0.95 / np.abs(samples).max()
    assert measure(gain * samples, RATE).tops == 0
    clipped = np.clip(samples, -ceiling, ceiling)
    runs = signal.find_peaks((np.abs(clipped) >= ceiling).astype(float), width=3.5)[0]
    assert measure(gain * clipped, RATE).tops == pytest.approx(len(runs), abs=2)


@pytest.mark.parametrize("frequency", [80, 440, 3000])
def test_a_tone_has_no_flat_tops(frequency: float) -> None:
    for rate in (RATE, 48000):
        time = np.arange(rate) / rate
        assert measure(np.sin(2 * np.pi * frequency * time).astype(np.float32) * 0.8, rate).tops == 0


def test_level_is_that_of_the_loudest_frame() -> None:
    samples = np.zeros(RATE, dtype=np.float32)
    samples[8192:8704] = 0.1
    assert measure(samples, RATE).level == pytest.approx(-20, abs=0.01)
    silence = measure(np.zeros(RATE, dtype=np.float32), RATE)
    assert (silence.level, silence.peak, silence.duration) == (-math.inf, 0.0, 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus with one of every fault."""
    folder = tmp_path_factory.mktemp("made")
    sounds = {f"{name}.wav": noisy(0.5, number) for number, name in enumerate("abcdefgh")}
    sounds["copy.wav"] = sounds["a.wav"]
    sounds["clipped.wav"] = np.clip(3 * noisy(0.5, 9), -0.5, 0.5)
    sounds["quiet.wav"] = np.full(8000, 1e-4, dtype=np.float32)
    sounds["phone.wav"] = lowpassed(noisy(0.5, 10), 3400)
    for name, samples in sounds.items():
        soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "fast.wav", np.repeat(sounds["b.wav"][:4000], 3), 48000, subtype="FLOAT")
    (folder / "broken.wav").write_bytes(b"nothing")
    labels = dict.fromkeys("abcdef", "sad") | {"phone": "angry", "copy": "angry"}
    rows = ["file,label,speaker,text,split"]
    for number, name in enumerate([*sounds, "fast.wav", "broken.wav"]):
        stem = name.removesuffix(".wav")
        split = "test" if number % 3 == 2 else "train"
        rows.append(f"{name},{labels.get(stem, 'happy')},s{number % 2},text {labels.get(stem, 'happy')},{split}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return load(folder / "list.csv")


@pytest.fixture(scope="module")
def audited(made: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOVOX_CACHE", str(tmp_path_factory.mktemp("cache")))
        return audit(made, 1)


def test_every_fault_is_found_and_nothing_else(audited: Audit) -> None:
    flags = audited.clips.set_index("file")["flags"]
    assert flags[flags != ""].to_dict() == {
        "broken.wav": "unreadable",
        "clipped.wav": "clipped",
        "phone.wav": "band-limited",
        "quiet.wav": "silent",
    }


def test_leaks_and_imbalance_are_found(audited: Audit) -> None:
    told = {(one.kind, one.text): one for one in audited.findings}
    assert told["leak", "2 speakers on several sides of the split"].examples == ("list/s0", "list/s1")
    assert ("leak", "1 sentence on several sides of the split") in told
    same = told["leak", "the same sound as another clip; 2 of them under different labels"]
    assert (same.clips, same.examples) == (2, ("a.wav", "copy.wav"))
    assert ("fault", "several sampling rates: 12 at 16 kHz, 1 at 48 kHz") in told
    assert ("balance", "labels are unbalanced: 6 sad, 2 angry") in told
    assert ("balance", "the sentence tells the label: these are said in one emotion only") in told
    kinds = [one.kind for one in audited.findings]
    assert kinds == sorted(kinds, key=("leak", "fault", "balance").index), "the gravest first"


def test_the_command_writes_a_page_that_stands_alone(made: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = ["data", "audit", str(made.root / "list.csv"), "--out", str(out), "-j1", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == json.loads((out / "audit.json").read_text())
    page = (out / "audit.html").read_text()
    assert "<script" not in page
    assert 'src="http' not in page
    assert all(f"<td>{word}" in page for word in ("clipped", "silent", "band-limited", "unreadable"))
    assert page.count("<svg") == 4
    assert len((out / "clips.csv").read_text().splitlines()) == 15


@pytest.mark.long
def test_the_sentences_of_ased_tell_the_emotion(corpora: Path) -> None:
    found = audit(load("ased", corpora / "ased"), 1).findings
    assert any(one.text.startswith("the sentence tells the label") and one.clips == 2474 for one in found)

"""Segments that are given are judged as utterances are, one answer each; files of them are read as they are written."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from emovox import (
    EmotionRecognizer,
    InputError,
    Prediction,
    Segment,
    StreamingRecognizer,
    Waveform,
    audio,
    read_segments,
)
from emovox.outputs import formats
from emovox.recognition.timeline import TimelineOptions
from emovox.testing import FakeRecognizer
from tests import EXAMPLES
from tests.cli import emovox_command

RATE = 16000


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer()


@pytest.fixture(scope="module")
def several() -> np.ndarray:
    """Three clips with pauses between them."""
    pause = np.zeros(RATE, dtype=np.float32)
    clips = [audio.read(EXAMPLES / f"{name}.wav").samples for name in ("plain", "slow", "lively")]
    return np.concatenate([part for clip in clips for part in (clip, pause)])


def test_what_was_found_and_is_given_again_has_the_same_answers(
    recognizer: EmotionRecognizer, several: np.ndarray
) -> None:
    found = recognizer.timeline(several, rate=RATE)
    assert len(found) >= 3
    again = recognizer.timeline(several, rate=RATE, segments=[(one.start, one.end) for one in found])
    assert again == found


def test_they_come_in_the_order_of_time_and_may_overlap(several: np.ndarray) -> None:
    fake = FakeRecognizer()
    spans = [(2.0, 9.0), (0.0, 1.0), (0.5, 3.0), (0.5, 3.0), (9.5, 9.6)]
    together = fake.timeline(several, rate=RATE, segments=spans)
    assert [(one.start, one.end) for one in together] == sorted(spans)
    for span in spans:
        (alone,) = fake.timeline(several, rate=RATE, segments=[span])
        assert alone in together.predictions


def test_a_long_one_is_the_mean_of_its_pieces(several: np.ndarray) -> None:
    heard: list[tuple[float, float]] = []

    fake = FakeRecognizer()

    class Ear:
        threshold = fake.threshold

        def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
            heard.append((window.start, window.end))
            return fake.assess(window, name, running=running)

    streams = StreamingRecognizer(Ear(), TimelineOptions(window=2.0))
    line = streams.timeline(audio.blocks((several, RATE), 1.0), "x", segments=[Segment(1.0, 8.0)])
    (one,) = line.predictions
    assert heard[0][0] == pytest.approx(0.9)
    # To 0.1 s beyond the end; a rest of less than 0.3 s has the answer of the piece before it.
    assert heard[-1][1] == pytest.approx(8.1) or 8.0 - 0.3 < heard[-1][1] < 8.0
    assert all(before[1] == pytest.approx(after[0]) for before, after in itertools.pairwise(heard))
    assert all(end - start <= 2.0 + 0.2 for start, end in heard)
    assert sum(one.probabilities.values()) == pytest.approx(1)
    assert (one.start, one.end) == (1.0, 8.0)


def test_the_end_is_clipped_and_what_lies_beyond_is_told(recognizer: EmotionRecognizer) -> None:
    given = [Segment(1.0, 99.0, "anna", {"turn": "1"}), Segment(50.0, 60.0)]
    line = recognizer.timeline(EXAMPLES / "plain.wav", segments=given)
    assert [(one.start, round(one.end, 1), one.speaker, one.columns) for one in line] == [
        (1.0, 3.1, "anna", {"turn": "1"})
    ]
    assert line.unjudged == (given[1],)
    silent = recognizer.timeline(np.r_[np.full(1, 0.1), np.zeros(RATE * 3)], rate=RATE, segments=[(1, 2), (1, 2)])
    assert (silent.predictions, len(silent.unjudged)) == ((), 2)
    assert recognizer.timeline(EXAMPLES / "plain.wav", segments=[]).predictions == ()


@pytest.mark.parametrize("span", [(-1.0, 2.0), (2.0, 2.0), (3.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_what_is_no_stretch_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="expected 0 or more"):
        Segment(*span)


def test_columns_are_found_under_other_names(tmp_path: Path) -> None:
    path = tmp_path / "turns.csv"
    path.write_text("Begin;Dur;Spk;label;note\n0,5;1;anna;sad;x\n".replace(",", "."), encoding="utf-8")
    (one,) = read_segments(path).of("any.wav")
    assert (one.start, one.end, one.speaker, dict(one.columns)) == (0.5, 1.5, "anna", {"label": "sad", "note": "x"})


def test_recordings_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "turns.tsv"
    path.write_text("file\tstart\tend\nin/a.wav\t0\t1\nb\t1\t2\nb.wav\t2\t3\n", encoding="utf-8")
    given = read_segments(path)
    assert [one.start for one in given.of(tmp_path / "in" / "a.wav")] == [0]
    assert [one.start for one in given.of(tmp_path / "b.wav")] == [1, 2]
    with pytest.raises(InputError, match=r"turns\.tsv has no segment of c\.wav: it names in/a\.wav, b, b\.wav"):
        given.of("c.wav")


def test_our_own_rttm_is_read_again(tmp_path: Path) -> None:
    parts = [
        Prediction("my call.wav", start, start + 1.5, "sad", {"sad": 1.0}, 1.0, False, "m", channel=channel)
        for start, channel in ((0.25, 1), (4.0, 2))
    ]
    path = tmp_path / "call.rttm"
    path.write_text(";; made by hand\n" + "".join(formats.to_rttm(parts)), encoding="utf-8")
    given = read_segments(path)
    assert [(one.start, one.end, one.speaker) for one in given.of("x/my call.wav")] == [
        (0.25, 1.75, "sad"),
        (4.0, 5.5, "sad"),
    ]
    assert [one.start for one in given.of("my call.wav", channel=2)] == [4.0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "needs the columns start and end"),
        ("a.csv", "start,stop\n", "holds no segment"),
        ("a.csv", "start,stop\n1,x\n", "line 2 of .*a.csv has the time 'x'"),
        ("a.csv", "start,stop\n1,0.5\n", "line 2 of .*: a segment from 1 to 0.5 s"),
        ("a.rttm", "SPEAKER a 1 0.0\n", "line 1 of .* has 4 fields"),
        ("a.txt", "0 1\n", "segments are read from"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_segments(tmp_path / name)


def test_the_command_judges_them(tmp_path: Path) -> None:
    (tmp_path / "turns.csv").write_text("start,end,label,turn\n0.2,1.5,happy,7\n1.5,2.9,sad,8\n", encoding="utf-8")
    plain = EXAMPLES / "plain.wav"
    done = emovox_command("predict", plain, "--segments", tmp_path / "turns.csv", "--format", "csv")
    assert done.returncode == 0, done.stderr
    header, first, second = (line.split(",") for line in done.stdout.splitlines())
    assert header[-2:] == ["given_label", "turn"]
    assert (first[1:3], first[-2:]) == (["0.200", "1.500"], ["happy", "7"])
    assert second[-2:] == ["sad", "8"]
    done = emovox_command("predict", plain, "--segments", tmp_path / "turns.csv", "--format", "json")
    assert json.loads(done.stdout)[0]["columns"] == {"label": "happy", "turn": "7"}
    done = emovox_command("predict", plain, "--segments", tmp_path / "turns.csv", "--merge", "1")
    assert (done.returncode, "--merge is about segments that are found" in done.stderr) == (2, True)
    (tmp_path / "other.rttm").write_text("SPEAKER other 1 0.0 1.0 <NA> <NA> anna <NA> <NA>\n", encoding="utf-8")
    done = emovox_command("predict", plain, "--segments", tmp_path / "other.rttm")
    assert (done.returncode, "has no segment of" in done.stderr) == (2, True)
    (tmp_path / "other.wav").write_bytes(plain.read_bytes())
    done = emovox_command("predict", plain, tmp_path / "other.wav", "--segments", tmp_path / "other.rttm", "-f", "csv")
    assert (done.returncode, "1 of 2 recordings could not be analysed" in done.stderr) == (2, True)
    assert done.stdout.splitlines()[1].split(",")[7] == "anna"

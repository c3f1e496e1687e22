"""Words beside the voice: the recogniser's `transcriber`, and `emovox predict --text` and `--transcript`."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emovox import EmotionRecognizer, outputs
from emovox.cli.main import run
from emovox.text.sentiment import FEATURE_NAMES
from emovox.types import Failure, Prediction, Transcript, Waveform, Word
from tests.conftest import EXAMPLES, sine, speech

PLAIN = EXAMPLES / "plain.wav"


class Counting:
    """A recogniser that says one word a second, the second's number."""

    name = "counting-1"

    def transcribe(self, waveform: Waveform) -> Transcript:
        seconds = range(int(waveform.duration))
        words = tuple(Word(str(round(waveform.start) + i), i + 0.3, i + 0.7, 0.8) for i in seconds)
        return Transcript(" ".join(word.text for word in words), words, "en", 0.8)


class Fixed:
    """A recogniser that always hears the same, or fails on recordings of a certain length."""

    name = "fixed-1"

    def __init__(self, text: str = "I am so happy!", language: str = "en", confidence: float = 0.9) -> None:
        self.answer = Transcript(text, (Word(text, 0.0, 0.5, confidence),), language, confidence)
        self.failing_above = float("inf")

    def transcribe(self, waveform: Waveform) -> Transcript:
        if waveform.duration > self.failing_above:
            raise RuntimeError("out of credits")
        return self.answer


def test_words_are_beside_the_voice_and_change_nothing_of_it_unless_they_may() -> None:
    alone = EmotionRecognizer().predict(PLAIN)
    both = EmotionRecognizer(transcriber=Fixed()).predict(PLAIN)
    assert both.probabilities == alone.probabilities
    assert (alone.transcript, alone.words, alone.linguistic, alone.why) == (None, None, None, None)
    assert both.transcript == "I am so happy!"
    assert both.linguistic is not None
    assert tuple(both.linguistic) == FEATURE_NAMES
    assert both.linguistic["share_happy"] > 0
    assert both.words is not None
    assert json.loads(json.dumps(both.to_dict()))["words"][0]["text"] == "I am so happy!"


def test_a_clip_that_fails_keeps_its_voice() -> None:
    fixed = Fixed()
    fixed.failing_above = 3.2
    good, bad = EmotionRecognizer(transcriber=fixed).predict_many([PLAIN, EXAMPLES / "slow.wav"])
    assert isinstance(good, Prediction)
    assert isinstance(bad, Prediction)
    assert good.transcript
    assert bad.transcript is None
    assert bad.why is not None
    assert "no words, the voice alone: fixed-1 could not transcribe" in bad.why[0]
    assert "(out of credits)" in bad.why[0]
    assert bad.label in bad.probabilities


def test_what_is_unsure_or_not_english_is_said() -> None:
    def notes(transcriber: Fixed) -> str:
        return " ".join(EmotionRecognizer(transcriber=transcriber).predict(PLAIN).why or ())

    assert notes(Fixed()) == ""
    assert "the words are unsure (mean probability 0.20)" in notes(Fixed(confidence=0.2))
    assert "in language 'de': polarity and emotion words are known for English only" in notes(Fixed(language="de"))


def test_without_vader_the_words_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from emovox.text import sentiment

    sentiment._vader.cache_clear()
    monkeypatch.setitem(sys.modules, "vaderSentiment", None)
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    found = EmotionRecognizer(transcriber=Fixed()).predict(PLAIN)
    assert found.transcript == "I am so happy!"
    assert found.linguistic is None
    assert "pip install 'emovox[text]'" in " ".join(found.why or ())


def test_a_timeline_has_the_words_of_each_segment() -> None:
    file = io.BytesIO()
    silence = np.zeros(3 * 16000, dtype=np.float32)
    soundfile.write(file, np.concatenate([speech(5), silence, speech(5)]), 16000, format="WAV")
    alone = EmotionRecognizer().timeline(file)
    found = EmotionRecognizer(transcriber=Counting()).timeline(file)
    assert [one.probabilities for one in found.predictions] == [one.probabilities for one in alone.predictions]
    assert len(found.predictions) >= 2
    for one in found.predictions:
        assert one.transcript
        assert one.linguistic is not None
        assert all(one.start <= (word.start + word.end) / 2 < one.end for word in one.words or ())
    said = " ".join(one.transcript or "" for one in found.predictions).split()
    assert said == sorted(set(said), key=int)


def test_music_and_silence_are_refused_as_ever() -> None:
    melody = np.concatenate([sine(frequency, 0.5) for frequency in (262, 330, 392, 523)])
    recognizer = EmotionRecognizer(transcriber=Fixed())
    files = [io.BytesIO(), io.BytesIO()]
    soundfile.write(files[0], melody, 16000, format="WAV")
    soundfile.write(files[1], np.zeros(16000), 16000, format="WAV")
    kinds = [found.kind for found in recognizer.predict_many(files) if isinstance(found, Failure)]
    assert kinds == ["NoSpeechError", "AudioError"]


def test_a_given_transcript_takes_the_place_of_the_recogniser() -> None:
    given = Transcript("Nobody came.")
    found = EmotionRecognizer(transcriber=Fixed()).predict(PLAIN, transcript=given)
    assert found.transcript == "Nobody came."
    assert found.words == ()


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Run the command in this process; return exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["emovox", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run()
    shown = capsys.readouterr()
    return int(end.value.code or 0), shown.out, shown.err


Run = tuple[pytest.MonkeyPatch, pytest.CaptureFixture[str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return monkeypatch, capsys


def json_of(text: str) -> dict[str, Any]:
    (found,) = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_text_on_the_command_line(here: Run, whisper: Path) -> None:
    pytest.importorskip("faster_whisper")
    wanted = ("predict", EXAMPLES / "slow.wav", "--asr", whisper, "--language", "en", "-f", "json")
    code, out, err = call(*here, *wanted, "--fuse")
    assert (code, err) == (0, "")
    found = json_of(out)
    assert "nobody came" in found["transcript"]
    assert [word["text"] for word in found["words"]] == found["transcript"].split()
    assert set(found["linguistic"]) == set(FEATURE_NAMES)
    assert found["fusion"]["used"] == ["voice", "words"]
    only_reported = json_of(call(*here, *wanted)[1])
    assert only_reported["transcript"] == found["transcript"]
    assert only_reported["fusion"] is None
    assert only_reported["probabilities"] == found["fusion"]["voice"]["probabilities"]


def test_a_transcript_from_a_file(here: Run, tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("I am so very happy for you!", encoding="utf-8")
    code, out, _ = call(*here, "predict", PLAIN, "--transcript", file)
    assert code == 0
    assert '"I am so very happy for you!"' in out
    code, out, _ = call(*here, "predict", PLAIN, "--transcript", file, "--format", "json")
    assert json_of(out)["linguistic"]["share_happy"] > 0
    code, out, _ = call(*here, "predict", PLAIN, "--transcript", file, "--format", "csv")
    assert next(csv.DictReader(io.StringIO(out)))["label"]


def test_a_transcript_that_cannot_fit_is_told_and_the_voice_answered(here: Run, tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("word " * 90, encoding="utf-8")
    code, out, err = call(*here, "predict", PLAIN, "--transcript", file, "--format", "json")
    assert code == 2
    assert "plain.wav: no words, the voice alone: the transcript has 90 words for" in err
    assert "1 of 1 recordings are judged by the voice alone" in err
    found = json_of(out)
    assert found["label"] in found["probabilities"]
    assert found["transcript"] is None
    assert "90 words" in found["why"][0]


def test_a_model_that_is_incomplete_is_told_once_and_the_voices_answered(here: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    clips = sorted(EXAMPLES.glob("*.wav"))[:2]
    code, out, err = call(*here, "predict", *clips, "--text", "--asr", tmp_path, "--format", "json")
    assert code == 2
    assert err.count("lacks model.bin, tokenizer.json, vocabulary.txt") == 1
    assert "2 of 2 recordings are judged by the voice alone" in err
    assert [found["transcript"] for found in json.loads(out)] == [None, None]


def test_without_the_extra_the_line_to_install_it_is_told(here: Run) -> None:
    here[0].setitem(sys.modules, "faster_whisper", None)
    code, out, err = call(*here, "predict", PLAIN, "--text", "--asr", "base", "--format", "json")
    assert code == 2
    assert "pip install 'emovox[text]'" in err
    assert json_of(out)["label"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--language", "en"], "--language is about words: add --text"),
        (["--text", "--language", "english"], "expected a code of two letters"),
        (["--asr", "tiny.en", "--language", "de"], "knows English only, not 'de'"),
        (["--transcript", "missing.txt"], "cannot read the transcript missing.txt"),
        (["--transcript", "missing.txt", "--text"], "--transcript takes the place of --text"),
        ([str(EXAMPLES / "slow.wav"), "--transcript", "missing.txt"], "is about one recording, not 2"),
    ],
)
def test_options_that_cannot_be(options: list[str], message: str, here: Run) -> None:
    code, out, err = call(*here, "predict", PLAIN, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("emovox: ")


def test_recognition_of_words_imports_nothing_before_it_is_needed() -> None:
    code = (
        "import sys, emovox.cli.main\n"
        "from emovox import EmotionRecognizer\n"
        "from emovox.text.whisper import WhisperTranscriber\n"
        "EmotionRecognizer(transcriber=WhisperTranscriber('tiny.en'))\n"
        "print(sorted({'faster_whisper', 'ctranslate2', 'vaderSentiment', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_table_shows_words_and_what_there_is_to_explain() -> None:
    from rich.console import Console

    one = Prediction(
        "a.wav", 0, 1, "sad", {"sad": 0.8, "calm": 0.2}, 0.8, False, "m", transcript="Gone.", why=("so it is",)
    )
    none = Prediction("b.wav", 0, 1, "sad", {"sad": 0.8, "calm": 0.2}, 0.8, False, "m", transcript="")
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(outputs.to_table([one, none], 100))
    text = console.export_text()
    assert text.index("sad") < text.index('"Gone."') < text.index("so it is") < text.index("(no words)")

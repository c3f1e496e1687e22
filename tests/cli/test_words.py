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

from emovox import EmotionRecognizer, audio
from emovox.errors import TranscriptError
from emovox.outputs import formats
from emovox.outputs.console import to_table
from emovox.recognition.timeline import Timeline, TimelineOptions
from emovox.text.fusion import builtin
from emovox.text.words import FEATURE_NAMES, words_vector
from emovox.types import Failure, Prediction, Transcript, Waveform, Word
from tests import EXAMPLES
from tests.cli import emovox_command
from tests.conftest import sine, speech

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
    from emovox.text import words

    words._vader.cache_clear()
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


SADDER = "I miss her so much, I cried all night."


def said_in(timeline: Timeline, *texts: str) -> Transcript:
    """Let a sentence be said in each segment of a timeline."""
    words: list[Word] = []
    for one, text in zip(timeline.predictions, texts, strict=True):
        step = (one.end - one.start) / len(text.split())
        words += [Word(word, one.start + i * step, one.start + (i + 1) * step) for i, word in enumerate(text.split())]
    return Transcript(" ".join(texts), tuple(words), "en")


@pytest.fixture(scope="module")
def two() -> bytes:
    """Two utterances with a pause between them."""
    file = io.BytesIO()
    parts = [audio.read(EXAMPLES / name).samples for name in ("plain.wav", "slow.wav")]
    silence = np.zeros(3 * 16000, dtype=np.float32)
    soundfile.write(file, np.concatenate([parts[0], silence, parts[1]]), 16000, format="WAV")
    return file.getvalue()


def test_words_take_part_in_each_segment(two: bytes) -> None:
    alone = EmotionRecognizer().timeline(io.BytesIO(two))
    transcript = said_in(alone, "The keys are on the table.", SADDER)
    found = EmotionRecognizer(fuse=True).timeline(io.BytesIO(two), transcript=transcript)
    first, second = found.predictions
    assert [first.transcript, second.transcript] == ["The keys are on the table.", SADDER]
    np.testing.assert_allclose(list(first.probabilities.values()), list(alone.predictions[0].probabilities.values()))
    whole = Transcript(SADDER, confidence=1.0)
    words = words_vector(whole, second.end - second.start)
    voice = alone.predictions[1].probabilities
    expected, _ = builtin().combine([list(voice.values())], words[np.newaxis], list(voice))
    np.testing.assert_allclose(list(second.probabilities.values()), expected[0], rtol=1e-6)
    assert second.fusion is not None
    assert second.fusion["words"]["label"] == "sad"
    reported = EmotionRecognizer().timeline(io.BytesIO(two), transcript=transcript)
    assert [one.probabilities for one in reported.predictions] == [one.probabilities for one in alone.predictions]
    assert reported.predictions[1].transcript == SADDER


def test_segments_are_joined_by_what_voice_and_words_say_together(two: bytes) -> None:
    alone = EmotionRecognizer().timeline(io.BytesIO(two))
    transcript = said_in(alone, SADDER, SADDER)
    found = EmotionRecognizer(fuse=True).timeline(io.BytesIO(two), TimelineOptions(merge=60), transcript=transcript)
    (one,) = found.predictions
    assert (one.label, one.transcript) == ("sad", f"{SADDER} {SADDER}")
    too_long = Transcript(" ".join(["word"] * 99), (Word("word", 0.0, 0.1),))
    missing = EmotionRecognizer().timeline(io.BytesIO(two), TimelineOptions(merge=60), transcript=too_long)
    assert all("99 words" in (part.why or ("",))[0] for part in missing.predictions)


def test_a_transcript_without_times_cannot_be_that_of_a_timeline() -> None:
    with pytest.raises(TranscriptError, match="does not tell when its words are said"):
        EmotionRecognizer().timeline(PLAIN, transcript=Transcript("Nobody came."))


def test_a_stream_lets_words_take_part_when_an_utterance_ends() -> None:
    window = audio.read(PLAIN)
    recognizer = EmotionRecognizer(transcriber=Fixed(SADDER), fuse=True)
    running, ended = recognizer.assess(window, "a", running=True), recognizer.assess(window, "a")
    assert running is not None
    assert ended is not None
    assert running.fusion is None
    assert ended.fusion is not None
    assert ended.probabilities["sad"] > running.probabilities["sad"]


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


def json_of(text: str) -> dict[str, Any]:
    (found,) = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_text_on_the_command_line(whisper: Path) -> None:
    pytest.importorskip("faster_whisper")
    wanted = ("predict", EXAMPLES / "slow.wav", "--asr", whisper, "--language", "en", "-f", "json")
    code, out, err = emovox_command(*wanted, "--fuse")
    assert (code, err) == (0, "")
    found = json_of(out)
    assert "nobody came" in found["transcript"]
    assert [word["text"] for word in found["words"]] == found["transcript"].split()
    assert set(found["linguistic"]) == set(FEATURE_NAMES)
    assert found["fusion"]["used"] == ["voice", "words"]
    only_reported = json_of(emovox_command(*wanted)[1])
    assert only_reported["transcript"] == found["transcript"]
    assert only_reported["fusion"] is None
    assert only_reported["probabilities"] == found["fusion"]["voice"]["probabilities"]


def test_a_transcript_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("I am so very happy for you!", encoding="utf-8")
    code, out, _ = emovox_command("predict", PLAIN, "--transcript", file)
    assert code == 0
    assert '"I am so very happy for you!"' in out
    code, out, _ = emovox_command("predict", PLAIN, "--transcript", file, "--format", "json")
    assert json_of(out)["linguistic"]["share_happy"] > 0
    code, out, _ = emovox_command("predict", PLAIN, "--transcript", file, "--format", "csv")
    assert next(csv.DictReader(io.StringIO(out)))["label"]


def test_a_timeline_with_a_transcript_from_a_file(tmp_path: Path, two: bytes) -> None:
    sound, srt, plain, back = (tmp_path / name for name in ("two.wav", "two.srt", "two.txt", "back.json"))
    sound.write_bytes(two)
    srt.write_text(
        "1\n00:00:00,200 --> 00:00:02,000\nThe keys are here.\n\n2\n00:00:06,500 --> 00:00:09,000\n" + SADDER + "\n",
        encoding="utf-8",
    )
    wanted = ("predict", sound, "--timeline", "--fuse", "--format", "json", "--transcript")
    code, out, err = emovox_command(*wanted, srt)
    assert (code, err) == (0, "")
    first, second = json.loads(out)
    assert [first["transcript"], second["transcript"]] == ["The keys are here.", SADDER]
    assert (second["label"], second["fusion"]["used"]) == ("sad", ["voice", "words"])
    back.write_text(out, encoding="utf-8")
    assert json.loads(emovox_command(*wanted, back)[1]) == [first, second]
    plain.write_text(SADDER, encoding="utf-8")
    code, out, err = emovox_command(*wanted, plain)
    assert (code, out) == (2, "")
    assert err.startswith("emovox: the transcript does not tell when its words are said, and a timeline needs that")


def test_csv_has_a_column_of_words_where_they_were_listened_to(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text('He said: "I am happy, so"', encoding="utf-8")
    alone = emovox_command("predict", PLAIN, "--format", "csv")[1]
    spoken = emovox_command("predict", PLAIN, "--format", "csv", "--transcript", file)[1]
    assert "transcript" not in alone
    (row,) = csv.DictReader(io.StringIO(spoken))
    assert row.pop("transcript") == 'He said: "I am happy, so"'
    assert [row] == list(csv.DictReader(io.StringIO(alone)))


def test_csv_has_the_column_where_the_first_words_could_not_be_had() -> None:
    one = Prediction("a.wav", 0, 1, "sad", {"sad": 1.0}, 1.0, False, "m", why=("no words, the voice alone: so it is",))
    other = Prediction("b.wav", 0, 1, "sad", {"sad": 1.0}, 1.0, False, "m", transcript="Gone.")
    rows = list(csv.DictReader(io.StringIO("".join(formats.to_csv([one, other], ["sad"])))))
    assert [row["transcript"] for row in rows] == ["", "Gone."]
    columns = "file,start,end,label,confidence,abstained,model,speaker,p_sad,baseline,channel,setting\n"
    assert list(formats.to_csv([], ["sad"])) == [columns]


def test_a_transcript_that_cannot_fit_is_told_and_the_voice_answered(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("word " * 90, encoding="utf-8")
    code, out, err = emovox_command("predict", PLAIN, "--transcript", file, "--format", "json")
    assert code == 2
    assert "plain.wav: no words, the voice alone: the transcript has 90 words for" in err
    assert "1 of 1 recordings are judged by the voice alone" in err
    found = json_of(out)
    assert found["label"] in found["probabilities"]
    assert found["transcript"] is None
    assert "90 words" in found["why"][0]


def test_a_model_that_is_incomplete_is_told_once_and_the_voices_answered(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    clips = sorted(EXAMPLES.glob("*.wav"))[:2]
    code, out, err = emovox_command("predict", *clips, "--text", "--asr", tmp_path, "--format", "json")
    assert code == 2
    assert err.count("lacks model.bin, tokenizer.json, vocabulary.txt") == 1
    assert "2 of 2 recordings are judged by the voice alone" in err
    assert [found["transcript"] for found in json.loads(out)] == [None, None]


def test_without_the_extra_the_line_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    code, out, err = emovox_command("predict", PLAIN, "--text", "--asr", "base", "--format", "json")
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
def test_options_that_cannot_be(options: list[str], message: str) -> None:
    code, out, err = emovox_command("predict", PLAIN, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("emovox: ")


def test_recognition_of_words_imports_nothing_before_it_is_needed() -> None:
    code = (
        "import sys, emovox.cli.main\n"
        "from emovox import EmotionRecognizer\n"
        "from emovox.text.transcribe import WhisperTranscriber\n"
        "EmotionRecognizer(transcriber=WhisperTranscriber('tiny.en'))\n"
        "print(sorted({'faster_whisper', 'ctranslate2', 'vaderSentiment', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_table_shows_words_and_what_there_is_to_explain() -> None:
    one = Prediction(
        "a.wav", 0, 1, "sad", {"sad": 0.8, "calm": 0.2}, 0.8, False, "m", transcript="Gone.", why=("so it is",)
    )
    none = Prediction("b.wav", 0, 1, "sad", {"sad": 0.8, "calm": 0.2}, 0.8, False, "m", transcript="")
    text = "\n".join(map(str, to_table([one, none], 100).lines(100)))
    assert text.index("sad") < text.index('"Gone."') < text.index("so it is") < text.index("(no words)")

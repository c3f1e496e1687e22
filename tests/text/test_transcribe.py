"""Transcription: pieces by voice activity, Whisper, the cache, transcripts that are given."""

from __future__ import annotations

import json
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.errors import InputError, MissingExtraError, ModelError, TranscriptError
from emovox.speech.vad import VadOptions
from emovox.text.transcribe import (
    CachedTranscriber,
    Listener,
    Transcriber,
    TranscriptionOptions,
    WhisperTranscriber,
    recognise,
    transcribe,
)
from emovox.text.words import check_fits, read_transcript
from emovox.types import RATE, Float32Array, Transcript, Waveform, Word
from tests import EXAMPLES
from tests.conftest import speech


class Recorder:
    """A recogniser that keeps what it was given, and fails where it is told to."""

    name = "recorder-1"

    def __init__(self, failing: tuple[int, ...] = ()) -> None:
        self.pieces: list[Waveform] = []
        self.failing = failing

    def transcribe(self, waveform: Waveform) -> Transcript:
        self.pieces.append(waveform)
        number = len(self.pieces) - 1
        if number in self.failing:
            raise ConnectionError("no route")
        return Transcript(f"piece{number}", (Word(f"piece{number}", 0.5, 1.0, 0.5),), "en", 0.5)


def with_pauses(*parts: float) -> Float32Array:
    """Speech and silence in turn, in seconds."""
    pieces = [speech(length) if i % 2 == 0 else np.zeros(round(16000 * length)) for i, length in enumerate(parts)]
    return np.concatenate(pieces).astype(np.float32)


def test_pieces_are_speech_in_order_and_never_twice() -> None:
    recorder = Recorder()
    found = transcribe(Waveform(with_pauses(5, 6, 5, 1, 5, 30, 70), 100.0), recorder)
    pieces = recorder.pieces
    assert isinstance(recorder, Transcriber)
    assert len(pieces) == 2 + 3  # 5 s; 5 + 1 + 5 s; and 70 s without a long pause, in pieces of at most 28
    assert all(piece.duration <= 28.7 for piece in pieces)
    assert all(later.start >= earlier.end - 1e-6 for earlier, later in pairwise(pieces))
    assert pieces[0].start < 100.5
    assert pieces[1].start == pytest.approx(111, abs=0.6)
    assert pieces[1].end == pytest.approx(122, abs=0.7)
    assert found.text == " ".join(f"piece{number}" for number in range(len(pieces)))
    assert [word.start for word in found.words] == pytest.approx([piece.start + 0.5 for piece in pieces])
    assert found.speech == pytest.approx(86, rel=0.15)


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=30))
def test_how_blocks_are_cut_changes_nothing(sizes: list[int]) -> None:
    samples = with_pauses(4, 3, 4)
    whole, cut = Recorder(), Recorder()
    first = transcribe(Waveform(samples), whole)
    edges = [0, *(edge for edge in np.cumsum(sizes).tolist() if edge < len(samples)), len(samples)]
    blocks = (Waveform(samples[a:b], a / 16000) for a, b in pairwise(edges))
    assert transcribe(blocks, cut) == first
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(whole.pieces, cut.pieces, strict=True))


def test_memory_does_not_grow_with_the_recording() -> None:
    listener = Listener(Recorder())
    most = 0
    for minute in range(4):
        listener.push(Waveform(speech(45, seed=minute), 60.0 * minute))
        listener.push(Waveform(np.zeros(15 * 16000, dtype=np.float32), 60.0 * minute + 45))
        most = max(most, len(listener._held))
    assert most < 40 * 16000
    assert listener.finish().speech == pytest.approx(180, rel=0.15)


@pytest.mark.parametrize("samples", [np.zeros(32000), np.random.default_rng(0).normal(0, 0.05, 48000), np.zeros(0)])
def test_no_speech_is_no_text_and_no_work(samples: Float32Array) -> None:
    recorder = Recorder()
    found = transcribe(Waveform(samples.astype(np.float32)), recorder)
    assert (found.text, found.words, found.confidence, recorder.pieces) == ("", (), 0.0, [])


def test_short_speech_that_voice_activity_misses_is_heard_by_the_gate() -> None:
    deaf = TranscriptionOptions(vad=VadOptions(on=0.999999, off=0.9))
    recorder = Recorder()
    found = transcribe(Waveform(speech(2)), recorder, deaf)
    assert found.text == "piece0"
    assert [piece.duration for piece in recorder.pieces] == [2.0]
    assert transcribe(Waveform(np.zeros(32000, dtype=np.float32)), Recorder(), deaf).text == ""


def test_a_piece_that_fails_is_left_out_and_told() -> None:
    listener = Listener(Recorder(failing=(0,)))
    listener.push(Waveform(with_pauses(3, 4, 3)))
    assert listener.finish().text == "piece1"
    (problem,) = listener.problems
    assert re.fullmatch(r"recorder-1 could not transcribe 0\.\d to 3\.\d s \(no route\)", problem)


def test_where_every_piece_fails_there_is_no_transcript() -> None:
    with pytest.raises(TranscriptError, match=r"recorder-1 could not transcribe .* \(no route\)"):
        transcribe(Waveform(with_pauses(3, 4, 3)), Recorder(failing=(0, 1)))


@pytest.mark.parametrize("wrong", [{"longest": 31}, {"longest": float("nan")}, {"pause": -1}, {"margin": 11}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*: expected seconds"):
        TranscriptionOptions(**wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tiny(whisper: Path) -> WhisperTranscriber:
    pytest.importorskip("faster_whisper")
    return WhisperTranscriber(whisper, "en")


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def test_whisper_understands_and_tells_when(tiny: WhisperTranscriber) -> None:
    waveform = audio.read(EXAMPLES / "slow.wav")
    found = transcribe(waveform, tiny)
    assert words_of(found.text) == ["i", "waited", "all", "day", "but", "nobody", "came"]
    assert [word.text for word in found.words] == found.text.split()
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert all(0 <= word.start <= word.end <= waveform.duration + 0.3 for word in found.words)
    assert all(0 < word.confidence <= 1 for word in found.words)
    assert found.confidence == pytest.approx(np.mean([word.confidence for word in found.words]))
    assert found.language == "en"


@pytest.mark.long
@pytest.mark.parametrize("seconds", [4, 12])
def test_noise_that_whisper_is_given_itself_has_no_words(seconds: int, tiny: WhisperTranscriber) -> None:
    """It falls into loops there, or writes points; the detector of speech, which comes first, is left out here."""
    noise = np.random.default_rng(0).standard_normal(RATE * seconds).astype(np.float32) * 0.1
    assert recognise(tiny, Waveform(noise)).words == ()


def test_ravdess_sentences_are_understood(tiny: WhisperTranscriber, ravdess_clips: list[Path]) -> None:
    found = words_of(transcribe(audio.read(ravdess_clips[0]), tiny).text)
    assert found == ["kids", "are", "talking", "by", "the", "door"]


def test_whisper_is_told_apart_by_weights_and_language(whisper: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whisper, tmp_path / "copy", copy_function=lambda a, b: Path(b).symlink_to(a)))
    assert WhisperTranscriber(copy).name == WhisperTranscriber(whisper).name
    assert WhisperTranscriber(copy, "en").name != WhisperTranscriber(copy).name
    (copy / "config.json").unlink()
    (copy / "config.json").write_text((whisper / "config.json").read_text() + "\n")
    assert WhisperTranscriber(copy).name != WhisperTranscriber(whisper).name


@pytest.mark.parametrize("missing", ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"])
def test_an_incomplete_folder_names_what_is_missing(missing: str, whisper: Path, tmp_path: Path) -> None:
    for file in whisper.iterdir():
        if file.name != missing:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ModelError, match=f"lacks {missing}: get the whole folder again"):
        recognise(WhisperTranscriber(tmp_path), Waveform(speech(1)))


def test_a_damaged_model_is_an_error_of_one_line(whisper: Path, tmp_path: Path) -> None:
    for file in whisper.iterdir():
        shutil.copy(file, tmp_path) if file.name != "model.bin" else None
    (tmp_path / "model.bin").write_bytes(b"this is no model")
    with pytest.raises(ModelError, match=r"cannot read the Whisper model .* get it again") as error:
        recognise(WhisperTranscriber(tmp_path), Waveform(speech(1)))
    assert "\n" not in str(error.value)


def test_a_folder_for_transformers_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"lacks .*ct2-transformers-converter"):
        _ = WhisperTranscriber(tmp_path).folder


def test_names_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(ModelError, match=r"no folder .*nowhere"):
        _ = WhisperTranscriber("./nowhere").folder
    with pytest.raises(ModelError, match=r"no Whisper model 'tinny'.*tiny\.en"):
        _ = WhisperTranscriber("tinny").folder
    import faster_whisper

    def unreachable(name: str, **options: object) -> str:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(faster_whisper, "download_model", unreachable)
    with pytest.raises(
        ModelError, match=r"cannot get base.*Network is unreachable.*connect once, or give a local folder"
    ):
        _ = WhisperTranscriber("base").folder


def test_languages(whisper: Path) -> None:
    with pytest.raises(ModelError, match=r"'small\.en' knows English only, not 'fr'"):
        WhisperTranscriber("small.en", "fr")
    with pytest.raises(ModelError, match="knows English only, not 'fr'"):
        recognise(WhisperTranscriber(whisper, "fr"), Waveform(speech(1)))
    with pytest.raises(InputError, match="language is 'English'"):
        WhisperTranscriber("small", "English")
    with pytest.raises(InputError, match="threads is 0"):
        WhisperTranscriber("small", threads=0)


def sentence(words: list[SimpleNamespace], seek: int = 0) -> SimpleNamespace:
    """Make a segment as faster-whisper gives it."""
    return SimpleNamespace(words=words, seek=seek, compression_ratio=1.1)


class Multilingual:
    """Stands in for a loaded multilingual Whisper model that hears German and is not sure of its words."""

    class model:  # noqa: N801 - as faster-whisper names it
        is_multilingual = True

    def __init__(self, confidence: float) -> None:
        self.confidence = confidence

    def transcribe(self, samples: Float32Array, **options: object) -> tuple[object, object]:
        word = SimpleNamespace(word=" wort", start=0.1, end=0.4, probability=self.confidence)
        return [sentence([word])], SimpleNamespace(language="de")

    def detect_language(self, samples: Float32Array) -> tuple[str, float, None]:
        return "de", 0.9, None


def test_another_language_than_stated_is_told() -> None:
    transcriber = WhisperTranscriber("base", "en")
    transcriber.__dict__["_loaded"] = Multilingual(0.3)
    with pytest.raises(TranscriptError, match=r"'en' was stated, but 0\.0 to 1\.0 s sound like 'de' \(90%\)"):
        recognise(transcriber, Waveform(speech(1)))
    transcriber.__dict__["_loaded"] = Multilingual(0.8)
    assert recognise(transcriber, Waveform(speech(1))).text == "wort"
    detecting = WhisperTranscriber("base")
    detecting.__dict__["_loaded"] = Multilingual(0.3)
    assert recognise(detecting, Waveform(speech(1))).language == "de"


class Doubtful:
    """Stands in for a loaded model that hears other words without the tokens that tell times."""

    english = SimpleNamespace(language="en")

    def __init__(self, first: str, second: str, confidence: float) -> None:
        self.texts, self.confidence, self.hearings = (first, second), confidence, 0

    def transcribe(
        self, samples: Float32Array, *, without_timestamps: bool = False, **options: object
    ) -> tuple[object, ...]:
        self.hearings += 1
        tenth = len(samples) / RATE / 10
        words = [
            SimpleNamespace(word=f" {one}", start=tenth * i, end=tenth * (i + 1), probability=self.confidence)
            for i, one in enumerate(self.texts[without_timestamps].split())
        ]
        if not without_timestamps:  # a sentence that was not finished is taken up by a second look
            return [sentence(words[:2]), sentence(words[2:], seek=90)], self.english
        tail = SimpleNamespace(word=" sitting", start=0.9, end=1.0, probability=self.confidence)
        return [sentence(words), sentence([tail], seek=90)], self.english


@pytest.mark.parametrize(
    ("second", "confidence", "seconds", "expected", "hearings"),
    [
        ("dogs are sitting", 0.8, 2, "dogs are sitting", 2),
        ("dogs sitting", 0.8, 2, "dogs sitting", 2),
        ("dogs", 0.8, 2, "docs are sitting", 2),  # two words are missing: sentences may have become one
        ("dogs are sitting", 0.95, 2, "docs are sitting", 1),
        ("dogs are sitting", 0.8, 9, "docs are sitting", 1),
    ],
)
def test_an_unsure_utterance_is_heard_once_more(
    second: str, confidence: float, seconds: int, expected: str, hearings: int
) -> None:
    transcriber, model = WhisperTranscriber("base", "en"), Doubtful("docs are sitting", second, confidence)
    model.model = SimpleNamespace(is_multilingual=False)  # type: ignore[attr-defined]
    transcriber.__dict__["_loaded"] = model
    found = recognise(transcriber, Waveform(speech(seconds)))
    assert found.text == expected, "nothing is lost at the end, and nothing is heard twice"
    assert model.hearings == hearings
    assert found.confidence == pytest.approx(confidence)
    times = [(word.start, word.end) for word in found.words]
    expected_times = [(seconds / 10 * i, seconds / 10 * (i + 1)) for i in range(len(times))]
    assert np.allclose(times, expected_times)


def test_without_the_extra_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch, whisper: Path) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'emovox\[text\]'"):
        recognise(WhisperTranscriber(whisper), Waveform(speech(1)))
    with pytest.raises(MissingExtraError, match=r"pip install 'emovox\[text\]'"):
        _ = WhisperTranscriber("base").folder


def test_cache_remembers_by_sound_and_recogniser(tmp_path: Path) -> None:
    recorder = Recorder()
    cached = CachedTranscriber(recorder, tmp_path)
    first, second = Waveform(speech(1)), Waveform(speech(1, seed=3))
    found = cached.transcribe(first)
    assert cached.transcribe(Waveform(first.samples, 70.0)) == found  # the same sound elsewhere
    assert len(recorder.pieces) == 1
    cached.transcribe(second)
    other = Recorder()
    other.name = "recorder-2"
    CachedTranscriber(other, tmp_path).transcribe(first)
    assert (len(recorder.pieces), len(other.pieces)) == (2, 1)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"text": 1, "words": [{}]}', '{"words": []}'])
def test_a_damaged_entry_is_made_again(damage: str, tmp_path: Path) -> None:
    cached = CachedTranscriber(Recorder(), tmp_path)
    found = cached.transcribe(Waveform(speech(1)))
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text(damage)
    assert cached.transcribe(Waveform(speech(1))).text == "piece1"
    assert found.text == "piece0"


def test_a_cache_that_cannot_be_written_costs_no_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert CachedTranscriber(Recorder(), tmp_path / "file").transcribe(Waveform(speech(1))).text == "piece0"


VTT = """WEBVTT

1
00:01.000 --> 00:02.000 align:start
<v Ann>Hello there

00:00:03.500 --> 00:00:04.000
you
"""
SRT = "1\r\n00:00:01,000 --> 00:00:02,000\r\nHello {\\an8}there\r\n\r\n2\r\n00:00:03,500 --> 00:00:04,000\r\nyou\r\n"
WORDS = (Word("Hello", 1.0, 1.5), Word("there", 1.5, 2.0), Word("you", 3.5, 4.0))
LISTED = [{"word": word.text, "start": word.start, "end": word.end} for word in WORDS]
SEGMENTS = [{"text": " Hello there", "start": 1, "end": 2}, {"text": "you", "start": 3.5, "end": 4}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "\ufeffHello there\n you ", ()),
        ("a.vtt", VTT, WORDS),
        ("a.srt", SRT, WORDS),
        ("a.json", json.dumps({"words": LISTED}), WORDS),
        ("a.json", json.dumps({"segments": SEGMENTS}), WORDS),
        ("a.json", json.dumps([{"transcript": "Hello there you", "words": LISTED}]), WORDS),
        ("a.json", json.dumps({"text": "Hello there you"}), ()),
    ],
)
def test_transcripts_are_read(name: str, content: str, words: tuple[Word, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    found = read_transcript(tmp_path / name)
    assert (found.text, found.words, found.language, found.confidence) == ("Hello there you", words, "en", 1.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "holds no words"),
        ("a.txt", b"\xff\xfe\x00", "is not text in UTF-8"),
        ("a.txt", b"RIFF\0\0", "is not text"),
        ("a.vtt", b"WEBVTT\n", "holds no words"),
        ("a.json", b"{", "is not JSON of a kind"),
        ("a.json", b"3", "is not JSON of a kind"),
        ("a.json", b"[" * 100_000, "is not JSON of a kind"),
        ("a.json", b'[{"text": "a"}, {"text": "b"}]', "lists 2 recordings"),
        ("a.json", b'{"words": [{"text": "a", "start": 2, "end": 1}]}', "is not JSON of a kind"),
        ("a.json", b'{"words": [{"text": "a", "start": NaN, "end": 1}]}', "is not JSON of a kind"),
        ("a.json", b'{"words": [{"text": "a"}]}', "is not JSON of a kind"),
    ],
)
def test_what_is_no_transcript_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TranscriptError, match=message):
        read_transcript(tmp_path / name)
    with pytest.raises(TranscriptError, match="cannot read the transcript"):
        read_transcript(tmp_path / "missing.txt")


def test_a_transcript_must_fit() -> None:
    check_fits(Transcript("one two three four"), 0.6, 1.0)
    check_fits(Transcript("no no no"), 0.1, 0.2)
    check_fits(Transcript("one two three four five six"), 0.0, 3.0)  # no speech found: the length counts
    with pytest.raises(TranscriptError, match=r"20 words for 2\.0 s of speech, 10\.0 a second"):
        check_fits(Transcript("word " * 20), 2.0, 9.0)
    check_fits(Transcript("whisper says", (Word("whisper", 2.0, 16.0), Word("says", 16.0, 30.0))), 2.0, 3.0)
    with pytest.raises(TranscriptError, match=r"words up to 40\.0 s"):
        check_fits(Transcript("another film", (Word("another", 2.0, 21.0), Word("film", 21.0, 40.0))), 2.0, 3.0)
    with pytest.raises(TranscriptError, match=r"words up to 9\.0 s, and the recording ends at 3\.0 s"):
        check_fits(Transcript("late", (Word("late", 8.5, 9.0),)), 2.0, 3.0)

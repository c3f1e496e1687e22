"""Sessions of listening: what is heard is judged, shown and kept, whatever ends them."""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import parselmouth
import pytest
import soundfile
from numpy.typing import NDArray

from emovox import audio
from emovox.errors import AudioError, InputError
from emovox.live import session as sessions
from emovox.live.session import Session, SoundKeeper, TimelineKeeper, ended_by_signals
from emovox.live.sources import Feed, Notice, Piece, PipeSource
from emovox.live.state import SessionEvent, State, Streams
from emovox.recognition.streaming import StreamingRecognizer
from emovox.types import Prediction, Waveform
from tests.conftest import speech

LABELS = ("happy", "sad")


class Judge:
    """Calls everything happy."""

    threshold = 0.5

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        return Prediction(name, window.start, window.end, "happy", {"happy": 0.75, "sad": 0.25}, 0.75, False, "fake")


class Notes:
    """A printer that remembers."""

    def __init__(self) -> None:
        self.told: list[SessionEvent] = []
        self.closed = 0

    def report(self, one: SessionEvent, state: State) -> None:
        self.told.append(one)

    def refresh(self, state: State) -> None:
        pass

    def close(self, state: State) -> None:
        self.closed += 1

    def kinds(self) -> list[str]:
        return [one.kind for one in self.told if one.kind != "estimate"]


def talk(utterances: int = 2) -> NDArray[np.float32]:
    pause = 0.0005 * np.random.default_rng(0).normal(size=16000).astype(np.float32)
    return np.concatenate([np.concatenate([pause, speech(2, seed)]) for seed in range(utterances)] + [pause])


def pipe(samples: NDArray[np.float32]) -> PipeSource:
    return PipeSource(io.BytesIO(np.rint(samples * 32767).astype("<i2").tobytes()), name="mic")


class Faulty:
    """A source that fails after some sound."""

    name, rate = "mic", 16000

    def read(self) -> Iterator[Piece]:
        yield talk()
        yield Notice("mic is gone: waiting 15 s for it to come back")
        raise AudioError("mic was lost and did not come back")

    def stop(self) -> None:
        pass


def session(source: Any, notes: Notes, channel: int | None = None, **options: Any) -> Session:
    streams = Streams(lambda _: StreamingRecognizer(Judge()).open("mic"), channel)
    return Session(Feed(source), streams, State("mic", "fake", LABELS), notes, **options)


def test_everything_is_told_and_kept(tmp_path: Path) -> None:
    notes = Notes()
    one = session(
        pipe(talk()),
        notes,
        timeline=TimelineKeeper(tmp_path / "talk.json", LABELS),
        sound=SoundKeeper(tmp_path / "talk.wav"),
    )
    files = one.run(threading.Event())
    assert notes.kinds() == ["start", "result", "end"] * 2
    assert notes.closed == 1
    assert files == [tmp_path / "talk.json", tmp_path / "talk.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.json", "talk.wav"]
    found = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert found == [event.prediction.to_dict() for event in notes.told if event.kind == "result" and event.prediction]
    np.testing.assert_allclose(soundfile.read(tmp_path / "talk.wav")[0], talk(), atol=1e-4)


def test_the_saved_sound_gives_the_saved_timeline_again(tmp_path: Path) -> None:
    notes = Notes()
    session(pipe(talk()), notes, sound=SoundKeeper(tmp_path / "talk.wav")).run(threading.Event())
    again = StreamingRecognizer(Judge()).timeline(audio.blocks(tmp_path / "talk.wav"), "mic")
    assert [event.prediction for event in notes.told if event.kind == "result"] == list(again.predictions)


def pressing(*keys: str) -> Callable[[], str]:
    """Press one of the keys each time one is asked for."""
    left = iter(keys)
    return lambda: next(left, "")


class Endless(PipeSource):
    """A pipe that stays open when the sound is over."""

    def read(self) -> Iterator[Piece]:
        yield from super().read()
        self.over = threading.Event()
        self.over.wait()


def test_keys_mark_moments_and_end_the_session(tmp_path: Path) -> None:
    notes = Notes()
    grid = tmp_path / "talk.TextGrid"
    one = session(Endless(io.BytesIO(bytes(64000))), notes, timeline=TimelineKeeper(grid, LABELS))
    one.run(threading.Event(), pressing("", "", "xM", "", "m", "q", "m"))
    assert [event.text for event in notes.told if event.kind == "mark"] == ["mark 1", "mark 2"]
    read = parselmouth.TextGrid.read(str(grid))
    assert parselmouth.praat.call(read, "Get number of points", 3) == 2


def test_marks_get_a_file_of_their_own_where_the_format_has_no_place(tmp_path: Path) -> None:
    one = session(pipe(talk()), Notes(), timeline=TimelineKeeper(tmp_path / "talk.csv", LABELS))
    files = one.run(threading.Event(), pressing("m"))
    assert files == [tmp_path / "talk.csv", tmp_path / "talk.marks.txt"]
    assert (tmp_path / "talk.marks.txt").read_text().endswith("\tmark 1\n")


def test_a_source_that_fails_costs_nothing_that_came_before(tmp_path: Path) -> None:
    notes = Notes()
    one = session(
        Faulty(),
        notes,
        timeline=TimelineKeeper(tmp_path / "talk.rttm", LABELS),
        sound=SoundKeeper(tmp_path / "talk.wav"),
    )
    with pytest.raises(AudioError, match="was lost"):
        one.run(threading.Event())
    assert notes.kinds() == ["start", "result", "end"] * 2 + ["notice"]
    assert len((tmp_path / "talk.rttm").read_text().splitlines()) == 2
    assert len(soundfile.read(tmp_path / "talk.wav")[0]) == len(talk())
    assert not list(tmp_path.glob("*.part"))


def test_an_unexpected_fault_costs_nothing_either(tmp_path: Path) -> None:
    class Broken(Notes):
        def report(self, one: SessionEvent, state: State) -> None:
            super().report(one, state)
            if one.kind == "result":
                raise RuntimeError("a fault of ours")

    one = session(pipe(talk()), Broken(), timeline=TimelineKeeper(tmp_path / "talk.csv", LABELS))
    with pytest.raises(RuntimeError):
        one.run(threading.Event())
    assert len((tmp_path / "talk.csv").read_text().splitlines()) >= 2


def test_a_reader_that_is_gone_costs_nothing_either(tmp_path: Path) -> None:
    class Gone(Notes):
        def report(self, one: SessionEvent, state: State) -> None:
            if one.kind in ("result", "end"):
                raise BrokenPipeError

        def close(self, state: State) -> None:
            raise BrokenPipeError

    one = session(
        pipe(talk()),
        Gone(),
        timeline=TimelineKeeper(tmp_path / "talk.csv", LABELS),
        sound=SoundKeeper(tmp_path / "talk.wav"),
    )
    with pytest.raises(BrokenPipeError):
        one.run(threading.Event())
    assert one.files == [tmp_path / "talk.csv", tmp_path / "talk.wav"]
    assert len((tmp_path / "talk.csv").read_text().splitlines()) >= 2


def test_a_session_is_ended_from_outside() -> None:
    stopped, notes = threading.Event(), Notes()
    stopped.set()
    session(Endless(io.BytesIO(bytes(64000))), notes).run(stopped)
    assert notes.closed == 1


def test_a_stalled_stream_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "STALLED", 0.0)
    notes = Notes()
    session(Endless(io.BytesIO(bytes(6400))), notes).run(threading.Event(), pressing(*[""] * 10, "q"))
    assert [one.text for one in notes.told if one.kind == "notice"] == ["no sound has come for 0 s"]


def test_words_come_when_they_are_ready_and_are_kept(tmp_path: Path) -> None:
    notes = Notes()
    heard: list[float] = []

    def transcribe(waveform: Waveform) -> str:
        heard.append(waveform.duration)
        if len(heard) == 1:
            raise OSError("out of words")
        return f"words of {len(heard)}"

    one = session(pipe(talk(3)), notes, timeline=TimelineKeeper(tmp_path / "talk.json", LABELS), transcribe=transcribe)
    one.run(threading.Event())
    assert [event.text for event in notes.told if event.kind == "transcript"] == ["words of 2", "words of 3"]
    assert [event.text for event in notes.told if event.kind == "notice"] == ["words are missing: out of words"]
    found = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert [each["transcript"] for each in found] == [None, "words of 2", "words of 3"]
    assert all(seconds > 2 for seconds in heard)


def result(start: float) -> SessionEvent:
    return SessionEvent(
        "result", start + 1, start + 1.4, Judge().assess(Waveform(np.zeros(16000, np.float32), start), "mic")
    )


def test_what_a_killed_session_leaves_is_whole(tmp_path: Path) -> None:
    timeline, sound = TimelineKeeper(tmp_path / "talk.vtt", LABELS), SoundKeeper(tmp_path / "talk.wav")
    for second in range(3):
        timeline.report(result(second))
        sound.add_samples(speech(1, second))
    # Nothing is finished: the files are read as they are now.
    lines = (tmp_path / "talk.vtt.jsonl.part").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prediction"]["start"] for line in lines] == [0, 1, 2]
    assert len(soundfile.read(tmp_path / "talk.wav.part")[0]) == 48000
    for make in (lambda: TimelineKeeper(tmp_path / "talk.vtt", LABELS), lambda: SoundKeeper(tmp_path / "talk.wav")):
        with pytest.raises(InputError, match=r"exists already .left by a session that was killed.: move it away"):
            make()
    timeline.finish(3.0)
    sound.finish()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text("precious")
    (tmp_path / "talk.wav").write_text("precious")
    with pytest.raises(InputError, match=r"talk\.json exists already: move it away"):
        TimelineKeeper(tmp_path / "talk.json", LABELS)
    with pytest.raises(InputError, match=r"talk\.wav exists already: move it away"):
        SoundKeeper(tmp_path / "talk.wav")
    with pytest.raises(InputError, match=r"end the name in \.wav"):
        SoundKeeper(tmp_path / "talk.mp3")
    with pytest.raises(InputError, match="does not tell a format"):
        TimelineKeeper(tmp_path / "talk.xyz", LABELS)
    with pytest.raises(InputError, match="cannot write"):
        TimelineKeeper(tmp_path / "talk.wav" / "talk.json", LABELS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.json", "talk.wav"]


def test_a_full_disk_ends_the_session_in_a_line(tmp_path: Path) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    keeper = TimelineKeeper(tmp_path / "talk.json", LABELS)
    keeper.report(result(0))
    keeper._file.close()
    keeper._file = Full()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"cannot write .*talk\.json .No space left on device"):
        session(pipe(talk()), Notes(), timeline=keeper).run(threading.Event())
    assert len(json.loads((tmp_path / "talk.json").read_text())) == 1


def test_a_textgrid_of_a_session_without_speech_is_one_empty_interval(tmp_path: Path) -> None:
    one = session(pipe(np.zeros(16000, np.float32)), Notes(), timeline=TimelineKeeper(tmp_path / "a.TextGrid", LABELS))
    one.run(threading.Event())
    grid = parselmouth.TextGrid.read(str(tmp_path / "a.TextGrid"))
    assert parselmouth.praat.call(grid, "Get number of intervals", 1) == 1


def test_signals_end_a_session_and_an_ignored_one_stays_ignored() -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with ended_by_signals() as stopped:
            signal.raise_signal(signal.SIGINT)
            assert stopped.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with ended_by_signals() as stopped:
            signal.raise_signal(signal.SIGINT)
            assert not stopped.is_set()
            signal.raise_signal(signal.SIGTERM)
            assert stopped.is_set()
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def loudness(waveform: Waveform) -> str:
    """Stand for a speech recogniser."""
    return f"{waveform.samples.std():.6f}"


def test_each_channel_is_heard_as_it_would_be_alone(tmp_path: Path) -> None:
    left, right = talk(), np.roll(talk(), 8000)
    file = io.BytesIO()
    soundfile.write(file, np.stack([left, right], axis=1), 16000, format="WAV", subtype="FLOAT")
    both = Notes()
    source = PipeSource(io.BytesIO(file.getvalue()), name="mic", channels="each")
    files = session(
        source,
        both,
        timeline=TimelineKeeper(tmp_path / "talk.json", LABELS),
        sound=SoundKeeper(tmp_path / "talk.wav"),
        transcribe=loudness,
    ).run(threading.Event())
    assert [path.name for path in files] == ["talk.json", "talk.wav"]
    saved = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    for number in (1, 2):
        alone = Notes()
        source = PipeSource(io.BytesIO(file.getvalue()), name="mic", channels=number)
        session(source, alone, number, transcribe=loudness).run(threading.Event())
        heard = [one for one in both.told if one.channel == number]
        assert [one for one in heard if one.kind != "transcript"] == [
            one for one in alone.told if one.kind != "transcript"
        ]
        words = {one.time: one.text for one in alone.told if one.kind == "transcript"}
        assert {one.time: one.text for one in heard if one.kind == "transcript"} == words
        assert words
        kept = [one for one in saved if one["channel"] == number]
        assert [(one["end"], one["transcript"]) for one in kept] == list(words.items())
    assert [one["channel"] for one in saved] == sorted(one["channel"] for one in saved)
    found, rate = soundfile.read(tmp_path / "talk.wav")
    assert (found.shape, rate) == ((len(left), 2), 16000)
    np.testing.assert_allclose(found[:, 1], right, atol=1e-4)

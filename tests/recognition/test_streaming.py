"""Streams: however the sound is cut, whatever its rate, the events are those of the file; bad sound is refused."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emovox import EmotionRecognizer, audio
from emovox.errors import AudioError, InputError
from emovox.recognition.streaming import Stream, StreamEvent, StreamingRecognizer, collect
from emovox.recognition.timeline import Timeline, TimelineOptions
from emovox.speech.vad import Segment, segments
from emovox.types import RATE, Float32Array, Prediction, Transcript, Waveform, Word
from tests import EXAMPLES, ROOT, size
from tests.conftest import speech


class Loudness:
    """Judges by the sound itself, at once: any other sample gives another answer."""

    threshold = 0.6

    def __init__(self, *, keep: bool = True) -> None:
        self.keep = keep
        self.asked: list[Waveform] = []

    def assess(self, window: Waveform, name: str, *, running: bool = False) -> Prediction | None:
        if self.keep:
            self.asked.append(window)
        if not window.samples.any():
            return None
        parts = np.array_split(np.abs(window.samples), 3)
        values = np.array([float(part.sum(dtype=np.float64)) for part in parts])
        values /= values.sum()
        best = int(values.argmax())
        probabilities = dict(zip("abc", values.tolist(), strict=True))
        return Prediction(
            name, window.start, window.end, "abc"[best], probabilities, values[best], values[best] < 0.6, "m"
        )


@pytest.fixture(scope="module")
def conversation() -> Float32Array:
    """Short and long utterances with pauses between them, under quiet noise; 26 s and a rest of a frame."""
    parts = [np.zeros(9000), speech(2.0), np.zeros(12000), speech(0.7, 1), np.zeros(30000), speech(14.0, 2)]
    samples = np.concatenate([*parts, np.zeros(20001), speech(1.5, 3)])
    rng = np.random.default_rng(7)
    return (samples + 1e-4 * rng.standard_normal(len(samples))).astype(np.float32)


OPTIONS = {
    "utterances": TimelineOptions(),
    "short windows": TimelineOptions(window=2.0, hop=0.5, smoothing=1.5, merge=0.5, min_segment=0.4),
    "intervals": TimelineOptions("interval", window=3.0, hop=1.0, smoothing=2.0),
    "tenths": TimelineOptions("interval", window=0.3, hop=0.1, merge=0),
}


def pieces(samples: NDArray[Any], cuts: list[int]) -> Iterator[NDArray[Any]]:
    for begin, end in pairwise([0, *sorted(cut % (len(samples) + 1) for cut in cuts), len(samples)]):
        yield samples[begin:end]


def run(stream: Stream, parts: Iterator[NDArray[Any]] | list[NDArray[Any]]) -> list[StreamEvent]:
    return [event for part in parts for event in stream.push(part)] + stream.finish()


def of_file(samples: Float32Array, options: TimelineOptions) -> Timeline:
    blocks = [Waveform(samples[i : i + 160000], i / RATE) for i in range(0, len(samples), 160000)]
    return StreamingRecognizer(Loudness(), options).timeline(blocks, "a.wav")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=40))
def test_the_stream_of_a_file_gives_its_timeline(
    conversation: Float32Array, options: TimelineOptions, cuts: list[int]
) -> None:
    stream = StreamingRecognizer(Loudness(), options).open("a.wav")
    events = run(stream, pieces(conversation, cuts))
    found = collect(events, "a.wav", stream.heard, options)
    assert found == of_file(conversation, options)
    assert found.predictions
    assert found.duration == len(conversation) / RATE


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one == "short windows" else pytest.mark.long) for one in OPTIONS]
)
def test_events_are_the_same_sample_by_sample(conversation: Float32Array, name: str) -> None:
    streams = StreamingRecognizer(Loudness(), OPTIONS[name])
    samples = conversation[:16000]
    assert run(streams.open(), list(samples[:, np.newaxis])) == run(streams.open(), [samples])


def test_order_and_times_of_events(conversation: Float32Array) -> None:
    judge = Loudness()
    events = run(StreamingRecognizer(judge, TimelineOptions(window=4.0)).open("a"), [conversation])
    kinds = "".join(event.kind[0] for event in events)  # s, e(stimate), r, e(nd)
    assert kinds.startswith("s")
    assert all(event.decided >= event.time for event in events)
    assert [event.decided for event in events] == sorted(event.decided for event in events)
    spoken = [Segment(a.time, b.time) for a, b in zip(*(only(events, kind) for kind in ("start", "end")), strict=True)]
    assert spoken == segments(Waveform(conversation), TimelineOptions().vad)
    results = [event.prediction for event in only(events, "result") if event.prediction]
    for part in spoken:  # the results tile the utterances
        inside = [one for one in results if part.start <= one.start < part.end]
        assert (inside[0].start, inside[-1].end) == (part.start, part.end)
        assert all(before.end == after.start for before, after in pairwise(inside))
    assert max(one.end - one.start for one in results) <= 4.0 + 0.05  # the padding of an end
    assert len(results) > len(spoken)
    for one in only(events, "estimate"):
        assert one.prediction
        (around,) = [part for part in spoken if part.start <= one.prediction.start and one.decided <= part.end + 0.5]
        assert one.prediction.start == pytest.approx(max(around.start, one.time - 4.0))
        assert one.prediction.end == one.time == one.decided


def only(events: list[StreamEvent], kind: str) -> list[StreamEvent]:
    return [event for event in events if event.kind == kind]


def test_windows_hold_the_samples_of_their_time(conversation: Float32Array) -> None:
    judge = Loudness()
    run(StreamingRecognizer(judge, OPTIONS["short windows"]).open(), list(pieces(conversation, [5, 70000, 70001])))
    assert len(judge.asked) > 20
    for window in judge.asked:
        first = round(window.start * RATE)
        np.testing.assert_array_equal(window.samples, conversation[first : first + len(window.samples)])


def test_the_last_window_ends_with_the_sound_and_not_with_its_last_frame() -> None:
    judge, sound = Loudness(), audio.read(ROOT / "voices" / "here.ogg").samples
    run(StreamingRecognizer(judge, TimelineOptions()).open(), [sound])
    assert max(round(window.start * RATE) + len(window.samples) for window in judge.asked) == len(sound)


def test_long_speech_is_cut_where_it_is_quietest() -> None:
    voice = speech(3.7)
    samples = np.concatenate([voice, np.zeros(4000, np.float32), speech(8.0, 1)])  # a pause too short to be an end
    judge = Loudness()
    results = of_file(samples, TimelineOptions(window=6.0)).predictions
    assert len(segments(Waveform(samples), TimelineOptions().vad)) == 1
    assert 3.65 <= results[0].end <= 4.0
    assert judge.threshold == 0.6


def test_a_rest_too_short_to_judge_goes_with_what_precedes_it() -> None:
    judge = Loudness()
    options = TimelineOptions(window=0.6, hop=0.5)
    pairs = []
    for length in np.arange(0.7, 1.2, 0.05):
        sound = np.concatenate([speech(length), np.zeros(8000, np.float32)])
        stream = StreamingRecognizer(judge, options).open(estimates=False)
        pairs += list(pairwise(collect(run(stream, [sound]), "a", stream.heard, options).predictions))
    short = [(before, one) for before, one in pairs if one.end - one.start < 0.3]
    assert short
    assert all(one.probabilities == before.probabilities and one.start == before.end for before, one in short)
    assert min(window.duration for window in judge.asked) >= 0.3


def test_intervals_are_fixed_and_only_where_somebody_speaks(conversation: Float32Array) -> None:
    found = of_file(conversation, TimelineOptions("interval", window=2.0, hop=1.0))
    spoken = segments(Waveform(conversation), TimelineOptions().vad)
    for one in found.predictions:
        assert one.start == int(one.start)
        assert one.end == min(one.start + 1, found.duration)
        assert any(part.start < one.end and one.start < part.end for part in spoken)
    covered = {int(one.start) for one in found.predictions}
    assert all(second in covered for part in spoken for second in range(int(part.start) + 1, int(part.end) - 1))
    assert 4 not in covered  # the long pause


@pytest.mark.parametrize("smoothing", [0.0, 0.8, 5.0])
def test_smoothing_is_exponential_in_time(conversation: Float32Array, smoothing: float) -> None:
    plain = of_file(conversation, TimelineOptions("interval", window=1, hop=0.5)).predictions
    found = of_file(conversation, TimelineOptions("interval", window=1, hop=0.5, smoothing=smoothing)).predictions
    assert [one.end for one in plain] == [one.end for one in found]
    state = np.array([*plain[0].probabilities.values()])
    for index, one in enumerate(found):
        if index and smoothing:
            kept = np.exp((plain[index - 1].end - one.end) / smoothing)
            state = kept * state + (1 - kept) * np.array([*plain[index].probabilities.values()])
        else:
            state = np.array([*plain[index].probabilities.values()])
        np.testing.assert_allclose([*one.probabilities.values()], state, atol=1e-12)
        assert one.label == "abc"[int(state.argmax())]
        assert one.abstained == (one.confidence < 0.6)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (48000, 1), (16000, 2), (22050, 6)])
def test_other_rates_and_channels_give_what_the_file_gives(rate: int, channels: int) -> None:
    rng = np.random.default_rng(rate)
    mono = np.interp(np.arange(3 * rate) / rate, np.arange(48000) / 16000, speech(3.0)).astype(np.float32)
    frames = (mono[:, np.newaxis] * rng.uniform(0.5, 1, channels)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, frames, rate, format="WAV", subtype="FLOAT")
    streams = StreamingRecognizer(Loudness())
    stream = streams.open("a.wav", rate=rate, channels=channels, estimates=False)
    found = collect(run(stream, pieces(frames, [1, 777, 5000, 5001, 40000])), "a.wav", stream.heard, TimelineOptions())
    wanted = streams.timeline(audio.blocks(file, 1.0), "a.wav")
    assert found == wanted
    assert len(found.predictions) == 1


def test_the_real_recogniser_gives_a_file_and_its_stream_the_same(conversation: Float32Array) -> None:
    recognizer = EmotionRecognizer()
    file = io.BytesIO()
    soundfile.write(file, conversation, RATE, format="WAV", subtype="FLOAT")
    options = TimelineOptions(window=4.0)
    stream = StreamingRecognizer(recognizer, options).open("<stream>", estimates=False)
    found = collect(run(stream, pieces(conversation, [3, 99999, 200001])), "<stream>", stream.heard, options)
    wanted = recognizer.timeline(file, options)
    assert found.predictions == tuple(wanted.predictions)
    first = wanted.predictions[0]
    stretch = audio.read(file, start=max(0.0, first.start - 0.1), end=first.end + 0.1)  # with what is around it
    alone = recognizer.assess(stretch, "alone")
    assert alone is not None
    assert first.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert (first.label, first.abstained, first.model) == (alone.label, alone.abstained, alone.model)


class Clock:
    """Hears a word in the middle of each tenth of a second, named after when that is."""

    name = "clock"

    def __init__(self) -> None:
        self.calls = 0

    def transcribe(self, waveform: Waveform) -> Transcript:
        self.calls += 1
        times = np.arange(0.0, waveform.duration - 0.1, 0.1)
        words = tuple(Word(f"{waveform.start + time:.1f}", time, time + 0.1) for time in times.tolist())
        return Transcript(" ".join(word.text for word in words), words)


@pytest.mark.parametrize("mode", ["utterance", "interval"])
def test_words_belong_to_their_segments(conversation: Float32Array, mode: Any) -> None:
    clock = Clock()
    recognizer = EmotionRecognizer(transcriber=clock)
    options = TimelineOptions(mode, window=3.0)
    stream = StreamingRecognizer(recognizer, options).open()
    found = collect(run(stream, [conversation[: 5 * RATE]]), "a", stream.heard, options).predictions
    assert found
    for one in found:
        assert one.words
        assert all(one.start - 0.3 <= float(word.text) == pytest.approx(word.start, abs=0.1) for word in one.words)
        assert one.start - 0.3 <= one.words[0].start < one.words[-1].end <= one.end + 0.3
        assert one.transcript == " ".join(word.text for word in one.words)
    assert clock.calls <= 2 * len(found)  # running estimates ask nobody


@pytest.mark.long
def test_many_streams_share_a_recogniser(conversation: Float32Array) -> None:
    streams = StreamingRecognizer(EmotionRecognizer(), TimelineOptions(window=3.0))
    parts = [np.roll(conversation, 16000 * shift)[:160000] for shift in (0, 3, 6, 9)]
    alone = [run(streams.open(), [part]) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda part: run(streams.open(), list(np.array_split(part, 50))), parts))
    assert together == alone
    one_by_one: list[list[StreamEvent]] = [[] for _ in parts]
    opened = [streams.open() for _ in parts]
    for begin in range(0, 160000, 16000):  # in turns, by one thread
        for events, stream, part in zip(one_by_one, opened, parts, strict=True):
            events += stream.push(part[begin : begin + 16000])
    assert [events + stream.finish() for events, stream in zip(one_by_one, opened, strict=True)] == alone


@pytest.mark.parametrize("mode", ["utterance", "interval"])
def test_what_is_kept_does_not_grow(mode: Any) -> None:
    stream = StreamingRecognizer(Loudness(keep=False), TimelineOptions(mode)).open()
    pause = np.zeros(20000, np.float32)
    parts = [np.concatenate([speech(30.0, seed), pause]) for seed in range(4)]
    stream.push(parts[0])
    held = stream._cutter.nbytes
    tracemalloc.start()
    try:
        for part in parts[1:]:
            stream.push(part)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream._cutter.nbytes == held <= 4 * RATE * 2 * 8
    assert kept < 1e5
    assert peak < 5e6


HOUR = """
import resource, sys
from itertools import cycle
from pathlib import Path
import numpy as np
from emovox import EmotionRecognizer, StreamingRecognizer
from emovox import audio

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

length, minute = 16000 * int(sys.argv[1]), 16000 * 60
pause = 1e-4 * np.random.default_rng(0).standard_normal(11000).astype(np.float32)
sound = np.concatenate([part for path in sys.argv[2:] for part in (audio.read(path).samples, pause)])
stream = StreamingRecognizer(EmotionRecognizer()).open()
place, results, first = 0, 0, None
for size in cycle([1, 37, 441, 1600, 4801, 16001]):
    piece = np.take(sound, np.arange(place, min(place + size, length)), mode="wrap")
    results += sum(event.kind == "result" for event in stream.push(piece))
    place += len(piece)
    if first is None and place >= minute:
        first = resident()
    if place == length:
        break
results += sum(event.kind == "result" for event in stream.finish())
print(first, resident(), results, stream.heard)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_long_streams_take_the_memory_of_a_minute() -> None:
    clips = sorted(str(path) for path in EXAMPLES.glob("*.wav"))
    seconds = size(600, 3600)
    command = [sys.executable, "-c", HOUR, str(seconds), *clips]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, last, results, heard = map(float, done.stdout.split())

    assert heard == seconds
    assert results > seconds / 6  # somebody speaks all the time, and all of it is judged
    assert last - first < 8


def test_silence_lasts_and_nothing_happens() -> None:
    stream = StreamingRecognizer(Loudness()).open()
    for _ in range(60):
        assert stream.push(np.zeros(2 * RATE, np.float32)) == []
    assert stream.finish() == []
    assert collect([], "a", stream.heard, TimelineOptions()) == Timeline("a", 120.0, ())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([0.1, np.nan], np.float32), "mic has a sample of nan at 1.000 s"),
        (np.array([-np.inf], np.float32), "mic has a sample of -inf"),
        (np.zeros((100, 2), np.float32), r"shape \(100, 2\), and 1 channel were promised: expected \(n_samples\)"),
        (np.zeros(3, np.complex64), "samples of type complex64"),
        (np.float32(0.5), r"shape \(\)"),
    ],
)
def test_bad_samples_are_refused_and_the_stream_goes_on(bad: Any, message: str) -> None:
    streams = StreamingRecognizer(Loudness())
    good = speech(4.0)
    stream = streams.open("mic")
    events = stream.push(good[: RATE - 1])
    events += stream.push(good[RATE - 1 : RATE])
    with pytest.raises(AudioError, match=message):
        stream.push(bad)
    assert events + run(stream, [good[RATE:]]) == run(streams.open("mic"), [good])


def test_a_finished_stream_says_so() -> None:
    stream = StreamingRecognizer(Loudness()).open("mic")
    assert run(stream, [speech(2.0)])
    assert stream.finish() == []
    with pytest.raises(InputError, match="stream 'mic' is finished: open another one"):
        stream.push(np.zeros(10, np.float32))


@pytest.mark.parametrize("values", [{"rate": 0}, {"rate": 16000.5}, {"channels": 0}])
def test_streams_of_no_sound_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(AudioError, match="expected"):
        StreamingRecognizer(Loudness()).open("mic", **values)


def test_nothing_at_all() -> None:
    stream = StreamingRecognizer(Loudness()).open()
    assert stream.push([]) == []
    assert stream.finish() == []
    assert stream.heard == 0

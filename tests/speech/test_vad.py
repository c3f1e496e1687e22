"""Voice activity: the same numbers however a stream is cut, and the rule checked against a regular expression."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.errors import AudioError, InputError
from emovox.speech.vad import FRAME, Segment, Segmenter, SpeechProbability, VadOptions, VoiceActivity, segments
from emovox.types import RATE, Float32Array, Waveform
from tests import EXAMPLES, examples

EXAMPLE = EXAMPLES / "plain.wav"

#: Boundaries to 8 ms, as timelines ask for.
FINE = VadOptions(padding=0, reach=0.4)


@pytest.fixture(scope="module")
def speech() -> Float32Array:
    """Two utterances, a pause between them, quiet noise under everything."""
    clip = audio.read(EXAMPLE).samples
    rng = np.random.default_rng(3)
    samples = np.concatenate([np.zeros(9000), clip, np.zeros(14321), clip, np.zeros(7000)])
    return (samples + 1e-4 * rng.standard_normal(len(samples))).astype(np.float32)


def pieces(samples: Float32Array, cuts: list[int]) -> Iterator[Float32Array]:
    for begin, end in pairwise([0, *sorted(cut % (len(samples) + 1) for cut in cuts), len(samples)]):
        yield samples[begin:end]


def probabilities(parts: Iterator[Float32Array] | list[Float32Array]) -> Float32Array:
    stream = SpeechProbability()
    return np.concatenate([*[stream.push(part) for part in parts], stream.finish()])


def centred(samples: Float32Array) -> Float32Array:
    """Subtract the running mean, by the recursion of a textbook."""
    kept = np.exp(-2 * np.pi * 3 / RATE)
    first = samples[:FRAME].mean(dtype=np.float64)
    mean, _ = scipy.signal.lfilter([1 - kept], [1, -kept], samples.astype(np.float64), zi=[kept * first])
    return np.asarray(samples - mean, dtype=np.float32)


def one_frame_at_a_time(samples: Float32Array) -> Float32Array:
    """Run the network as its authors describe: 64 samples of context, 512 new ones, zeros before and after.

    Each frame is heard so loud that the loudest so far, less 0.5 dB a second, has a root mean square of 0.1; where that
    rises by more than 12 dB, the network begins anew half a second earlier.
    """
    content = (resources.files("emovox.speech.silero") / "silero_vad_16k_sequence.onnx").read_bytes()
    network = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    padded = np.concatenate([np.zeros(64), centred(samples), np.zeros(-len(samples) % 512)]).astype(np.float32)
    frames = [padded[begin : begin + 576] for begin in range(0, len(padded) - 64, 512)]
    nothing = np.zeros((1, 1, 128), np.float32)
    hidden = cell = nothing
    decay, loudest, known, found = 10 ** (-0.5 * 0.032 / 20), 1e-8, 1e-8, []
    for number, frame in enumerate(frames):
        loudest = max(loudest * decay, np.sqrt(np.mean(frame[64:].astype(np.float64) ** 2)))
        known *= decay
        again: list[Float32Array] = []
        if loudest > known * 10 ** (12 / 20):
            known, hidden, cell = loudest, nothing, nothing
            again = frames[max(0, number - 16) : number]
        for one in [*again, frame]:
            heard = {"input": (one * (0.1 / loudest)).astype(np.float32)[np.newaxis], "h": hidden, "c": cell}
            value, hidden, cell = network.run(["speech_probs", "hn", "cn"], heard)
        found.append(value[0])
    return np.array(found, dtype=np.float32)


def test_probabilities_are_those_of_the_network_frame_by_frame(speech: Float32Array) -> None:
    found = probabilities([speech])
    assert len(found) == -(-len(speech) // FRAME)
    np.testing.assert_allclose(found, one_frame_at_a_time(speech), atol=1e-4)
    assert found[: 8000 // FRAME].max() < 0.1
    assert found.max() > 0.95


@pytest.mark.parametrize("decibels", [-60, -40, -20, 12])
def test_level_changes_nothing(speech: Float32Array, decibels: float) -> None:
    softer = (speech * 10 ** (decibels / 20)).astype(np.float32)
    np.testing.assert_allclose(probabilities([softer]), probabilities([speech]), atol=1e-3)
    assert segments(Waveform(softer), FINE) == segments(Waveform(speech), FINE)


@pytest.mark.parametrize("offset", [-0.05, 0.002, 0.05, 0.5])
def test_an_offset_changes_nothing(speech: Float32Array, offset: float) -> None:
    soft = (0.1 * speech).astype(np.float32)
    assert segments(Waveform(soft + np.float32(offset)), FINE) == segments(Waveform(speech), FINE)


def test_soft_speech_is_heard_after_a_bang(speech: Float32Array) -> None:
    bang = np.concatenate([0.9 * np.hanning(4000), np.zeros(3 * RATE)]).astype(np.float32)
    soft = (0.1 * speech).astype(np.float32)
    found = segments(Waveform(np.concatenate([bang, soft])), FINE)[-2:]
    times = [(one.start - len(bang) / RATE, one.end - len(bang) / RATE) for one in found]
    expected = [(one.start, one.end) for one in segments(Waveform(speech), FINE)]
    np.testing.assert_allclose(times, expected, atol=0.05)


@settings(max_examples=examples(25), deadline=None)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=40))
def test_the_cut_into_pieces_changes_nothing(speech: Float32Array, cuts: list[int]) -> None:
    np.testing.assert_array_equal(probabilities(list(pieces(speech, cuts))), probabilities([speech]))
    for options in (VadOptions(), FINE):
        cut_is_no_matter(speech, cuts, options)


def cut_is_no_matter(speech: Float32Array, cuts: list[int], options: VadOptions) -> None:
    stream = VoiceActivity(options)
    events = [event for part in pieces(speech, cuts) for event in stream.push(part)] + stream.finish()
    whole = segments(Waveform(speech), options)
    assert [event.kind for event in events] == ["start", "end"] * len(whole)
    assert [event.time for event in events] == [time for found in whole for time in (found.start, found.end)]
    assert all(event.time <= event.decided for event in events)


def test_a_long_piece_is_the_same_as_short_ones(speech: Float32Array) -> None:
    long = np.tile(speech, 4)  # more frames than are given to the network at a time
    assert len(long) > 600 * FRAME
    np.testing.assert_array_equal(
        probabilities([long]), probabilities([long[i : i + 700] for i in range(0, len(long), 700)])
    )


def test_two_utterances_are_found_where_they_are(speech: Float32Array) -> None:
    first, second = segments(Waveform(speech, start=10.0))
    length = (len(speech) - 9000 - 14321 - 7000) // 2
    for found, begin in ((first, 9000), (second, 9000 + length + 14321)):
        assert found.start == pytest.approx(10 + begin / RATE, abs=0.25)
        assert found.end == pytest.approx(10 + (begin + length) / RATE, abs=0.25)


def test_blocks_of_a_file_are_the_whole_file() -> None:
    assert segments(audio.blocks(EXAMPLE, 0.7)) == segments(audio.read(EXAMPLE))


def test_a_finished_stream_begins_anew(speech: Float32Array) -> None:
    stream = VoiceActivity()
    first = stream.push(speech) + stream.finish()
    assert stream.push(speech) + stream.finish() == first
    stream.push(speech[:40000])
    assert stream.speaking
    stream.finish()
    assert not stream.speaking


def test_many_streams_share_one_network(speech: Float32Array) -> None:
    alone = segments(Waveform(speech))
    streams = [VoiceActivity() for _ in range(5)]
    events = [stream.push(part) for part in pieces(speech, list(range(0, len(speech), 5000))) for stream in streams]
    for number, stream in enumerate(streams):
        found = [event for some in events[number::5] for event in some] + stream.finish()
        assert [event.time for event in found] == [time for one in alone for time in (one.start, one.end)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(segments, [Waveform(speech)] * 8)) == [alone] * 8


def test_memory_does_not_grow(speech: Float32Array) -> None:
    stream = VoiceActivity()

    def push(times: int) -> int:
        for _ in range(times):
            stream.push(speech)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = push(3)
        after = push(30)  # four minutes
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


@pytest.mark.parametrize("amplitude", [0.0, 1e-3, 0.3])
def test_no_speech_in_silence_and_noise(amplitude: float, rng: np.random.Generator) -> None:
    noise = (amplitude * rng.standard_normal(5 * RATE)).astype(np.float32)
    assert segments(Waveform(noise)) == []


@pytest.mark.parametrize("samples", [np.empty(0), np.zeros(1), np.zeros(511)])
def test_almost_nothing_is_no_speech(samples: Float32Array) -> None:
    assert segments(Waveform(samples.astype(np.float32))) == []


def test_no_blocks_is_no_speech() -> None:
    assert segments([]) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_samples_are_refused_and_the_stream_goes_on(bad: float, speech: Float32Array) -> None:
    stream = SpeechProbability()
    before = stream.push(speech[:20000])
    with pytest.raises(AudioError, match="not finite"):
        stream.push(np.array([0, bad, 0], dtype=np.float32))
    with pytest.raises(AudioError, match=r"shape \(7, 2\).*mono"):
        stream.push(np.zeros((7, 2), dtype=np.float32))
    rest = np.concatenate([stream.push(speech[20000:]), stream.finish()])
    np.testing.assert_array_equal(np.concatenate([before, rest]), probabilities([speech]))


def by_expression(values: list[float], options: VadOptions) -> list[Segment]:
    """Apply the rule to all frames at once: letters for probabilities, and a regular expression for speech."""
    text = "".join("S" if p >= options.on else "q" if p < options.off else "m" for p in values)
    silence = max(1, int(np.ceil(options.min_silence * RATE / FRAME)))
    least = max(1, int(np.ceil(options.min_speech * RATE / FRAME)))
    speech = re.compile(rf"S[Smq]*?(?=q[mq]{{{silence - 1}}}|q[mq]*$|$)")
    spans = [match.span() for match in speech.finditer(text) if match.end() - match.start() >= least]
    pad = round(options.padding * RATE)
    return [
        Segment(max(0, begin * FRAME - pad) / RATE, min(len(text) * FRAME, end * FRAME + pad) / RATE)
        for begin, end in spans
    ]


@settings(max_examples=examples(300), deadline=None)
@given(
    values=st.lists(st.sampled_from([0.1, 0.34, 0.35, 0.4, 0.5, 0.9]), max_size=60),
    min_speech=st.sampled_from([0.0, 0.032, 0.1, 0.2]),
    min_silence=st.sampled_from([0.1, 0.128, 0.3]),
    padding=st.sampled_from([0.0, 0.03, 0.05]),
)
def test_the_rule_is_the_regular_expression(
    values: list[float], min_speech: float, min_silence: float, padding: float
) -> None:
    options = VadOptions(min_speech=min_speech, min_silence=min_silence, padding=padding)
    segmenter = Segmenter(options)
    events = segmenter.push(values) + segmenter.finish()
    found = [Segment(a.time, b.time) for a, b in zip(events[::2], events[1::2], strict=True)]
    assert found == by_expression(values, options)
    assert all(a.end <= b.start for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"on": 1.0}, "on is 1.0: expected a probability"),
        ({"off": 0.6}, r"off is 0.6: .* up to on \(0.5\)"),
        ({"off": 0.0}, "off is 0.0: expected a probability above 0"),
        ({"min_speech": -0.1}, "min_speech is -0.1: expected seconds"),
        ({"min_silence": float("nan")}, "min_silence is nan: expected seconds"),
        ({"padding": 0.3}, "padding is 0.3: expected at most half of min_silence"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VadOptions(**wrong)


def test_the_licence_comes_with_the_network() -> None:
    licence = (resources.files("emovox.speech.silero") / "LICENSE-SILERO").read_text(encoding="utf-8")
    assert "Silero Team" in licence
    assert "MIT License" in licence


def test_fine_boundaries_are_where_the_sound_is() -> None:
    clip = audio.read(EXAMPLE).samples
    loud = np.abs(clip) > np.abs(clip).max() * 10 ** (-30 / 20)
    first, last = np.flatnonzero(loud)[[0, -1]] / RATE
    samples = np.concatenate([np.zeros(9000), clip, np.zeros(16000), 0.1 * clip, np.zeros(8000)]).astype(np.float32)
    second = (9000 + len(clip) + 16000) / RATE
    found = segments(Waveform(samples), FINE)
    assert len(found) == 2
    for one, offset in zip(found, (9000 / RATE, second), strict=True):
        assert abs(one.start - first - offset) < 0.03
        assert abs(one.end - last - offset) < 0.06


def test_fine_segments_are_in_order_and_apart() -> None:
    parts = [np.concatenate([audio.read(EXAMPLE).samples[8000:14000], np.zeros(9000, np.float32)]) for _ in range(6)]
    found = segments(Waveform(np.concatenate(parts)), VadOptions(padding=0, reach=0.4, min_speech=0.06))
    assert len(found) >= 3
    assert all(one.start < one.end for one in found)
    assert all(after.start - before.end > 0.4 for before, after in pairwise(found))


def test_reach_beyond_the_pause_is_refused() -> None:
    with pytest.raises(InputError, match=r"reach is 0.5: expected at most min_silence \(0.4\)"):
        VadOptions(reach=0.5)

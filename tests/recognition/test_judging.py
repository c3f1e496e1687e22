"""One pass of voice activity for all, one answer for a recording and its timeline, emotion dimensions on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emovox import EmotionRecognizer, NoSpeechError, Prediction, Transcript, audio
from emovox.errors import AudioError
from emovox.features.sets import samples_spec
from emovox.model.file import CARD_KEY, ModelCard
from emovox.recognition.streaming import StreamingRecognizer, collect
from emovox.recognition.timeline import TimelineOptions
from emovox.speech import vad
from emovox.speech.vad import FRAME, SpeechProbability, speech_probability
from emovox.text.transcribe import Listener
from emovox.types import RATE, Waveform, Word
from tests.conftest import ANY_SOUND, speech

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402


def write(path: Path, labels: tuple[str, ...], dimensions: tuple[str, ...] = ("arousal",)) -> Path:
    """Write a model of samples: arousal is their mean magnitude, probabilities are a softmax of it and of 0."""
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Abs", ["samples"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["dimensions"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["dimensions", "dimensions"], ["nothing"]),
        helper.make_node("Concat", ["dimensions", "nothing"], ["scores"], axis=1),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    outputs = {"probabilities": len(labels), "dimensions": len(dimensions)}
    graph = helper.make_graph(
        nodes,
        "test",
        [make("samples", TensorProto.FLOAT, ["n", "t"])],
        [make(name, TensorProto.FLOAT, ["n", width]) for name, width in outputs.items() if width],
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = ModelCard("both", "test", labels, samples_spec({}), dimensions=dimensions)
    helper.set_model_props(file, {CARD_KEY: json.dumps(card.to_dict())})
    path.write_bytes(file.SerializeToString())
    return path


@pytest.fixture(scope="module")
def two() -> np.ndarray:
    """Two utterances, the second one longer."""
    return np.concatenate([speech(1.5), np.zeros(RATE, np.float32), 0.3 * speech(3.0, 2)]).astype(np.float32)


@pytest.mark.parametrize("labels", [("loud", "soft"), ()], ids=["classes and dimensions", "dimensions only"])
def test_dimensions_are_averaged_like_probabilities(tmp_path: Path, two: np.ndarray, labels: tuple[str, ...]) -> None:
    recognizer = EmotionRecognizer(write(tmp_path / "model.onnx", labels), gate=ANY_SOUND)
    parts = recognizer.timeline(two, rate=RATE).predictions
    assert len(parts) == 2
    whole = recognizer.predict(two, rate=RATE)
    length = [one.end - one.start for one in parts]
    arousal = [dimension(one) for one in parts]
    assert abs(arousal[0] - arousal[1]) > 0.02
    assert dimension(whole) == pytest.approx(np.average(arousal, weights=length))
    merged = recognizer.timeline(two, TimelineOptions(merge=2.0, min_segment=2.0), rate=RATE).predictions
    assert [dimension(one) for one in merged] == [pytest.approx(arousal[1])]  # short goes with long
    smooth = recognizer.timeline(two, TimelineOptions(smoothing=3.0), rate=RATE).predictions
    kept = np.exp((parts[0].end - parts[1].end) / 3.0)
    assert dimension(smooth[1]) == pytest.approx(kept * arousal[0] + (1 - kept) * arousal[1])
    stream = StreamingRecognizer(recognizer).open("<array>")
    events = stream.push(two) + stream.finish()
    assert collect(events, "<array>", stream.heard, TimelineOptions()).predictions == parts
    for one in (*parts, *merged, *smooth, whole):
        assert set(one.probabilities) == set(labels)
        if not labels:
            assert (one.label, one.confidence, one.abstained) == ("", 0.0, False)
    summary = recognizer.timeline(two, rate=RATE).summary()
    assert bool(summary.share) == bool(labels)


def dimension(one: Prediction) -> float:
    assert one.dimensions is not None
    return one.dimensions["arousal"]


def test_the_network_hears_a_recording_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.concatenate([speech(3.0), np.zeros(RATE, np.float32), speech(2.0, 1)])
    heard: list[int] = []
    advance = SpeechProbability._advance

    def counted(self: SpeechProbability, frames: np.ndarray) -> np.ndarray:
        heard.append(len(frames) // FRAME)
        return advance(self, frames)

    monkeypatch.setattr(SpeechProbability, "_advance", counted)
    recognizer = EmotionRecognizer()
    for ask in (recognizer.predict, recognizer.timeline):
        heard.clear()
        ask(samples, rate=RATE, transcript=Transcript("so", (Word("so", 0.5, 1.0),)))  # stream, gate and words
        assert sum(heard) == -(-len(samples) // FRAME)


def test_the_gate_decides_by_the_frames_of_the_stream() -> None:
    samples = np.concatenate([np.zeros(9000, np.float32), speech(2.0)])
    network = SpeechProbability()
    frames = np.concatenate([network.push(samples), network.finish()])
    for begin in (0, 512, 9001, 12345):
        window = Waveform(samples[begin:], begin / RATE, speech=frames[begin // FRAME :])
        assert speech_probability(window) == pytest.approx(speech_probability(samples[begin:]), abs=0.05)
    silent = Waveform(samples, speech=np.full_like(frames, 1e-6))
    assert speech_probability(silent) < speech_probability(samples)


def test_a_listener_finds_the_same_speech_in_the_probabilities_of_another_pass(two: np.ndarray) -> None:
    network, listener = SpeechProbability(), Listener(None)
    for begin in range(0, len(two), 7001):
        piece = two[begin : begin + 7001]
        listener.hear(piece, network.push(piece))
    listener.hear(two[:0], network.finish())
    alone = Listener(None)
    alone.push(Waveform(two))
    assert listener.finish() == alone.finish()


@pytest.mark.corpora
def test_a_scream_has_an_answer_everywhere(corpora: Path) -> None:
    path = corpora / "ravdess" / "Actor_06" / "03-01-05-02-02-02-06.flac"
    samples = audio.read(path).samples
    recognizer = EmotionRecognizer()
    options = TimelineOptions(vad=vad.VadOptions(on=0.99, off=0.98))  # so that no utterance is found
    whole = recognizer.timeline(path, options)
    (one,) = whole.predictions
    assert (one.start, one.end) == (0.0, len(samples) / RATE)
    stream = StreamingRecognizer(recognizer, options).open(str(path))
    events = [event for begin in range(0, len(samples), 999) for event in stream.push(samples[begin : begin + 999])]
    events += stream.finish()
    assert collect(events, str(path), stream.heard, options) == whole


def test_windows_stand_in_for_utterances_however_the_stream_is_cut() -> None:
    rng = np.random.default_rng(3)
    noise = (0.1 * rng.standard_normal(int(15.5 * RATE))).astype(np.float32)
    recognizer = EmotionRecognizer(gate=ANY_SOUND)
    whole = recognizer.timeline(noise, rate=RATE, name="a")
    assert [(one.start, one.end) for one in whole.predictions] == [(0.0, 6.0), (6.0, 12.0), (12.0, 15.5)]
    for size in (512, 30001):
        stream = StreamingRecognizer(recognizer).open("a")
        events = [event for begin in range(0, len(noise), size) for event in stream.push(noise[begin : begin + size])]
        assert not events
        assert collect(stream.finish(), "a", stream.heard, TimelineOptions()) == whole
    answer = recognizer.predict(noise, rate=RATE)
    lengths = [one.end - one.start for one in whole.predictions]
    rows = [list(one.probabilities.values()) for one in whole.predictions]
    np.testing.assert_allclose(list(answer.probabilities.values()), np.average(rows, axis=0, weights=lengths))
    heard = EmotionRecognizer()
    assert heard.timeline(noise, rate=RATE).predictions == ()
    with pytest.raises(NoSpeechError):
        heard.predict(noise, rate=RATE)
    with pytest.raises(AudioError, match="no samples"):
        heard.predict(noise[:0], rate=RATE)

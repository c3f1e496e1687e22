"""Explanations: parts left out as the model hears them, weights, faithfulness, shuffled models, words and voices."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from emovox import EmotionRecognizer, ExplainOptions, InputError, Transcript, Waveform, Word, audio, explain
from emovox.features import sets
from emovox.model.file import load
from emovox.outputs.plots import Explanation, Faithfulness, Reason, lines
from emovox.recognition import timeline
from emovox.recognition.explaining import Occlusion, Pieces, _in_frequency, first_kept, without_bands
from emovox.recognition.voice import Voice
from emovox.session import shuffled
from emovox.speech.vad import GateOptions
from emovox.types import RATE
from tests import EXAMPLES

CLIP = str(EXAMPLES / "loud.wav")


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer()


@pytest.fixture(scope="module")
def explanation(recognizer: EmotionRecognizer) -> Explanation:
    (one,) = explain(recognizer, CLIP, options=ExplainOptions(orders=2))
    return one


def voice_of(name: str) -> Voice:
    return Voice.of(load(name), GateOptions(), None, None, None)


def pieces_of(voice: Voice) -> Pieces:
    return Pieces.of(audio.read(CLIP), list(voice.model.inputs.values()))


def test_states_are_what_the_embedding_is_made_of() -> None:
    samples = audio.read(CLIP).samples
    states = sets.states(samples)
    whole = sets.pooled(states, np.ones((1, len(states))))
    assert whole[0] == pytest.approx(sets.embedding(samples), abs=2e-3)
    half = np.arange(len(states)) < len(states) // 2
    part = sets.pooled(states, half[None].astype(float))[0]
    first = slice(0, 384)
    assert part[first] == pytest.approx(states[half][:, first].mean(axis=0), abs=1e-3)
    assert part[384:768] == pytest.approx(states[half][:, first].std(axis=0), abs=1e-3)


@pytest.mark.parametrize("states", [True, False])
def test_all_pieces_kept_is_the_answer_itself(states: bool, personal_model: Path) -> None:
    voice = voice_of("default" if states else str(personal_model))
    pieces = pieces_of(voice)
    whole = np.ones((1, pieces.count), dtype=bool)
    asked = Occlusion(voice, pieces).ask(whole)[0]
    assert asked == pytest.approx(voice.output(pieces.window).probabilities[0], abs=5e-3)
    assert np.array_equal(pieces.sound(whole[0]).samples, pieces.window.samples)


def test_pieces_tile_the_sound_and_are_cut_out_of_it() -> None:
    pieces = pieces_of(voice_of("default"))
    spans = [pieces.span(index) for index in range(pieces.count)]
    assert all(first[1] == then[0] for first, then in pairwise(spans))
    kept = np.ones(pieces.count, dtype=bool)
    kept[2:4] = False
    first, after = pieces.bounds(2)[0], pieces.bounds(3)[1]
    found = pieces.sound(kept).samples
    assert len(found) == len(pieces.window.samples) - (after - first)
    fade = RATE // 200
    assert np.array_equal(found[: first - fade], pieces.window.samples[: first - fade])
    assert np.array_equal(found[first + fade :], pieces.window.samples[after + fade :])
    assert abs(found[first]) < 1e-6


def test_a_band_is_gone_and_the_others_stay() -> None:
    time = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 2000 * time)
    both = Waveform((low + high).astype(np.float32))
    assert without_bands(both, (1400, 2800)).samples == pytest.approx(low, abs=1e-3)
    assert without_bands(both, (1400, 2800), (0, 300)).samples == pytest.approx(0 * low, abs=1e-3)
    assert without_bands(both).samples == pytest.approx(both.samples, abs=1e-6)


def test_a_shuffled_file_has_the_same_numbers_in_another_order() -> None:
    model = load("default")
    before = onnx.load_model_from_string(model.content).graph.initializer
    after = onnx.load_model_from_string(shuffled(model.content, 0)).graph.initializer
    for one, other in zip(before, after, strict=True):
        mine, theirs = (onnx.numpy_helper.to_array(tensor) for tensor in (one, other))
        assert np.array_equal(np.sort(mine, axis=None), np.sort(theirs, axis=None))
        assert np.array_equal(mine, theirs) == (mine.ndim < 2 or mine.size < 2), one.name
    rows = np.random.default_rng(0).standard_normal((4, 4352)).astype(np.float32)
    assert not np.allclose(model.run(rows).probabilities, model.shuffled(0).run(rows).probabilities, atol=0.05)


def test_an_explanation_is_whole(explanation: Explanation, recognizer: EmotionRecognizer) -> None:
    (judged,) = recognizer.timeline(CLIP).predictions
    assert (explanation.label, explanation.confidence) == (judged.label, judged.confidence)
    assert len(explanation.times) >= 10
    assert len(explanation.bands) == 6
    assert explanation.faithfulness is not None
    assert len(explanation.faithfulness.random) == 2
    assert 0 <= (explanation.alike or 0) <= 1
    of_bands = explanation.faithfulness_of_bands
    assert of_bands is not None
    assert len(of_bands.random) == 2
    assert explanation.to_dict()["faithfulness_of_bands"]["score"] == of_bands.score
    assert [about for about, _ in lines(explanation)] == ["when", "where", "voice", "trust"]
    assert explanation.to_dict()["trusted"] is explanation.trusted


def test_weights_are_what_the_answer_loses_on_the_sound_too(explanation: Explanation) -> None:
    # The states have heard what was left out; the order of the weights must hold where they have not.
    voice = voice_of("default")
    weights = np.array([part.weight for part in explanation.times])
    answer = voice.model.card.labels.index(explanation.label)
    window = audio.read(CLIP, start=explanation.start - 0.1, end=explanation.end + 0.1)
    pieces = Pieces.of(window, list(voice.model.inputs.values()))
    best, worst = (pieces.sound(first_kept(order, 0.5)) for order in (-weights, weights))
    found = Occlusion(voice, pieces).hear([best, worst])[:, answer]
    assert found[0] > found[1]


def test_an_explanation_by_chance_says_so() -> None:
    good, bad = Faithfulness(0.2, 0.8, (0.5, 0.6)), Faithfulness(0.5, 0.55, (0.4, 0.6))
    one = Explanation("a.wav", 0, 1, "sad", 0.9, "m", (Reason(0, 1, 1.0),), (), faithfulness=good, alike=0.1)
    assert one.trusted
    for other in (replace(one, faithfulness=bad), replace(one, alike=0.9), replace(one, faithfulness=None)):
        assert not other.trusted
        assert "do not rely on it" in other.verdict


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "not measured"),
        (Faithfulness(0.5, 0.55, (0.4, 0.6)), "not told apart from random orders of bands"),
        (Faithfulness(0.2, 0.8, (0.5, 0.5)), "deletion 60% below random orders of bands"),
    ],
)
def test_bands_say_how_far_they_can_be_trusted(found: Faithfulness | None, said: str) -> None:
    one = Explanation("a.wav", 0, 1, "sad", 0.9, "m", (), (Reason(0, 300, 1.0),), faithfulness_of_bands=found)
    assert f"0 to 300 Hz (100%); {said}" in dict(lines(one))["where"]


def test_bands_are_tested_on_what_the_model_hears() -> None:
    class Loud:
        """Hears how strong tones are: the answer is the second band's, against the fourth's."""

        def hear(self, sounds: list[Waveform]) -> np.ndarray:
            power = np.array([np.abs(np.fft.rfft(one.samples))[[500, 2000]] for one in sounds]) / (RATE / 2)
            odds = np.exp(4 * (power[:, 0] - power[:, 1]))
            return np.stack([odds / (1 + odds), 1 / (1 + odds)], axis=1)

    time = np.arange(RATE) / RATE
    both = np.sin(2 * np.pi * 500 * time) + np.sin(2 * np.pi * 2000 * time)
    window = Waveform((both / 2).astype(np.float32))
    bands, found = _in_frequency(Loud(), window, 0, ExplainOptions())  # type: ignore[arg-type]
    # Odds of exp(2) for the one tone and exp(-2) for the other; half without both, or with both.
    assert [one.weight for one in bands] == pytest.approx([0, 2, 0, -2, 0, 0], abs=1e-3)
    assert found is not None
    high = 1 / (1 + np.exp(-2))
    assert (found.deletion, found.insertion) == pytest.approx((1 - high, high), abs=1e-3)
    assert found.deletion <= min(found.random) <= max(found.random) <= found.insertion
    assert _in_frequency(Loud(), window, 0, ExplainOptions(orders=0))[1] is None  # type: ignore[arg-type]


def test_short_sound_is_explained_by_its_bands_alone(recognizer: EmotionRecognizer) -> None:
    short = audio.read(CLIP, start=0.3, end=0.6).samples
    spoken = recognizer.timeline(CLIP).predictions[0]
    (one,) = explain(recognizer, short, [replace(spoken, start=0.0, end=0.2)], rate=RATE)
    assert (one.times, one.faithfulness, len(one.bands)) == ((), None, 6)


def test_words_that_took_part_have_weights(recognizer: EmotionRecognizer) -> None:
    pytest.importorskip("vaderSentiment")
    fusing = EmotionRecognizer(fuse=True)
    said = ("I", "hate", "this")
    words = tuple(Word(text, 0.3 + index * 0.5, 0.8 + index * 0.5) for index, text in enumerate(said))
    found = fusing.timeline(CLIP, transcript=Transcript("I hate this", words)).predictions
    (one,) = explain(fusing, CLIP, found, ExplainOptions(orders=0))
    assert [part.text for part in one.words] == list(said)
    loud = max(one.words, key=lambda part: abs(part.weight))
    assert loud.text == "hate"
    assert "words" in dict(lines(one))


def test_a_model_of_dimensions_only_is_refused(recognizer: EmotionRecognizer) -> None:
    class Other:
        card = replace(recognizer.card, labels=(), dimensions=("arousal",))

    with pytest.raises(InputError, match="dimensions only"):
        explain(Other(), CLIP)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"moments": 0}, {"orders": -1}])
def test_options_have_ranges(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="or more"):
        ExplainOptions(**options)


def test_traits_are_told_in_units_of_the_voice() -> None:
    ordinary = timeline.of_voice([dict.fromkeys(timeline.KINDS, 10.0)] * 3, "utterances")
    assert ordinary is not None
    found = timeline.compared(
        dict.fromkeys(timeline.KINDS, 10.0) | {"pitch": 22.0, "loudness": 16.0, "tempo": 12.0}, ordinary
    )
    assert {one.text for one in found} == {"12 semitones above ordinary pitch", "6 dB louder", "20% faster"}
    assert timeline.of_voice([{}, {}], "utterances") is None


def test_pitch_and_level_are_measured_as_they_were_changed() -> None:
    waveform = audio.read(CLIP)
    size = len(waveform.samples)
    samples = np.interp(np.arange(0, size - 1, 1.2), np.arange(size), waveform.samples)
    faster = Waveform((samples / 2).astype(np.float32))
    before, after = timeline.measured(waveform), timeline.measured(faster)
    assert after["pitch"] - before["pitch"] == pytest.approx(12 * np.log2(1.2), abs=0.5)
    assert after["loudness"] - before["loudness"] == pytest.approx(-6.02, abs=0.3)


def test_many_people_have_no_level() -> None:
    assert "loudness" not in timeline.of_people().means
    assert set(timeline.of_people().means) < set(timeline.KINDS)
    assert sets.feature_names(sets.spec("prosodic"))

"""Several channels: chosen, mixed, upside down, with different voices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from emovox import audio
from emovox.audio.reading import Downmix
from emovox.errors import AudioError
from tests import EXAMPLES
from tests.audio import encoded

RATE = 16000


def voice(seed: int, seconds: float = 6.0) -> NDArray[np.float64]:
    """Return noise in syllables of its own rhythm."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.random(round(4 * seconds)) > 0.5, RATE // 4)
    return np.asarray(0.2 * rng.standard_normal(len(loud)) * loud)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_channel_is_that_channel(number: int) -> None:
    sound = np.stack([voice(seed) for seed in range(3)], axis=1)
    found = audio.read(audio.Channel(encoded(sound, RATE, subtype="FLOAT"), number))

    np.testing.assert_array_equal(found.samples, sound[:, number - 1].astype(np.float32))
    assert audio.channels((sound, RATE)) == 3


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(AudioError, match="has 2 channels: there is no channel 3"):
        audio.read(audio.Channel((np.zeros((1600, 2)), RATE), 3))


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("lead", [0, 12345])
@pytest.mark.parametrize("loudness", [1.0, 0.3])
def test_a_channel_upside_down_does_not_cancel(noise: float, lead: int, loudness: float) -> None:
    speech = np.concatenate([np.zeros(lead), voice(0)])
    rng = np.random.default_rng(1)
    sound = np.stack([speech, -loudness * speech], axis=1) + noise * rng.standard_normal((len(speech), 2))
    blocks = audio.blocks((sound, RATE), 1.0)
    mixed = np.concatenate([block.samples for block in blocks])

    expected = speech * (1 + loudness) / 2
    assert np.sqrt(np.mean((mixed - expected) ** 2)) < 0.05 * np.sqrt(np.mean(expected**2)) + noise
    assert blocks.notes == ["channel 2 is upside down, and was turned over before the channels were mixed"]


#: Ordered pairs of the example clips.
PAIRS = list(itertools.permutations(("lively", "plain", "slow", "loud"), 2))
VOICES = "its two channels hold different voices: --channels each judges them one by one"


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_two_voices_are_not_one_upside_down(left: str, right: str) -> None:
    first, second = (audio.read(EXAMPLES / f"{name}.wav").samples for name in (left, right))
    length = min(len(first), len(second))
    blocks = audio.blocks((np.stack([first[:length], second[:length]], axis=1), RATE), 1.0)

    assert sum(len(block.samples) for block in blocks) == length
    assert blocks.notes == [VOICES]


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_ordinary_stereo_is_the_mean(share: float) -> None:
    sound = np.stack([voice(0), share * voice(0) + (1 - share) * voice(1)], axis=1)
    mixed = audio.from_array(sound, RATE).samples

    np.testing.assert_array_equal(mixed, sound.astype(np.float32).mean(axis=1))


def test_different_voices_are_told_and_one_voice_is_not() -> None:
    for second, told in ((voice(1), True), (voice(0), False), (0.0 * voice(0), False)):
        blocks = audio.blocks((np.stack([voice(0), second], axis=1), RATE), 1.0)
        list(blocks)
        assert bool(blocks.notes) == told


@pytest.mark.parametrize("cut", [1, 7, 799, 5000])
def test_pieces_of_any_size_give_the_same(cut: int) -> None:
    speech = voice(3, 1.0).astype(np.float32)
    sound = np.stack([speech, -speech], axis=1)
    whole, parts = Downmix(RATE, 2), Downmix(RATE, 2)

    expected = np.concatenate([whole.push(sound), whole.finish()])
    found = [parts.push(sound[begin : begin + cut]) for begin in range(0, len(sound), cut)]
    np.testing.assert_allclose(np.concatenate([*found, parts.finish()]), expected, atol=1e-7)

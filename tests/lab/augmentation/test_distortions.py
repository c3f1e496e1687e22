"""Distortions against closed forms, room acoustics, libsndfile's G.711 and Praat's pitch."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import parselmouth
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.errors import InputError
from emovox.lab.augmentation import distortions
from emovox.lab.augmentation.augment import AugmentOptions, babble, coloured_noise, mix, tilt
from emovox.lab.augmentation.distortions import (
    Codec,
    band_limit,
    clip,
    codec,
    convolve,
    fast_length,
    gain,
    mu_law,
    pitch_shift,
    reverberate,
    room,
    speed,
    telephone,
    tempo,
)
from emovox.types import RATE, Float32Array
from tests import examples
from tests.conftest import sine, toy_clip
from tests.lab.augmentation import power_at, ratio_db

CODECS: tuple[Codec, ...] = get_args(Codec)


@given(snr=st.floats(-10, 40), length=st.integers(10, 60000), seed=st.integers(0, 99))
def test_mixture_has_the_ratio_that_was_asked_for(snr: float, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    speech = sine(220, 1, amplitude=0.02)
    noise = rng.normal(0, 0.01, length).astype(np.float32)
    mixed = mix(speech, noise, snr, rng)

    assert mixed.dtype == np.float32
    assert len(mixed) == len(speech)
    assert np.abs(mixed).max() < 1  # nothing was scaled: speech and noise can be told apart again
    assert ratio_db(speech, mixed - speech) == pytest.approx(snr, abs=0.01)


@given(decibels=st.floats(-6, 6), frequency=st.sampled_from([100, 250, 1000, 4000]))
@settings(deadline=None, max_examples=examples(20))
def test_a_tilt_is_so_many_decibels_an_octave(decibels: float, frequency: int) -> None:
    tone = sine(frequency, 1.0)
    change = ratio_db(tilt(tone, decibels), tone)
    assert change == pytest.approx(decibels * np.log2(frequency / 1000), abs=0.01)


def test_a_tilt_is_undone_by_its_opposite_and_spares_infrasound(rng: np.random.Generator) -> None:
    noise = rng.normal(0, 0.1, RATE).astype(np.float32)
    np.testing.assert_allclose(tilt(tilt(noise, 4.0), -4.0), noise, atol=1e-4)
    hum = sine(10, 1.0)
    assert ratio_db(tilt(hum, 6.0), hum) == pytest.approx(6 * np.log2(50 / 1000), abs=0.01)


def test_mixture_beyond_full_scale_is_scaled_as_a_whole(rng: np.random.Generator) -> None:
    speech = sine(220, 1, amplitude=0.9)
    constant = np.ones(16000, dtype=np.float32)
    mixed = mix(speech, constant, 0, rng)

    assert np.abs(mixed).max() == pytest.approx(1)
    unscaled = speech + np.sqrt(np.mean(np.square(speech)))
    np.testing.assert_allclose(mixed, unscaled / unscaled.max(), atol=1e-6)


def test_noise_longer_than_the_speech_is_cropped_at_random(rng: np.random.Generator) -> None:
    speech = sine(220, 0.1, amplitude=0.1)
    ramp = np.linspace(1 / 16000, 1, 16000, dtype=np.float32)
    starts = set()
    for _ in range(20):
        added = mix(speech, ramp, 20, rng) - speech
        np.testing.assert_allclose(np.diff(added), np.diff(added).mean(), rtol=0.2)  # one piece of the ramp
        starts.add(round(float(added[0] / np.diff(added).mean())))
    assert len(starts) > 10


def test_noise_shorter_than_the_speech_goes_round() -> None:
    speech = np.full(10, 0.1, dtype=np.float32)
    noise = np.array([1, 2, 3], dtype=np.float32)
    added = mix(speech, noise, 20, np.random.default_rng(0)) - speech

    np.testing.assert_allclose(added[:7], added[3:], rtol=1e-4)
    np.testing.assert_allclose(np.sort(added[:3] / added[:3].min()), [1, 2, 3], rtol=1e-4)


def test_silence_cannot_be_mixed(rng: np.random.Generator) -> None:
    tone, silence = sine(220, 0.1), np.zeros(1600, dtype=np.float32)
    with pytest.raises(InputError, match="ratio of 10 dB: the noise is silent"):
        mix(tone, silence, 10, rng)
    with pytest.raises(InputError, match="ratio of 10 dB: the noise is silent"):
        mix(tone, np.zeros(0, dtype=np.float32), 10, rng)
    with pytest.raises(InputError, match="ratio of 10 dB: the speech is silent"):
        mix(silence, tone, 10, rng)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_colour_is_the_slope_of_the_spectrum(exponent: float, rng: np.random.Generator) -> None:
    noise = coloured_noise(2**19, rng, exponent)
    power = np.square(np.abs(np.fft.rfft(noise.astype(float))))
    octaves = 2.0 ** np.arange(8, 18)
    levels = [power[int(low) : int(2 * low)].mean() for low in octaves]
    slope = np.polyfit(np.log2(octaves), 10 * np.log10(levels), 1)[0]

    assert slope == pytest.approx(-10 * np.log10(2) * exponent, abs=0.15)  # -3.01 dB an octave for each 1 / f
    assert np.mean(np.square(noise, dtype=float)) == pytest.approx(1, abs=1e-4)
    assert noise.mean() == pytest.approx(0, abs=1e-4)


def test_white_noise_is_gaussian(rng: np.random.Generator) -> None:
    noise = coloured_noise(100_001, rng)

    assert len(noise) == 100_001
    assert np.mean(np.abs(noise) < 1) == pytest.approx(0.6827, abs=0.01)
    assert np.mean(noise.astype(float) ** 4) == pytest.approx(3, abs=0.1)


def test_babble_weighs_voices_equally(rng: np.random.Generator) -> None:
    """Tones of very different levels and lengths arrive with equal power, each within a third of the total."""
    voices = [sine(hertz, 0.8, amplitude=level) for hertz, level in ((500, 0.01), (1000, 0.1), (2000, 0.9))]
    mixed = babble(voices, 32000, rng, talkers=3)
    power = np.square(np.abs(np.fft.rfft(mixed.astype(float)))) / (32000**2 / 2)

    assert mixed.dtype == np.float32
    assert np.mean(mixed**2) == pytest.approx(1, abs=0.01)
    for hertz in (500, 1000, 2000):
        assert power[2 * hertz - 20 : 2 * hertz + 20].sum() == pytest.approx(1 / 3, abs=0.01)


def test_babble_does_not_repeat_a_voice_while_there_are_others(rng: np.random.Generator) -> None:
    voices = [sine(300 * (k + 1), 1) for k in range(6)]
    for _ in range(5):
        power = np.square(np.abs(np.fft.rfft(babble(voices, 16000, rng))))
        assert [int(np.argmax(power[300 * k + 150 : 300 * k + 450])) for k in range(6)] == [150] * 6
    assert len(babble(voices[:1], 1000, rng, talkers=4)) == 1000


def test_babble_needs_a_voice(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="babble needs voices: none of the 2 given has any sound"):
        babble([np.zeros(100, dtype=np.float32), np.zeros(0, dtype=np.float32)], 100, rng)
    one_silent = babble([np.zeros(100, dtype=np.float32), sine(500, 0.1)], 1000, rng, talkers=2)
    assert np.isfinite(one_silent).all()
    assert one_silent.any()


def test_everything_is_repeatable() -> None:
    def make(seed: int) -> Float32Array:
        rng = np.random.default_rng(seed)
        voices = [coloured_noise(2000, rng, exponent) for exponent in (0, 1, 2)]
        return mix(sine(220, 0.2), babble(voices, 1000, rng), 5, rng)

    np.testing.assert_array_equal(make(3), make(3))
    assert not np.array_equal(make(3), make(4))


def test_gain_and_clipping_are_in_decibels() -> None:
    tone = sine(220, 0.5, amplitude=0.4)

    assert np.abs(gain(tone, -6.0206)).max() == pytest.approx(0.2, abs=1e-4)
    cut = clip(tone, -6.0206)
    assert np.abs(cut).max() == pytest.approx(0.2, abs=1e-4)
    kept = np.abs(tone) < 0.199
    np.testing.assert_array_equal(cut[kept], tone[kept])
    assert np.mean(~kept) == pytest.approx(2 / 3, abs=0.01)  # a sine spends two thirds of its time above half its peak
    np.testing.assert_array_equal(clip(tone, 0), tone)


def schroeder_rt60(response: Float32Array) -> float:
    """Measure the reverberation time by backward integration, from -5 to -35 dB (ISO 3382, T30)."""
    energy = np.cumsum(np.square(response[::-1], dtype=float))[::-1]
    decay = 10 * np.log10(energy / energy[0] + 1e-12)
    span = np.flatnonzero((decay <= -5) & (decay >= -35))
    return float(-60 / np.polyfit(span / RATE, decay[span], 1)[0])


@pytest.mark.parametrize("rt60", [0.15, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("drr", [-3.0, 4.0, 12.0])
def test_room_has_the_reverberation_that_was_asked_for(rt60: float, drr: float) -> None:
    for seed in range(10):
        response = room(rt60, drr, np.random.default_rng(seed))
        reflections = response[1:]

        assert response.dtype == np.float32
        assert schroeder_rt60(reflections) == pytest.approx(rt60, rel=0.15)
        assert ratio_db(response[:1], reflections) - 10 * np.log10(len(reflections)) == pytest.approx(drr, abs=0.01)


def test_reflections_are_sparse_first_and_dense_later() -> None:
    """The number of image sources within t grows with t cubed: 4/3 pi (ct)^3 / V, from the direct sound on."""
    early = [np.count_nonzero(room(0.5, 3, np.random.default_rng(seed))[1 : RATE // 50]) for seed in range(40)]
    images = 4 / 3 * np.pi * 343**3 / 50 * ((0.02 + 1 / 343) ** 3 - (1 / 343) ** 3)

    assert np.mean(early) == pytest.approx(images, rel=0.1)
    late = room(0.5, 3, np.random.default_rng(0))[RATE // 20 :]
    assert np.count_nonzero(late) == len(late)


@given(length=st.integers(1, 3000), taps=st.integers(1, 2000), seed=st.integers(0, 99))
@settings(deadline=None)
def test_convolution_is_the_sum_of_products(length: int, taps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, response = rng.normal(size=length).astype(np.float32), rng.normal(size=taps).astype(np.float32)
    expected = np.convolve(samples.astype(float), response)[:length]

    np.testing.assert_allclose(convolve(samples, response), expected, atol=1e-5 * np.sqrt(taps) * 10)


def test_reverberation_keeps_power_and_does_not_delay(rng: np.random.Generator) -> None:
    click = np.zeros(8000, dtype=np.float32)
    click[3000] = 0.5
    wet = reverberate(click, 0.4, 6, rng)

    assert np.abs(wet[:3000]).max() < 1e-6
    assert np.argmax(np.abs(wet)) == 3000
    assert ratio_db(wet, click) == pytest.approx(0, abs=0.01)
    noise = gain(coloured_noise(16000, rng), -20)
    assert ratio_db(reverberate(noise, 0.8, -3, rng), noise) == pytest.approx(0, abs=0.01)


def test_band_limit_is_a_zero_phase_butterworth(rng: np.random.Generator) -> None:
    impulse = np.zeros(16000, dtype=np.float32)
    impulse[8000] = 1
    response = np.fft.rfft(np.roll(band_limit(impulse, 200, 4000), -8000).astype(float))
    level = 20 * np.log10(np.abs(response))

    assert level[200] == pytest.approx(-3.01, abs=0.05)
    assert level[4000] == pytest.approx(-3.01, abs=0.05)
    assert level[100] == pytest.approx(-48.2, abs=0.5)
    assert np.abs(level[400:2000]).max() < 0.02
    assert np.abs(response[400:2000].imag).max() < 1e-3
    noise = coloured_noise(32000, rng)
    assert power_at(band_limit(noise, 300, 3400), 200, 4000) > 0.99
    np.testing.assert_allclose(band_limit(noise, 0, 8000), noise, atol=1e-5)


def test_mu_law_is_that_of_libsndfile() -> None:
    """Every value of the 14 bits that G.711 codes is quantised as libsndfile does it."""
    steps = np.arange(-8192, 8192)
    file = io.BytesIO()
    soundfile.write(file, (4 * steps).astype(np.int16), 8000, format="WAV", subtype="ULAW")
    file.seek(0)

    quantised = mu_law((steps / 8192).astype(np.float32))
    np.testing.assert_array_equal(quantised, soundfile.read(file, dtype="float32")[0])
    assert len(np.unique(quantised)) == 255


@pytest.mark.parametrize("level", [-10, -20, -30])
def test_mu_law_has_the_noise_of_the_closed_form(level: float, rng: np.random.Generator) -> None:
    """The closed form for 256 steps behind a logarithm (Bennett): 38.2 dB for loud speech, less for soft."""
    samples = gain(rng.laplace(0, np.sqrt(0.5), 200_000).astype(np.float32), level)
    samples = samples[np.abs(samples) < 0.97]
    magnitude = np.abs(samples)
    # The step is (2 / 256) ln(256) / 255 (1 + 255 |x|), and the noise of a step d is d^2 / 12.
    noise = np.mean(np.square(2 / 256 * np.log(256) / 255 * (1 + 255 * magnitude))) / 12
    closed_form = 10 * np.log10(np.mean(np.square(magnitude)) / noise)

    assert 34 < closed_form < 38.2
    assert ratio_db(samples, mu_law(samples) - samples) == pytest.approx(closed_form, abs=0.7)


def test_telephone_passes_its_band_only(speech: list[Float32Array]) -> None:
    for clip_ in speech:
        heard = telephone(clip_)
        within = band_limit(clip_, 300, 3400)

        assert len(heard) == len(clip_)
        assert power_at(heard, 250, 3900) > 0.99
        assert ratio_db(within, heard - within) > 18  # G.711, and in step with the input
    assert ratio_db(telephone(sine(1000, 1)), sine(1000, 1)) == pytest.approx(0, abs=0.1)


def delay(heard: Float32Array, sent: Float32Array) -> int:
    """Find the delay in samples at which two signals agree best."""
    size = 2 * len(sent)
    agreement = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(sent, size).conj())
    best = int(np.argmax(agreement))
    return best if best < len(sent) else best - size


@pytest.mark.parametrize(("name", "ratio"), [("mp3", 11), ("opus", 12), ("vorbis", 9), ("gsm", 4)])
def test_codec_loses_something_but_keeps_the_speech_in_step(
    name: Codec, ratio: float, speech: list[Float32Array]
) -> None:
    for clip_ in speech[::3]:
        heard = codec(clip_, name)

        assert heard.dtype == np.float32
        assert len(heard) == len(clip_)
        assert delay(heard, clip_) == 0
        assert ratio < ratio_db(clip_, heard - clip_) < 30
        np.testing.assert_array_equal(heard, codec(clip_, name))


@pytest.mark.parametrize(("name", "kbits"), [("mp3", 32), ("opus", 20), ("vorbis", 20), ("gsm", 13)])
def test_codec_has_the_bit_rate_that_is_documented(name: Codec, kbits: float, speech: list[Float32Array]) -> None:
    rate, settings_ = distortions.CODECS[name]
    samples = np.concatenate(speech)
    file = io.BytesIO()
    soundfile.write(file, samples[:: RATE // rate], rate, **settings_)

    assert len(file.getvalue()) * 8 / 1000 / (len(samples) / RATE) == pytest.approx(kbits, rel=0.2)


@given(length=st.integers(0, 5000), level=st.floats(-60, 0), name=st.sampled_from(CODECS))
@settings(deadline=None, max_examples=examples(60))
def test_codec_keeps_every_length(length: int, level: float, name: Codec) -> None:
    voice = gain(toy_clip("happy", 2, 0)[:length], level)
    heard = codec(voice, name)

    assert len(heard) == length
    assert np.isfinite(heard).all()
    if length > 3200 and level > -30:  # GSM works on 13 bits, of which a soft voice uses a few
        assert abs(delay(heard, voice)) <= 4  # a quarter of a millisecond


def frequency_of(tone: Float32Array) -> float:
    """Find the frequency of a tone by the peak of its spectrum, interpolated."""
    level = np.log(np.abs(np.fft.rfft(tone * np.hanning(len(tone)))) + 1e-9)
    k = int(np.argmax(level))
    left, peak, right = level[k - 1 : k + 2]
    return float((k + (left - right) / (2 * (left - 2 * peak + right))) * RATE / len(tone))


@given(factor=st.floats(0.7, 1.4), hertz=st.floats(100, 1000), length=st.integers(8000, 20000))
@settings(deadline=None, max_examples=examples(30))
def test_speed_changes_length_and_pitch_and_tempo_only_length(factor: float, hertz: float, length: int) -> None:
    tone = sine(hertz, length / RATE)
    faster, sooner = speed(tone, factor), tempo(tone, factor)

    assert len(faster) == len(sooner) == round(length / factor)
    assert frequency_of(faster) == pytest.approx(hertz * factor, rel=0.003)
    assert frequency_of(sooner) == pytest.approx(hertz, rel=0.003)


@given(semitones=st.floats(-4, 4), hertz=st.floats(100, 1000), length=st.integers(8000, 20000))
@settings(deadline=None, max_examples=examples(30))
def test_pitch_moves_by_semitones_in_the_same_time(semitones: float, hertz: float, length: int) -> None:
    shifted = pitch_shift(sine(hertz, length / RATE), semitones)

    assert len(shifted) == length
    assert 12 * np.log2(frequency_of(shifted) / hertz) == pytest.approx(semitones, abs=0.06)


def praat_pitch(samples: Float32Array) -> tuple[Any, Any]:
    """Return the times of frames and their fundamental frequency, 0 where there is no voice."""
    pitch = parselmouth.Sound(samples.astype(float), RATE).to_pitch(0.01, 75, 600)
    return pitch.xs(), pitch.selected_array["frequency"]


@pytest.mark.parametrize(
    ("distort", "stretch", "semitones"),
    [
        (lambda x: tempo(x, 0.8), 0.8, 0.0),
        (lambda x: tempo(x, 1.25), 1.25, 0.0),
        (lambda x: pitch_shift(x, 2), 1.0, 2.0),
        (lambda x: pitch_shift(x, -2), 1.0, -2.0),
        (lambda x: speed(x, 1.1), 1.1, 12 * np.log2(1.1)),
    ],
    ids=["slower", "sooner", "higher", "lower", "faster"],
)
def test_melody_of_real_speech_moves_as_asked(
    distort: Callable[[Float32Array], Float32Array], stretch: float, semitones: float, speech: list[Float32Array]
) -> None:
    """Praat finds the same melody, moved, at the place in time where it should be."""
    for clip_ in speech[::2]:
        times, before = praat_pitch(clip_)
        new_times, after = praat_pitch(distort(clip_))
        there = np.interp(times / stretch, new_times, after)
        voiced = (before > 0) & (np.interp(times / stretch, new_times, (after > 0).astype(float)) == 1)
        moved = 12 * np.log2(there[voiced] / before[voiced])

        assert voiced.sum() > 0.7 * (before > 0).sum()
        assert np.median(moved) == pytest.approx(semitones, abs=0.15)
        assert np.mean(np.abs(moved - semitones) < 1) > 0.85


def test_tempo_of_one_changes_nothing(speech: list[Float32Array]) -> None:
    np.testing.assert_allclose(tempo(speech[0], 1), speech[0], atol=1e-6)


@given(length=st.integers(1, 10**7))
def test_fast_length_is_enough_and_not_much_more(length: int) -> None:
    size = fast_length(length)
    assert length <= size <= 1.25 * length + 1
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    assert size == 1


@pytest.mark.parametrize(
    ("distort", "message"),
    [
        (lambda x: clip(x, 3), "level is 3: expected a number from -100 to 0"),
        (lambda x: room(0, 6, np.random.default_rng(0)), "rt60 is 0: expected a number from 0.01 to 10"),
        (lambda x: band_limit(x, 3000, 300), "the band is from 3000 to 300 Hz: expected the lower edge first"),
        (lambda x: speed(x, 0), "factor is 0: expected a number from 0.1 to 10"),
        (lambda x: tempo(x, -1), "factor is -1: expected a number from 0.1 to 10"),
        (lambda x: pitch_shift(x, 100), "semitones is 100: expected a number from -36 to 36"),
        (lambda x: codec(x, "aac"), "unknown codec 'aac': choose one of mp3, opus, vorbis, gsm"),  # type: ignore[arg-type]
        (lambda x: AugmentOptions(snr=(30, 3)), "snr is from 30 to 3: expected the lower end first"),
        (lambda x: AugmentOptions(codecs=("aac",)), "unknown codec 'aac': choose from mp3"),  # type: ignore[arg-type]
        (lambda x: AugmentOptions(codecs=()), "codecs is empty: choose from mp3"),
    ],
)
def test_impossible_values_are_refused(distort: Callable[[Float32Array], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        distort(sine(220, 0.1))


@pytest.mark.parametrize("length", [0, 1, 2, 100])
def test_every_distortion_takes_the_shortest_clips(length: int, rng: np.random.Generator) -> None:
    samples = sine(220, 1)[1000 : 1000 + length]
    for distorted in (
        clip(samples, -6),
        reverberate(samples, 0.3, 3, rng),
        band_limit(samples, 100, 3000),
        telephone(samples),
        pitch_shift(samples, 1),
        *(codec(samples, name) for name in CODECS),
    ):
        assert distorted.dtype == np.float32
        assert len(distorted) == length
        assert np.isfinite(distorted).all()

"""The speaker encoder: its filter bank by its definition, voices of real people, and spans of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import emovox
from emovox import audio
from emovox.speech.diarization import LEAST, filter_bank, voices, without_emotion
from emovox.types import RATE
from tests import EXAMPLES


def test_the_filter_bank_is_what_kaldi_defines() -> None:
    samples = audio.read(EXAMPLES / "plain.wav").samples[8000:9000].astype(np.float64)
    mel = 1127 * np.log(1 + np.array([20.0, 8000.0]) / 700)
    edges = np.linspace(mel[0], mel[1], 82)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    rows = []
    for start in range(0, 601, 160):
        frame = samples[start : start + 400] - samples[start : start + 400].mean()
        frame = np.append(frame[0] * 0.03, frame[1:] - 0.97 * frame[:-1]) * window
        power = np.abs(np.fft.rfft(frame, 512)) ** 2
        row = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            bins = 1127 * np.log(1 + np.arange(257) * RATE / 512 / 700)
            weights = np.where(bins <= centre, (bins - low) / (centre - low), (high - bins) / (high - centre))
            row.append(np.log(max(power @ np.clip(weights, 0, None), np.finfo(np.float32).eps)))
        rows.append(row)
    expected = np.array(rows) - np.mean(rows, axis=0)
    np.testing.assert_allclose(filter_bank(samples.astype(np.float32)), expected, atol=2e-3)


def test_the_same_voice_is_nearer_than_another(corpora: Path) -> None:
    folders = sorted((corpora / "librispeech-1" / "test-other").iterdir())[:6]
    clips = [[audio.read(path).samples for path in sorted(folder.glob("*.ogg"))[:2]] for folder in folders]
    clips = [pair for pair in clips if len(pair) == 2]
    if len(clips) < 3:
        pytest.skip("too few speakers with two excerpts")
    first, other = (np.stack([voices(pair[at], [(0, len(pair[at]))])[0] for pair in clips]) for at in (0, 1))
    similar = first @ other.T
    assert (similar.argmax(axis=1) == np.arange(len(clips))).all()


def test_spans_of_one_run_have_unit_length_and_the_whole_is_the_whole() -> None:
    samples = audio.read(EXAMPLES / "lively.wav").samples
    found = voices(samples, [(0, len(samples)), (0, RATE), (RATE, len(samples))])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[0], voices(samples, [(0, len(samples))])[0], atol=1e-5)
    assert found[0] @ found[1] > 0.4


def test_a_voice_does_not_depend_on_the_volume() -> None:
    samples = audio.read(EXAMPLES / "plain.wav").samples
    loud, soft = (voices(samples * gain, [(0, len(samples))])[0] for gain in (np.float32(1.0), np.float32(0.25)))
    assert loud @ soft > 0.99


def test_the_shortest_stretch_is_encoded() -> None:
    samples = audio.read(EXAMPLES / "plain.wav").samples[8000 : 8000 + LEAST]
    assert np.isfinite(voices(samples, [(0, LEAST)])).all()


def test_nothing_is_left_in_the_directions_of_emotions() -> None:
    moods = np.load(Path(emovox.__file__).parent / "speech" / "speakers" / "moods.npy")
    np.testing.assert_allclose(moods @ moods.T, np.eye(3), atol=1e-5)
    some = np.random.default_rng(0).normal(0, 1, (5, 192)).astype(np.float32)
    found = without_emotion(some)
    np.testing.assert_allclose(found @ moods.T, 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    moved = some + np.random.default_rng(1).normal(0, 1, (5, 3)).astype(np.float32) @ moods
    np.testing.assert_allclose(without_emotion(moved), found, atol=1e-5)

"""The network that answers where nothing was heard: what it learns from."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from emovox.lab.estimators import plain_network
from emovox.lab.estimators.axes import Clips
from emovox.lab.estimators.plain_network import NetworkOptions
from emovox.types import Float32Array
from tests.lab.estimators.test_axes import blobs

TINY = NetworkOptions(hidden=8, dropout=0.1, input_dropout=0.0, learning_rate=1e-2, epochs=4, batch_size=32)


def training(n: int = 300) -> Clips:
    X, target = blobs(n)
    names = np.full(n, "a")
    X = (X + 2 * np.eye(3, 6)[target]).astype(np.float32)
    return Clips(X, target, np.ones((n, 3), np.float32), names, names, names)


def answers(network: plain_network.Network, embedding: Float32Array) -> Float32Array:
    with torch.inference_mode():
        return np.asarray(torch.softmax(network(torch.from_numpy(embedding)), dim=1).numpy())


def test_a_network_learns_and_repeats() -> None:
    clips = training()
    weight = np.ones(len(clips), np.float32)
    one, same, other = (plain_network.fit(clips, weight, 3, TINY, [seed, 0]) for seed in (1, 1, 2))
    found = answers(one, clips.embedding)
    assert (found.argmax(axis=1) == clips.target).mean() > 0.85
    np.testing.assert_array_equal(found, answers(same, clips.embedding))
    assert not np.allclose(found, answers(other, clips.embedding))
    assert not any(parameter.requires_grad for parameter in one.parameters())


def test_weights_say_how_often_a_clip_is_drawn() -> None:
    clips = training()
    weight = np.where(clips.target == 2, 0.0, 1.0).astype(np.float32)
    found = answers(plain_network.fit(clips, weight, 3, TINY, [0, 0]), clips.embedding)
    assert (found.argmax(axis=1) != 2).mean() > 0.95


def test_priors_make_a_class_that_a_corpus_lacks_no_lesson() -> None:
    clips = training()
    lacks = np.tile(np.array([1, 1, 0.01], np.float32), (len(clips), 1))
    kept = clips.target != 2
    taught, masked = (
        answers(plain_network.fit(one[kept], np.ones(int(kept.sum()), np.float32), 3, TINY, [0, 0]), clips.embedding)
        for one in (clips, dataclasses.replace(clips, prior=lacks))
    )
    lacking = clips.target == 2
    assert masked[lacking, 2].mean() > 1.2 * taught[lacking, 2].mean()

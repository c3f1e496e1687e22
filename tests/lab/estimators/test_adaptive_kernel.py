"""The kernel machine beside the networks: what it computes, and when it answers alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from emovox.lab.estimators.adaptive import clip_weights, logistic
from emovox.lab.estimators.adaptive_kernel import (
    AdaptiveKernelClassifier,
    AdaptiveKernelOptions,
    InDomainScore,
    KernelDistance,
    KernelMachine,
)
from emovox.lab.estimators.adaptive_net import AdaptiveNetClassifier
from tests.lab.estimators import check_graph, voices

SMALL = AdaptiveKernelOptions(hidden=16, epochs=4, batch_size=32, landmarks=60, guides=40)


@pytest.fixture(scope="module")
def fitted() -> AdaptiveKernelClassifier:
    X, y, speakers = voices()
    return AdaptiveKernelClassifier(SMALL).fit(X, y, speakers)


def rows(n: int, width: int = 5, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def machine(inputs: NDArray[np.float32], landmarks: NDArray[np.float32], width: float = 0.6) -> KernelMachine:
    features = inputs.shape[1]
    return KernelMachine(np.zeros(features, np.float32), np.ones(features, np.float32), landmarks, width)


def test_the_kernel_is_the_radial_one() -> None:
    inputs, landmarks = rows(7), rows(4, seed=1)
    found = machine(inputs, landmarks).kernel(torch.from_numpy(inputs)).numpy()
    assert np.allclose(found, rbf_kernel(inputs, landmarks, gamma=0.6 / 5), atol=1e-6)


def test_distance_is_the_mean_squared_difference() -> None:
    inputs, stored = rows(6), rows(3, seed=1)
    expected = np.square(inputs[:, np.newaxis] - stored).mean(axis=2)
    assert np.allclose(KernelDistance(stored)(torch.from_numpy(inputs)).numpy(), expected, atol=1e-5)


def test_with_every_row_a_landmark_it_is_kernel_logistic_regression() -> None:
    """Against logistic regression on the features that the whole kernel matrix has by itself."""
    inputs = rows(60)
    target = (inputs[:, 0] * inputs[:, 1] > 0).astype(np.int64)
    weight, counts = np.ones((60, 2), np.float32), np.ones(60, np.float32)
    model = machine(inputs, inputs, 3.0)
    model.learn(inputs, target, weight, counts, 1e-3)
    values, vectors = np.linalg.eigh(rbf_kernel(inputs.astype(np.float64), gamma=3.0 / 5))
    root = (vectors * np.sqrt(values)).astype(np.float32)  # root @ root.T is the kernel
    coefficients, intercepts = logistic(root, target, weight, counts, 1e-3)
    with torch.inference_mode():
        found = model(torch.from_numpy(inputs)).numpy()
    assert np.allclose(found, root @ coefficients + intercepts, atol=0.02)
    assert (found.argmax(axis=1) == target).mean() > 0.95
    # An exclusive or is beyond a line: a linear machine would not have learnt it.
    line = KernelRidge(kernel="linear").fit(inputs, 2 * target - 1)
    assert ((line.predict(inputs) > 0) == target).mean() < 0.8


def test_the_graph_computes_what_the_estimator_does(fitted: AdaptiveKernelClassifier) -> None:
    check_graph(fitted)


def test_without_a_baseline_the_networks_answer(fitted: AdaptiveKernelClassifier) -> None:
    X, y, speakers = voices()
    alone = AdaptiveNetClassifier(SMALL).fit(X, y, speakers)
    assert np.array_equal(fitted.predict_proba(X), alone.predict_proba(X))


def test_a_strange_recording_is_left_to_the_machine(fitted: AdaptiveKernelClassifier) -> None:
    X, _, _ = voices(seed=5)
    baseline = X[:2].mean(axis=0)
    strange = np.float32(100)
    scaled = torch.from_numpy((X - fitted.mean_) / fitted.scale_)
    distance = scaled - torch.from_numpy((baseline - fitted.mean_) / fitted.scale_)
    with torch.inference_mode():
        alone = torch.softmax(fitted.machine_(distance), dim=1).numpy()
        in_domain = fitted.in_domain_(scaled).numpy()
    assert np.allclose(fitted.predict_proba(X + strange, baseline + strange), alone, atol=1e-3)
    assert not np.allclose(fitted.predict_proba(X, baseline), alone, atol=0.05)
    assert np.median(in_domain) > 0.5


def test_in_domain_score_falls_with_the_distance_to_the_nearest_guide() -> None:
    guides = rows(5, 8)
    gate = InDomainScore(guides, 1.0)
    away = np.stack([guides[0] + np.float32(step) for step in (0.0, 0.9, 1.0, 1.1, 3.0)])
    with torch.inference_mode():
        found = gate(torch.from_numpy(away)).numpy().ravel()
    assert np.all(np.diff(found) < 0)
    assert found[0] > 0.99
    assert found[-1] < 0.01


def test_the_machine_weighs_speakers_and_classes_alike() -> None:
    """A row given twice with half the count changes nothing."""
    inputs = rows(40)
    target = (inputs[:, 0] > 0.5).astype(np.int64)
    weight, counts = np.ones((40, 2), np.float32), clip_weights(target, np.repeat(["ann", "bob"], 20))
    once, twice = machine(inputs, inputs[:20]), machine(inputs, inputs[:20])
    once.learn(inputs, target, weight, counts, 1e-3)
    double = [np.concatenate([each, each]) for each in (inputs, weight, counts)]
    twice.learn(double[0], np.concatenate([target, target]), double[1], double[2], 1e-3)
    with torch.inference_mode():
        apart = once(torch.from_numpy(inputs)) - twice(torch.from_numpy(inputs))
    assert apart.abs().max() < 0.02


def test_clips_of_a_single_speaker_are_in_domain() -> None:
    X, y, speakers = voices()
    own = speakers == speakers[0]
    model = AdaptiveKernelClassifier(SMALL).fit(X[own], y[own], speakers[own])
    assert 0 < model.in_domain_.usual < np.inf
    found = model.predict_proba(X[own], X[own][:2].mean(axis=0))
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)

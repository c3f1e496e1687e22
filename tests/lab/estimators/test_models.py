"""The estimators: scikit-learn manners, masking, held-out speakers, and the published network's size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from emovox.errors import ProtocolError, RecipeError
from emovox.lab.estimators import families
from emovox.lab.estimators.classical import MlpOptions, SvmClassifier, SvmOptions
from emovox.lab.estimators.estimator import Options
from emovox.lab.estimators.logistic import LogisticOptions
from emovox.lab.estimators.networks import FeedForward
from emovox.lab.estimators.neural import AnnClassifier, AnnOptions, TensorBatches, WeightedCrossEntropy, class_weights
from emovox.lab.estimators.training import TrainingSet

Problem = tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]]


@pytest.fixture
def problem(rng: np.random.Generator) -> Problem:
    """Three separable classes of 40 clips by 8 speakers in 2 corpora; the second corpus lacks "sad"."""
    y = np.repeat(["angry", "happy", "sad"], 40)
    centres = {"angry": (4, 0, 0, 0), "happy": (0, 4, 0, 0), "sad": (0, 0, 4, 0)}
    X = (np.array([centres[label] for label in y]) + rng.normal(0, 1, (120, 4))).astype(np.float32)
    speakers = np.tile([f"s{i}" for i in range(8)], 15)
    corpora = np.where((y != "sad") & (speakers > "s3"), "second", "first")
    return X, y, speakers, corpora


QUICK: dict[str, Options] = {
    "ann": AnnOptions(hidden=(16,), epochs=60, learning_rate=3e-3),
    "mlp": MlpOptions(hidden=(16,), epochs=60, learning_rate=0.02),
    "svm": SvmOptions(),
    "logistic": LogisticOptions(),
}


@pytest.mark.parametrize("name", ["ann", "logistic", "mlp", "svm"])
def test_every_family_learns_and_repeats(name: str, problem: Problem) -> None:
    X, y, speakers, corpora = problem
    fitted = [families.fit(families.build(name, QUICK[name]), TrainingSet(X, y, speakers, corpora)) for _ in range(2)]
    probabilities = fitted[0].predict_proba(X)
    assert fitted[0].score(X, y) > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities, fitted[1].predict_proba(X))


@pytest.mark.parametrize("name", ["ann", "logistic", "svm"])
def test_estimators_clone_and_cross_validate(name: str, problem: Problem) -> None:
    X, y, _, _ = problem
    pipeline = clone(families.build(name, QUICK[name]))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.85


def test_another_seed_is_another_network(problem: Problem) -> None:
    X, y, _, _ = problem
    one, two = (AnnClassifier(AnnOptions(hidden=(8,), epochs=2, seed=seed)).fit(X, y) for seed in (0, 1))
    assert not np.allclose(one.predict_proba(X), two.predict_proba(X))


def test_members_are_averaged(problem: Problem) -> None:
    X, y, _, _ = problem
    model = AnnClassifier(AnnOptions(hidden=(8,), epochs=3, members=3)).fit(X, y)
    each = [net.module_.network(torch.as_tensor(X)).detach().numpy() for net in model.members_]
    assert len(each) == 3
    assert not np.allclose(each[0], each[1])
    soft = np.mean(
        [torch.softmax(net.module_.network(torch.as_tensor(X)), 1).detach().numpy() for net in model.members_], 0
    )
    np.testing.assert_allclose(model.predict_proba(X), soft, atol=1e-6)


def test_the_published_network_has_the_published_size() -> None:
    net = FeedForward(193, 8, hidden=AnnOptions().hidden)
    expected = 193 * 300 + 300 + 300 * 50 + 50 + 50 * 20 + 20 + 20 * 10 + 10 + 10 * 8 + 8
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_loss_with_equal_weights_is_cross_entropy(rng: np.random.Generator) -> None:
    logits = torch.as_tensor(rng.normal(size=(20, 5)))
    target = torch.as_tensor(rng.integers(0, 5, 20))
    for smoothing in (0.0, 0.1):
        expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, target)
        torch.testing.assert_close(WeightedCrossEntropy(smoothing)((logits, torch.ones(20, 5)), target), expected)


def test_loss_of_votes_is_the_cross_entropy_of_the_distributions(rng: np.random.Generator) -> None:
    logits, target = torch.as_tensor(rng.normal(size=(20, 5))), torch.as_tensor(rng.integers(0, 5, 20))
    weight = torch.ones(20, 5)
    weight[:, 4] = 0.3
    votes = torch.as_tensor(rng.dirichlet(np.ones(5), 20))
    for smoothing in (0.0, 0.1):
        loss = WeightedCrossEntropy(smoothing)
        expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, votes)
        torch.testing.assert_close(loss((logits, torch.ones(20, 5)), votes), expected)
        sure = torch.nn.functional.one_hot(target, 5).double()
        torch.testing.assert_close(loss((logits, weight), sure), loss((logits, weight), target))


def test_votes_of_one_mind_are_labels(problem: Problem) -> None:
    X, y, speakers, corpora = problem
    voted = ("sad", "happy", "angry", "bored")  # nobody says bored
    votes = (y[:, np.newaxis] == np.array(voted)).astype(float)
    options = AnnOptions(hidden=(4,), epochs=5, patience=3, absent=0.1, label_smoothing=0.1)
    clips = TrainingSet(X, y, speakers, corpora)
    plain, soft = (
        families.fit(families.build("ann", options), one) for one in (clips, replace(clips, votes=votes, voted=voted))
    )
    assert soft.classes_.tolist() == plain.classes_.tolist()
    np.testing.assert_array_equal(plain.predict_proba(X), soft.predict_proba(X))


def test_who_knows_nothing_of_a_clip_learns_the_mean_of_all_votes(rng: np.random.Generator) -> None:
    votes = rng.dirichlet(np.ones(3), 30)
    voted = ("sad", "angry", "happy")
    options = AnnOptions(hidden=(), epochs=200, batch_size=30, learning_rate=0.05)
    y = np.array(voted)[votes.argmax(axis=1)]
    found = AnnClassifier(options).fit(np.zeros((30, 2), np.float32), y, votes=votes, voted=voted)
    assert found.classes_.tolist() == ["angry", "happy", "sad"]
    # The cross-entropy is least at the mean of the distributions.
    assert found.predict_proba(np.zeros((1, 2), np.float32))[0] == pytest.approx(
        votes.mean(axis=0)[[1, 2, 0]], abs=0.005
    )


@pytest.mark.parametrize("absent", [0.0, 0.1])
def test_an_absent_class_counts_by_its_weight(absent: float, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(1, 4))
    weight = torch.tensor([[1.0, 1.0, absent, 1.0]], dtype=torch.float64)
    total = np.exp(logits[0]) @ [1, 1, absent, 1]
    loss = WeightedCrossEntropy()((torch.as_tensor(logits), weight), torch.tensor([1]))
    assert float(loss) == pytest.approx(np.log(total) - logits[0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_masked_class_gets_no_gradient(smoothing: float) -> None:
    net = FeedForward(3, 4)
    weight = torch.tensor([[1.0, 1.0, 0.0, 1.0]] * 5)
    loss = WeightedCrossEntropy(smoothing)((net(torch.ones(5, 3)), weight), torch.tensor([0, 1, 3, 0, 1]))
    loss.backward()
    gradient = net.layers[-1].weight.grad
    assert isinstance(gradient, torch.Tensor)
    assert torch.isfinite(gradient).all()
    assert (gradient[2] == 0).all()
    assert (gradient[[0, 1, 3]] != 0).any()


def test_weights_are_those_of_the_corpus(problem: Problem) -> None:
    _, y, _, corpora = problem
    target = np.unique(y, return_inverse=True)[1]
    weights = class_weights(target, 3, corpora, 0.25)
    assert (weights[corpora == "first"] == 1).all()
    assert (weights[corpora == "second"] == [1, 1, 0.25]).all()
    assert (class_weights(target, 3, None, 0.25) == 1).all()
    np.testing.assert_array_equal(class_weights(np.eye(3)[target], 3, corpora, 0.25), weights)


def test_a_corpus_without_a_class_does_not_teach_its_absence(rng: np.random.Generator) -> None:
    # Corpus B (second feature 1) has no "sad".  Unmasked, a net learns that B is never sad.
    n = 200
    y = np.r_[np.repeat(["neutral", "sad"], n), np.repeat("neutral", 2 * n)]
    corpora = np.r_[np.repeat("A", 2 * n), np.repeat("B", 2 * n)]
    X = np.c_[(y == "sad") * 2.0, (corpora == "B") * 1.0].astype(np.float32) + rng.normal(0, 0.8, (4 * n, 2)).astype(
        np.float32
    )
    sad_in_b = np.array([[2.0, 1.0]], dtype=np.float32)
    options = AnnOptions(hidden=(), epochs=40, learning_rate=0.02)
    column = 1
    masked = AnnClassifier(options).fit(X, y, corpora=corpora).predict_proba(sad_in_b)[0, column]
    blind = AnnClassifier(options).fit(X, y).predict_proba(sad_in_b)[0, column]
    assert masked > blind + 0.1
    assert masked > 0.8


def test_early_stopping_holds_out_whole_speakers(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, speakers, _ = problem
    seen: list[set[str]] = []
    original = AnnClassifier._train_member

    def spy(
        self: AnnClassifier,
        options: AnnOptions,
        inputs: object,
        target: object,
        train: object,
        valid: object,
        index: int,
    ) -> object:
        seen.append(set(speakers[train]) & set(speakers[valid]))  # type: ignore[call-overload]
        return original(self, options, inputs, target, train, valid, index)  # type: ignore[arg-type]

    monkeypatch.setattr(AnnClassifier, "_train_member", spy)
    noisy = np.random.default_rng(1).permutation(y)  # nothing to learn, so that the held-out loss rises soon
    options = AnnOptions(hidden=(32,), epochs=200, patience=3, learning_rate=0.02)
    model = AnnClassifier(options).fit(X, noisy, speakers=speakers)
    assert seen == [set()]
    history = model.members_[0].history
    assert len(history) < 200
    best = min(history[:, "valid_loss"])
    assert history[-1, "valid_loss"] > best


def test_early_stopping_without_speakers_is_refused(problem: Problem) -> None:
    X, y, _, _ = problem
    with pytest.raises(ProtocolError, match="early stopping holds out whole speakers"):
        AnnClassifier(AnnOptions(patience=3)).fit(X, y)


def test_mlp_is_scikit_learns(problem: Problem) -> None:
    X, y, speakers, corpora = problem
    pipeline = families.fit(families.build("mlp", QUICK["mlp"]), TrainingSet(X, y, speakers, corpora))
    assert type(pipeline.named_steps["model"].fitted_) is MLPClassifier


def test_svm_calibration_never_sees_a_speaker_on_both_sides(problem: Problem) -> None:
    X, y, speakers, _ = problem
    model = SvmClassifier(SvmOptions(calibration_folds=4)).fit(X, y, speakers=speakers)
    assert len(model.fitted_.cv) == 4
    for train, valid in model.fitted_.cv:
        assert not set(speakers[train]) & set(speakers[valid])


def test_unknown_family_is_named() -> None:
    with pytest.raises(RecipeError, match=r"unknown model family 'smv': did you mean 'svm'\?"):
        families.family("smv")


def test_batches_cover_everything_once() -> None:
    class Part:
        X = {"features": np.arange(10, dtype=np.float32)[:, None]}  # noqa: RUF012
        y = np.arange(10)

        def __len__(self) -> int:
            return 10

    for shuffle in (False, True):
        batches = list(TensorBatches(Part(), 4, shuffle=shuffle))
        assert sorted(int(value) for _, target in batches for value in target) == list(range(10))
        assert all((inputs["features"][:, 0] == target).all() for inputs, target in batches)

"""Feed-forward networks as scikit-learn estimators, trained with skorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from emovox.errors import ProtocolError
from emovox.lab.corpora.groups import held_out_speakers
from emovox.lab.estimators.estimator import Estimator, Options
from emovox.lab.estimators.graphs import Arrays, Graph, trace
from emovox.lab.estimators.networks import Ensemble, WeightedNetwork
from emovox.lab.estimators.progress import curve
from emovox.lab.ranges import Count, Natural, NotNegative, Positive, Share
from emovox.lab.threads import single_thread
from emovox.model.file import INPUT, OUTPUT


@dataclass(frozen=True)
class AnnOptions(Options):
    """Options of the feed-forward network and its training; the defaults are those of the published recipe.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer.
    activation : {"relu", "gelu", "tanh"}
        Non-linearity of the hidden layers; the output is a softmax.
    dropout, input_dropout : float
        Dropout probability of hidden units, and of input features.
    batch_norm : bool
        Batch normalisation before each non-linearity.
    label_smoothing : float
        Fraction of each target that is distributed evenly over the classes of the clip's corpus.
    absent : float
        Prior weight of a class in the loss of clips whose corpus lacks it, from 0 to 1.  With 0 the class is masked:
        the corpus does not push its probability down.  A small value prevents excessive probabilities only.
    learning_rate, weight_decay : float
        Learning rate and decoupled weight decay of AdamW.
    schedule : {"constant", "cosine"}
        Schedule of the learning rate over the epochs.
    batch_size, epochs : int
        Clips per step; passes over the training clips, the maximum with early stopping.
    patience : int
        Early stopping: number of epochs without improvement of the loss on held-out *training speakers*; the best epoch
        is kept.  0 trains for all epochs on all speakers.
    validation : float
        Fraction of the training speakers held out for early stopping.
    members : int
        Number of networks with different seeds whose probabilities are averaged.
    seed : int
        Seed of initial weights, batches, dropout and held-out speakers.
    """

    hidden: tuple[Count, ...] = (300, 50, 20, 10)
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    dropout: Share = 0.0
    input_dropout: Share = 0.0
    batch_norm: bool = False
    label_smoothing: Share = 0.0
    absent: Annotated[float, Ge(0), Le(1)] = 0.0
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: Count = 32
    epochs: Count = 100
    patience: Natural = 0
    validation: Annotated[float, Gt(0), Lt(1)] = 0.2
    members: Count = 1
    seed: Natural = 0


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy with class weights per clip, for classes that the corpus of the clip lacks.

    The loss is ``-log(exp(z_y) / sum_k w_k exp(z_k))``, with weight ``w_k = 1`` for the classes of the corpus: a
    softmax whose classes have priors proportional to the weights (logit adjustment).  Where raters disagree it is the
    mean over their votes for ``y``: the cross-entropy of the distributions.

    Parameters
    ----------
    label_smoothing : float
        Fraction of each target that is distributed over the classes in proportion to their weights.

    Notes
    -----
    Source: A. Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, output: tuple[Tensor, Tensor], target: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return the mean loss of (logits, weights), shape (batch, n_classes), for what is wanted of each clip.

        `target` are class indices, shape (batch,), or shares of votes, shape (batch, n_classes); `counts`, shape
        (batch,), are optional sample weights.
        """
        logits, weight = output
        soft = target if target.ndim == 2 else nn.functional.one_hot(target, logits.shape[1])
        wanted = soft.to(logits.dtype)
        even = weight / weight.sum(dim=1, keepdim=True)
        wanted = (1 - self.label_smoothing) * wanted + self.label_smoothing * even
        each = -(wanted * log_shares(logits, weight)).sum(dim=1)
        return each.mean() if counts is None else (each * counts).mean()


def log_shares(logits: Tensor, weight: Tensor) -> Tensor:
    """Compute the log-probabilities of a softmax whose classes have priors proportional to the weights.

    Both arguments have shape (batch, n_classes); the result of a class of weight 0 is very small, but finite.
    """
    # A weight of 0 gives a finite logarithm, so that its product with a target of 0 is 0, not NaN.
    lowest = torch.finfo(logits.dtype).min / 2
    return torch.log_softmax(torch.where(weight > 0, logits + torch.log(weight), lowest), dim=1)


class TensorBatches:
    """Batches sliced from tensors, for feature vectors many times faster than the collation of a DataLoader."""

    def __init__(self, dataset: Any, batch_size: int, *, shuffle: bool = False) -> None:
        # A held-out part is a torch Subset of a skorch Dataset; both contain arrays that can be sliced.
        self.features = {name: torch.as_tensor(value) for name, value in dataset.X.items()}
        self.target = None if dataset.y is None else torch.as_tensor(dataset.y)
        self.batch_size, self.shuffle, self.length = batch_size, shuffle, len(dataset)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield (inputs, target); without labels the target is a placeholder, as skorch's own datasets do."""
        order = torch.randperm(self.length) if self.shuffle else torch.arange(self.length)
        for rows in torch.split(order, self.batch_size):
            if self.shuffle and len(rows) == 1 and self.length > 1:
                continue  # batch normalisation has no variance over a single clip
            target = torch.zeros(len(rows)) if self.target is None else self.target[rows]
            yield {name: value[rows] for name, value in self.features.items()}, target


class StopTraining(Exception):  # noqa: N818 - a signal, not an error
    """Training ends before the last epoch."""


class Patience(EarlyStopping):
    """Early stopping that does not raise KeyboardInterrupt, as that of skorch does."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Stop if the held-out loss has not improved for `patience` epochs."""
        try:
            super().on_epoch_end(net, **kwargs)
        except KeyboardInterrupt:
            raise StopTraining from None


class Interruptible:
    """Mixin for nets of skorch that lets Ctrl-C end the program; skorch would only end the training."""

    def partial_fit(self: Any, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> Any:
        """Train to the last epoch, or until StopTraining is raised."""
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        with suppress(StopTraining):
            self.fit_loop(X, y, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self


class InterruptibleClassifier(Interruptible, NeuralNetClassifier):
    """A classifier of skorch with interruptible training."""


class AnnClassifier(Estimator):
    """Feed-forward network (or an average of several) as a scikit-learn classifier.

    Parameters
    ----------
    options : AnnOptions
        Sizes and training.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    members_ : list of NeuralNetClassifier
        The fitted skorch networks.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["sad", "happy"], 40)
    >>> X = (rng.normal(size=(80, 5)) + (y == "sad")[:, None] * 3).astype(np.float32)
    >>> model = AnnClassifier(AnnOptions(hidden=(8,), epochs=20, learning_rate=0.01)).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    needs = ("speakers", "corpora", "votes", "voted")

    def __init__(self, options: AnnOptions | None = None) -> None:
        self.options = options

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        votes: NDArray[np.float64] | None = None,
        voted: tuple[str, ...] = (),
    ) -> AnnClassifier:
        """Train on standardised features.

        Parameters
        ----------
        X : ndarray of float32, shape (n_clips, n_features)
            Standardised features.
        y : ndarray, shape (n_clips,)
            Labels.
        speakers : ndarray, shape (n_clips,), optional
            Required for early stopping, which holds out speakers.
        corpora : ndarray, shape (n_clips,), optional
            Corpus of each clip; see `AnnOptions.absent` for the classes that it lacks.
        votes : ndarray of float64, shape (n_clips, n_voted), optional
            Shares of the raters' votes, which are learnt in place of the labels; see :func:`wanted_shares`.
        voted : tuple of str
            Labels of the columns of `votes`.

        Raises
        ------
        ProtocolError
            Early stopping without known speakers, or with a single speaker.
        """
        options = self.options or AnnOptions()
        self.classes_, target = wanted_shares(y, votes, voted)
        inputs = {
            "features": np.ascontiguousarray(X, dtype=np.float32),
            "weight": class_weights(target, len(self.classes_), corpora, options.absent),
        }
        train, valid = np.arange(len(target)), None
        if options.patience:
            if speakers is None:
                raise ProtocolError(
                    "early stopping holds out whole speakers, and these clips have none: "
                    "give a speaker column, or set patience = 0"
                )
            train, valid = held_out_speakers(speakers, y, options.validation, options.seed)
        with single_thread():
            self.members_ = [
                self._train_member(options, inputs, target, train, valid, index) for index in range(options.members)
            ]
        self.n_features_in_ = X.shape[1]
        return self

    def _train_member(
        self,
        options: AnnOptions,
        inputs: dict[str, NDArray[Any]],
        target: NDArray[np.float32],
        train: NDArray[np.int64],
        valid: NDArray[np.int64] | None,
        index: int,
    ) -> NeuralNetClassifier:
        """Train one network of the ensemble."""
        torch.manual_seed(options.seed * 1000 + index)
        callbacks: list[tuple[str, Callback]] = []
        split = None
        if valid is not None:
            split = predefined_split(Dataset(_rows(inputs, valid), target[valid]))
            stop = Patience(patience=options.patience, load_best=True)
            callbacks.append(("early_stopping", stop))
        if options.schedule == "cosine":
            callbacks.append(("schedule", LRScheduler(CosineAnnealingLR, T_max=options.epochs)))
        net = InterruptibleClassifier(
            WeightedNetwork,
            module__n_features=inputs["features"].shape[1],
            module__n_classes=len(self.classes_),
            module__hidden=options.hidden,
            module__activation=options.activation,
            module__dropout=options.dropout,
            module__input_dropout=options.input_dropout,
            module__batch_norm=options.batch_norm,
            criterion=WeightedCrossEntropy,
            criterion__label_smoothing=options.label_smoothing,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=options.weight_decay,
            lr=options.learning_rate,
            max_epochs=options.epochs,
            batch_size=options.batch_size,
            iterator_train=TensorBatches,
            iterator_train__shuffle=True,
            iterator_valid=TensorBatches,
            train_split=split,
            callbacks=callbacks,
            callbacks__valid_acc=None,
            callbacks__print_log=None,
            classes=np.arange(len(self.classes_)),
            verbose=0,
        )
        return net.fit(_rows(inputs, train), target[train])

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict class probabilities, the mean over the networks, shape (n_clips, n_classes)."""
        with torch.no_grad():
            features = torch.as_tensor(np.ascontiguousarray(X, dtype=np.float32))
            each = [torch.softmax(net.module_.network.eval()(features), dim=1) for net in self.members_]
            result: NDArray[np.float32] = torch.stack(each).mean(0).numpy()
        return result

    @property
    def curves(self) -> list[list[dict[str, Any]]]:
        """Learning curve of each network, see `Estimator.curves`."""
        return [curve(net.history) for net in self.members_]

    def bare_graph(self, scaler: Any) -> Graph:
        """Return the graph from raw features to probabilities."""
        mean = np.zeros(self.n_features_in_) if scaler is None else scaler.mean_
        scale = np.ones(self.n_features_in_) if scaler is None else scaler.scale_
        module = Ensemble(
            torch.as_tensor(mean, dtype=torch.float32),
            torch.as_tensor(scale, dtype=torch.float32),
            [net.module_.network for net in self.members_],
        )

        def reference(given: Arrays) -> Arrays:
            return {OUTPUT: self.predict_proba(given[INPUT] if scaler is None else scaler.transform(given[INPUT]))}

        example = np.zeros((2, self.n_features_in_), dtype=np.float32)
        return Graph(trace(module.eval(), (example,), [INPUT], [OUTPUT]), reference)


def wanted_shares(
    y: NDArray[Any], votes: NDArray[np.float64] | None, voted: tuple[str, ...]
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the classes in output order, and the share of each that is wanted of each clip, (n_clips, n_classes).

    Without votes a clip is wholly of its label, `y`; else its shares are those of the raters' votes, and the classes
    are those that somebody voted for.

    Examples
    --------
    >>> votes = np.array([[0.25, 0.75, 0.0], [0.0, 1.0, 0.0]])
    >>> classes, shares = wanted_shares(np.array(["happy", "happy"]), votes, ("sad", "happy", "angry"))
    >>> classes.tolist(), shares.tolist()
    (['happy', 'sad'], [[0.75, 0.25], [1.0, 0.0]])
    """
    if votes is None:
        classes, rows = np.unique(y, return_inverse=True)
        return classes, np.eye(len(classes), dtype=np.float32)[rows]
    there = np.flatnonzero(votes.any(axis=0))
    order = there[np.argsort(np.array(voted)[there])]
    return np.array(voted)[order], votes[:, order].astype(np.float32)


def class_weights(
    target: NDArray[Any], n_classes: int, corpora: NDArray[Any] | None, absent: float
) -> NDArray[np.float32]:
    """Return the class weights of each clip, shape (n_clips, n_classes): `absent` for classes that its corpus lacks.

    `target` are class indices, shape (n_clips,), or shares of classes, shape (n_clips, n_classes).
    """
    weight = np.ones((len(target), n_classes), dtype=np.float32)
    if corpora is not None:
        for name in np.unique(corpora):
            rows = corpora == name
            own = target[rows]
            there = own.any(axis=0) if own.ndim == 2 else np.isin(np.arange(n_classes), own)
            weight[rows] = np.where(there, 1, absent)
    return weight


def _rows(inputs: dict[str, NDArray[Any]], rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Select clips of every input."""
    return {name: value[rows] for name, value in inputs.items()}

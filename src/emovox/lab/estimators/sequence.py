"""Convolutional and recurrent networks over frames as scikit-learn estimators, trained with skorch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from emovox.errors import ProtocolError
from emovox.lab.corpora.groups import held_out_speakers
from emovox.lab.estimators.checkpoints import Checkpoint
from emovox.lab.estimators.estimator import Estimator
from emovox.lab.estimators.graphs import Arrays, Graph, trace
from emovox.lab.estimators.neural import Interruptible, Patience, class_weights, log_shares, wanted_shares
from emovox.lab.estimators.progress import curve
from emovox.lab.estimators.sequence_batches import LONGEST, Batches, Material
from emovox.lab.estimators.sequence_networks import SequenceEnsemble
from emovox.lab.estimators.sequence_options import CnnOptions, FramesOptions, RnnOptions, SequenceOptions
from emovox.lab.extraction.sequences import Sequences, pack, padded
from emovox.lab.threads import single_thread
from emovox.model.file import INPUT, OUTPUT
from emovox.types import Float32Array

#: Clips per batch in prediction.
JUDGED = 64


class InTraining(nn.Module):
    """A network for training, which passes the class weights of each clip on to the loss.

    Parameters
    ----------
    options : SequenceOptions
        Options that build the network.
    n_features, n_classes : int
        Number of features per frame, and of classes.
    """

    def __init__(self, options: CnnOptions | RnnOptions | FramesOptions, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.network = options.network(n_features, n_classes)

    def forward(self, features: Tensor, lengths: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and class weights, both of shape (batch, n_classes)."""
        return self.network(features, lengths), weight


class InterruptibleNet(Interruptible, NeuralNet):
    """A net of skorch with interruptible training, so that only finished networks are stored as finished."""


class SharesCrossEntropy(nn.Module):
    """Cross-entropy with soft targets, shape (batch, n_classes): of label smoothing, mixup and class weights."""

    def forward(self, output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        """Return the mean loss of (logits, weights), both of shape (batch, n_classes)."""
        loss: Tensor = -(target * log_shares(*output)).sum(dim=1).mean()
        return loss


class EpochScores(Callback):
    """Callback that records and reports the UAR of each epoch beside its loss."""

    def __init__(self, on_epoch: Callable[[Mapping[str, Any]], None]) -> None:
        self.on_epoch = on_epoch

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Reset the predictions of the previous epoch."""
        self.answers: dict[bool, list[NDArray[np.int64]]] = {True: [], False: []}

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, y_pred: Any = None, **_: Any) -> None:
        """Store true and predicted classes."""
        if y_pred is not None:
            pair = torch.stack([batch[1].argmax(dim=1), y_pred[0].argmax(dim=1)])
            self.answers[training].append(pair.detach().numpy())

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Score the predictions of the epoch."""
        for training, name in ((True, "train_uar"), (False, "valid_uar")):
            if self.answers[training]:
                true, found = np.concatenate(self.answers[training], axis=1)
                recalls = [(found[true == label] == label).mean() for label in np.unique(true)]
                net.history.record(name, float(np.mean(recalls)))
        self.on_epoch(curve(net.history[-1:])[0])


class SequenceClassifier(Estimator):
    """A network over frames (or an average of several) as a scikit-learn classifier.

    Parameters
    ----------
    options : CnnOptions, RnnOptions or FramesOptions
        Network and training.

    Attributes
    ----------
    classes_ : ndarray
        Labels in output order.
    members_ : list of Module
        The fitted networks, from standardised frames to logits.
    curves_ : list of list of dict
        For each member and epoch: ``epoch``, ``train_loss``, ``train_uar`` (of augmented clips), and ``valid_loss`` and
        ``valid_uar`` of held-out training speakers, if any.
    mean_, scale_ : ndarray of float32, shape (n_features,)
        Statistics of the training frames.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["sad", "happy"], 20)
    >>> X = [rng.normal(label == "sad", 0.5, size=(rng.integers(10, 20), 4)) for label in y]
    >>> model = SequenceClassifier(FramesOptions(hidden=(8,), epochs=10, batch_size=8)).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    needs = ("speakers", "corpora", "copies", "kept", "on_epoch", "votes", "voted")
    level = "frame"
    standardises = True

    def __init__(self, options: CnnOptions | RnnOptions | FramesOptions | None = None) -> None:
        self.options = options

    def fit(
        self,
        X: Sequences | Sequence[Float32Array] | Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Sequences | None = None,
        kept: Path | None = None,
        on_epoch: Callable[[Mapping[str, Any]], None] = lambda epoch: None,
        votes: NDArray[np.float64] | None = None,
        voted: tuple[str, ...] = (),
    ) -> SequenceClassifier:
        """Train on frames.

        Parameters
        ----------
        X : Sequences, or sequence of ndarray of float32, shape (n_frames, n_features) each
            Features of each clip; standardisation is part of the model.
        y : ndarray, shape (n_clips,)
            Labels.
        speakers : ndarray, shape (n_clips,), optional
            Required for early stopping, which holds out speakers.
        corpora : ndarray, shape (n_clips,), optional
            Corpus of each clip; see `SequenceOptions.absent` for the classes that it lacks.
        copies : Sequences, shape (n_clips, n_copies), optional
            Augmented copies: each epoch uses the clip or one of its copies.
        kept : Path, optional
            Folder for finished networks, which are loaded if the same training is repeated.
        on_epoch : callable, optional
            Callback after each epoch, called with ``member`` and the entry of `curves_`.
        votes, voted : optional
            As for `AnnClassifier.fit`.

        Raises
        ------
        ProtocolError
            Early stopping without known speakers, or with a single speaker.
        """
        options = self.options or CnnOptions()
        clips = pack(X)
        self.classes_, wanted = wanted_shares(y, votes, voted)
        self.n_features_in_ = clips.width
        self.mean_, self.scale_ = _spread(clips)
        views = [clips] if copies is None else [clips, *(copies[:, number] for number in range(copies.shape[1]))]
        material = Material(
            views=tuple(views),
            wanted=wanted,
            weight=class_weights(wanted, len(self.classes_), corpora, options.absent),
            counts=class_counts(wanted, options.balanced),
            prepare=self._prepared,
            options=options,
            rng=np.random.default_rng(options.seed),
        )
        asked = (votes, None if votes is None else np.array(voted))
        key = _key(options, clips, copies, y, speakers, corpora, *asked) if kept else ""
        fitted = []
        with single_thread():
            for index in range(options.members):
                own = dataclasses.replace(material, rng=np.random.default_rng([options.seed, index]))
                parts = held_out(options, speakers, y, index)
                fitted.append(
                    self._member(own, parts, Checkpoint(kept, f"{key}-{index}"), partial(_numbered, on_epoch, index))
                )
        self.members_, self.curves_ = [list(each) for each in zip(*fitted, strict=True)]
        return self

    def _member(
        self,
        material: Material,
        parts: tuple[NDArray[np.intp], NDArray[np.intp] | None],
        checkpoint: Checkpoint,
        on_epoch: Callable[[Mapping[str, Any]], None],
    ) -> tuple[nn.Module, list[dict[str, Any]]]:
        """Train one network, or load the result of an earlier identical training."""
        options: Any = material.options
        torch.manual_seed(int(material.rng.integers(2**31)))
        stored = checkpoint.read()
        if stored.state:
            network = options.network(self.n_features_in_, len(self.classes_))
            stored.fill(_floats(network))
            return network.eval(), list(stored.state["curve"])
        train, valid = parts
        net = InterruptibleNet(
            InTraining,
            module__options=options,
            module__n_features=self.n_features_in_,
            module__n_classes=len(self.classes_),
            criterion=SharesCrossEntropy,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=options.weight_decay,
            lr=options.learning_rate,
            max_epochs=options.epochs,
            batch_size=options.batch_size,
            iterator_train=Batches,
            iterator_train__material=material,
            iterator_train__learning=True,
            iterator_valid=Batches,
            iterator_valid__material=material,
            iterator_valid__batch_size=JUDGED,
            train_split=None if valid is None else predefined_split(Dataset(valid, material.wanted[valid])),
            callbacks=_callbacks(options, len(train), on_epoch),
            callbacks__print_log=None,
            verbose=0,
        )
        net.fit(train, material.wanted[train])
        network, epochs = net.module_.network.eval(), curve(net.history)
        checkpoint.write({"curve": epochs}, _floats(network))
        return network, epochs

    def _prepared(self, frames: Float32Array) -> Float32Array:
        """Standardise the frames of a clip."""
        scaled = (frames - self.mean_) / self.scale_
        if (self.options or CnnOptions()).normalise == "clip":
            scaled = scaled - scaled.mean(axis=0)
            scaled = scaled / np.sqrt(np.square(scaled).mean(axis=0) + np.float32(1e-2))
        return scaled

    def predict_proba(self, X: Sequences | Sequence[Float32Array] | Float32Array) -> NDArray[np.float32]:
        """Predict class probabilities, the mean over the networks, shape (n_clips, n_classes).

        A clip of more than `LONGEST` frames is split, and the probabilities of its parts are averaged.
        """
        clips = pack(X)
        pieces = [(row, part) for row, clip in enumerate(clips) for part in _pieces(self._prepared(clip))]
        order = sorted(range(len(pieces)), key=lambda number: len(pieces[number][1]))
        total = np.zeros((len(clips), len(self.classes_)), dtype=np.float32)
        frames = np.zeros((len(clips), 1), dtype=np.float32)
        with single_thread(), torch.inference_mode():
            for begin in range(0, len(order), JUDGED):
                batch = [pieces[number] for number in order[begin : begin + JUDGED]]
                features, lengths = (torch.from_numpy(each) for each in padded([part for _, part in batch]))
                each = [torch.softmax(net(features, lengths), dim=1) for net in self.members_]
                found = torch.stack(each).mean(0).numpy()
                for (row, part), answer in zip(batch, found, strict=True):
                    total[row] += len(part) * answer
                    frames[row] += len(part)
        return total / frames

    def bare_graph(self, scaler: Any = None) -> Graph:
        """Return the graph from frames of clips of equal length to probabilities."""
        by_clip = (self.options or CnnOptions()).normalise == "clip"
        mean, scale = (torch.from_numpy(each) for each in (self.mean_, self.scale_))
        module = SequenceEnsemble(mean, scale, by_clip, self.members_).eval()

        def reference(given: Arrays) -> Arrays:
            return {OUTPUT: self.predict_proba(given[INPUT])}

        example = np.zeros((2, 50, self.n_features_in_), dtype=np.float32)
        return Graph(trace(module, (example,), [INPUT], [OUTPUT]), reference)


def held_out(
    options: SequenceOptions, speakers: NDArray[Any] | None, y: NDArray[Any], member: int
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """Return the training rows of a member, and the rows of held-out speakers, if any."""
    share = options.validation or (0.2 if options.patience else 0.0)
    if not share:
        return np.arange(len(y)), None
    if speakers is None:
        raise ProtocolError(
            "early stopping holds out whole speakers, and these clips have none: "
            "give a speaker column, or set patience = 0 and validation = 0"
        )
    return held_out_speakers(speakers, y, share, options.seed * 1000 + member)


def class_counts(wanted: Float32Array, balanced: bool) -> Float32Array:
    """Return the sample weight of each class: 1, or inversely proportional to its number of clips.

    `wanted` is the share of each class in each clip, shape (n_clips, n_classes).

    Examples
    --------
    >>> class_counts(np.eye(2, dtype=np.float32)[[0, 0, 0, 1]], balanced=True).astype(float).round(2).tolist()
    [0.67, 2.0]
    """
    clips = wanted.sum(axis=0, dtype=np.float64)
    return np.asarray(len(wanted) / (len(clips) * clips) if balanced else np.ones(len(clips)), dtype=np.float32)


def _callbacks(
    options: SequenceOptions, n_clips: int, on_epoch: Callable[[Mapping[str, Any]], None]
) -> list[tuple[str, Callback]]:
    callbacks: list[tuple[str, Callback]] = [("scores", EpochScores(on_epoch)), ("clipping", GradientNormClipping(1.0))]
    if options.patience:
        callbacks.append(("early_stopping", Patience(patience=options.patience, load_best=True, sink=_silent)))
    if options.schedule == "cosine":
        callbacks.append(("schedule", LRScheduler(CosineAnnealingLR, T_max=options.epochs)))
    if options.schedule == "onecycle":
        # A single clip at the end is no batch; a schedule with one step too many is harmless, one too few is an error.
        steps = max(10, options.epochs * -(-n_clips // options.batch_size))
        callbacks.append(
            (
                "schedule",
                LRScheduler(
                    OneCycleLR, step_every="batch", max_lr=options.learning_rate, total_steps=steps, pct_start=0.25
                ),
            )
        )
    return callbacks


def _numbered(on_epoch: Callable[[Mapping[str, Any]], None], member: int, epoch: Mapping[str, Any]) -> None:
    """Report an epoch with the number of the member."""
    on_epoch({"member": member, **epoch})


def _silent(text: str) -> None:
    """Discard the output of skorch; progress bars show the epochs."""


def _spread(clips: Sequences) -> tuple[Float32Array, Float32Array]:
    """Return mean and standard deviation of each feature over the frames of some clips."""
    total, squares, count = np.zeros(clips.width), np.zeros(clips.width), 0
    for clip in clips:
        total += clip.sum(axis=0, dtype=np.float64)
        squares += np.square(clip, dtype=np.float64).sum(axis=0)
        count += len(clip)
    mean = total / count
    scale = np.sqrt(np.maximum(squares / count - mean**2, 0)) + 1e-6
    return mean.astype(np.float32), scale.astype(np.float32)


def _pieces(frames: Float32Array) -> list[Float32Array]:
    """Split a clip of more than `LONGEST` frames into parts of about equal length."""
    return np.array_split(frames, -(-len(frames) // LONGEST))


def _floats(network: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors of a network."""
    return dict(network.state_dict())


def _key(options: SequenceOptions, clips: Sequences, copies: Sequences | None, *arrays: NDArray[Any] | None) -> str:
    """Return a digest of everything that training depends on."""
    plain = [type(options).__name__, dataclasses.asdict(options)]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for sequences in (clips, copies):
        if sequences is not None:
            digest.update(str(sequences.shape).encode())
            for start, length in zip(sequences.starts.flat, sequences.lengths.flat, strict=True):
                digest.update(np.ascontiguousarray(sequences.frames[start : start + length]).data)
    for array in arrays:
        digest.update(b"" if array is None else np.ascontiguousarray(array).astype(str).tobytes())
    return digest.hexdigest()[:32]

"""Linear heads over embeddings, fitted first and then tuned together with the encoder's blocks, in small steps.

Heads at their optimum keep the first steps from spoiling what the encoder knows (A. Kumar et al., *Fine-tuning can
distort pretrained features and underperform out-of-distribution*, ICLR 2022).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emovox.decision import TINY, fit_temperature, temper
from emovox.errors import ModelError
from emovox.lab.corpora.groups import held_out_speakers
from emovox.lab.encoders import embeddings
from emovox.lab.encoders.embedders import Embedder
from emovox.lab.estimators import adaptive
from emovox.lab.estimators.adaptive import ORDINARY, AdaptiveClassifier, clip_weights
from emovox.lab.estimators.checkpoints import Checkpoint, Stored
from emovox.lab.estimators.encoder_tuning import Course, FinetuneOptions
from emovox.lab.estimators.training import Speech, TrainingSet
from emovox.lab.extraction.sequences import Features
from emovox.lab.threads import single_thread
from emovox.types import FeatureSpec, Float32Array

#: Form of the checkpoints; it rises whenever the training changes, so that an old one is never gone on from.
FORM = 1
#: Clips that are read at a time, to be embedded.
POOL = 64


class FinetunedClassifier(AdaptiveClassifier):
    """An `AdaptiveClassifier` whose encoder is tuned with it.

    Its embeddings, those of baselines too, are the tuned encoder's: :meth:`embed` gives them.

    Parameters
    ----------
    options : FinetuneOptions
        Heads and tuning.

    Attributes
    ----------
    embedder_ : Embedder
        The tuned encoder.
    losses_ : list of float
        Loss on held-out speakers before tuning and after each epoch; empty where nobody was held out.
    epochs_ : int
        Epochs that the result took; with 0 it is that of `AdaptiveClassifier`.
    """

    needs = ("speakers", "corpora", "copies", "speech")

    def __init__(self, options: FinetuneOptions | None = None) -> None:
        self.options: FinetuneOptions | None = options

    def fit(
        self,
        X: Float32Array,
        y: NDArray[Any],
        speakers: NDArray[Any] | None = None,
        corpora: NDArray[Any] | None = None,
        copies: Float32Array | None = None,
        speech: Speech | None = None,
    ) -> FinetunedClassifier:
        """Fit the heads, then tune blocks and heads together.

        Parameters
        ----------
        X, y, speakers, corpora, copies
            As for `AdaptiveClassifier.fit`, with embeddings of the encoder as it was pretrained.
        speech : Speech
            The same clips, to be heard.

        Raises
        ------
        ProtocolError
            The speakers are not known, or none can be held out.
        RecipeError
            The loss is no longer finite, or there is no such device.
        ModelError
            A checkpoint is damaged.
        """
        lesson = TrainingSet(X, y, speakers, corpora, copies, speech)
        speech = lesson.recordings
        options = self.options or FinetuneOptions()
        checkpoint = Checkpoint(speech.checkpoints, _key(options, speech.encoder, X, y, speakers, corpora, copies))
        stored = checkpoint.read()
        embedder = embeddings.embedder(speech.encoder.set, **speech.encoder.parameters)
        if not isinstance(embedder, Embedder):
            raise ModelError(f"this model tunes one encoder, and {speech.encoder.set!r} has several: name one")
        self.embedder_ = embedder
        if stored.state.get("stage") == "done":
            return self._restore(stored, X, y)
        super().fit(X, y, speakers, corpora, copies)
        self.losses_ = self._search(lesson, options, checkpoint, stored)
        self.epochs_ = int(np.argmin(self.losses_)) if self.losses_ else options.epochs
        if self.epochs_:
            self._tune(lesson, options, checkpoint, stored)
        checkpoint.write(self._state("done", self.epochs_), self._tensors())
        return self

    def _state(self, stage: str, epochs: int) -> dict[str, Any]:
        return {"stage": stage, "epochs": epochs, "losses": self.losses_}

    def _tune(self, lesson: TrainingSet, options: FinetuneOptions, checkpoint: Checkpoint, stored: Stored) -> None:
        """Tune with all clips for the epochs that were found best."""
        course = Course(self.embedder_, self, lesson, options)
        if stored.state.get("stage") == "final":
            course.restore(stored)
        searched = max(0, len(self.losses_) - 1)
        while course.epochs < self.epochs_:
            course.epoch()
            checkpoint.write(self._state("final", course.epochs), course.tensors())
            lesson.recordings.tell("epochs", searched + course.epochs, searched + self.epochs_)
        self.embedder_, self.plain_, self.enrolled_ = course.result()

    def _search(
        self, lesson: TrainingSet, options: FinetuneOptions, checkpoint: Checkpoint, stored: Stored
    ) -> list[float]:
        """Tune without some speakers, and return their loss before and after each epoch; nothing without patience."""
        if not options.patience or stored.state.get("stage") == "final":
            return list(stored.state.get("losses", []))
        train, held = held_out_speakers(np.asarray(lesson.speakers), lesson.y, options.validation, options.seed)
        ours, theirs = lesson[train], lesson[held]
        trial = FinetunedClassifier(options)
        trial.embedder_ = self.embedder_
        AdaptiveClassifier.fit(trial, ours.view(0), ours.y, ours.speakers, ours.corpora, ours.copies)
        course = Course(trial.embedder_, trial, ours, options)
        losses = list(stored.state.get("losses", []))
        if losses:
            course.restore(stored)
        else:
            losses.append(trial.loss(theirs))
        while course.epochs < options.epochs and course.epochs - int(np.argmin(losses)) < options.patience:
            course.epoch()
            trial.embedder_, trial.plain_, trial.enrolled_ = course.result()
            losses.append(trial.loss(theirs))
            checkpoint.write({"stage": "search", "epochs": course.epochs, "losses": losses}, course.tensors())
            lesson.recordings.tell("epochs", course.epochs, 2 * options.epochs)
        return losses

    def loss(self, lesson: TrainingSet) -> float:
        """Score clips of other speakers: the mean negative log-likelihood of both heads' answers.

        Each head's answers have the temperature that suits them best, since calibration comes later.  The baselines
        are the same whenever the clips are.
        """
        options = self.options or FinetuneOptions()
        X, target = self.embed(lesson.recordings), np.searchsorted(self.classes_, lesson.y)
        speakers = np.asarray(lesson.speakers)
        counts, rows = clip_weights(target, speakers), np.arange(len(X))
        rng = np.random.default_rng(options.seed)
        ordinary = lesson.y == ORDINARY
        baselines = adaptive.draw_baselines(
            X[np.newaxis], np.zeros_like(rows), rows, speakers, ordinary, options.mixed, rng
        )
        losses = []
        for found in (self.predict_proba(X), self.predict_proba(X, baselines)):
            tempered = temper(found, fit_temperature(found, target))
            losses.append(np.average(-np.log(np.maximum(tempered[rows, target], TINY)), weights=counts))
        return float(np.mean(losses))

    def embed(self, speech: Speech) -> Float32Array:
        """Describe clips with the tuned encoder, each on its own and on one thread, shape (n_clips, n_features)."""
        found = []
        everything = np.arange(len(speech.sounds))
        for rows in np.split(everything, range(POOL, len(everything), POOL)):
            heard = speech.heard(rows, np.zeros_like(rows))
            with single_thread(), torch.inference_mode():
                found += [self.embedder_(torch.from_numpy(samples).unsqueeze(0)).numpy() for samples in heard]
        return np.concatenate(found)

    def features(self, clips: TrainingSet) -> Features:
        """Return the tuned encoder's embeddings of clips that can be heard."""
        return clips.X if clips.speech is None or not len(clips) else self.embed(clips.speech)

    def encoder(self, spec: FeatureSpec) -> nn.Module:
        """Return the tuned encoder."""
        return self.embedder_

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that is fitted."""
        arrays = {"mean": self.mean_, "scale": self.scale_}
        for name, (coefficients, intercepts) in (("plain", self.plain_), ("enrolled", self.enrolled_)):
            arrays |= {f"{name}.coefficients": coefficients, f"{name}.intercepts": intercepts}
        encoder = {f"encoder.{name}": value for name, value in self.embedder_.state_dict().items()}
        return {**{name: torch.from_numpy(value) for name, value in arrays.items()}, **encoder}

    def _restore(self, stored: Stored, X: Float32Array, y: NDArray[Any]) -> FinetunedClassifier:
        """Take what an earlier training of the same clips gave."""
        self.classes_, self.n_features_in_ = np.unique(y), X.shape[1]
        self.epochs_, self.losses_ = stored.state["epochs"], stored.state["losses"]
        width, classes = X.shape[1], len(self.classes_)
        self.mean_, self.scale_ = (np.zeros(width, dtype=np.float32) for _ in range(2))
        self.plain_, self.enrolled_ = (
            (np.zeros((inputs, classes), dtype=np.float32), np.zeros(classes, dtype=np.float32))
            for inputs in (width, 2 * width)
        )
        self.embedder_ = copy.deepcopy(self.embedder_)
        stored.fill(self._tensors())
        return self


def _key(
    options: FinetuneOptions,
    encoder: FeatureSpec,
    X: Float32Array,
    y: NDArray[Any],
    speakers: NDArray[Any] | None,
    corpora: NDArray[Any] | None,
    copies: Float32Array | None,
) -> str:
    """Digest of everything that a training depends on; the features tell what the clips and the weights are."""
    plain = [FORM, dataclasses.asdict(options), dataclasses.asdict(encoder)]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode())
    for array in (X, y, speakers, corpora, copies):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:32]

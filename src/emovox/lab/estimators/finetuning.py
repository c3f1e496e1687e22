"""Linear heads over embeddings, fitted first and then fine-tuned together with the blocks of the encoder.

Heads at their optimum prevent the first steps from distorting the pretrained features (A. Kumar et al., *Fine-tuning
can distort pretrained features and underperform out-of-distribution*, ICLR 2022).
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
from emovox.lab.estimators.encoder_tuning import EncoderTuning, FinetuneOptions
from emovox.lab.estimators.training import Speech, TrainingSet
from emovox.lab.extraction.sequences import Features
from emovox.lab.threads import single_thread
from emovox.types import FeatureSpec, Float32Array

#: Version of the checkpoints; increased whenever the training changes, so that old ones are not resumed.
FORM = 1
#: Clips read at a time for embedding.
POOL = 64


class FinetunedClassifier(AdaptiveClassifier):
    """An `AdaptiveClassifier` with a fine-tuned encoder.

    Embeddings and baselines are computed by the fine-tuned encoder, see :meth:`embed`.

    Parameters
    ----------
    options : FinetuneOptions
        Options of the heads and of fine-tuning.

    Attributes
    ----------
    embedder_ : Embedder
        The fine-tuned encoder.
    losses_ : list of float
        Loss on held-out speakers before fine-tuning and after each epoch; empty without held-out speakers.
    epochs_ : int
        Number of epochs of the result; with 0 it is that of `AdaptiveClassifier`.
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
        """Fit the heads, then fine-tune blocks and heads together.

        Parameters
        ----------
        X, y, speakers, corpora, copies
            As for `AdaptiveClassifier.fit`, with embeddings of the pretrained encoder.
        speech : Speech
            Waveforms of the clips.

        Raises
        ------
        ProtocolError
            The speakers are unknown, or none can be held out.
        RecipeError
            The loss is not finite, or the device does not exist.
        ModelError
            A checkpoint is damaged.
        """
        clips = TrainingSet(X, y, speakers, corpora, copies, speech)
        speech = clips.recordings
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
        self.losses_ = self._search(clips, options, checkpoint, stored)
        self.epochs_ = int(np.argmin(self.losses_)) if self.losses_ else options.epochs
        if self.epochs_:
            self._tune(clips, options, checkpoint, stored)
        checkpoint.write(self._state("done", self.epochs_), self._tensors())
        return self

    def _state(self, stage: str, epochs: int) -> dict[str, Any]:
        return {"stage": stage, "epochs": epochs, "losses": self.losses_}

    def _tune(self, clips: TrainingSet, options: FinetuneOptions, checkpoint: Checkpoint, stored: Stored) -> None:
        """Fine-tune on all clips for the best number of epochs."""
        tuning = EncoderTuning(self.embedder_, self, clips, options)
        if stored.state.get("stage") == "final":
            tuning.restore(stored)
        searched = max(0, len(self.losses_) - 1)
        while tuning.epochs < self.epochs_:
            tuning.epoch()
            checkpoint.write(self._state("final", tuning.epochs), tuning.tensors())
            clips.recordings.progress("epochs", searched + tuning.epochs, searched + self.epochs_)
        self.embedder_, self.plain_, self.enrolled_ = tuning.result()

    def _search(
        self, clips: TrainingSet, options: FinetuneOptions, checkpoint: Checkpoint, stored: Stored
    ) -> list[float]:
        """Fine-tune without some speakers; return their loss before and after each epoch, or [] without patience."""
        if not options.patience or stored.state.get("stage") == "final":
            return list(stored.state.get("losses", []))
        train, held = held_out_speakers(np.asarray(clips.speakers), clips.y, options.validation, options.seed)
        ours, theirs = clips[train], clips[held]
        trial = FinetunedClassifier(options)
        trial.embedder_ = self.embedder_
        AdaptiveClassifier.fit(trial, ours.view(0), ours.y, ours.speakers, ours.corpora, ours.copies)
        tuning = EncoderTuning(trial.embedder_, trial, ours, options)
        losses = list(stored.state.get("losses", []))
        if losses:
            tuning.restore(stored)
        else:
            losses.append(trial.loss(theirs))
        while tuning.epochs < options.epochs and tuning.epochs - int(np.argmin(losses)) < options.patience:
            tuning.epoch()
            trial.embedder_, trial.plain_, trial.enrolled_ = tuning.result()
            losses.append(trial.loss(theirs))
            checkpoint.write({"stage": "search", "epochs": tuning.epochs, "losses": losses}, tuning.tensors())
            clips.recordings.progress("epochs", tuning.epochs, 2 * options.epochs)
        return losses

    def loss(self, clips: TrainingSet) -> float:
        """Compute the mean negative log-likelihood of both heads on clips of other speakers.

        Each head is calibrated by its best temperature, because models are calibrated after training.  The baselines
        depend on the clips and the seed only.
        """
        options = self.options or FinetuneOptions()
        X, target = self.embed(clips.recordings), np.searchsorted(self.classes_, clips.y)
        speakers = np.asarray(clips.speakers)
        counts, rows = clip_weights(target, speakers), np.arange(len(X))
        rng = np.random.default_rng(options.seed)
        ordinary = clips.y == ORDINARY
        baselines = adaptive.draw_baselines(
            X[np.newaxis], np.zeros_like(rows), rows, speakers, ordinary, options.mixed, rng
        )
        losses = []
        for found in (self.predict_proba(X), self.predict_proba(X, baselines)):
            tempered = temper(found, fit_temperature(found, target))
            losses.append(np.average(-np.log(np.maximum(tempered[rows, target], TINY)), weights=counts))
        return float(np.mean(losses))

    def embed(self, speech: Speech) -> Float32Array:
        """Compute embeddings with the fine-tuned encoder, clip by clip on one thread, shape (n_clips, n_features)."""
        found = []
        everything = np.arange(len(speech.sounds))
        for rows in np.split(everything, range(POOL, len(everything), POOL)):
            heard = speech.heard(rows, np.zeros_like(rows))
            with single_thread(), torch.inference_mode():
                found += [self.embedder_(torch.from_numpy(samples).unsqueeze(0)).numpy() for samples in heard]
        return np.concatenate(found)

    def features(self, clips: TrainingSet) -> Features:
        """Return embeddings by the fine-tuned encoder of clips with waveforms."""
        return clips.X if clips.speech is None or not len(clips) else self.embed(clips.speech)

    def encoder(self, spec: FeatureSpec) -> nn.Module:
        """Return the fine-tuned encoder."""
        return self.embedder_

    def _tensors(self) -> dict[str, Tensor]:
        """Return all fitted tensors."""
        arrays = {"mean": self.mean_, "scale": self.scale_}
        for name, (coefficients, intercepts) in (("plain", self.plain_), ("enrolled", self.enrolled_)):
            arrays |= {f"{name}.coefficients": coefficients, f"{name}.intercepts": intercepts}
        encoder = {f"encoder.{name}": value for name, value in self.embedder_.state_dict().items()}
        return {**{name: torch.from_numpy(value) for name, value in arrays.items()}, **encoder}

    def _restore(self, stored: Stored, X: Float32Array, y: NDArray[Any]) -> FinetunedClassifier:
        """Load the result of an earlier training on the same clips."""
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
    """Return a digest of everything that training depends on; features stand for clips and weights."""
    plain = [FORM, dataclasses.asdict(options), dataclasses.asdict(encoder)]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode())
    for array in (X, y, speakers, corpora, copies):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:32]
